"""The derivative of the argmin: the implicit function theorem on the active set.

At c* the coefficients split into zeros, held by the kink of the L1 term, and free ones
with `J' r + w sign(c) = 0`. Where that splitting is stable, the zeros do not move and
the free ones answer a change of the problem's data x through

    dc_F = -H_FF^-1  d/dx (grad_F F) dx,

with the exact Hessian H of the smooth part. One linear solve per pair serves either
mode of differentiation, and the rule is written in terms of c* itself, so that every
order of derivative is right.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaells_jax.loops import as_varying
from vaells_jax.operators.transport import transport

# Newton steps that carry the search's c* to the working precision beforehand; the
# theorem holds at a stationary point, and the search stops a little short of it. Three
# do for most; where the Hessian is nearly singular the first ones only come near.
POLISH_STEPS = 8


def _smooth(c, operators, start, end):
    gap = end - transport(operators, c, start)
    return 0.5 * jnp.dot(gap, gap, precision="highest")


def _free_step(c, slope, data):
    """Solve `H_FF step_F = slope_F`; the coefficients at zero stay there."""
    free = c != 0
    hessian = jax.hessian(_smooth)(c, *data)
    both = free[:, None] & free[None, :]
    hessian = jnp.where(both, hessian, jnp.eye(c.size, dtype=c.dtype))
    return jnp.linalg.solve(hessian, jnp.where(free, slope, 0.0))


def _polish(c, data, l1_weight):
    def newton(_, c):
        slope = jax.grad(_smooth)(c, *data) + l1_weight * jnp.sign(c)
        step = _free_step(c, slope, data)
        # A minimum nearby is a short step away, on the same side of every kink;
        # anything else is left alone.
        size, reach = jnp.abs(c), jnp.abs(step)
        near = (jnp.max(reach) <= 0.1 * jnp.max(size)) & jnp.all(reach <= size)
        return c - jnp.where(near, step, 0.0)

    return jax.lax.fori_loop(0, POLISH_STEPS, newton, as_varying(c, data))


def attach_derivative(
    coefficients: Float[Array, " M"],
    operators: Float[Array, "M d d"],
    start: Float[Array, " d"],
    end: Float[Array, " d"],
    l1_weight: float,
) -> Float[Array, " M"]:
    """Return one pair's c* with its derivative with respect to the pair's data.

    Args:
        coefficients: c*, shape [M].
        operators: Transport operators, shape [M d d].
        start: Point that is transported, shape [d].
        end: Point to reach, shape [d].
        l1_weight: zeta of the objective.
    """
    known = jax.lax.stop_gradient((coefficients, (operators, start, end)))
    return _argmin(_polish(*known, l1_weight), operators, start, end)


@jax.custom_jvp
def _argmin(c, operators, start, end):
    """Return c*, which the data decide."""
    del operators, start, end
    return c


@_argmin.defjvp
def _argmin_jvp(primals, tangents):
    c, *data = primals
    c = _argmin(c, *data)
    slope = lambda *data: jax.grad(_smooth)(c, *data)
    _, moved = jax.jvp(slope, tuple(data), tangents[1:])
    return c, -_free_step(c, moved, data)
