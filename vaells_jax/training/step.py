"""The train step: pure, jitted, its state donated; one compilation for each phase."""

import functools
from collections.abc import Callable
from typing import Any, get_args

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import (
    as_count,
    check_examples,
    check_key,
    check_kind,
    check_member,
    check_number,
)
from vaells_jax.model.arguments import check_anchors
from vaells_jax.model.objective import (
    LossTerms,
    loss_and_paths,
    operator_objective,
    warm_up_loss,
)
from vaells_jax.model.paths import Model, Paths, encode_anchors, point_spread
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.networks.contract import apply_encoder, init_network, init_networks
from vaells_jax.sharding import on_mesh, replicated, split
from vaells_jax.training.optimizers import (
    OptimizerOptions,
    is_active,
    make_optimizer,
    operator_step_state,
)
from vaells_jax.training.schedule import Phase, Schedule, phase_weights

Metrics = dict[str, Array]
TrainStep = Callable[..., tuple["TrainState", Metrics]]
"""From state, key and batch, and what `hold_anchors` returns if that is at hand, to the
next state and what is worth a line in the log."""


@flax.struct.dataclass
class TrainState:
    """The state that a run carries from step to step, and that a checkpoint holds.

    Random numbers need no state: step n uses `fold_in(key, n)`.

    Attributes:
        step: Steps taken, an integer scalar.
        params: `Params`: networks, operators, anchors and the latent scale.
        opt_state: State of the three groups' optimisers.
    """

    # Tree maps build states of placeholders too, so the fields name no array types.
    step: Any
    params: Any
    opt_state: Any


def init_state(
    key: PRNGKeyArray,
    *,
    model: Model,
    num_operators: int,
    inputs: Float[Array, "B ..."],
    anchors: Float[Array, "C N ..."] | None,
    optimizer: OptimizerOptions = OptimizerOptions(),  # noqa: B008, frozen
    operator_std: float = 0.01,
    latent_scale: float = 1.0,
    network_transform: optax.GradientTransformation | None = None,
    anchor_transform: optax.GradientTransformation | None = None,
) -> TrainState:
    """Draw the state at step 0.

    Args:
        key: Random key.
        model: The static part of the model.
        num_operators: M.
        inputs: Any batch of the data's shape.
        anchors: Anchor points of each class, or None if examples have their own.
        optimizer: Rates of the groups.
        operator_std: Deviation of the entries of Psi that its structure leaves free.
        latent_scale: `s`; `choose_scale` sets it when the warm-up ends, if it is used.
        network_transform: Moves the networks, in place of Adam at the options' rates.
        anchor_transform: Moves the anchors, in place of plain gradient steps. Both must
            be those of the steps to come (`make_train_step`).

    Returns:
        The state.

    Raises:
        ValueError: If an argument is not of its kind or out of its range, the anchors'
            shape differs from that of the inputs, there are no anchors, or the
            structure has no such dictionary.
    """
    check_key("key", key)
    check_kind(model=(model, Model), optimizer=(optimizer, OptimizerOptions))
    num_operators = as_count("num_operators", num_operators)
    check_number("operator_std", operator_std)
    check_number("latent_scale", latent_scale, strict=True)
    check_examples("inputs", inputs)
    if anchors is not None:
        check_anchors(anchors, inputs)
        anchors = jnp.array(anchors)  # steps donate their state, not the caller's array
    spread = model.point_spread
    keys = jax.random.split(key, 2 if spread is None else 3)
    network_key, operator_key = keys[:2]
    encoder, decoder = init_networks(network_key, model.networks, inputs)
    latents = jax.eval_shape(
        lambda p, x: apply_encoder(model.networks, p, x), encoder, inputs
    )
    operators = model.structure.init(
        operator_key, num_operators, latents.shape[-1], operator_std, latents.dtype
    )
    scale = jnp.array(latent_scale, latents.dtype)
    params = Params(encoder, decoder, operators, anchors, scale)
    if spread is not None:
        zeros = jnp.zeros(latents.shape, latents.dtype)
        spreads = init_network("point_spread", spread, keys[2], zeros)
        params = params._replace(point_spread=spreads)
        point_spread(model.dictionary(params), zeros, model=model)  # checks its outputs
    transform = make_optimizer(
        optimizer, warm_up_steps=0, phase="joint", networks=network_transform,
        anchors=anchor_transform,
    )  # fmt: skip
    return TrainState(
        step=jnp.asarray(0, jnp.int32),
        params=params,
        opt_state=transform.init(params),
    )


