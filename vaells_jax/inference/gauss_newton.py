"""Damped Gauss-Newton with a secant correction, many pairs at once, batch axis last.

Each lane is a Levenberg-Marquardt iteration of its own. Its model of the objective is

    m(p) = F + g.p + 0.5 p.(J^T J + S + lambda I) p + sum_m w_m (|u_m + p_m| - |u_m|).

S approximates the second-order part `sum_i r_i hess(f_i)` that Gauss-Newton leaves out.
The residuals of these problems are large (the operators cannot reach most end points),
so without S the iteration converges slowly. S follows the symmetric rank-one secant
formula, which may be indefinite, as the true matrix often is; the factorisation takes
the absolute value of its pivots so that every step descends.

The L1 term is treated as what it is: the slope at a kink is the pseudo-gradient, a
coefficient at zero moves only if the slope there outweighs the L1 weight, and a
coefficient that would cross zero stops there if zero minimises the model along it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vaells_jax.inference.energy import (
    Problem,
    dot,
    energy_jet,
    multiply,
    pseudo_gradient,
)
from vaells_jax.inference.linear_solve import solve_modified
from vaells_jax.loops import as_varying

# Damping in scaled variables, where curvatures are of the order of ||start||^2.
FIRST_DAMPING = 0.3
# With more operators than dimensions some directions do not move the end point, and the
# damping alone keeps steps short: more of it ends on shorter paths, which cost less.
FIRST_DAMPING_OF_MANY = 1.0
SMALLEST_DAMPING = 1e-6
LARGEST_DAMPING = 1e8
# A step is kept if it gains this share of what the model promised.
SUFFICIENT_GAIN = 1e-4
# A pair is done when the model promises no more than this share of its objective.
RELATIVE_TOLERANCE = 1e-5
# ... or this share of 0.5 ||end||^2, about what float32 can tell apart.
ABSOLUTE_TOLERANCE = 1e-7
# Longest step in scaled variables. With 1.0 single pairs stay on a far plateau, where a
# few of them double the mean objective of a set; with 2.0 it is no lower than with 1.5.
LONGEST_STEP = 1.5
# The secant formula divides by miss.step; below this cosine it would be mostly noise.
SECANT_GUARD = 1e-1
# Keeps a promise of zero from dividing zero.
TINY = 1e-30

RUNNING, CONVERGED, STALLED = 0, 1, 2


class Lanes(NamedTuple):
    """State of the iteration, one column a lane.

    Attributes:
        u: Scaled coefficients, shape [M W].
        energy: Objective, shape [W].
        gradient: Gradient of the smooth part, shape [M W].
        normal: J^T J, shape [M M W].
        secant: S but for its last correction, shape [M M W].
        miss: Vector v of the last correction `a v v^T`, shape [M W].
        miss_scale: Its factor a, shape [W].
        damping: lambda, shape [W].
        growth: Factor for lambda at the next refusal, shape [W].
        status: RUNNING, CONVERGED or STALLED, shape [W].
        iterations: Trial steps taken, shape [W].
    """

    u: Array
    energy: Array
    gradient: Array
    normal: Array
    secant: Array
    miss: Array
    miss_scale: Array
    damping: Array
    growth: Array
    status: Array
    iterations: Array


def start_lanes(
    problem: Problem,
    u: Float[Array, "M W"],
    searchable: Bool[Array, " W"],
    damping: float | None = None,
) -> Lanes:
    """Evaluate the starts; lanes that cannot be searched are stalled at once.

    Args:
        problem: The scaled search problems of W lanes.
        u: Scaled coefficients to start from, shape [M W].
        searchable: Lanes worth searching, shape [W].
        damping: lambda to begin with; None for one that suits any start.
    """
    if damping is None:
        damping = _first_damping(problem.operators)
    jet = energy_jet(problem, u, searchable)
    usable = jnp.isfinite(jet.energy)
    normal = jnp.where(usable, jet.normal, 0.0)
    one = jnp.ones_like(jet.energy)
    return Lanes(
        u=u,
        energy=jet.energy,
        gradient=jnp.where(usable, jet.gradient, 0.0),
        normal=normal,
        secant=jnp.zeros_like(normal),
        miss=jnp.zeros_like(u),
        miss_scale=jnp.zeros_like(one),
        damping=damping * one,
        growth=2.0 * one,
        status=jnp.where(usable, RUNNING, STALLED),
        iterations=jnp.zeros(one.shape, int),
    )


def _first_damping(operators: Float[Array, "M d d"]) -> float:
    """Return the damping to begin with."""
    count, dim, _ = operators.shape
    return FIRST_DAMPING if count <= dim else FIRST_DAMPING_OF_MANY


def _propose(problem: Problem, lanes: Lanes) -> tuple[Array, Array]:
    """Return every lane's trial point and the decrease that the model promises."""
    u, weights = lanes.u, problem.l1_weights[:, None]
    size = u.shape[0]
    hessian = lanes.normal + lanes.secant
    slope = pseudo_gradient(lanes.gradient, u, problem.l1_weights)
    free = (u != 0) | (slope != 0)
    identity = jnp.eye(size, dtype=u.dtype)[:, :, None]
    both_free = free[:, None] & free[None]
    damped = jnp.where(both_free, hessian + lanes.damping * identity, identity)
    step = -solve_modified(damped, slope, lanes.damping)
    length = jnp.sqrt(dot(step, step))
    step = step * jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(length, LONGEST_STEP))
    trial = u + step
    bent = lanes.gradient + multiply(hessian, step)
    # Along a coordinate that crosses zero the model is minimised exactly: zero itself
    # if the slope there lies within the L1 weight.
    own = jnp.stack([hessian[m, m] for m in range(size)])
    slope_at_zero = bent - own * trial
    crosses = (u * trial < 0) & (jnp.abs(slope_at_zero) <= weights)
    trial = jnp.where(crosses, 0.0, trial)
    step = trial - u
    quadratic = dot(multiply(hessian, step), step)
    growth = jnp.abs(trial) - jnp.abs(u)
    change = dot(lanes.gradient, step) + dot(problem.l1_weights, growth)
    return trial, -(change + 0.5 * quadratic)


