"""What both experiments on digits measure: identity and variety of what is decoded."""

import dataclasses
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
from vaells_jax.model.paths import decode_scaled, encode_scaled, sample_latents

NUM_DIGITS = 200
"""Test digits that are sampled around and moved."""

REACH, NUM_POINTS = 25.0, 11
"""Coefficients that the paths of Fig. 12 sweep to either side, and their number."""

# Functions of their arrays alone, so that runs share compilations.
encode = jax.jit(encode_scaled, static_argnames="model")
decode = jax.jit(decode_scaled, static_argnames="model")


def posterior_samples(
    run: Run,
    images: ArrayLike,
    *,
    spread: float = 0.15,
    noise: float = 3.0,
    samples: int = 24,
) -> tuple[Array, Array]:
    """Decode images' latent means and samples around them, spread as in the figures.

    Args:
        run: A trained run.
        images: What to sample around, `[n, 28, 28]`.
        spread: Factor on zeta_3.
        noise: Factor on the latent noise.
        samples: Samples of each image.

    Returns:
        Decoded means `[n, 28, 28]` and samples `[n, samples, 28, 28]`.
    """
    model = dataclasses.replace(
        run.model,
        num_samples=samples,
        coefficient_rate=run.model.coefficient_rate * spread,
        noise_std=run.model.noise_std * noise,
    )
    params, key = run.state.params, jax.random.fold_in(run.key, 2)
    means = encode(params.encoder, jnp.asarray(images), model=run.model)
    latents = sample_latents(key, params.operators, means, model=model)
    outputs = decode(params.decoder, latents, model=run.model)
    return decode(params.decoder, means, model=run.model), outputs


def operator_paths(run: Run, images: ArrayLike, sweep: ArrayLike) -> Array:
    """Decode paths of each operator alone through images, `[M, n, T, 28, 28]`."""
    params = run.state.params
    means = encode(params.encoder, jnp.asarray(images), model=run.model)
    paths = _operator_paths(params.operators, means, jnp.asarray(sweep, means.dtype))
    # One operator at a time, which bounds the memory.
    outputs = [decode(params.decoder, path, model=run.model) for path in paths]
    return jnp.stack(outputs)


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
    kept = identity_preservation(samples, names, classify=judge.classify)
    centre = identity_preservation(still[:, None], names, classify=judge.classify)
    return {
        "identity_of_samples": merit(
            kept.share,
            f"share of {samples.shape[1]} posterior samples of each of {len(images)} "
            "test digits, spread as in the figure, that a classifier takes for their "
            "digit",
        ),
        "identity_of_reconstructions": merit(
            centre.share, "the same of the decoded latent means themselves"
        ),
        "sample_diversity": merit(
            sample_diversity(samples),
            "variance of a pixel over a digit's samples, mean over pixels and digits",
        ),
        "classifier_accuracy": merit(
            judge.accuracy, "of that classifier, on test digits"
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
