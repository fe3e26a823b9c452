"""Data of one's own: arrays, checked and split by key, and anchors spread over them."""

import os
import pathlib
import zipfile
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.checks import check_count, check_key

NPZ_NAMES = ("inputs", "labels", "test_inputs", "test_labels")
HELD_OUT = 0.1
"""Share of the data set apart for validation, and for the test where none is given."""


class Split(NamedTuple):
    """Data points and their classes, numbered from 0."""

    inputs: Float[np.ndarray, "n ..."]
    labels: Int[np.ndarray, " n"]


class ArrayDataset(NamedTuple):
    """A named set with its three disjoint splits, and its classes' names in order."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]


def load_npz(path: str | os.PathLike[str]) -> tuple[Any, Any, Any]:
    """Read inputs, labels and test data from an `.npz` file of `NPZ_NAMES`.

    Returns:
        Inputs, labels or None, and test inputs with their labels or None, as
        `from_arrays` takes them.

    Raises:
        ValueError: If it is no such file, or has no `inputs`; names what it holds.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            found = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ValueError(f"{path} cannot be read as an .npz file: {error}.") from error
    unknown = sorted(set(found) - set(NPZ_NAMES))
    if "inputs" not in found or unknown:
        raise ValueError(
            f"{path} must hold the array inputs, and may hold "
            f"{', '.join(NPZ_NAMES[1:])}; got {', '.join(sorted(found)) or 'nothing'}."
        )
    test = None
    if "test_inputs" in found:
        test = (found["test_inputs"], found.get("test_labels"))
    return found["inputs"], found.get("labels"), test


def from_arrays(
    inputs: Any,
    labels: Any = None,
    *,
    key: PRNGKeyArray,
    test: Any = None,
    name: str = "own data",
) -> ArrayDataset:
    """Check data and split them by key, each class by itself.

    Args:
        inputs: `[N, *x]` floats: vectors, or images `[N, H, W]` or `[N, H, W, C]` with
            values in [0, 1]; or anything with a length and items, each a data point or
            a pair of one and its label.
        labels: The class of each, integers or names; None for one class.
        key: Random key.
        test: Inputs, or a pair of inputs and labels, to test with; without it a tenth
            of each class is set apart.
        name: Of the set.

    Returns:
        The set; grey images have a channel axis.

    Raises:
        ValueError: If kind, shape or range of an array is not what is wanted, a class
            of the test data is not among the others, or there are fewer than three
            data points.
    """
    check_key("key", key)
    points, classes = read_points("inputs", inputs, labels)
    if len(points) < 3:
        raise ValueError(f"inputs must be at least 3 data points; got {len(points)}.")
    names = np.unique(classes)
    numbers = np.searchsorted(names, classes).astype(np.int32)
    test_key, validation_key = jax.random.split(key)
    if test is None:
        left, apart = _apart(test_key, numbers)
        tested = Split(points[apart], numbers[apart])
    else:
        left = np.arange(len(points))
        pair = test if isinstance(test, tuple) else (test, None)
        if labels is None:
            pair = (pair[0], None)
        others, own = read_points("test", *pair)
        unknown = sorted(set(own.tolist()) - set(names.tolist()))
        if unknown or others.shape[1:] != points.shape[1:]:
            raise ValueError(
                f"test must be data points of shape {list(points.shape[1:])} of the "
                f"same classes; got {list(others.shape[1:])}, new classes {unknown}."
            )
        tested = Split(others, np.searchsorted(names, own).astype(np.int32))
    kept, apart = _apart(validation_key, numbers[left])
    train, held = left[kept], left[apart]
    return ArrayDataset(
        name,
        Split(points[train], numbers[train]),
        Split(points[held], numbers[held]),
        tested,
        tuple(map(str, names.tolist())),
    )


