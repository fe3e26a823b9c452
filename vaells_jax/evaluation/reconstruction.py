"""How well a model reproduces data points through its posterior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.model.paths import Model, decode_scaled, encode_scaled, sample_latents
from vaells_jax.model.types import Params

CHUNK = 500
"""Data points that are evaluated at once, which bounds the memory."""


def reconstruction_errors(
    key: PRNGKeyArray,
    params: Params,
    inputs: Float[Array | np.ndarray, "N ..."],
    *,
    model: Model,
) -> Float[np.ndarray, " N"]:
    """Return each data point's mean squared error, over posterior samples and pixels.

    Args:
        key: Random key of the samples.
        params: A trained model's parameters.
        inputs: Data points.
        model: The static part; its `num_samples` are averaged.

    Returns:
        One error for each data point, in squared units of the data.

    Raises:
        ValueError: If there are no data points.
    """
    if len(inputs) == 0:
        raise ValueError("inputs must hold at least one data point; got none.")
    chunks = range(0, len(inputs), CHUNK)
    errors = [
        _errors(
            jax.random.fold_in(key, i),
            params,
            jnp.asarray(inputs[i : i + CHUNK]),
            model=model,
        )
        for i in chunks
    ]
    return np.concatenate([np.asarray(e) for e in errors])


@functools.partial(jax.jit, static_argnames="model")
def _errors(key, params, inputs, *, model):
    means = encode_scaled(params.encoder, inputs, model=model)
    latents = sample_latents(key, params.operators, means, model=model)
    outputs = decode_scaled(params.decoder, latents, model=model)
    squared = (outputs - jnp.expand_dims(inputs, 1)) ** 2
    return jnp.mean(squared, axis=tuple(range(1, squared.ndim)))
