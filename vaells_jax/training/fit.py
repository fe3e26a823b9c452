"""The training loop: which step comes next, and what to do between steps."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.model.paths import Model, encode_scaled
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Phase, Schedule, phase_at
from vaells_jax.training.step import TrainState, TrainStep, make_train_step

SCALE_BATCHES = 16
"""Batches whose latents decide the latent scale."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is not a number; names the step and the terms."""


def fit(
    key: PRNGKeyArray,
    state: TrainState,
    next_batch: Callable[[int], Batch],
    *,
    model: Model,
    weights: LossWeights,
    schedule: Schedule,
    optimizer: OptimizerOptions,
    choose_scale: bool = False,
    on_step: Callable[[int, Phase, dict[str, Any]], None] | None = None,
    save: Callable[[TrainState], None] | None = None,
    save_every: int = 1000,
) -> TrainState:
    """Train from the state's step to the schedule's end.

    The trajectory is a function of `key`, the state and `next_batch` alone: stopping
    and going on from a saved state changes nothing.

    Args:
        key: The run's key; step n draws from `fold_in(key, n)`.
        state: Where to start; its buffers are donated.
        next_batch: The batch of a step, a pure function of its number.
        model: The static part; its latent scale is the state's.
        weights: The table's weights.
        schedule: Length and phases.
        optimizer: Rates.
        choose_scale: Set the latent scale from the encoder when the warm-up ends.
        on_step: Called with step (from 1), phase and metrics as NumPy values.
        save: Called every `save_every` steps and at the end, after `on_step` has seen
            all steps up to the state's.
        save_every: Steps between saves.

    Returns:
        The trained state.

    Raises:
        NonFiniteLossError: If a term of the loss is not finite.
    """
    steps: dict[Phase, TrainStep] = {}
    pending: tuple[int, Phase, dict[str, Any]] | None = None

    def settle():
        """Look at the last step's metrics, which waits for it."""
        nonlocal pending
        if pending is not None:
            step, phase, metrics = pending
            pending = None
            values = jax.device_get(metrics)
            _require_finite(step, phase, values)
            if on_step is not None:
                on_step(step, phase, values)

    for step in range(int(state.step), schedule.steps):
        phase = phase_at(step, schedule)
        if choose_scale and step == schedule.warm_up_steps:
            state = _with_chosen_scale(state, next_batch, model)
        if phase not in steps:
            steps[phase] = make_train_step(
                model=with_scale(model, state),
                weights=weights,
                schedule=schedule,
                optimizer=optimizer,
                phase=phase,
            )
        state, metrics = steps[phase](state, key, next_batch(step))
        settle()  # the step before, while this one runs
        pending = (step + 1, phase, metrics)
        done = step + 1 == schedule.steps
        if save is not None and (done or (step + 1) % save_every == 0):
            settle()
            save(state)
    settle()
    return state


def with_scale(model: Model, state: TrainState) -> Model:
    """Return the model with the latent scale that the state has settled on."""
    return dataclasses.replace(model, latent_scale=float(state.latent_scale))


def latent_magnitude(
    params: Params, inputs: Float[Array, "B ..."], *, model: Model
) -> Float[Array, ""]:
    """Return the root mean square of the unscaled latents' entries.

    Dividing by it brings entries to a magnitude around 1, which is where Appendix B
    wants them for the coefficient search.
    """
    unscaled = dataclasses.replace(model, latent_scale=1.0)
    latents = encode_scaled(params.encoder, inputs, model=unscaled)
    return jnp.sqrt(jnp.mean(latents**2))


def _with_chosen_scale(state, next_batch, model):
    first = int(state.step)
    batches = [next_batch(first + i).inputs for i in range(SCALE_BATCHES)]
    scale = latent_magnitude(state.params, jnp.concatenate(batches), model=model)
    if not (math.isfinite(scale) and scale > 0):
        raise NonFiniteLossError(
            f"the latents' magnitude after the warm-up is {scale}; no scale fits it."
        )
    return state.replace(latent_scale=scale.astype(state.latent_scale.dtype))


def _require_finite(step, phase, metrics):
    bad = [name for name, value in metrics.items() if not np.all(np.isfinite(value))]
    # An operator step that leads to infinity is rejected, not an error.
    bad = [name for name in bad if not name.startswith("transport_objective")]
    if bad:
        values = ", ".join(f"{name} = {metrics[name]}" for name in bad)
        raise NonFiniteLossError(f"step {step} ({phase}): {values}.")
