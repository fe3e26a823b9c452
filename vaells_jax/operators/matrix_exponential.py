"""The action of the matrix exponential, `exp(A) z`, with exact derivatives.

One algorithm for every matrix and both precisions: take out the mean eigenvalue,
`exp(A) = exp(mu) exp(A - mu)` with `mu = tr(A) / d`, scale what is left by a power of
two until its norm is at most `THETA`, evaluate the Taylor polynomial of `exp(X) - 1`,
and undo the scaling by repeated doubling,

    exp(2X) - 1 = E (2 + E),        E = exp(X) - 1.

Carrying `E` instead of `exp(X)` keeps the digits that `1 + small` would round away, so
that the error stays near `||A||` units in the last place, which is the condition number
of the problem itself. A traceless matrix has an eigenvalue that does not decay, so that
adding the 1 back at the end cancels nothing. Nothing is diagonalised or inverted:
defective matrices, repeated eigenvalues and zero need no special case. The number of
doublings is data, applied by selection, so that `vmap` adds no branches (a `switch`
over Padé degrees, under `vmap`, evaluates every one of them).

Everything is polynomial in `A`, hence forward- and reverse-mode derivatives of any
order are those of the computed polynomial: exact to the same relative error.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaells_jax.checks import check_numbers

THETA = 0.5
"""Norm at which the Taylor polynomial is evaluated."""

MAX_DOUBLINGS = 9
"""Doublings that are compiled in: norms up to `THETA * 2**9 = 256` are in range."""

LARGEST_SUM = 16
"""Size up to which products are written as sums."""

_DEGREES = {"float32": (9, 3), "float64": (16, 4)}
"""Taylor degree and the power of `X` stored by Paterson and Stockmeyer's scheme.

The remainder `THETA**(k+1) / (k+1)!` and that of the first derivative,
`THETA**k / k!`, are below the unit roundoff of the precision.
"""


def expm_action(A: Float[Array, "d d"], z: Float[Array, " d"]) -> Float[Array, " d"]:
    """Apply the matrix exponential of `A` to `z`: `exp(A) z`.

    Args:
        A: Square matrix, dimensionless.
        z: Vector in the units of the result.

    Returns:
        `exp(A) z`. The relative error is at most 1e-5 in float32 and 1e-12 in float64
        up to a norm of 30, and grows in proportion to the norm beyond. Where the
        1-norm of `A - tr(A)/d` exceeds 256, or `A` is not finite, the result is NaN:
        a result is accurate or flagged, never silently wrong.

    Raises:
        ValueError: If the shapes do not fit or the precision is neither float32 nor
            float64.
    """
    check_numbers(A=A, z=z)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or z.shape != A.shape[:1]:
        raise ValueError(
            "expm_action wants A of shape [d, d] and z of shape [d]; "
            f"got A {A.shape} and z {z.shape}."
        )
    dtype = jnp.result_type(A, z)
    A, z = A.astype(dtype), z.astype(dtype)
    mean = jnp.trace(A) / A.shape[0]
    X = A - mean * jnp.eye(A.shape[0], dtype=dtype)
    doublings = _doublings(jax.lax.stop_gradient(X))
    X = X * jnp.ldexp(jnp.ones((), dtype), -doublings)  # exact; exp2 is not
    E = _expm1_taylor(X, *_DEGREES[dtype.name])
    double = lambda k, E: jnp.where(k < doublings, 2 * E + _product(E, E), E)
    # A loop of fixed length: differentiable in any mode, and compiled once.
    E = jax.lax.fori_loop(0, MAX_DOUBLINGS, double, E)
    result = jnp.exp(mean) * (z + _product(E, z))
    return jnp.where(doublings <= MAX_DOUBLINGS, result, jnp.nan)


def _doublings(A):
    """Return how often `A` must be halved to reach a 1-norm of `THETA`.

    Non-finite matrices get one doubling more than there are, which flags them.
    """
    norm = jnp.max(jnp.sum(jnp.abs(A), axis=0), initial=0.0)
    # frexp is exact where log2 may round across an integer.
    _, exponent = jnp.frexp(norm / THETA)
    in_range = norm <= THETA * 2.0**MAX_DOUBLINGS
    return jnp.where(in_range, jnp.clip(exponent, 0, MAX_DOUBLINGS), MAX_DOUBLINGS + 1)


def _expm1_taylor(X, degree, stride):
    """Evaluate `sum_{k=1}^degree X^k / k!` by Paterson and Stockmeyer's scheme."""
    powers = [jnp.eye(X.shape[0], dtype=X.dtype), X]
    while len(powers) <= stride:
        powers.append(_product(powers[-1], X))
    total = jnp.zeros_like(X)
    for low in range(degree - degree % stride, -1, -stride):
        terms = range(max(low, 1), min(low + stride, degree + 1))
        block = sum(powers[k - low] / math.factorial(k) for k in terms)
        total = _product(total, powers[stride]) + block
    return total


def _product(a, b):
    """Multiply a matrix by a matrix or vector at full precision.

    Many small products under `vmap` run several times faster as sums, which fuse, than
    as products, which are handed to a routine one by one.
    """
    if a.shape[0] > LARGEST_SUM:
        # By default accelerators would round float32 inputs.
        return jnp.matmul(a, b, precision="highest")
    if b.ndim == 1:
        # Term by term: where one matrix meets many vectors, jaxlib 0.10.2 compiles a
        # reduction that is wrong from the 32,768th number on (jax issue 39103).
        total = a[:, 0] * b[0]
        for j in range(1, a.shape[1]):
            total = total + a[:, j] * b[j]
        return total
    return jnp.sum(a[:, :, None] * b[None], axis=1)
