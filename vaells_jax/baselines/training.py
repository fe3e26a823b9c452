"""Steps of the baselines, for the same `fit` and the same checkpoints."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline, BaselineParams
from vaells_jax.baselines.elbo import init_params, negative_elbo
from vaells_jax.checks import check_examples, check_key, check_kind
from vaells_jax.model.types import Batch
from vaells_jax.training.optimizers import check_rates, with_ramp
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState, TrainStep


@dataclasses.dataclass(frozen=True)
class BaselineOptions:
    """How a baseline is trained.

    Attributes:
        rate: Adam's rate.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        ramp_steps: Steps in which the rate rises evenly from 0 to `rate`.
        warm_up_steps: Steps in which the divergence's weight grows evenly from 0 to 1.
        decay_from: The step at which the rate begins to fall along a cosine.
        decay_steps: Steps in which it falls to a hundredth; 0 leaves it as it is.
        normalise_gradients: Divide each array's gradient by its norm before Adam, as
            VampPrior's authors do.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    ramp_steps: int = 0
    warm_up_steps: int = 0
    decay_from: int = 0
    decay_steps: int = 0
    normalise_gradients: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If one is negative or not finite, or a decay not in [0, 1).
        """
        check_rates(self)


def init_state(
    key: PRNGKeyArray,
    inputs: Float[Array, "n ..."],
    *,
    model: Baseline,
    options: BaselineOptions = BaselineOptions(),  # noqa: B008, frozen
) -> TrainState:
    """Draw the state at step 0.

    Args:
        key: Random key.
        inputs: Training data: their shape, and where a learned prior starts from.
        model: The static part of the model.
        options: The optimiser's.

    Raises:
        ValueError: If an argument is not of its kind, the networks do not fit the model
            and the data, or the data are not what the likelihood is of.
    """
    check_key("key", key)
    check_kind(model=(model, Baseline), options=(options, BaselineOptions))
    check_examples("inputs", inputs)
    model.likelihood.check_support(inputs)
    params = init_params(key, inputs, model=model)
    return TrainState(
        step=jnp.asarray(0, jnp.int32),
        params=params,
        opt_state=_optimizer(options, model, "joint").init(params),
    )


@functools.lru_cache(maxsize=64)
def make_step(
    model: Baseline, options: BaselineOptions, phase: Phase = "joint"
) -> TrainStep:
    """Build the step `(state, key, batch) -> (state, metrics)`, compiled once.

    Args:
        model: The static part of the model.
        options: The optimiser's.
        phase: "joint", or "warm_up" for a model that has one.

    Returns:
        A jitted function that donates its state; metrics are scalars in nats.

    Raises:
        ValueError: If an argument is not of its kind.
    """
    check_kind(model=(model, Baseline), options=(options, BaselineOptions))
    transform = _optimizer(options, model, phase)

    def step(state: TrainState, key: PRNGKeyArray, batch: Batch):
        key = jax.random.fold_in(key, state.step)
        weight = divergence_weight(state.step, options)
        objective, of_operators = objectives(
            state.params, key, batch, model=model, phase=phase, divergence_weight=weight
        )
        (total, terms), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params
        )
        updates, opt_state = transform.update(
            grads, state.opt_state, state.params, objective=of_operators
        )
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": total,
            **terms._asdict(),
            "gradient_norm": optax.tree.norm(grads),
        }
        if model.has_density:
            metrics["negative_elbo"] = sum(terms)
        new = state.replace(step=state.step + 1, params=params, opt_state=opt_state)  # type: ignore[attr-defined]
        return new, metrics

    return jax.jit(step, donate_argnums=0)


def objectives(
    params: BaselineParams,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Baseline,
    phase: Phase = "joint",
    divergence_weight: Float[Array, ""] | float = 1.0,
) -> tuple[Callable, Callable | None]:
    """Return `Baseline.objectives`, or the negative bound where there are none."""
    bound = lambda params: negative_elbo(
        params, key, batch.inputs, model=model, divergence_weight=divergence_weight
    )
    return model.objectives(params, key, batch, phase) or (bound, None)


def divergence_weight(step: Array, options: BaselineOptions) -> Float[Array, ""]:
    """Return the divergence's weight in a step, counted from 0."""
    if options.warm_up_steps == 0:
        return jnp.ones(())
    return jnp.minimum((step + 1) / options.warm_up_steps, 1.0)


def _rate(options: BaselineOptions) -> optax.ScalarOrSchedule:
    """Return the rate of each step: it rises, stays, and falls along a cosine."""
    rate: optax.ScalarOrSchedule = options.rate
    if options.decay_steps:
        fall = optax.cosine_decay_schedule(options.rate, options.decay_steps, 0.01)
        constant = optax.constant_schedule(options.rate)
        rate = optax.join_schedules([constant, fall], [options.decay_from])
    if options.ramp_steps:
        steady = rate if callable(rate) else optax.constant_schedule(options.rate)
        rate = with_ramp(steady, options.ramp_steps)
    return rate


def _optimizer(
    options: BaselineOptions, model: Baseline, phase: Phase
) -> optax.GradientTransformationExtraArgs:
    adam = optax.adam(_rate(options), b1=options.beta1, b2=options.beta2)
    if options.normalise_gradients:
        unit = lambda g: g / (jnp.sqrt(jnp.sum(g**2)) + 1e-7)
        scale = optax.stateless(lambda grads, params: jax.tree.map(unit, grads))
        adam = optax.chain(scale, adam)
    return optax.with_extra_args_support(model.optimizer(adam, phase))
