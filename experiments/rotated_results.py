"""What a run on rotated digits is worth: figures of merit, and Figs. 5 and 10."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.curves import training_figures
from experiments.digits import posterior_samples, sample_merits
from experiments.identity import digit_judge
from experiments.problem import Run
from experiments.records import merit
from vaells_jax import transport_path
from vaells_jax.data.images import NUM_CLASSES
from vaells_jax.data.rotation import rotations
from vaells_jax.evaluation import structure
from vaells_jax.evaluation.classifier import ClassifierOptions
from vaells_jax.evaluation.figures import (
    operator_path_rows,
    posterior_sample_grids,
    reconstruction_grid,
    save_figure,
)
from vaells_jax.evaluation.images import identity_preservation
from vaells_jax.evaluation.turning import frequency_ratios, quarter_turn, turn_score

NUM_PATHS, NUM_CALIBRATION = 200, 20
"""Test digits whose paths are measured, and those that tell what a quarter turn is."""

STILL = 50.0
"""The longest coefficient to try for an operator that turns nothing."""


class Space(NamedTuple):
    """A trained model as functions of whole batches, and its operators' reach.

    Attributes:
        encode: From images to latents.
        decode: From latents to images.
        path: From latents and coefficients of the dominant operator to paths.
        longest: The coefficient of half a turn at its slowest frequency.
    """

    encode: Callable
    decode: Callable
    path: Callable
    longest: float


def latent_space(run: Run) -> Space:
    """Make a run's functions."""
    params, trained = run.state.params, run.functions
    found = structure.spectrum(params.operators)
    operator = params.operators[found.dominant]
    frequencies = found.eigenvalues[found.dominant].imag
    turning = frequencies[frequencies > max(0.2 * frequencies.max(), 0.0)]
    as_latents = lambda z: jnp.asarray(z, operator.dtype)
    return Space(
        encode=trained.encode,
        decode=lambda z: trained.decode(as_latents(z)),
        path=lambda z, c: _sweep(operator[None], as_latents(z), as_latents(c)),
        longest=float(np.pi / turning.min()) if turning.size else STILL,
    )


_rotations = jax.jit(rotations)


@jax.jit
def _sweep(operator, latents, coefficients):
    along = jax.vmap(transport_path, (None, None, 0, None))
    return along(operator, jnp.ones(1, latents.dtype), latents, coefficients)


def turn(images: ArrayLike, angles: ArrayLike) -> Array:
    """Rotate images by angles in radians, `[n, 28, 28]` to `[n, T, 28, 28]`."""
    images = jnp.asarray(images)
    return _rotations(images, jnp.asarray(angles, images.dtype))


def evaluate(run: Run) -> dict[str, Any]:
    """Measure how far paths are rotations, and whether digits outlive them."""
    test, space = run.problem.data.test, latent_space(run)
    images, labels = test.images[:NUM_PATHS], test.labels[:NUM_PATHS]
    quarter = _quarter_turn(run, space)
    score = turn_score(
        images, quarter,
        encode=space.encode, decode=space.decode, path=space.path, turn=turn,
    )  # fmt: skip
    # A first picture has no minute to spare for its judge.
    quick = run.problem.config.preset == "quick"
    judge = digit_judge(
        run.workdir, run.problem.data, rotated=True,
        options=ClassifierOptions(steps=1000) if quick else None,
    )  # fmt: skip
    names = judge.name(labels)
    kept = identity_preservation(score.outputs, names, classify=judge.classify)
    return {
        **_turn_merits(score),
        "identity_preservation": merit(
            kept.share,
            "share of a path's images that a classifier takes for their digit (6 and 9 "
            f"count as one), {_WHICH}",
            per_angle=kept.per_view.tolist(),
            whole_paths=kept.whole,
        ),
        **sample_merits(run, images, names, judge),
        "quarter_turn_coefficient": merit(
            quarter, f"turns {NUM_CALIBRATION} digits by 90 degrees best, all together"
        ),
        **_spectrum(run),
    }


