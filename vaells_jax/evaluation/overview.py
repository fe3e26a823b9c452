"""A general overview of a trained model on data of any kind: measures and figures.

Nothing here knows a model's name. A model has functions of whole batches: `encode`,
`decode`, `reconstruct`, `sample_posterior`, `sample_prior`, `interpolate` and
`widened`; one with operators has `path` and `params.operators` too, and
`params.anchors`, by class, or None where it cannot sample its prior.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.evaluation.chunks import in_parts
from vaells_jax.evaluation.figures import (
    image_rows,
    latent_map,
    operator_eigenvalues,
    operator_path_rows,
    posterior_sample_grids,
    reconstruction_grid,
)
from vaells_jax.evaluation.figures.planes import (
    embeddings,
    inferred_paths,
    operator_orbits,
)
from vaells_jax.evaluation.structure import spectrum, straight_line
from vaells_jax.networks.contract import check_outputs

NUM_PAIRS = 50
"""Pairs of data points whose paths are measured."""
MAP_POINTS = 2_000
"""Data points of the latent map, drawn at random from larger sets."""
PART = 128  # data points that are evaluated at once, which bounds the memory
_ROWS, _STEPS, _MOST_OPERATORS = 3, 9, 8

Inputs = Float[Array | np.ndarray, "n ..."]
Labels = Int[Array | np.ndarray, " n"]


def overview_merits(
    trained: Any, key: PRNGKeyArray, inputs: Inputs, labels: Labels | None = None
) -> dict[str, tuple[Any, str]]:
    """Measure a trained model on test data.

    Args:
        trained: The model.
        key: Random key.
        inputs: Test data.
        labels: Their classes, within which paths are measured.

    Returns:
        A value and its meaning by name.

    Raises:
        ValueError: If there are no data points, or labels of another number.
    """
    inputs, classes = _checked(inputs, labels)

    def errors(part):
        outputs = np.asarray(trained.reconstruct(part))
        check_outputs(outputs.shape, part.shape)
        squared = (outputs - part) ** 2
        return squared.reshape(len(part), -1).mean(axis=1)

    error = float(np.mean(np.concatenate(in_parts(errors, inputs, PART))))
    variance = float(np.mean(np.var(inputs, axis=0)))
    merits: dict[str, tuple[Any, str]] = {
        "reconstruction_mse": (error, "mean squared error of a value, in its units^2"),
        "explained_variance": (
            1.0 - error / variance if variance > 0 else float("nan"),
            "1 - mean squared error / variance of a value: 1 is perfect",
        ),
    }
    if getattr(trained.params, "operators", None) is not None:
        merits |= _operator_merits(trained.params.operators)
        first, last = _pairs(jax.random.fold_in(key, 0), classes)[:NUM_PAIRS].T
        if len(first):
            found = trained.interpolate(inputs[first], inputs[last], 2)
            gaps = np.asarray(found.gap) / np.maximum(np.asarray(found.distance), 1e-12)
            merits["path_gap"] = (
                float(np.median(gaps)),
                f"median over {len(gaps)} pairs of one class: distance of a path's end "
                "from its goal / distance of the pair, in latent space",
            )
    return merits


def overview_figures(
    trained: Any,
    key: PRNGKeyArray,
    inputs: Inputs,
    labels: Labels | None = None,
    class_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Draw a trained model: what it makes of test data, its samples and its paths.

    Args:
        trained: The model.
        key: Random key.
        inputs: Test data: images, in [0, 1] or else scaled to it, or vectors.
        labels: Their classes.
        class_names: Of class 0, 1 and so on.

    Returns:
        matplotlib figures by name.

    Raises:
        ValueError: If there are no data points, labels of another number, or data
            points that are neither images nor vectors.
    """
    inputs, classes = _checked(inputs, labels)
    labelled = len(np.unique(classes)) > 1
    # Merits and figures of a run are given the same key.
    keys = jax.random.split(jax.random.fold_in(key, 1), 4)
    prior_key, near_key, wide_key, pair_key = keys
    # The same data points whatever the key, so that models can be compared.
    drawn = np.random.default_rng(0).permutation(len(inputs))[:MAP_POINTS]
    inputs, classes = inputs[drawn], classes[drawn]
    plane = inputs.shape[1:] == (2,)
    in_range = _unit_range(inputs)
    decode = lambda z: in_range(trained.decode(z))
    latents = np.concatenate(in_parts(trained.encode, inputs, PART))
    order = balanced(classes)[:10]
    # Points in the plane are shown all at once, others one by one.
    seen = slice(None) if plane else order
    data, centres = in_range(inputs), decode(latents[seen])
    anchors = getattr(trained.params, "anchors", None)
    names = [
        class_names[c] if c < len(class_names) else f"class {c}"
        for c in range(int(classes.max()) + 1)
    ]

    def beside(name, points, coloured=True):
        # Too many classes for a legend are shown on a scale of colours.
        many = len(np.unique(classes)) > 10
        values = classes.astype(float) if many else classes
        return embeddings(
            {"test data": data, name: points},
            values if coloured else np.zeros(len(data), int),
            title=f"Test data and {name}", value_name="class", class_names=names,
        )  # fmt: skip

    if plane:
        figure = beside("reconstructions", centres)
    else:
        title = "Test data and reconstructions"
        figure = reconstruction_grid(data[order], centres, title=title)
    figures = {"reconstructions": figure}

    if plane and _has_prior(trained):
        found = decode(trained.sample_prior(prior_key, len(data)))
        figures["prior_samples"] = beside("prior samples", found, coloured=False)
    elif _has_prior(trained):
        by_class = labelled and anchors is not None and len(names) <= 10
        found = {"test data": data[order]}
        rows = names if by_class else [f"samples {i}" for i in range(1, 5)]
        keys = jax.random.split(prior_key, len(rows))
        for c, (name, row_key) in enumerate(zip(rows, keys, strict=True)):
            label = c if by_class else None
            found[name] = decode(trained.sample_prior(row_key, len(order), label))
        title = "Test data and prior samples"
        figures["prior_samples"] = image_rows(found, title=title)

    for kind, model, sample_key in (
        ("posterior", trained, near_key),
        ("widened", trained.widened(), wide_key),
    ):
        around = model.sample_posterior(sample_key, inputs[seen], 1 if plane else 8)
        if plane:
            figure = beside(f"{kind} samples", decode(around[:, 0]))
        else:
            title = f"{kind.capitalize()} samples around test data"
            figure = posterior_sample_grids(centres, decode(around), title=title)
        figures[f"{kind}_samples"] = figure

    pairs = _pairs(pair_key, classes)
    pairs = pairs[balanced(classes[pairs[:, 0]])[:_ROWS]]
    if len(pairs):
        figures["interpolations"] = _interpolations(
            trained, inputs, latents, pairs, in_range
        )
    if getattr(trained.params, "operators", None) is not None:
        figures |= _operator_figures(trained, inputs, latents, order[:_ROWS], decode)
    if anchors is not None:
        anchors = trained.encode(anchors.reshape(-1, *inputs.shape[1:]))
    figures["latent_map"] = latent_map(
        latents, classes if labelled else None, anchors=anchors,
        class_names=class_names, title="Latents of test data",
    )  # fmt: skip
    return figures


