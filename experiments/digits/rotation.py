"""How far the paths of a model of digits are rotations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.digits.classifier import digit_classifier
from experiments.digits.measures import common_merits, inputs_of
from vaells_jax import transport_path
from vaells_jax.data.rotation import rotations
from vaells_jax.evaluation import structure
from vaells_jax.evaluation.images import identity_preservation
from vaells_jax.evaluation.turning import frequency_ratios, quarter_turn, turn_score
from vaells_jax.runs.curves import operator_merits
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.likelihood import marginal_likelihood
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run

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
    params, trained = run.trained.params, run.trained
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


def measure(run: Run) -> Merits:
    """Measure a model of rotated digits."""
    classifier = digit_classifier(run, rotated=True)
    found = common_merits(run, classifier)
    if not run.is_vaells:
        test = inputs_of(run, run.data.source.test.images)
        return found | marginal_likelihood(run, test)
    return _rotation_merits(run, classifier) | found | operator_merits(run)


def _rotation_merits(run, classifier):
    """Measure how far paths are rotations, and whether digits outlive them."""
    test, space = run.data.source.test, latent_space(run)
    images, labels = test.images[:NUM_PATHS], test.labels[:NUM_PATHS]
    quarter = _quarter_turn(run, space)
    score = turn_score(
        images, quarter,
        encode=space.encode, decode=space.decode, path=space.path, turn=turn,
    )  # fmt: skip
    names = classifier.name(labels)
    kept = identity_preservation(score.outputs, names, classify=classifier.classify)
    operators = run.trained.params.operators
    ratios = frequency_ratios(operators[structure.spectrum(operators).dominant])
    return {
        **_turn_merits(score),
        "identity_along_rotations": merit(
            kept.share,
            "share of a path's images that a classifier takes for their digit (6 and 9 "
            f"count as one), {_WHICH}",
            per_angle=kept.per_view.tolist(),
            whole_paths=kept.whole,
        ),
        "quarter_turn_coefficient": merit(
            quarter, f"turns {NUM_CALIBRATION} digits by 90 degrees best, all together"
        ),
        "frequency_ratios": merit(
            ratios.tolist(),
            "imaginary parts of the operator's eigenvalues over the least that reaches "
            "a tenth of the largest; the authors' operator has 1 : 2.0 : 2.9",
        ),
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
        "rotation_reconstruction_mse": merit(
            float(again), "the same of these rotations' own reconstructions"
        ),
        "path_to_reconstruction": merit(
            float(path / again), "path_mse over rotation_reconstruction_mse"
        ),
    }


def rotation_paths(run: Run, images: ArrayLike, points: int = 13) -> tuple:
    """Sweep the coefficient to both sides of upright digits, as in Fig. 5R.

    Returns:
        Decoded paths `[n, points, 28, 28]` and their coefficients.
    """
    space = latent_space(run)
    reach = 1.5 * abs(_quarter_turn(run, space))
    sweep = np.linspace(-reach, reach, points)
    return space.decode(space.path(space.encode(images), sweep)), sweep


def _quarter_turn(run, space):
    """Find the coefficient of a quarter turn from a few test digits."""
    return quarter_turn(
        run.data.source.test.images[:NUM_CALIBRATION], space.longest,
        encode=space.encode, decode=space.decode, path=space.path, turn=turn,
    )  # fmt: skip
