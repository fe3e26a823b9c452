"""jaxopt's L-BFGS on the same problems, for comparison; the one owner of jaxopt.

Every lane runs jaxopt's L-BFGS with its zoom line search under one `vmap`; the values
and gradients come from the batch-last transport kernel through `custom_vmap`, and the
variables are the scaled ones. L-BFGS does not handle kinks: the L1 term has the
subgradient `w sign(u)`, so coefficients approach zero without reaching it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vaells_jax.inference.energy import Problem, energy_jet
from vaells_jax.inference.gauss_newton import CONVERGED, STALLED

# Five pairs of differences hold more directions than four coefficients span.
HISTORY = 5
LINE_SEARCH_STEPS = 15
# Norm of the gradient at which a pair is done, relative to the scale of the problem.
GRADIENT_TOLERANCE = 3e-4
CPU_LANES = 32


def _outside(dtype) -> Array:
    """Return the energy that stands for points outside the kernel's range."""
    return jnp.asarray(jnp.finfo(dtype).max ** 0.5, dtype)


def _lanes_value_and_gradient(operators, l1_weights, u, start, end):
    """Evaluate batch-last lanes; outside the kernel's range the energy is huge."""
    jet = energy_jet(Problem(operators, l1_weights, start, end), u)
    gradient = jet.gradient + l1_weights * jnp.sign(u)
    inside = jnp.isfinite(jet.energy)
    return jnp.where(inside, jet.energy, _outside(u.dtype)), jnp.where(
        inside, gradient, 0.0
    )


@jax.custom_batching.custom_vmap
def _value_and_gradient(u, operators, l1_weights, start, end):
    """Evaluate one pair's objective; `vmap` evaluates all of them batch-last."""
    value, gradient = _lanes_value_and_gradient(
        operators, l1_weights[:, None], u[:, None], start[:, None], end[:, None]
    )
    return value[0], gradient[:, 0]


@_value_and_gradient.def_vmap
def _value_and_gradient_of_lanes(
    axis_size, in_batched, u, operators, l1_weights, start, end
):
    # The lanes of one search share their operators. jaxopt's `cond`s broadcast every
    # operand, these among them, so all copies are equal.
    operators = operators[0] if in_batched[1] else operators
    lane = lambda column, batched: (
        column.T if batched else jnp.tile(column[:, None], (1, axis_size))
    )
    value, gradient = _lanes_value_and_gradient(
        operators,
        lane(l1_weights, in_batched[2]),
        lane(u, in_batched[0]),
        lane(start, in_batched[3]),
        lane(end, in_batched[4]),
    )
    return (value, gradient.T), (True, True)


def lbfgs_batch(
    problem: Problem,
    initial: Float[Array, "B M"],
    searchable: Bool[Array, " B"],
    max_iterations: int,
) -> tuple[Array, ...]:
    """Minimise every pair's objective from its start with jaxopt's L-BFGS.

    Arguments and results are those of `batches.search_batch`.
    """
    # Here, so that others need not wait for it, nor hear that it is not maintained.
    with jax.ensure_compile_time_eval():  # its constants belong to no trace
        import jaxopt
    solver = jaxopt.LBFGS(
        _value_and_gradient,
        value_and_grad=True,
        maxiter=max_iterations,
        tol=GRADIENT_TOLERANCE,
        history_size=HISTORY,
        maxls=LINE_SEARCH_STEPS,
        implicit_diff=False,
    )

    def one_pair(columns):
        u, start, end, usable = columns
        # The objective's curvature is about ||start||^2. Measured in that unit it is
        # about one, and a first step along the gradient stays in the valley.
        unit = jnp.where(usable, jnp.sum(start * start), 1.0)
        pair = (start / jnp.sqrt(unit), end / jnp.sqrt(unit))
        problem_of_pair = (problem.operators, problem.l1_weights / unit, *pair)
        result = solver.run(u, *problem_of_pair)
        state = result.state
        # A line search that fails may leave a pair far above its start.
        first, _ = _value_and_gradient(u, *problem_of_pair)
        kept = state.value <= first
        value = jnp.where(kept, state.value, first)
        known = usable & (value < _outside(u.dtype))
        converged = known & kept & (state.error <= solver.tol)
        status = jnp.where(converged, CONVERGED, STALLED)
        energy = jnp.where(known, unit * value, jnp.nan)
        return jnp.where(kept, result.params, u), energy, status, state.iter_num

    columns = (initial, problem.start, problem.end, searchable)
    if jax.default_backend() == "cpu":
        return jax.lax.map(one_pair, columns, batch_size=CPU_LANES)
    return jax.vmap(one_pair)(columns)