def prior_figure(points: Inputs) -> Any:
    """Draw samples of a prior, ten in a row."""
    points = _unit_range(points)(points)
    width = min(10, len(points))
    starts = range(0, len(points) - width + 1, width)
    rows = {f"{i + 1} to {i + width}": points[i : i + width] for i in starts}
    return image_rows(rows, title="Samples of the prior")


def _interpolations(trained, inputs, latents, pairs, in_range):
    """Draw the model's paths between pairs of data points, and straight ones."""
    first, last = pairs.T
    times = np.linspace(0.0, 1.0, _STEPS, dtype=latents.dtype)
    straight = straight_line(latents[first], latents[last], times)
    found = trained.interpolate(inputs[first], inputs[last], _STEPS).latents
    both = np.stack([np.asarray(found), straight], axis=1)
    both = in_range(trained.decode(both))
    if inputs.shape[1:] == (2,):
        title = "Paths between test data: the model's (left), straight (right)"
        return inferred_paths(inputs, both.reshape(-1, _STEPS, 2), title=title)
    rows = {}
    for i, (ends, paths) in enumerate(zip(in_range(inputs[pairs]), both, strict=True)):
        for kind, path in zip(("model", "straight"), paths, strict=True):
            rows[f"{i + 1}, {kind}"] = np.stack([ends[0], *path, ends[1]])
    title = "Paths between pairs of test data, which stand at both ends"
    return image_rows(rows, title=title)


