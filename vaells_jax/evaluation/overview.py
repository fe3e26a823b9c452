"""An overview of any trained model on any data: figures of merit and pictures."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.evaluation.figures.points import latent_map, point_rows
from vaells_jax.evaluation.structure import spectrum, straight_line
from vaells_jax.networks.contract import check_outputs

SHOWN, STEPS, PAIRS = 8, 9, 100
"""Data points in a row, points of a path, and pairs whose paths are measured."""


def overview_merits(
    trained: Any,
    key: PRNGKeyArray,
    inputs: Float[Array | np.ndarray, "n ..."],
    labels: Int[Array | np.ndarray, " n"],
) -> dict[str, tuple[Any, str]]:
    """Measure a model on test data.

    Args:
        trained: A trained model (`vaells_jax.trained`).
        key: Random key.
        inputs: Test data.
        labels: The class of each.

    Returns:
        For each name a value and its meaning.
    """
    outputs = np.asarray(trained.reconstruct(inputs))
    check_outputs(outputs.shape, np.shape(inputs))
    errors = np.mean((outputs - np.asarray(inputs)) ** 2)
    first, second = _pairs(key, labels, PAIRS)
    found = trained.interpolate(inputs[first], inputs[second], STEPS)
    moved = found.distance > 0
    gaps = found.gap[moved] / found.distance[moved]
    return {
        "reconstruction_mse": (
            float(errors),
            f"squared error of decoded latent means, per entry; {len(inputs)} test "
            "data points",
        ),
        "explained_variance": (
            float(1.0 - errors / max(np.var(inputs, axis=0).mean(), 1e-30)),
            "share of the test data's variance that reconstructions keep",
        ),
        "path_gap": (
            float(np.median(gaps)) if len(gaps) else 0.0,
            "median distance between where a path between two test points of one class "
            "ends and where it should, over the distance of the two in latent space",
        ),
    }


def overview_figures(
    trained: Any,
    key: PRNGKeyArray,
    inputs: Float[Array | np.ndarray, "n ..."],
    labels: Int[Array | np.ndarray, " n"],
    *,
    class_names: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Draw a model on test data: figures by name; arguments as `overview_merits`."""
    shown = np.linspace(0, len(inputs) - 1, min(SHOWN, len(inputs))).astype(int)
    points = inputs[shown]
    prior_key, posterior_key = jax.random.split(jax.random.fold_in(key, 1))
    wide = trained.widened()
    around = np.asarray(wide.decode(wide.sample_posterior(posterior_key, points, 5)))
    first, second = _pairs(key, labels, 3)
    found = trained.interpolate(inputs[first], inputs[second], STEPS)
    starts, ends = (np.asarray(trained.encode(inputs[i])) for i in (first, second))
    straight = straight_line(starts, ends, np.linspace(0.0, 1.0, STEPS))
    paths = {}
    for row in range(len(first)):
        own, line = found.latents[row], straight[row].astype(found.latents.dtype)
        paths[f"path {row + 1}"] = trained.decode(own)
        paths[f"straight {row + 1}"] = trained.decode(line)
    figures = {
        "reconstructions": point_rows(
            {"input": points, "output": trained.reconstruct(points)},
            title="Test data and their reconstructions",
        ),
        "prior_samples": prior_figure(
            trained.decode(trained.sample_prior(prior_key, 5 * SHOWN))
        ),
        "posterior_samples": point_rows(
            {"mean": wide.reconstruct(points)}
            | {f"sample {i + 1}": around[:, i] for i in range(5)},
            title="Samples around test data, spread as in the paper's figures",
        ),
        "interpolations": point_rows(
            paths, title="Paths between test data of one class, and straight lines"
        ),
        "latent_map": latent_map(
            trained.encode(inputs), labels, title="Latents of test data",
            class_names=class_names,
        ),
    }  # fmt: skip
    if hasattr(trained, "path"):
        figures["operator_paths"] = _operator_figure(trained, points[:1])
    return figures


def prior_figure(points: Float[Array | np.ndarray, "n ..."]) -> Any:
    """Show samples of the prior."""
    rows = max(len(points) // SHOWN, 1)
    width = min(SHOWN, len(points))
    parts = np.asarray(points)[: rows * width].reshape(rows, width, *points.shape[1:])
    names = {" " * (index + 1): part for index, part in enumerate(parts)}
    return point_rows(names, title="Samples of the prior")


def _operator_figure(trained, point):
    """Move one data point along each operator, by about its latent's own length."""
    operators = trained.params.operators
    reach = 1.0 / np.maximum(spectrum(operators).norms, 1e-12)
    times = np.linspace(-1.0, 1.0, STEPS)
    rows = {}
    for index, most in enumerate(reach):
        path = trained.path(point, index, most * times)[0]
        rows[f"operator {index + 1}"] = trained.decode(path)
    return point_rows(
        rows, title="One data point along each operator, by c times its norm",
        columns=[f"{time:.3g}".replace("-", "−") for time in times],
    )  # fmt: skip


def _pairs(key, labels, count):
    """Draw pairs of different data points of one class, from classes that have two."""
    labels = np.asarray(labels)
    draw = np.random.default_rng(int(jax.random.bits(jax.random.fold_in(key, 0))))
    sizes = np.bincount(labels)
    usable = np.flatnonzero(sizes[labels] > 1)
    if not len(usable):
        usable = np.arange(len(labels))
    first = draw.choice(usable, count)
    second = []
    for index in first:
        others = np.flatnonzero(labels == labels[index])
        others = others[others != index]
        second.append(draw.choice(others) if len(others) else index)
    return first, np.array(second)
