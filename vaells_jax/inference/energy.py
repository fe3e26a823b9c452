"""The objective of the coefficient search, in scaled variables, batch axis last.

For one pair of latent points (start, end), eqs. 5 and 7 ask for

    c* = argmin_c  0.5 ||end - expm(A(c)) start||^2 + zeta ||c||_1.

The search works in `u_m = c_m ||Psi_m||_F`. A unit step in any u_m then changes the
generator by a matrix of norm one, whatever size the operators have grown to, which is
what makes one damping and one trust scale serve all of them.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vaells_jax.operators.taylor import expm_action_jet


def dot(x: Array, y: Array) -> Array:
    """Return the inner product over the first axis, spelled out.

    A fused reduction would put the short, strided axis innermost; sums of slices keep
    the lanes there.
    """
    total = x[0] * y[0]
    for k in range(1, x.shape[0]):
        total = total + x[k] * y[k]
    return total


def multiply(matrix: Array, x: Array) -> Array:
    """Return the lanes' matrix-vector products, [M M W] by [M W], spelled out."""
    product = matrix[:, 0] * x[0]
    for k in range(1, x.shape[0]):
        product = product + matrix[:, k] * x[k]
    return product


class Problem(NamedTuple):
    """A set of scaled search problems, one a lane.

    Attributes:
        operators: Unit-norm operators, shape [M d d] (a zero operator stays zero).
        l1_weights: Weight of |u_m|, shape [M].
        start: Points to transport, shape [d W].
        end: Points to reach, shape [d W].
    """

    operators: Array
    l1_weights: Array
    start: Array
    end: Array


class Jet(NamedTuple):
    """The objective at a point, its smooth part's gradient and Gauss-Newton matrix.

    Attributes:
        energy: The objective with its L1 term, shape [W]; NaN outside the range of the
            transport kernel.
        gradient: J^T r, shape [M W].
        normal: J^T J, shape [M M W].
    """

    energy: Array
    gradient: Array
    normal: Array


def operator_norms(operators: Float[Array, "M d d"]) -> Float[Array, " M"]:
    """Return `||Psi_m||_F`, and one for operators that are zero or not finite."""
    largest = jnp.max(jnp.abs(operators), axis=(1, 2))
    usable = jnp.isfinite(largest) & (largest > 0)
    largest = jnp.where(usable, largest, 1.0)
    # Dividing by the largest entry first keeps huge and tiny operators from
    # overflowing and underflowing when squared.
    ratio = jnp.where(usable[:, None, None], operators / largest[:, None, None], 0.0)
    norms = largest * jnp.sqrt(jnp.sum(ratio * ratio, axis=(1, 2)))
    return jnp.where(usable & jnp.isfinite(norms), norms, 1.0)


def energy_jet(
    problem: Problem, u: Float[Array, "M W"], active: Bool[Array, " W"] | None = None
) -> Jet:
    """Evaluate objective, gradient and Gauss-Newton matrix of every lane in one pass.

    Args:
        problem: The scaled search problems of W lanes.
        u: Scaled coefficients, shape [M W].
        active: Lanes whose results are wanted, shape [W].
    """
    value, J = expm_action_jet(problem.operators, u, problem.start, active)
    residual = value - problem.end
    l1 = dot(problem.l1_weights, jnp.abs(u))
    energy = 0.5 * dot(residual, residual) + l1
    gradient = J[:, 0] * residual[0]
    normal = J[:, None, 0] * J[None, :, 0]
    for i in range(1, value.shape[0]):
        gradient = gradient + J[:, i] * residual[i]
        normal = normal + J[:, None, i] * J[None, :, i]
    return Jet(energy, gradient, normal)


def pseudo_gradient(gradient: Array, u: Array, weights: Array) -> Array:
    """Return the objective's steepest one-sided slope in every coordinate.

    Where `u_m = 0` the L1 term has the subdifferential `[-w, w]`: the slope is zero if
    that interval holds `-gradient`, and the shortest subgradient otherwise.

    Args:
        gradient: Gradient of the smooth part, shape [M W].
        u: Scaled coefficients, shape [M W].
        weights: L1 weights, shape [M].
    """
    w = weights[:, None]
    at_zero = gradient - jnp.clip(gradient, -w, w)
    return jnp.where(u == 0, at_zero, gradient + w * jnp.sign(u))
