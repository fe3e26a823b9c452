"""What both experiments on digits measure: identity and variety of what is decoded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.identity import Judge, digit_judge
from experiments.problem import Run
from experiments.records import merit
from vaells_jax import transport_path
from vaells_jax.evaluation.images import identity_preservation, sample_diversity

NUM_DIGITS = 200
"""Test digits that are sampled around and moved."""

REACH, NUM_POINTS = 25.0, 11
"""Coefficients that the paths of Fig. 12 sweep to either side, and their number."""


def posterior_samples(
    run: Run, images: ArrayLike, *, samples: int = 24
) -> tuple[Array, Array]:
    """Decode images' latent means and samples around them, spread as in the figures.

    Args:
        run: A trained run.
        images: What to sample around, `[n, 28, 28]`.
        samples: Samples of each image.

    Returns:
        Decoded means `[n, 28, 28]` and samples `[n, samples, 28, 28]`.
    """
    wide, images = run.functions.widened(), jnp.asarray(images)
    drawn = wide.sample_posterior(jax.random.fold_in(run.key, 2), images, samples)
    return wide.decode(wide.encode(images)), wide.decode(drawn)


def operator_paths(run: Run, images: ArrayLike, sweep: ArrayLike) -> Array:
    """Decode paths of each operator alone through images, `[M, n, T, 28, 28]`."""
    trained = run.functions
    means = trained.encode(jnp.asarray(images))
    operators = run.state.params.operators
    paths = _operator_paths(operators, means, jnp.asarray(sweep, means.dtype))
    # One operator at a time, which bounds the memory.
    return jnp.stack([trained.decode(path) for path in paths])


@jax.jit
def _operator_paths(operators, means, sweep):
    directions = jnp.eye(len(operators), dtype=means.dtype)
    along = jax.vmap(transport_path, (None, None, 0, None))
    return jax.vmap(along, (None, 0, None, None))(operators, directions, means, sweep)


def sample_merits(
    run: Run, images: np.ndarray, names: np.ndarray, judge: Judge
) -> dict[str, Any]:
    """Measure posterior samples, spread as in Figs. 5L, 6R, 10 and 11."""
    still, samples = posterior_samples(run, images)
    centre = identity_preservation(still[:, None], names, classify=judge.classify)
    return {
        **variety_merits(samples, names, judge),
        "identity_of_reconstructions": merit(
            centre.share, "the same of the decoded latent means themselves"
        ),
        "classifier_accuracy": merit(
            judge.accuracy, "of that classifier, on test digits"
        ),
    }


def variety_merits(samples: Array, names: np.ndarray, judge: Judge) -> dict[str, Any]:
    """Say whether any model's samples keep their digit, and how they vary.

    Args:
        samples: Decoded, `[n, samples, 28, 28]`.
        names: What the classifier calls each digit.
        judge: The classifier.
    """
    kept = identity_preservation(samples, names, classify=judge.classify)
    return {
        "identity_of_samples": merit(
            kept.share,
            f"share of {samples.shape[1]} posterior samples of each of {len(samples)} "
            "test digits, spread as in the figure, that a classifier takes for their "
            "digit",
        ),
        "sample_diversity": merit(
            sample_diversity(samples),
            "variance of a pixel over a digit's samples, mean over pixels and digits",
        ),
    }


def variation_merits(run: Run) -> dict[str, Any]:
    """Measure what samples and operators make of natural digits."""
    test = run.problem.data.test
    images, labels = test.images[:NUM_DIGITS], test.labels[:NUM_DIGITS]
    judge = digit_judge(run.workdir, run.problem.data, rotated=False)
    sweep = np.linspace(-REACH, REACH, NUM_POINTS)
    paths = np.asarray(operator_paths(run, images, sweep))
    kept = [identity_preservation(p, labels, classify=judge.classify) for p in paths]
    sampled = sample_merits(run, images, labels, judge)
    return {
        "identity_preservation": sampled.pop("identity_of_samples"),
        **sampled,
        "identity_preservation_along_operators": merit(
            [score.share for score in kept],
            f"the same along each operator's path, {NUM_POINTS} coefficients up to "
            f"+-{REACH:.3g}",
            per_coefficient=[score.per_view.tolist() for score in kept],
        ),
        "diversity_along_operators": merit(
            [sample_diversity(path) for path in paths],
            "variance of a pixel along each operator's path",
        ),
    }
