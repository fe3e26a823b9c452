"""log p(x) by importance sampling from the posterior (Burda et al., 2016)."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline, BaselineParams
from vaells_jax.baselines.elbo import log_weights
from vaells_jax.checks import as_count, check_examples, check_key, check_kind
from vaells_jax.evaluation.chunks import in_chunks
from vaells_jax.evaluation.importance import (
    DECODED_AT_ONCE,
    ImportanceEstimate,
    summarise,
)
from vaells_jax.model.types import Batch


def log_likelihood(
    params: BaselineParams,
    key: PRNGKeyArray,
    inputs: Float[Array | np.ndarray, "n ..."],
    *,
    model: Baseline,
    num_samples: int,
    on_done: Callable[[int], None] | None = None,
) -> ImportanceEstimate:
    """Estimate log p(x) of each data point: `log 1/S sum_s p(x, z_s) / q(z_s|x)`.

    The mean of the weights is unbiased, so that its logarithm is in expectation a
    lower bound, which grows with S and converges to log p(x).

    Args:
        params: A trained model's parameters.
        key: Random key of the samples.
        inputs: Data points, binary where the likelihood is.
        model: The static part; its likelihood decides the convention.
        num_samples: S.
        on_done: Called with the number of data points done, after each part.

    Returns:
        The estimate for each data point, all constants included.

    Raises:
        ValueError: If an argument is not of its kind, there are no data points, or
            these are not what the likelihood is of.
    """
    check_key("key", key)
    check_kind(model=(model, Baseline), params=(params, BaselineParams))
    num_samples = as_count("num_samples", num_samples)
    check_examples("inputs", inputs)
    model.likelihood.check_support(inputs)
    batch = Batch(jnp.asarray(inputs), jnp.zeros(len(inputs), jnp.int32))
    weights = in_chunks(
        functools.partial(_weigh, model=model, num_samples=num_samples), params, key,
        batch, size=DECODED_AT_ONCE // num_samples, on_done=on_done,
    )  # fmt: skip
    return summarise(weights.astype(np.float64))


@functools.partial(jax.jit, static_argnames=("model", "num_samples"))
def _weigh(params, key, batch, *, model, num_samples) -> Array:
    """Draw samples part by part, which bounds the memory, and weigh them."""
    inputs = batch.inputs
    count = inputs.shape[0]
    parts = math.ceil(count * num_samples / DECODED_AT_ONCE)
    size = math.ceil(num_samples / parts)
    part = lambda key: log_weights(params, key, inputs, model=model, num_samples=size)
    weights = jax.lax.map(part, jax.random.split(key, parts))
    weights = jnp.moveaxis(weights, 0, 1).reshape(count, -1)
    return weights[:, :num_samples]
