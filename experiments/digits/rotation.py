"""Measures of how closely the paths of a model of digits are rotations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.digits.classifier import digit_classifier
from experiments.digits.measures import common_merits, inputs_of
from experiments.digits.turns import disagreement, turn_merits
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


def functions(run: Run) -> dict[str, Any]:
    """Return encoder, decoder and paths of the dominant operator, of whole batches."""
    trained, operator = run.trained, _dominant(run)[None]
    as_latents = lambda z: jnp.asarray(z, operator.dtype)
    return {
        "encode": trained.encode,
        "decode": lambda z: trained.decode(as_latents(z)),
        "path": lambda z, c: _sweep(operator, as_latents(z), as_latents(c)),
    }


def _dominant(run):
    operators = run.trained.params.operators
    return operators[structure.spectrum(operators).dominant]


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
    quick = run.config.preset == "quick"
    classifier = digit_classifier(run.data.source, rotated=True, quick=quick)
    found = common_merits(run, classifier)
    if not run.is_vaells:
        images = run.data.source.test.inputs[: run.config.evaluation.points]
        return found | marginal_likelihood(run, inputs_of(run, images))
    return _rotation_merits(run, classifier) | found | operator_merits(run)


def _rotation_merits(run, classifier):
    """Measure how far paths are rotations, and whether digits outlive them."""
    test = run.data.source.test
    images, labels = test.inputs[:NUM_PATHS], test.labels[:NUM_PATHS]
    quarter = _quarter_turn(run)
    score = turn_score(images, quarter, turn=turn, **functions(run))
    names = classifier.name(labels)
    kept = identity_preservation(score.outputs, names, classify=classifier.classify)
    ratios = frequency_ratios(_dominant(run))
    return {
        **turn_merits(score, _WHICH),
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
        "coefficient_disagreement": disagreement(run.trained, images, turn),
        "frequency_ratios": merit(
            ratios.tolist(),
            "imaginary parts of the operator's eigenvalues over the least that reaches "
            "a tenth of the largest; the authors' operator has 1 : 2.0 : 2.9",
        ),
    }


_WHICH = f"{NUM_PATHS} unrotated test digits over +-90 degrees"


def rotation_paths(run: Run, images: ArrayLike, points: int = 13) -> tuple:
    """Sweep the coefficient to both sides of upright digits, as in Fig. 5R.

    Returns:
        Decoded paths `[n, points, 28, 28]` and their coefficients.
    """
    reach = 1.5 * abs(_quarter_turn(run))
    sweep = np.linspace(-reach, reach, points)
    found = functions(run)
    return found["decode"](found["path"](found["encode"](images), sweep)), sweep


def _quarter_turn(run):
    """Find the coefficient of a quarter turn from a few test digits."""
    found = structure.spectrum(run.trained.params.operators)
    frequencies = found.eigenvalues[found.dominant].imag
    turning = frequencies[frequencies > max(0.2 * frequencies.max(), 0.0)]
    # Half a turn at the slowest frequency.
    longest = float(np.pi / turning.min()) if turning.size else STILL
    images = run.data.source.test.inputs[:NUM_CALIBRATION]
    return quarter_turn(images, longest, turn=turn, **functions(run))
