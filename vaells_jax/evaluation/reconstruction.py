"""The error of data points decoded from their posterior samples."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_examples, check_key, check_kind
from vaells_jax.model.paths import (
    Model,
    decode,
    encode,
    point_spread,
    sample_latents,
)
from vaells_jax.model.types import LossWeights, Params
from vaells_jax.networks.contract import check_outputs

CHUNK = 500
"""Data points that are evaluated at once, which bounds the memory."""


def reconstruction_errors(
    key: PRNGKeyArray,
    params: Params,
    inputs: Float[Array | np.ndarray, "N ..."],
    *,
    model: Model,
    weights: LossWeights,
    on_done: Callable[[int], None] | None = None,
) -> Float[np.ndarray, " N"]:
    """Return each data point's mean squared error, over posterior samples and pixels.

    Args:
        key: Random key of the samples.
        params: A trained model's parameters.
        inputs: Data points.
        model: The static part; its `num_samples` are averaged.
        weights: Its zeta_3 is the rate of the samples' coefficients.
        on_done: Called with the number of data points done, after each part.

    Returns:
        One error for each data point, in squared units of the data.

    Raises:
        ValueError: If there are no data points.
    """
    check_key("key", key)
    check_kind(model=(model, Model), weights=(weights, LossWeights))
    check_examples("inputs", inputs)
    found = []
    for i in range(0, len(inputs), CHUNK):
        part = jnp.asarray(inputs[i : i + CHUNK])
        errors = _errors(
            jax.random.fold_in(key, i), params, part, model=model,
            rate=weights.posterior_l1,
        )  # fmt: skip
        found.append(np.asarray(errors))
        if on_done is not None:
            on_done(len(part))
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnames=("model", "rate"))
def _errors(key, params, inputs, *, model, rate):
    means = encode(params, inputs, model=model)
    latents = sample_latents(
        key, params.operators, means, point_spread(params, means, model=model),
        num_samples=model.num_samples, coefficient_rate=rate,
        noise_std=model.noise_std,
    )  # fmt: skip
    outputs = decode(params, latents, model=model)
    check_outputs(outputs.shape[2:], inputs.shape[1:])
    squared = (outputs - jnp.expand_dims(inputs, 1)) ** 2
    return jnp.mean(squared, axis=tuple(range(1, squared.ndim)))
