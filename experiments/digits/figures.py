"""Figures of models of digits: Figs. 5, 6 (R), 10, 11 and 12."""

import functools
from typing import Any

import numpy as np

from experiments.digits.measures import (
    NUM_POINTS,
    REACH,
    inputs_of,
    operator_paths,
    posterior_samples,
)
from experiments.digits.rotation import rotation_paths, turn
from vaells_jax.evaluation.figures import (
    compared_sample_grids,
    operator_path_rows,
    posterior_sample_grids,
    reconstruction_grid,
)
from vaells_jax.runs.curves import training_figures
from vaells_jax.runs.run import Run
from vaells_jax.trained.vaells import SPREAD

_SPREAD = f"Posterior samples, coefficients spread {SPREAD:.3g}-fold"


def draw_natural(run: Run) -> dict[str, Any]:
    """Draw Figs. 6R, 11 and 12, reconstructions and the course of the training."""
    digits = digits_of_each_class(run)[0]
    figures = {
        "reconstructions": _reconstructions(run, run.data.source.test.inputs[:20]),
        "posterior_samples": _samples(run, digits),
    }
    if run.is_vaells:
        sweep = np.linspace(-REACH, REACH, NUM_POINTS)
        paths = operator_paths(run, digits, sweep)
        title = f"Paths of each operator ({run.label})"
        figures["operator_paths"] = operator_path_rows(paths, sweep, title=title)
    return figures | training_figures(run)


def draw_rotated(run: Run) -> dict[str, Any]:
    """Draw Figs. 5L, 5R and 10, reconstructions and the course of the training."""
    digits = digits_of_each_class(run, 3)
    angles = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    turned = np.asarray(turn(digits[:2].reshape(20, 28, 28), angles))
    turned = turned[np.arange(20), np.arange(20)]
    figures = {
        "posterior_samples": _samples(run, digits[0, [2, 4]]),
        "posterior_samples_more": _samples(run, digits[1]),
        "reconstructions": _reconstructions(run, turned),
    }
    if run.is_vaells:
        paths, sweep = rotation_paths(run, digits[2])
        title = f"Paths of about 135 degrees each way ({run.label})"
        figures["rotation_paths"] = operator_path_rows(
            np.asarray(paths)[None], sweep, title=title
        )
    return figures | training_figures(run)


def compare(names: tuple[str, str], runs: list[Run]) -> dict[str, Any]:
    """Draw posterior samples of all models: two digits, then one of each class.

    Args:
        names: What the paper calls the two figures.
        runs: A run of each model.
    """
    digits = digits_of_each_class(runs[0])[0]
    figures = {}
    for name, images, stem in (
        (names[0], digits[[2, 4]], "samples_of_two"),
        (names[1], digits, "samples_of_each"),
    ):
        grids = {run.title: posterior_samples(run, images) for run in runs}
        title = f"{name}: widened posterior samples ({runs[0].setting})"
        figures[stem] = compared_sample_grids(grids, title=title)
    return figures


compare_natural = functools.partial(compare, ("Fig. 6 (R)", "Fig. 11"))
compare_rotated = functools.partial(compare, ("Fig. 5", "Fig. 10"))


def digits_of_each_class(run: Run, count: int = 1) -> np.ndarray:
    """Return the first test digits of each class, `[count, 10, 28, 28]`."""
    test = run.data.source.test
    first = [np.flatnonzero(test.labels == c)[:count] for c in range(10)]
    return test.inputs[np.stack(first, axis=1)]


def _samples(run, images):
    title = f"{_SPREAD if run.is_vaells else 'Widened posterior samples'} ({run.label})"
    return posterior_sample_grids(*posterior_samples(run, images), title=title)


def _reconstructions(run, images):
    outputs = run.trained.reconstruct(inputs_of(run, images))
    return reconstruction_grid(images, outputs, title=f"Test digits ({run.label})")