def make_train_step(
    phase: Phase,
    *,
    model: Model,
    weights: LossWeights,
    schedule: Schedule,
    optimizer: OptimizerOptions,
    network_transform: optax.GradientTransformation | None = None,
    anchor_transform: optax.GradientTransformation | None = None,
    mesh: Mesh | None = None,
) -> TrainStep:
    """Build the step of one phase: `(state, key, batch) -> (state, metrics)`.

    A step of the operators takes `hold_anchors(state, model=model)` as a fourth
    argument, which spares it to encode the anchors; `fit` gives it.

    Args:
        phase: Which groups move and which terms count.
        model: The static part of the model.
        weights: The table's weights; the phase's factors are applied here.
        schedule: Phases' factors and the warm-up's length.
        optimizer: Rates of the groups.
        network_transform: Moves the networks, in place of Adam at the options' rates.
        anchor_transform: Moves the anchors, in place of plain gradient steps.
        mesh: Devices that share the batch, see `sharding.py`; None for one device.

    Returns:
        A jitted function that donates its state. Metrics are scalars in nats, except
        for `operator_norms [M]` and, of a model that has them, `point_spread [M]`.

    Raises:
        ValueError: If an argument is not of its kind, or the phase unknown.
    """
    check_kind(
        model=(model, Model),
        weights=(weights, LossWeights),
        schedule=(schedule, Schedule),
        optimizer=(optimizer, OptimizerOptions),
    )
    check_member("phase", phase, get_args(Phase))
    factors = phase_weights(phase, weights, schedule)
    transform = make_optimizer(
        optimizer, warm_up_steps=schedule.warm_up_steps, phase=phase,
        networks=network_transform, anchors=anchor_transform,
    )  # fmt: skip
    return _build_step(model, factors, transform, phase, mesh)


@functools.lru_cache(maxsize=64)
def _build_step(
    model: Model,
    factors: LossWeights,
    transform: optax.GradientTransformationExtraArgs,
    phase: Phase,
    mesh: Mesh | None,
) -> TrainStep:
    """Build a step once for each setting, so that runs share its compilation."""

    def step(
        state: TrainState,
        key: PRNGKeyArray,
        batch: Batch,
        anchor_latents: Float[Array, "C N d"] | None = None,
    ):
        key = jax.random.fold_in(key, state.step)
        if phase == "operators" and anchor_latents is None:
            anchor_latents = _held(state.params, batch, model)
        objective = lambda params: _phase_loss(
            params, key, batch, anchor_latents, model=model, weights=factors,
            phase=phase,
        )  # fmt: skip
        (total, (terms, paths)), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params
        )
        updates, opt_state = transform.update(
            grads,
            state.opt_state,
            state.params,
            objective=lambda params: operator_objective(
                model.dictionary(params).operators,
                paths,
                factors,
                density=model.density,
            ),
        )
        params = optax.apply_updates(state.params, updates)
        metrics = _metrics(total, terms, paths, model.dictionary(params), opt_state)
        metrics["gradient_norm"] = optax.tree.norm(grads)
        new = state.replace(step=state.step + 1, params=params, opt_state=opt_state)  # type: ignore[attr-defined]
        return new, metrics

    if mesh is None:
        return jax.jit(step, donate_argnums=0)
    whole = replicated(mesh)
    held = (whole,) if phase == "operators" else ()
    compiled = jax.jit(
        on_mesh(step, mesh),
        donate_argnums=0,
        in_shardings=(whole, whole, split(mesh), *held),
        out_shardings=whole,
    )
    if not held:
        return compiled

    @functools.wraps(step)
    def with_held(state, key, batch, anchor_latents=None):
        # Shardings are of each argument by its place: none may be left out.
        return compiled(state, key, batch, anchor_latents)

    return with_held


def hold_anchors(state: TrainState, *, model: Model) -> Float[Array, "C N d"] | None:
    """Encode the anchors, for steps that move neither them nor the encoder.

    Args:
        state: The state before the first of these steps.
        model: The static part of the model.

    Returns:
        The latents, or None where each example brings anchors of its own.
    """
    if state.params.anchors is None:
        return None
    return _encode_anchors(state.params, state.params.anchors, model)


@functools.partial(jax.jit, static_argnames="model")
def _encode_anchors(params, anchors, model):
    params = model.dictionary(params)
    return encode_anchors(params, anchors, model=model)


def _held(params, batch, model):
    """Encode the anchors that a batch is compared with."""
    anchors = params.anchors if batch.anchors is None else batch.anchors
    return _encode_anchors(params, anchors, model)


def _phase_loss(params, key, batch, anchor_latents, *, model, weights, phase):
    """Evaluate the phase's loss; groups that do not move get no gradient."""
    params = Params(
        *(
            group if active else jax.tree.map(jax.lax.stop_gradient, group)
            for group, active in zip(params, is_active(phase), strict=True)
        )
    )
    params = model.dictionary(params)
    if phase == "warm_up":
        total, terms = warm_up_loss(params, key, batch, model=model, weights=weights)
        return total, (terms, None)
    total, terms, paths = loss_and_paths(
        params, key, batch, model=model, weights=weights, anchor_latents=anchor_latents
    )
    return total, (terms, paths)


def _metrics(
    total: Array,
    terms: LossTerms,
    paths: Paths | None,
    params: Params,
    opt_state: Any,
) -> Metrics:
    """Collect what is worth a line in the log."""
    metrics = {"loss": total, **terms._asdict()}
    metrics["operator_norms"] = jnp.sqrt(jnp.sum(params.operators**2, axis=(1, 2)))
    if paths is not None:
        length = jnp.sum(jnp.abs(paths.prior_coefficients), axis=-1)
        metrics["prior_path_length"] = jnp.mean(length)
        metrics["converged_searches"] = paths.converged
        if paths.point_spread is not None:
            logs = jnp.mean(jnp.log(paths.point_spread), axis=0)
            metrics["point_spread"] = jnp.exp(logs)
        state = operator_step_state(opt_state)
        metrics["operator_rate"] = state.rate
        metrics["operator_step_accepted"] = state.accepted
        metrics["transport_objective_before"] = state.before
        metrics["transport_objective_after"] = state.after
    return metrics