def _correction(
    lanes: Lanes, step: Array, gradient: Array, normal: Array, known: Array
) -> tuple[Array, Array]:
    """Fit S so that J^T J + S maps the step to the change of gradient, by rank one.

    Returns:
        Vector v and factor a of the correction `a v v^T`; zero where it is not usable.
    """
    wanted = gradient - lanes.gradient - multiply(normal, step)
    miss = wanted - multiply(lanes.secant, step)
    along = dot(miss, step)
    size = jnp.sqrt(dot(miss, miss) * dot(step, step))
    usable = known & (jnp.abs(along) > SECANT_GUARD * size)
    scale = jnp.where(usable, 1.0 / jnp.where(usable, along, 1.0), 0.0)
    return jnp.where(usable, miss, 0.0), scale


def improve(problem: Problem, lanes: Lanes, max_iterations: int) -> Lanes:
    """Take one trial step in every running lane."""
    running = lanes.status == RUNNING
    # A correction waits in the state until here. Were it added where it is found, the
    # compiler would work its vector out again for each of the M^2 entries of S.
    outer = lanes.miss[:, None] * lanes.miss[None]
    lanes = lanes._replace(secant=lanes.secant + lanes.miss_scale * outer)
    trial, promised = _propose(problem, lanes)
    jet = energy_jet(problem, trial, running)
    gain = lanes.energy - jet.energy
    known = jnp.isfinite(jet.energy)
    better = running & known & (gain > 0)
    kept = better & (gain >= SUFFICIENT_GAIN * promised)
    miss, miss_scale = _correction(
        lanes, trial - lanes.u, jet.gradient, jet.normal, known & running
    )
    ratio = jnp.clip(gain / jnp.maximum(promised, TINY), -1.0, 2.0)
    easier = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
    damping = jnp.where(kept, lanes.damping * easier, lanes.damping * lanes.growth)
    done = jnp.abs(promised) <= _tolerance(problem, lanes.energy)
    iterations = lanes.iterations + running.astype(lanes.iterations.dtype)
    spent = (damping > LARGEST_DAMPING) | (iterations >= max_iterations)
    status = jnp.where(done, CONVERGED, jnp.where(spent, STALLED, RUNNING))
    keep = lambda new, old: jnp.where(kept, new, old)
    return Lanes(
        u=keep(trial, lanes.u),
        energy=keep(jet.energy, lanes.energy),
        gradient=keep(jet.gradient, lanes.gradient),
        normal=keep(jet.normal, lanes.normal),
        secant=lanes.secant,
        miss=miss,
        miss_scale=miss_scale,
        damping=jnp.maximum(damping, SMALLEST_DAMPING),
        growth=jnp.where(kept, 2.0, 2.0 * lanes.growth),
        status=jnp.where(running, status, lanes.status),
        iterations=iterations,
    )


def _tolerance(problem: Problem, energy: Array) -> Array:
    """Return the decrease not worth a step."""
    largest = 0.5 * dot(problem.end, problem.end)
    return RELATIVE_TOLERANCE * energy + ABSOLUTE_TOLERANCE * largest


def iterate(
    problem: Problem, lanes: Lanes, rounds: int | Array, max_iterations: int
) -> Lanes:
    """Take up to `rounds` trial steps, stopping as soon as no lane is running."""

    def unfinished(carry):
        i, lanes = carry
        return (i < rounds) & jnp.any(lanes.status == RUNNING)

    def body(carry):
        i, lanes = carry
        return i + 1, improve(problem, lanes, max_iterations)

    lanes = as_varying(lanes, problem, lanes)
    return jax.lax.while_loop(unfinished, body, (0, lanes))[1]