def spread_anchors(
    key: PRNGKeyArray,
    inputs: Float[np.ndarray, "n ..."],
    labels: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    per_class: int,
) -> Float[np.ndarray, "C N_a ..."]:
    """Choose anchors that are far apart, farthest-point first, in each class.

    The first is drawn; each next one is the example farthest from those chosen. A class
    of fewer examples repeats them.

    Args:
        key: Random key.
        inputs: Training examples.
        labels: The class of each, from 0.
        num_classes: C.
        per_class: N_a.

    Raises:
        ValueError: If a class has no examples; names it.
    """
    check_key("key", key)
    check_count("per_class", per_class)
    chosen = []
    for label, own in enumerate(jax.random.split(key, num_classes)):
        members = np.flatnonzero(labels == label)
        if not len(members):
            raise ValueError(f"labels: class {label} has no training examples.")
        flat = inputs[members].reshape(len(members), -1)
        index = [int(jax.random.randint(own, (), 0, len(members)))]
        distance = np.full(len(members), np.inf)
        while len(index) < min(per_class, len(members)):
            offset = flat - flat[index[-1]]
            distance = np.minimum(distance, np.einsum("ij,ij->i", offset, offset))
            distance[index[-1]] = -1.0  # not twice, where examples are equal
            index.append(int(np.argmax(distance)))
        chosen.append(inputs[members[np.resize(index, per_class)]])
    return np.stack(chosen)


def read_points(
    name: str, inputs: Any, labels: Any = None
) -> tuple[Float[np.ndarray, "n ..."], np.ndarray]:
    """Return checked data points, grey images with a channel axis, and their classes.

    Args:
        name: What errors call the inputs.
        inputs: As `from_arrays` takes them.
        labels: The class of each; None for one class.

    Raises:
        ValueError: If kind, shape or range is not what is wanted; names it.
    """
    if not isinstance(inputs, np.ndarray | Array):
        inputs, labels = _items(name, inputs, labels)
    points = np.asarray(inputs)
    if points.dtype.kind != "f" or points.ndim < 2 or points.ndim > 4:
        hint = "; divide images of bytes by 255" if points.dtype.kind in "ui" else ""
        raise ValueError(
            f"{name} must be floats of shape [N, n], [N, H, W] or [N, H, W, C]; got "
            f"{points.dtype}{list(points.shape)}{hint}."
        )
    if not points.size:
        raise ValueError(f"{name} must not be empty; got {list(points.shape)}.")
    bad = np.flatnonzero(~np.isfinite(points.reshape(len(points), -1)).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{name} must be finite; {len(bad)} data points are not, the first is "
            f"number {bad[0]}."
        )
    if points.ndim > 2 and (points.min() < 0.0 or points.max() > 1.0):
        raise ValueError(
            f"{name} must be images with values in [0, 1]; got {points.min():.4g} to "
            f"{points.max():.4g}."
        )
    points = points[..., None] if points.ndim == 3 else points
    points = points.astype(np.zeros((), jax.dtypes.canonicalize_dtype(float)).dtype)
    if labels is None:
        return points, np.zeros(len(points), np.int64)
    classes = np.asarray(labels)
    if classes.dtype.kind not in "iuU" or classes.shape != (len(points),):
        raise ValueError(
            f"labels of {name} must be {len(points)} integers or names, one for each "
            f"data point; got {classes.dtype}{list(classes.shape)}."
        )
    return points, classes


def _items(name, items, labels):
    """Read a sequence of data points, or of pairs with their labels, into arrays."""
    if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
        raise ValueError(
            f"{name} must be an array, or have a length and items; got "
            f"{type(items).__name__}."
        )
    found = [items[index] for index in range(len(items))]
    if found and isinstance(found[0], tuple | list) and len(found[0]) == 2:
        points, own = zip(*found, strict=True)
        labels = np.asarray([np.asarray(label).item() for label in own])
        found = list(points)
    try:
        return np.stack([np.asarray(point) for point in found]), labels
    except ValueError as error:
        raise ValueError(
            f"{name} must be data points of one shape: {error}."
        ) from error


def _apart(key, labels):
    """Return the indices of nine tenths of each class, and those of the rest.

    The rest has one of each class that has three examples or more.
    """
    order = np.asarray(jax.random.permutation(key, len(labels)))
    kept, apart = [], []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = max(round(HELD_OUT * len(members)), int(len(members) >= 3))
        apart.append(members[:count])
        kept.append(members[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(apart))