_WHICH = f"{NUM_PATHS} unrotated test digits over +-90 degrees"


def _turn_merits(score):
    """Describe how paths compare with true rotations."""
    path, again = score.path_errors.mean(), score.reconstruction_errors.mean()
    return {
        "angle_monotonicity": merit(
            float(score.monotonicity.mean()),
            "Spearman of the coefficient and the angle of the best-matching true "
            f"rotation along the path, mean over {_WHICH}",
            median=float(np.median(score.monotonicity)),
            tenth_percentile=float(np.quantile(score.monotonicity, 0.1)),
        ),
        "path_mse": merit(
            float(path),
            "mean squared pixel error of decoded paths against the true rotation that "
            f"matches best, {_WHICH}",
        ),
        "path_mse_at_nominal_angle": merit(
            float(score.nominal_errors.mean()),
            "the same against the rotation in proportion to the coefficient",
        ),
        "reconstruction_mse": merit(
            float(again), "the same of these rotations' own reconstructions"
        ),
        "path_to_reconstruction": merit(
            float(path / again), "path_mse over reconstruction_mse"
        ),
    }


def _spectrum(run):
    found = structure.spectrum(run.state.params.operators)
    ratios = frequency_ratios(run.state.params.operators[found.dominant])
    return {
        "frequency_ratios": merit(
            ratios.tolist(),
            "imaginary parts of the operator's eigenvalues over the least that reaches "
            "a tenth of the largest; the authors' operator has 1 : 2.0 : 2.9",
        ),
        "operator_norms": merit(found.norms.tolist(), "Frobenius norms"),
        "operator_eigenvalues": merit(
            [
                [[float(value.real), float(value.imag)] for value in values]
                for values in found.eigenvalues
            ],
            "of each operator, real and imaginary parts",
        ),
    }


def draw(run: Run, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw Figs. 5L, 5R and 10, reconstructions and the course of the training."""
    data, space = run.problem.data, latent_space(run)
    first = [np.flatnonzero(data.test.labels == c)[:3] for c in range(NUM_CLASSES)]
    upright = data.test.images[np.stack(first, axis=1)]  # three of each digit
    angles = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    turned = np.asarray(turn(upright[:2].reshape(20, 28, 28), angles))
    turned = turned[np.arange(20), np.arange(20)]
    spread = "Posterior samples, coefficients spread 6.7-fold"
    figures = {
        "posterior_samples": posterior_sample_grids(
            *posterior_samples(run, upright[0, [2, 4]]), title=f"{spread} ({run.label})"
        ),
        "posterior_samples_more": posterior_sample_grids(
            *posterior_samples(run, upright[1]), title=f"{spread} ({run.label})"
        ),
        "rotation_paths": _paths(run, space, upright[2]),
        "reconstructions": reconstruction_grid(
            turned, space.decode(space.encode(turned)),
            title=f"Test digits at all angles ({run.label})",
        ),
        **training_figures(run),
    }  # fmt: skip
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def _paths(run, space, images, points=13):
    """Sweep the coefficient to both sides of upright digits, as in Fig. 5R."""
    reach = 1.5 * abs(_quarter_turn(run, space))
    sweep = np.linspace(-reach, reach, points)
    outputs = space.decode(np.asarray(space.path(space.encode(images), sweep)))
    return operator_path_rows(
        np.asarray(outputs)[None], sweep,
        title=f"Paths of about 135 degrees each way ({run.label})",
    )  # fmt: skip


def _quarter_turn(run, space):
    """Find the coefficient of a quarter turn from a few test digits."""
    return quarter_turn(
        run.problem.data.test.images[:NUM_CALIBRATION], space.longest,
        encode=space.encode, decode=space.decode, path=space.path, turn=turn,
    )  # fmt: skip
