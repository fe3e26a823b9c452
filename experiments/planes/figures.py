"""Figures of models of the plane's curves: Figs. 2 to 4 and 7 to 9."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.planes.data import NUM_SAMPLES, with_wide_prior
from vaells_jax import transport, transport_path
from vaells_jax.data.synthetic import LIFTED_DIM
from vaells_jax.evaluation import structure
from vaells_jax.evaluation.figures.planes import (
    anchor_samples,
    embeddings,
    inferred_paths,
    operator_orbits,
)
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.runs.curves import training_figures
from vaells_jax.runs.run import Run
from vaells_jax.trained.vaells import TrainedVaells

# Functions of their arrays alone, so that the runs of several seeds share compilations.
_orbit_points = jax.jit(
    jax.vmap(jax.vmap(transport_path, (None, None, 0, None)), (None, 0, None, None))
)
_move = jax.jit(jax.vmap(jax.vmap(transport, (None, 0, None)), (None, 0, 0)))


def draw(value_name: str, run: Run) -> dict[str, Any]:
    """Draw the figures that both experiments share.

    Args:
        value_name: What colours the points: their class if it is "circle", else their
            place along the curve.
        run: A trained run.
    """
    data, trained = run.data.source, with_wide_prior(run)
    latents = _in_plane(data, trained.encode(data.test.inputs))
    panels = {"ground truth": np.asarray(data.test.latents), "encoded": latents}
    figures = {
        "embedding": embeddings(
            panels, _values(data, value_name), title=f"Test points ({run.label})",
            value_name=value_name,
        ),
        "inferred_paths": _path_figure(run, trained, latents),
        **training_figures(run),
    }  # fmt: skip
    if not isinstance(trained, TrainedVaells):
        return figures
    anchors = np.asarray(trained.encode(data.anchors.reshape(-1, LIFTED_DIM)))
    samples = _samples_of_each_anchor(run, trained, anchors)
    scale = ", ".join(f"{value:.3g}" for value in np.asarray(trained.coefficient_scale))
    return figures | {
        "operator_orbits": _orbit_figure(run, latents, anchors),
        "prior_samples": anchor_samples(
            samples, anchors,
            title=f"Prior samples, coefficients' Laplace scale {scale} ({run.label})",
        ),
    }  # fmt: skip


def compare(figure: str, value_name: str, runs: list[Run]) -> dict[str, Any]:
    """Draw the test points' latents of all models beside the truth.

    Args:
        figure: What the paper calls it.
        value_name: What colours the points.
        runs: A run of each model.
    """
    data = runs[0].data.source
    panels = {"ground truth": np.asarray(data.test.latents)}
    for run in runs:
        panels[run.title] = _in_plane(data, run.trained.encode(data.test.inputs))
    title = f"{figure}: test points ({runs[0].setting})"
    values = _values(data, value_name)
    return {
        "embeddings": embeddings(panels, values, title=title, value_name=value_name)
    }


def _in_plane(data, latents):
    """Return latents, where they are data their least-squares place in the plane."""
    latents = np.asarray(latents)
    if latents.shape[-1] == 2:
        return latents
    return latents @ np.linalg.pinv(np.asarray(data.lift)).T


def _values(data, value_name):
    return np.asarray(
        data.test.labels if value_name == "circle" else data.test.positions
    )


def _orbit_figure(run, latents, anchors):
    """Draw each operator's orbit from one anchor of each class, over one turn."""
    operators, data = run.trained.params.operators, run.data.source
    spectrum = structure.spectrum(operators)
    classes, count = data.anchors.shape[:2]
    starts = anchors.reshape(classes, count, -1)[:, count // 2]
    turning = abs(spectrum.eigenvalues[spectrum.dominant, 0].imag)
    # The same reach for all: what the dominant operator needs for a turn.
    reach = 2 * np.pi / turning if turning else 4.0 / spectrum.norms.max()
    reach = reach if classes > 1 else 1.6 * reach
    times = jnp.linspace(-reach / 2, reach / 2, 400, dtype=operators.dtype)
    unit = jnp.eye(len(operators), dtype=operators.dtype)
    orbits = _orbit_points(operators, unit, starts, times)
    names = [
        f"operator {m + 1}, norm {norm:.3g}" for m, norm in enumerate(spectrum.norms)
    ]
    return operator_orbits(
        latents, np.asarray(orbits), names=names,
        title=f"Orbits for coefficients up to ±{reach / 2:.3g} ({run.label})",
    )  # fmt: skip


def _path_figure(run, trained, latents):
    """Draw two inferred paths, long ones, of different classes where there are any."""
    data = run.data.source
    labels, positions = np.asarray(data.test.labels), np.asarray(data.test.positions)
    pairs: list[list[int]] = []
    for label in (0, len(data.anchors) - 1):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(positions[members])]
        low, high = ((0.15, 0.85), (0.6, 0.2))[len(pairs)]
        if len(data.anchors) > 1:
            low, high = ((0.1, 0.5), (0.75, 0.4))[len(pairs)]
        pairs.append([order[int(low * len(order))], order[int(high * len(order))]])
    first, second = np.array(pairs).T
    ends = (trained.encode(data.test.inputs[index]) for index in (first, second))
    paths = _in_plane(data, trained.join(*ends, np.linspace(0.0, 1.0, 200)))
    return inferred_paths(latents, paths, title=f"Inferred paths ({run.label})")


def _samples_of_each_anchor(run, trained, anchors):
    """Sample the prior anchor by anchor, `[anchors, samples, d]`."""
    operators = trained.params.operators
    coefficient_key, noise_key = jax.random.split(jax.random.clone(run.key))
    shape = (len(anchors), NUM_SAMPLES // len(anchors))
    drawn = np.asarray(sample_laplace(coefficient_key, (*shape, len(operators)), 1.0))
    coefficients = drawn * np.asarray(trained.coefficient_scale)
    noise = jax.random.normal(noise_key, (*shape, anchors.shape[-1]))
    samples = _move(operators, jnp.asarray(coefficients, operators.dtype), anchors)
    return np.asarray(samples + trained.model.noise_std * noise)
