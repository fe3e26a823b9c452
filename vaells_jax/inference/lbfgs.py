"""jaxopt's L-BFGS on the same problems: the peer solver, and jaxopt's one owner.

Every lane runs jaxopt's L-BFGS with its zoom line search under one `vmap`; the values
and gradients come from the batch-last transport kernel through `custom_vmap`, and the
variables are the scaled ones. L-BFGS knows no kinks: the L1 term enters with the
subgradient `w sign(u)`, so coefficients approach zero without reaching it.
"""

import jax
import jax.numpy as jnp
import jaxopt
from jaxtyping import Array, Bool, Float

from vaells_jax.inference.energy import Problem, energy_jet
from vaells_jax.inference.gauss_newton import CONVERGED, STALLED

# Five pairs of differences hold more directions than four coefficients span.
HISTORY = 5
LINE_SEARCH_STEPS = 15
# Norm of the gradient at which a pair is done, relative to the scale of the problem.
GRADIENT_TOLERANCE = 1e-3
CPU_LANES = 32


def _value_and_gradient(problem: Problem, u: Array, start: Array, end: Array):
    """Evaluate batch-last lanes; outside the kernel's range the energy is infinite."""
    jet = energy_jet(problem._replace(start=start, end=end), u)
    gradient = jet.gradient + problem.l1_weights[:, None] * jnp.sign(u)
    inside = jnp.isfinite(jet.energy)
    worst = jnp.asarray(jnp.finfo(u.dtype).max ** 0.5, u.dtype)
    return jnp.where(inside, jet.energy, worst), jnp.where(inside, gradient, 0.0)


def _one_pair_objective(problem: Problem):
    """Return the value and gradient of one pair, which `vmap` evaluates batch-last."""

    @jax.custom_batching.custom_vmap
    def evaluate(u, start, end):
        value, gradient = _value_and_gradient(
            problem, u[:, None], start[:, None], end[:, None]
        )
        return value[0], gradient[:, 0]

    @evaluate.def_vmap
    def evaluate_lanes(axis_size, in_batched, *columns):
        lanes = [
            column.T if batched else jnp.tile(column[:, None], (1, axis_size))
            for column, batched in zip(columns, in_batched, strict=True)
        ]
        value, gradient = _value_and_gradient(problem, *lanes)
        return (value, gradient.T), (True, True)

    return evaluate


def lbfgs_batch(
    problem: Problem,
    initial: Float[Array, "B M"],
    searchable: Bool[Array, " B"],
    max_iterations: int,
) -> tuple[Array, Array, Array, Array]:
    """Minimise every pair's objective from its start with jaxopt's L-BFGS.

    Arguments and results are those of `batches.search_batch`.
    """
    solver = jaxopt.LBFGS(
        _one_pair_objective(problem),
        value_and_grad=True,
        maxiter=max_iterations,
        tol=GRADIENT_TOLERANCE,
        history_size=HISTORY,
        maxls=LINE_SEARCH_STEPS,
        implicit_diff=False,
        jit=False,
    )

    def one_pair(columns):
        u, start, end, usable = columns
        result = solver.run(u, start, end)
        state = result.state
        converged = usable & (state.error <= solver.tol)
        status = jnp.where(converged, CONVERGED, STALLED)
        energy = jnp.where(usable, state.value, jnp.nan)
        return result.params, energy, status, state.iter_num

    columns = (initial, problem.start, problem.end, searchable)
    if jax.default_backend() == "cpu":
        return jax.lax.map(one_pair, columns, batch_size=CPU_LANES)
    return jax.vmap(one_pair)(columns)
