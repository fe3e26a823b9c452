"""Value and Jacobian of `expm(A(c)) z` for many pairs at once, batch axis last.

The coefficient search evaluates the transport and its derivatives with respect to the
coefficients thousands of times per second, for thousands of pairs. Scaling and squaring
would form a matrix exponential per pair; here the truncated Taylor series acts on the
vector (and, by the product rule, on its tangents) in Horner's form:

    h <- x + (A h) / k      dh_m <- dx_m + (A dh_m + Psi_m h) / k      k = n, ..., 1.

The generator is divided by a number of substeps so that its norm stays below
`LARGEST_SUBSTEP`, where the series loses no digits by cancellation. Both the substeps
and the terms are chosen for the largest generator among the lanes of one call, so
callers do well to put generators of like size together.

The batch is the last axis because XLA's CPU compiler vectorises along it, and the
loop body holds exactly one term of the series because the compiler otherwise copies
the producers of every value that has two users.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vaells_jax.loops import as_varying

# At norm 2 the largest term of the series is e times smaller than the bound e^2 on its
# sum, so cancellation costs less than one decimal digit: 9e-6 relative in float32 up to
# norm 30. Norm 4 saves a fifth of the terms and reaches 2e-5.
LARGEST_SUBSTEP = 2.0
# Generators above this size are outside the kernel's range: their lanes read NaN.
LARGEST_NORM = 40.0
_MOST_TERMS = 32


class TransportJet(NamedTuple):
    """A transported point and its derivatives: `value` [d W], `jacobian` [M d W]."""

    value: Array
    jacobian: Array


def _reach(dtype) -> list[float]:
    """Return the largest norm that n = 1, 2, ... terms serve.

    The first term left out of the Jacobian's series is bounded by `norm^n / n!`; n
    terms serve as long as that is below two rounding units.
    """
    tolerance = 2.0 * float(jnp.finfo(dtype).eps)
    log_tolerance = math.log(tolerance)
    counts = range(1, _MOST_TERMS + 1)
    return [math.exp((log_tolerance + math.lgamma(n + 1)) / n) for n in counts]


def lane_generators(
    operators: Float[Array, "M d d"], coefficients: Float[Array, "M W"]
) -> Float[Array, "d d W"]:
    """Sum the operators of every lane, `A = sum_m c_m Psi_m` (Section 2.1)."""
    A = operators[0][:, :, None] * coefficients[0][None, None]
    for m in range(1, operators.shape[0]):
        A = A + operators[m][:, :, None] * coefficients[m][None, None]
    return A


def _lane_norms(A: Array) -> Array:
    """Return `||A^2||_F^(1/2)`: for powers above one a sharper bound than `||A||`."""
    squared = A[:, 0, None] * A[None, 0]
    for j in range(1, A.shape[0]):
        squared = squared + A[:, j, None] * A[None, j]
    return jnp.sqrt(jnp.sqrt(jnp.sum(squared * squared, axis=(0, 1))))


def expm_action_jet(
    operators: Float[Array, "M d d"],
    coefficients: Float[Array, "M W"],
    z: Float[Array, "d W"],
    active: Bool[Array, " W"] | None = None,
) -> TransportJet:
    """Transport every lane's point and differentiate by its coefficients.

    Computes `f = expm(sum_m c_m Psi_m) z` (Section 2.1) and `df/dc_m` in one pass.

    Args:
        operators: Transport operators, shape [M d d].
        coefficients: One coefficient vector a lane, shape [M W].
        z: One latent point a lane, shape [d W].
        active: Lanes whose results are wanted; the others read NaN and cost nothing.

    Returns:
        Value [d W] and Jacobian [M d W]; relative error at most 1e-5 in float32 (1e-12
        in float64) for generators of norm up to 30. Lanes whose generator's size
        exceeds `LARGEST_NORM`, or is not finite, read NaN.
    """
    A = lane_generators(operators, coefficients)
    norms = _lane_norms(A)
    inside = norms <= LARGEST_NORM
    if active is not None:
        inside = inside & active
    A = jnp.where(inside[None, None], A, 0.0)
    norm = jnp.max(jnp.where(inside, norms, 0.0), initial=0.0)
    substeps = jnp.maximum(jnp.ceil(norm / LARGEST_SUBSTEP), 1.0)
    # Scalar comparisons rather than a table: an array here would be a captured
    # constant, which the batching rules of jaxopt's conditionals refuse.
    unserved = [norm / substeps > reach for reach in _reach(A.dtype)]
    terms = 1 + sum(condition.astype(int) for condition in unserved)
    dim, tangents = A.shape[0], operators.shape[0]

    def horner_term(i, carry, x, dx):
        h, dh = carry
        scale = 1.0 / (substeps * (terms - i).astype(A.dtype))
        Ah = A[:, 0] * h[None, 0]
        dAh = A[None, :, 0] * dh[:, 0, None]
        dAh = dAh + operators[:, :, 0, None] * h[None, None, 0]
        for j in range(1, dim):
            Ah = Ah + A[:, j] * h[None, j]
            dAh = dAh + A[None, :, j] * dh[:, j, None]
            dAh = dAh + operators[:, :, j, None] * h[None, None, j]
        return x + Ah * scale, dx + dAh * scale

    def substep(_, carry):
        term = lambda i, inner: horner_term(i, inner, *carry)
        return jax.lax.fori_loop(0, terms, term, carry)

    start = (z, jnp.zeros((tangents, *z.shape), z.dtype))
    start = as_varying(start, A, z, operators)
    value, jacobian = jax.lax.fori_loop(0, substeps.astype(int), substep, start)
    nan = jnp.asarray(jnp.nan, z.dtype)
    return TransportJet(jnp.where(inside, value, nan), jnp.where(inside, jacobian, nan))
