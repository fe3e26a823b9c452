"""One optimiser for all parameters, split into networks, anchors and operators.

Every group keeps its own state through all phases; in a phase that is not its own a
group is idle: its parameters and its state stay as they are, to the bit.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from vaells_jax.checks import check_fields
from vaells_jax.model.types import Params
from vaells_jax.training.schedule import Phase

PARAM_LABELS = cast(Any, Params)(
    "networks", "networks", "operators", "anchors", "fixed", "networks"
)
"""Group of each parameter: a prefix of the parameters' tree."""

_ACTIVE: dict[Phase, set[str]] = {
    "warm_up": {"networks"},
    "network": {"networks", "anchors"},
    "operators": {"operators"},
    "joint": {"networks", "anchors", "operators"},
}


@dataclasses.dataclass(frozen=True)
class OptimizerOptions:
    """Rates of the three groups.

    Attributes:
        network_rate: Adam's rate for the networks (lr_net).
        ramp_steps: First Adam steps over which `network_rate` rises from zero. Without
            it, rates of 1e-3 end with a constant decoder for most seeds.
        rate_after_warm_up: Factor on `network_rate` once a warm-up is over.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        anchor_rate: Rate of the anchors' plain gradient steps (lr_anchor).
        operator_rate: Initial rate of the operators' steps (lr_Psi).
        max_operator_rate: Upper limit of the operators' rate.
    """

    network_rate: float = 1e-4
    ramp_steps: int = 0
    rate_after_warm_up: float = 0.1
    beta1: float = 0.5
    beta2: float = 0.999
    anchor_rate: float = 1e-4
    operator_rate: float = 1e-5
    max_operator_rate: float = 0.008

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a rate is negative or not finite, a decay not in [0, 1), or
                the operators' first rate above their highest.
        """
        check_rates(self)
        if self.operator_rate > self.max_operator_rate:
            raise ValueError(
                f"operator_rate must be at most max_operator_rate = "
                f"{self.max_operator_rate:g}; got {self.operator_rate:g}."
            )


class AcceptRejectState(NamedTuple):
    """State of the operators' step: its rate, and the result of the last test.

    Attributes:
        rate: The current rate.
        accepted: Whether the last step was taken.
        before: The objective before the last step, in nats.
        after: The objective that the step led to, or would have.
    """

    rate: Float[Array, ""]
    accepted: Bool[Array, ""]
    before: Float[Array, ""]
    after: Float[Array, ""]


def accept_reject_descent(
    initial_rate: float, max_rate: float, *, adaptation: float = 0.99
) -> optax.GradientTransformationExtraArgs:
    """Descend by gradient steps that are taken only if they pay off (Appendix B).

    A step `-rate * gradient` is accepted if it lowers the objective, and the rate is
    then divided by `adaptation` up to `max_rate`; else nothing moves and the rate is
    multiplied by it. An objective that is not finite after the step is a rejection.

    Args:
        initial_rate: First rate.
        max_rate: Cap on the rate.
        adaptation: Factor of both adjustments, in (0, 1).

    Returns:
        A transformation whose update needs `objective=`, a function of the parameters
        that it is given, evaluated before and after on the same samples.
    """

    def init(params):
        del params
        rate = jnp.asarray(initial_rate, jnp.result_type(float))
        zeros = (jnp.zeros_like(rate), jnp.zeros_like(rate))  # two buffers to donate
        return AcceptRejectState(rate, jnp.asarray(False), *zeros)

    def update(updates, state, params=None, *, objective: Callable, **extra):
        del extra
        steps = jax.tree.map(lambda g: -state.rate.astype(g.dtype) * g, updates)
        before = objective(params)
        after = objective(optax.apply_updates(params, steps))
        accepted = jnp.isfinite(after) & (after < before)
        steps = jax.tree.map(lambda s: jnp.where(accepted, s, 0.0), steps)
        raised = jnp.minimum(state.rate / adaptation, max_rate)
        rate = jnp.where(accepted, raised, state.rate * adaptation)
        dtype = state.before.dtype
        return steps, AcceptRejectState(
            rate, accepted, before.astype(dtype), after.astype(dtype)
        )

    return optax.GradientTransformationExtraArgs(init, update)


@functools.lru_cache(maxsize=64)
def make_optimizer(
    options: OptimizerOptions,
    *,
    warm_up_steps: int,
    phase: Phase,
    networks: optax.GradientTransformation | None = None,
    anchors: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Build the `optax.multi_transform` of a phase; its state serves every phase.

    Args:
        options: Rates of the groups.
        warm_up_steps: After so many Adam steps the networks' rate drops.
        phase: Decides which groups move.
        networks: Moves the networks, in place of Adam at the options' rates.
        anchors: Moves the anchors, in place of plain gradient steps.

    Returns:
        The transformation; in phases that move the operators its update needs
        `objective=` (see `accept_reject_descent`).
    """
    for name, given in (("network_transform", networks), ("anchor_transform", anchors)):
        if given is not None and not isinstance(given, optax.GradientTransformation):
            raise ValueError(
                f"{name} must be an optax.GradientTransformation; got "
                f"{type(given).__name__}."
            )
    network_rate = _network_rate(options, warm_up_steps)
    groups: dict[str, Any] = {
        "networks": networks
        or optax.adam(network_rate, b1=options.beta1, b2=options.beta2),
        "anchors": anchors or optax.sgd(options.anchor_rate),
        "operators": accept_reject_descent(
            options.operator_rate, options.max_operator_rate
        ),
    }
    transforms = {
        name: group if name in _ACTIVE[phase] else idle(group)
        for name, group in groups.items()
    }
    transforms["fixed"] = optax.set_to_zero()
    return optax.multi_transform(transforms, PARAM_LABELS)


def _network_rate(options, warm_up_steps):
    """Return the networks' rate by Adam's step: a ramp, a plateau, a drop."""
    drop = {warm_up_steps: options.rate_after_warm_up} if warm_up_steps else {}
    plateau = optax.piecewise_constant_schedule(options.network_rate, drop)
    return with_ramp(plateau, options.ramp_steps)


def with_ramp(schedule: optax.Schedule, ramp_steps: int) -> optax.Schedule:
    """Let a schedule rise evenly from 0 over its first steps."""
    if ramp_steps == 0:
        return schedule
    rise = optax.linear_schedule(0.0, 1.0, ramp_steps)
    return lambda step: rise(step) * schedule(step)


def check_rates(options: Any) -> None:
    """Raise a ValueError unless all numbers of an optimiser's options are valid.

    Args:
        options: A dataclass of numbers and switches, `beta1` and `beta2` among them;
            those called `_steps` or `_from` may be 0.
    """
    names = [field.name for field in dataclasses.fields(options)]
    check_fields(options, zero=[n for n in names if n.endswith(("_steps", "_from"))])
    for name in ("beta1", "beta2"):
        value = getattr(options, name)
        if value >= 1:
            raise ValueError(f"{name} must be below 1; got {value}.")


def operator_step_state(opt_state: Any) -> AcceptRejectState:
    """Find the operators' accept/reject state inside the optimiser's."""
    return opt_state.inner_states["operators"].inner_state


def is_active(phase: Phase) -> tuple[bool, ...]:
    """Return for each field of `Params`, in order, whether a phase moves it."""
    return tuple(label in _ACTIVE[phase] for label in PARAM_LABELS)


def idle(
    group: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Keep a group's state and move nothing."""

    def update(updates, state, params=None, **extra):
        del params, extra
        return jax.tree.map(jnp.zeros_like, updates), state

    return optax.GradientTransformationExtraArgs(group.init, update)
