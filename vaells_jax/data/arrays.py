"""Your own data: arrays, checked and split by key."""

import functools
import logging
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from vaells_jax.checks import check_finite, check_key, check_labels, check_number
from vaells_jax.data.batches import draw_anchors

NPZ_NAMES = {
    "inputs": ("inputs", "images", "x", "x_train"),
    "labels": ("labels", "y", "y_train"),
    "test_inputs": ("test_inputs", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}
"""Names of the arrays of a file."""

_logger = logging.getLogger(__name__)


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
        ValueError: If it is not such a file, has no inputs, or arrays of other names;
            lists what it holds.
    """
    try:
        with pathlib.Path(path).open("rb") as stream, np.load(stream) as file:
            found = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        # What NumPy says of files of other kinds does not help.
        other = not str(path).endswith(".npz")
        reason = "numpy.savez(FILE, inputs=array) makes one of an array"
        raise ValueError(
            f"path must be an .npz file; {path} cannot be read as one: "
            f"{reason if other else error}."
        ) from error
    held = sorted(found)
    known = {
        part: next((found.pop(name) for name in names if name in found), None)
        for part, names in NPZ_NAMES.items()
    }
    test = (known["test_inputs"], known["test_labels"])
    orphan = test[0] is None and test[1] is not None
    if known["inputs"] is None or orphan or found:
        wanted = "; ".join(" or ".join(names) for names in NPZ_NAMES.values())
        raise ValueError(
            f"{path} must hold inputs, may hold the rest of ({wanted}) and nothing "
            f"else; got {', '.join(held) or 'nothing'}."
        )
    return known["inputs"], known["labels"], None if test[0] is None else test


def from_arrays(
    inputs: Any,
    labels: Any = None,
    *,
    key: PRNGKeyArray,
    test: Any = None,
    validation: Any = None,
    test_fraction: float = 0.1,
    validation_fraction: float = 0.1,
    name: str = "own data",
) -> ArrayDataset:
    """Check data and split them by key, class by class.

    Args:
        inputs: `[N, *x]` floats: vectors, or images `[N, H, W]` or `[N, H, W, C]` with
            values in [0, 1]; or any object with a length and items, each a data point
            or a tuple of one and its label, which are all read into memory.
        labels: The class of each, integers or names; None for one class.
        key: Random key.
        test: Inputs, or a pair of inputs and labels, to test with; without it some of
            each class are held out.
        validation: The same for validation.
        test_fraction: Share of each class to hold out for the test; 0 for none.
        validation_fraction: Share of the rest to hold out for validation.
        name: Of the set.

    Returns:
        The set; grey images have a channel axis. Every split has examples of every
        class, except for classes that are too small, which a logged warning names.

    Raises:
        ValueError: If kind, shape or range of an array is invalid, a class
            of the other data is not among the training examples, or there are fewer
            than three data points.
    """
    check_key("key", key)
    points, classes = read_points("inputs", inputs, labels)
    if len(points) < 3:
        raise ValueError(f"inputs must be at least 3 data points; got {len(points)}.")
    names = np.unique(classes)
    class_names = ("0",) if names.dtype == bool else tuple(map(str, names.tolist()))
    numbers = np.searchsorted(names, classes).astype(np.int32)
    left, splits = np.arange(len(points)), {}
    for part, own_key, given, share in zip(
        ("test", "validation"), jax.random.split(key), (test, validation),
        (test_fraction, validation_fraction), strict=True,
    ):  # fmt: skip
        check_number(f"{part}_fraction", share)
        if given is not None:
            splits[part] = _given(part, given, points, classes, names)
            continue
        if share >= 1.0:
            raise ValueError(f"{part}_fraction must be less than 1; got {share}.")
        kept, apart, lacking = _apart(own_key, numbers[left], share)
        if lacking:
            _logger.warning(
                "%s: too few examples for the %s split of: %s.", name, part,
                ", ".join(class_names[label] for label in lacking[:20]),
            )  # fmt: skip
        splits[part] = Split(points[left[apart]], numbers[left[apart]])
        left = left[kept]
    train = Split(points[left], numbers[left])
    return ArrayDataset(name, train, splits["validation"], splits["test"], class_names)


spread_anchors = functools.partial(draw_anchors, method="spread")
"""`draw_anchors` with anchors far apart."""


def read_points(
    name: str, inputs: Any, labels: Any = None
) -> tuple[Float[np.ndarray, "n ..."], np.ndarray]:
    """Return checked data points, grey images with a channel axis, and their classes.

    Args:
        name: Name of the inputs in errors.
        inputs: As `from_arrays` takes them.
        labels: The class of each; None for one class.

    Raises:
        ValueError: If kind, shape or range is invalid; names it.
    """
    points, labels = as_arrays(name, inputs, labels)
    if points.dtype.kind != "f" or points.ndim < 2 or points.ndim > 4:
        hint = "; divide images of bytes by 255" if points.dtype.kind in "ui" else ""
        raise ValueError(
            f"{name} must be floats of shape [N, n], [N, H, W] or [N, H, W, C]; got "
            f"{points.dtype}{list(points.shape)}{hint}."
        )
    if not points.size:
        raise ValueError(f"{name} must not be empty; got {list(points.shape)}.")
    with np.errstate(over="ignore"):
        points = points.astype(jax.dtypes.canonicalize_dtype(float))
    check_finite(name, points, unit=points.ndim > 2)
    points = points[..., None] if points.ndim == 3 else points
    if labels is None:
        return points, np.zeros(len(points), bool)
    classes, name = _as_array("labels", labels), f"labels of {name}"
    if classes.dtype == object and all(isinstance(y, str) for y in classes.flat):
        classes = classes.astype(str)
    check_labels(name, classes, len(points), "integers or names")
    return points, classes if classes.dtype.kind == "U" else classes.astype(np.int64)


def as_arrays(name: str, items: Any, labels: Any = None) -> tuple[np.ndarray, Any]:
    """Read data points, or pairs of them with their labels, into one array.

    Args:
        name: Name of the items in errors.
        items: Arrays of any library, or any object with a length and items.
        labels: The class of each, if the items do not bring it.

    Raises:
        ValueError: If it is neither, or both it and `labels` hold labels.
    """
    if not hasattr(items, "__array__"):
        items, labels = _items(name, items, labels)
    return _as_array(name, items), labels


def _items(name, items, labels):
    """Read a sequence of data points, or of pairs with their labels, into lists."""
    plain = isinstance(items, str | bytes | Mapping)
    if plain or not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
        raise ValueError(
            f"{name} must be an array, or have a length and items; got "
            f"{type(items).__name__}."
        )
    found = [items[index] for index in range(len(items))]
    if not found or not all(isinstance(x, tuple) and len(x) == 2 for x in found):
        return found, labels
    if labels is not None:
        raise ValueError(f"labels must be None where {name} are pairs with their own.")
    points, classes = zip(*found, strict=True)
    return list(points), list(classes)


def _as_array(name: str, values: Any) -> np.ndarray:
    try:
        if isinstance(values, list):
            values = [np.asarray(value) for value in values]
        return np.asarray(values)
    except Exception as error:  # whatever the library of a foreign array raises
        raise ValueError(f"{name} must be arrays of one shape: {error}.") from error


def _given(part, given, points, classes, names):
    """Check the split that is given, by the training examples."""
    found, own = read_points(part, *(given if isinstance(given, tuple) else (given,)))
    unknown = sorted(set(own.tolist()) - set(names.tolist()), key=str)
    alike = found.shape[1:] == points.shape[1:] and own.dtype.kind == classes.dtype.kind
    if unknown or not alike:
        kinds = {"b": "no", "i": "integer", "U": "name"}
        raise ValueError(
            f"{part} must be data points of shape {list(points.shape[1:])} with "
            f"{kinds[classes.dtype.kind]} labels, of the same classes; got "
            f"{list(found.shape[1:])}, {kinds[own.dtype.kind]} labels, new classes "
            f"{unknown}."
        )
    return Split(found, np.searchsorted(names, own).astype(np.int32))


def _apart(key, labels, share):
    """Return the indices of most of each class, of the rest, and classes without rest.

    The rest has one of each class that has two examples or more.
    """
    order = np.asarray(jax.random.permutation(key, len(labels)))
    rest, lacking = np.zeros(len(labels), bool), []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = min(max(round(share * len(members)), share > 0), len(members) - 1)
        rest[members[:count]] = True
        lacking += [label] * (share > 0 and not count)
    return order[~rest[order]], order[rest[order]], lacking
