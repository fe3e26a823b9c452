"""Transport operators from pairs of points, without any network (Section 2.1).

The descent of Culpepper and Olshausen (the paper's [9]): infer the coefficients of some
pairs, then step on the dictionary with the coefficients held.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from vaells_jax.checks import (
    as_count,
    check_fields,
    check_finite,
    check_key,
    check_kind,
)
from vaells_jax.inference import CoefficientFit, InferenceOptions, infer_coefficients
from vaells_jax.model.types import Batch
from vaells_jax.operators.transport import transport
from vaells_jax.progress import progress_bar
from vaells_jax.training.failure import NonFiniteLossError
from vaells_jax.training.optimizers import AcceptRejectState, accept_reject_descent


@dataclasses.dataclass(frozen=True)
class PairOptions:
    """Settings of `fit_operators`.

    Attributes:
        steps: Steps on the operators.
        batch_size: Pairs of a step, drawn anew; all if there are no more.
        l1_weight: zeta, of the coefficients' absolute values.
        norm_weight: gamma, of the operators' squared Frobenius norms.
        operator_std: Deviation of the operators' first entries.
        rate: Initial rate of the operators' steps.
        max_rate: Upper limit of the rate.
        restarts: Starts of each search; the best result is kept.
    """

    steps: int = 500
    batch_size: int = 128
    l1_weight: float = 0.01
    norm_weight: float = 0.001
    operator_std: float = 0.1
    rate: float = 0.5
    max_rate: float = 10.0
    restarts: int = 2

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a count is not positive, a number negative or not finite, or
                the first rate above the highest.
        """
        check_fields(self)
        if self.rate > self.max_rate:
            raise ValueError(
                f"rate must be at most max_rate = {self.max_rate:g}; got {self.rate:g}."
            )

    @property
    def search(self) -> InferenceOptions:
        """Return the search's settings: independent starts about 0."""
        return InferenceOptions(
            l1_weight=self.l1_weight, restarts=self.restarts,
            initial_range=(-1.0, 1.0), restart_shift=0.0,
        )  # fmt: skip


class PairFit(NamedTuple):
    """Operators learned from pairs, and the course of the descent.

    Attributes:
        operators: The dictionary Psi.
        objective: Before each step, of its pairs: eq. 2, averaged over them.
        residual: Its first term, `1/2 ||end - transport(start)||^2`.
        norms: Frobenius norm of each operator after each step.
        rate: Rate after each step.
        accepted: Whether each step was taken.
        converged: Share of each step's searches that met their tolerance.
    """

    operators: Float[Array, "M d d"]
    objective: Float[np.ndarray, " steps"]
    residual: Float[np.ndarray, " steps"]
    norms: Float[np.ndarray, "steps M"]
    rate: Float[np.ndarray, " steps"]
    accepted: Bool[np.ndarray, " steps"]
    converged: Float[np.ndarray, " steps"]


