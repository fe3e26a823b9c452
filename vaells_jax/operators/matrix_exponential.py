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

Where some eigenvalues decay and others do not, `E` outgrows the precision's range long
before `exp(mu)` brings it back. The loop carries `exp(X) = 2^s (G + u)` in place of
`1 + E`, and takes powers of two out of `G` as it grows; `s = 0` and `u = 1` otherwise.

Everything is polynomial in `A`, hence forward- and reverse-mode derivatives of any
order are those of the computed polynomial: exact to the same relative error.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaells_jax.checks import check_numbers
from vaells_jax.loops import as_varying

THETA = 0.5
"""Norm at which the Taylor polynomial is evaluated."""

MAX_DOUBLINGS = 17
"""Doublings that are compiled in: norms up to `THETA * 2**17 = 65536` are in range."""

LARGEST_EXPONENT = 30
"""Powers of two are taken out of entries above `2**30`, whose squares fit float32."""

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
        up to a norm of 30, and grows in proportion to the norm beyond: a rotation by
        10,000 rad has three digits in float32. Where the 1-norm of `A - tr(A)/d`
        exceeds 65,536, or `A` is not finite, the result is NaN and so are its
        derivatives: a result is accurate or flagged, never silently wrong. A result
        that overflows is infinite, its derivatives NaN. Where a caller puts another
        value by `jnp.where`, derivatives are that value's.

    Raises:
        ValueError: If the shapes do not fit or the precision is neither float32 nor
            float64.
    """
    check_numbers(A=A, z=z)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or z.shape != A.shape[:1]:
        raise ValueError(
            "expm_action needs A of shape [d, d] and z of shape [d]; "
            f"got A {A.shape} and z {z.shape}."
        )
    dtype = jnp.result_type(A, z)
    return _expm_action(A.astype(dtype), z.astype(dtype))


@jax.jit
def _expm_action(A, z):
    """Do it; a step of training calls it seven times, and traces it once."""
    dtype = A.dtype
    doublings = _doublings(jax.lax.stop_gradient(_traceless(A)[1]))
    bad = doublings > MAX_DOUBLINGS
    mean, X = _traceless(_replace(A, bad, 0.0))
    X = X * jnp.ldexp(jnp.ones((), dtype), -doublings)  # exact; exp2 is not
    start = _expm1_taylor(X, *_DEGREES[dtype.name]), jnp.ones((), dtype), mean * 0.0
    # A loop of fixed length: differentiable in any mode, and compiled once.
    double = lambda k, exp: jax.tree.map(
        functools.partial(jnp.where, k < doublings), _doubled(*exp), exp
    )
    start = as_varying(start, doublings, start)
    G, u, s = jax.lax.fori_loop(0, MAX_DOUBLINGS, double, start)
    z = _replace(z, bad, 1.0)
    direction, rate = u * z + _product(G, z), mean + math.log(2.0) * s
    known = jax.lax.stop_gradient(jnp.exp(rate) * direction)
    overflow = ~jnp.all(jnp.isfinite(known))
    result = jnp.exp(_replace(rate, overflow, 0.0)) * direction
    known = jnp.where(bad, jnp.nan, known) - jax.lax.stop_gradient(result)
    return result + jnp.where(bad | overflow, known, 0.0)


def _traceless(A):
    """Return the mean eigenvalue and what is left of the matrix without it."""
    mean = jnp.trace(A) / A.shape[0]
    return mean, A - mean * jnp.eye(A.shape[0], dtype=A.dtype)


def _doubled(G, u, s):
    """Square `2^s (G + u)`, and take out a power of two where `G` is large."""
    G, u, s = 2 * u * G + _product(G, G), u * u, 2 * s
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(G)), initial=0.0)
    _, exponent = jnp.frexp(largest)
    exponent = jnp.where(exponent > LARGEST_EXPONENT, exponent, 0)
    factor = jnp.ldexp(jnp.ones_like(u), -exponent)
    return G * factor, u * factor, s + exponent.astype(s.dtype)


@jax.custom_jvp
def _replace(x, bad, value):
    """Replace `x` by a value where it is bad; derivatives there are NaN, if not zero.

    Zero stays zero, so that nothing leaks through a `jnp.where` that leaves the bad
    result out.
    """
    return jnp.where(bad, jnp.asarray(value, x.dtype), x)


@_replace.defjvp
def _replace_jvp(primals, tangents):
    (x, bad, value), (t, *_) = primals, tangents
    # Infinity times 0 is NaN, and 0 times anything finite is 0: forwards, and backwards
    # in the transposed order. 1, seven times, changes no bit.
    largest = jnp.where(bad, jnp.finfo(t.dtype).max, 1.0).astype(t.dtype)
    nothing = jnp.where(bad, 0.0, 1.0).astype(t.dtype)
    for factor in (largest, largest, largest, nothing, largest, largest, largest):
        t = t * factor
    return _replace(x, bad, value), t


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
        # Term by term: for one matrix and many vectors, jaxlib 0.10.2 compiles a
        # reduction that is wrong from the 32,768th number on (jax issue 39103).
        total = a[:, 0] * b[0]
        for j in range(1, a.shape[1]):
            total = total + a[:, j] * b[j]
        return total
    return jnp.sum(a[:, :, None] * b[None], axis=1)