def _operator_figures(trained, inputs, latents, chosen, decode):
    """Draw the largest operators' paths, and all operators' eigenvalues."""
    operators = np.asarray(trained.params.operators)
    largest = np.sort(np.argsort(-spectrum(operators).norms)[:_MOST_OPERATORS])
    sweeps = _sweeps(operators[largest], latents)
    names = [f"Operator {m + 1}" for m in largest]
    moved = [
        decode(trained.path(inputs[chosen], int(m), sweep))
        for m, sweep in zip(largest, sweeps, strict=True)
    ]
    paths, title = np.stack(moved), "Paths along each operator"
    if inputs.shape[1:] == (2,):
        figure = operator_orbits(inputs, paths, title=title, names=names)
    else:
        figure = operator_path_rows(paths, sweeps, title=title, names=names)
    values = operator_eigenvalues(operators, title="Operator eigenvalues")
    return {"operator_paths": figure, "operator_eigenvalues": values}


def _sweeps(operators, latents):
    """Return coefficients that move a typical latent by its own length, `[M, T]`."""
    moved = np.linalg.norm(np.einsum("mij,nj->mni", operators, latents), axis=2)
    lengths = np.maximum(np.linalg.norm(latents, axis=1), 1e-12)
    growth = np.abs(np.linalg.eigvals(operators).real).max(axis=1)
    rate = np.maximum(np.median(moved / lengths[None], axis=1), growth)
    # An operator that is hardly used should hardly move a latent.
    reach = 1.0 / np.maximum(rate, 0.1 * max(rate.max(), 1e-6))
    return reach[:, None] * np.linspace(-1.0, 1.0, _STEPS)


def _operator_merits(operators):
    """Measure the operators' sizes, and how far they rotate or grow."""
    norms, values, *_ = spectrum(operators)
    turning = np.sum(values.imag**2) / max(np.sum(np.abs(values) ** 2), 1e-30)
    return {
        "operator_norms": (norms.tolist(), "Frobenius norm of each operator"),
        "operator_rotation": (
            float(turning),
            "share of imaginary parts in the eigenvalues' squared moduli: 1 where "
            "operators rotate, 0 where they grow or shrink",
        ),
        "operator_growth": (
            float(np.abs(values.real).max()),
            "largest modulus of an eigenvalue's real part",
        ),
    }


def _checked(inputs, labels):
    """Return test data and their classes; without labels all are of class 0."""
    inputs = np.asarray(inputs)
    classes = np.zeros(len(inputs), int) if labels is None else np.asarray(labels)
    if not len(inputs) or classes.shape != inputs.shape[:1]:
        raise ValueError(
            "inputs and labels must have shapes [n, ...] and [n], n at least 1; got "
            f"{list(inputs.shape)} and {list(classes.shape)}."
        )
    return inputs, classes


def _has_prior(trained):
    """Report whether a model can sample: VAELLS needs anchors of its own for it."""
    return getattr(trained.params, "anchors", True) is not None


def _unit_range(inputs):
    """Return a map of images into [0, 1], if they are not; vectors stay as they are."""
    low, high = float(inputs.min()), float(inputs.max())
    if inputs.ndim == 2 or (low >= 0.0 and high <= 1.0):
        return np.asarray
    return lambda data: (np.asarray(data) - low) / max(high - low, 1e-12)


def balanced(classes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return an order of data points in which the classes take turns."""
    turn = np.empty(len(classes), int)
    for label in np.unique(classes):
        own = classes == label
        turn[own] = np.arange(own.sum())
    return np.lexsort((classes, turn))


def _pairs(key, classes):
    """Draw pairs of different data points of one class, `[P, 2]`, in random order."""
    rng = np.random.default_rng(int(jax.random.bits(key)))
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    return rng.permutation(pairs[classes[pairs[:, 0]] == classes[pairs[:, 1]]])
