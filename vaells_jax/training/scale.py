"""The latent scale: the magnitude of the encoder's own latents after the warm-up."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import check_callable, check_kind
from vaells_jax.model.paths import Model, encode
from vaells_jax.model.types import Batch, Params
from vaells_jax.training.failure import NonFiniteLossError
from vaells_jax.training.step import TrainState

SCALE_BATCHES = 16
"""Batches whose latents decide the latent scale."""


def choose_scale(
    next_batch: Callable[[int], Batch], *, model: Model
) -> Callable[[TrainState], TrainState]:
    """Return a function that sets a state's latent scale from its encoder, for `fit`.

    The function raises a NonFiniteLossError if the latents have no valid scale.
    """
    check_callable(next_batch=next_batch)
    check_kind(model=(model, Model))

    def choose(state: TrainState) -> TrainState:
        step = int(state.step)
        numbers = range(step, step + SCALE_BATCHES)
        batches = [np.asarray(next_batch(i).inputs) for i in numbers]
        params = model.dictionary(state.params)
        scale = latent_magnitude(params, jnp.concatenate(batches), model=model)
        if not (math.isfinite(scale) and scale > 0):
            raise NonFiniteLossError(
                f"the latents' magnitude after warm-up is {scale}: no scale fits."
            )
        scale = jnp.asarray(scale, state.params.latent_scale.dtype)
        params = state.params._replace(latent_scale=scale)
        return state.replace(params=params)  # type: ignore[attr-defined]

    return choose


def latent_magnitude(
    params: Params, inputs: Float[Array, "B ..."], *, model: Model
) -> Float[Array, ""]:
    """Return the root mean square of the unscaled latents' entries.

    Dividing by it brings entries to a magnitude around 1, which is where Appendix B
    needs them for the coefficient search.
    """
    latents = encode(params._replace(latent_scale=1.0), inputs, model=model)
    return jnp.sqrt(jnp.mean(latents**2))