def pair_objective(
    operators: Float[Array, "M d d"],
    start: Float[Array, "N d"],
    end: Float[Array, "N d"],
    coefficients: Float[Array, "N M"],
    *,
    norm_weight: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Evaluate the part of eq. 2 that depends on Psi, with fixed coefficients.

    Returns:
        `mean 1/2 ||end - transport(start)||^2 + gamma/2 sum_m ||Psi_m||_F^2`, and its
        first term.
    """
    reached = jax.vmap(transport, (None, 0, 0))(operators, coefficients, start)
    residual = 0.5 * jnp.mean(jnp.sum((end - reached) ** 2, axis=-1))
    return residual + 0.5 * norm_weight * jnp.sum(operators**2), residual


def fit_operators(
    key: PRNGKeyArray,
    start: Float[Array | np.ndarray, "N d"],
    end: Float[Array | np.ndarray, "N d"],
    *,
    num_operators: int,
    options: PairOptions = PairOptions(),  # noqa: B008, frozen
    on_step: Callable[[int, dict[str, Any]], Any] | None = None,
) -> PairFit:
    """Learn transport operators from pairs of points of one manifold, eq. 2.

    The points may be vectors of any one size: points of a plane, patches of images,
    latents of any encoder. There are local optima, especially in the plane: try several
    keys and keep the dictionary with the lowest objective. A step is taken only if it
    lowers the objective of its pairs, see `accept_reject_descent`. A bar with the time
    left appears after a few seconds.

    Args:
        key: Random key of first operators, batches and searches.
        start: Where each pair starts.
        end: Where it leads; pairs should be near each other, as neighbours are.
        num_operators: M; those that are not needed shrink.
        options: Weights, rates and length.
        on_step: Called with step (from 1) and its values by the names in `PairFit`; if
            it returns a true value, this step is the last.

    Returns:
        The operators and the objective's course.

    Raises:
        NonFiniteLossError: If the objective is not finite.
        ValueError: If an argument is not of its kind, or shapes disagree.
    """
    check_key("key", key)
    num_operators = as_count("num_operators", num_operators)
    check_kind(options=(options, PairOptions))
    check_finite("start", start)
    check_finite("end", end)
    if start.ndim != 2 or start.shape != end.shape or 0 in start.shape:
        raise ValueError(
            "start and end must have one shape [N, d], none of them 0; got "
            f"{list(start.shape)} and {list(end.shape)}."
        )
    start, end = jnp.asarray(start), jnp.asarray(end)
    start_key, key = jax.random.split(key)
    shape = (num_operators, start.shape[1], start.shape[1])
    operators = options.operator_std * jax.random.normal(start_key, shape, start.dtype)
    state = _descent(options).init(operators)
    rows = []
    with progress_bar(options.steps, desc="operators", unit="step", delay=5) as bar:
        for step in range(options.steps):
            operators, state, values = _step(
                operators, state, jax.random.fold_in(key, step), start, end,
                options=options,
            )  # fmt: skip
            rows.append(jax.device_get(values))
            bar.update()
            if not np.isfinite(rows[-1]["objective"]):
                raise NonFiniteLossError(
                    f"step {step + 1}: objective = {rows[-1]['objective']}."
                )
            if on_step is not None and on_step(step + 1, rows[-1]):
                break
    course = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return PairFit(operators, **course)


@functools.partial(jax.jit, static_argnums=2)
def partners(key: PRNGKeyArray, batch: Batch, neighbours: int) -> Array:
    """Draw a partner of each example among its nearest, in the space of the data.

    Args:
        key: Random key of the draw.
        batch: Examples; their own anchors are the candidates, if they have any, else
            the batch's other examples of their class.
        neighbours: Number of examples that count as near.

    Returns:
        Partners, `[B, *x]`; of an example without candidates the example itself.
    """
    rows = jnp.arange(len(batch.inputs))
    candidates = batch.anchors
    if candidates is None:
        candidates = jnp.broadcast_to(batch.inputs, (len(rows), *batch.inputs.shape))
    errors = (candidates - jnp.expand_dims(batch.inputs, 1)) ** 2
    squared = jnp.sum(errors, axis=tuple(range(2, errors.ndim)))
    if batch.anchors is None:
        same = batch.labels[:, None] == batch.labels[None]
        squared = jnp.where(same & (rows[:, None] != rows[None]), squared, jnp.inf)
    near = jnp.argsort(squared, axis=1)
    count = jnp.minimum(jnp.sum(jnp.isfinite(squared), axis=1), neighbours)
    drawn = jax.random.randint(key, rows.shape, 0, jnp.maximum(count, 1))
    chosen = candidates[rows, near[rows, drawn]]
    alone = jnp.expand_dims(count == 0, tuple(range(1, chosen.ndim)))
    return jnp.where(alone, batch.inputs, chosen)


def _descent(options):
    return accept_reject_descent(options.rate, options.max_rate)


@functools.partial(jax.jit, static_argnames="options")
def _step(operators, state: AcceptRejectState, key, start, end, *, options):
    """Infer coefficients of a step's pairs and step on the operators."""
    choice_key, search_key = jax.random.split(key)
    if len(start) > options.batch_size:
        index = jax.random.randint(choice_key, (options.batch_size,), 0, len(start))
        start, end = start[index], end[index]
    found: CoefficientFit = infer_coefficients(
        search_key, operators, start, end, options=options.search
    )
    objective = lambda operators: pair_objective(
        operators, start, end, found.coefficients, norm_weight=options.norm_weight
    )
    (value, residual), slope = jax.value_and_grad(objective, has_aux=True)(operators)
    updates, state = _descent(options).update(
        slope, state, operators, objective=lambda operators: objective(operators)[0]
    )
    operators = optax.apply_updates(operators, updates)
    length = jnp.mean(jnp.sum(jnp.abs(found.coefficients), axis=-1))
    return operators, state, {
        "objective": value + options.l1_weight * length,
        "residual": residual,
        "norms": jnp.sqrt(jnp.sum(operators**2, axis=(1, 2))),
        "rate": state.rate,
        "accepted": state.accepted,
        "converged": jnp.mean(found.converged, dtype=value.dtype),
    }  # fmt: skip
