"""Moments of the von Mises-Fisher density's cosine, accurate for all concentrations.

The angle `theta` between a vector of that density on the unit sphere of R^m and the
mean direction has the density `exp(kappa cos theta) sin(theta)^(m-2) / I`. The Bessel
functions in the density, its divergence and its samples' derivative are integrals of
that smooth function over an interval in which all of its mass lies. 64 Gauss-Legendre
nodes give them to the last digits: no order is special, nothing overflows and no term
is the difference of two large ones.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
REACH = 12.0
"""Half an interval's length in deviations of the angle: what lies beyond is below
roundoff."""

_TERMS = 48
"""Of the power series; enough below `_switch`."""


class CosineMoments(NamedTuple):
    """Of `w = cos theta` under the density of concentration kappa.

    Attributes:
        log_mass: Log of the mean of `exp(-kappa (1 - w))` under the uniform density.
        complement: `1 - E[w]`, without cancellation.
        variance: Of w.
    """

    log_mass: Float[Array, ""]
    complement: Float[Array, ""]
    variance: Float[Array, ""]


def log_sphere_area(dim: int) -> float:
    """Return the log of the area of the unit sphere of R^dim, `2 pi^(m/2) / G(m/2)`."""
    half = dim / 2
    return math.log(2.0) + half * math.log(math.pi) - math.lgamma(half)


def cosine_moments(kappa: Float[Array, ""], dim: int) -> CosineMoments:
    """Integrate the angle's density, `(1 - cos)^k exp(-kappa (1 - cos)) sin^(m-2)`.

    Args:
        kappa: Concentration, at least 0.
        dim: Ambient dimension m, at least 2.

    Returns:
        The moments, to about ten units of roundoff.
    """
    check_dim(dim)
    known = jax.lax.stop_gradient(kappa)  # the interval's ends carry no mass
    spread = angle_spread(known, dim)
    # Where the density is largest: kappa sin^2 = (m - 2) cos.
    ratio = (dim - 2) / jnp.maximum(known, 1e-6)
    cosine = 2.0 / (ratio + jnp.sqrt(ratio**2 + 4.0))
    middle = jnp.arccos(jnp.clip(cosine, 0.0, 1.0))
    low = jnp.maximum(middle - REACH * spread, 0.0)
    high = jnp.minimum(middle + REACH * spread, jnp.pi)
    angles, weights = quadrature(low, high)
    below = 2.0 * jnp.sin(angles / 2.0) ** 2  # 1 - cos, without cancellation
    logs = -kappa * below + (dim - 2) * jnp.log(jnp.sin(angles))
    largest = jnp.max(logs)
    density = weights * jnp.exp(logs - largest)
    total = jnp.sum(density)
    density = density / total
    complement = jnp.sum(density * below)
    uniform = log_sphere_area(dim) - log_sphere_area(dim - 1)
    return CosineMoments(
        jnp.log(total) + largest - uniform,
        complement,
        jnp.sum(density * (below - complement) ** 2),
    )


def quadrature(
    low: Float[Array, ""], high: Float[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return Gauss-Legendre nodes and weights on an interval."""
    half = (high - low) / 2.0
    nodes, weights = (jnp.asarray(x, half.dtype) for x in (_NODES, _WEIGHTS))
    return low + half * (1.0 + nodes), half * weights


def angle_spread(kappa: Float[Array, ""], dim: int) -> Float[Array, ""]:
    """Return about the deviation of the angle, nowhere below half of it."""
    return 1.0 / jnp.sqrt(kappa + max(dim - 2, 0.1))


def series(
    kappa: Float[Array, ""], dim: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum the mean of `exp(kappa w)` under the uniform density, in powers of kappa^2.

    It is `0F1(; m/2; kappa^2/4)`: positive terms, so that its small excess over 1 has
    all its digits.

    Returns:
        That mean's excess over 1, and the mean of `kappa w exp(kappa w)`.
    """
    k = np.arange(1, _TERMS + 1)
    logs = -np.cumsum(np.log(k * (dim / 2 + k - 1)))
    half = jnp.log(jnp.maximum(kappa, jnp.finfo(kappa.dtype).tiny) / 2.0)
    terms = jnp.exp(jnp.asarray(logs, kappa.dtype) + 2.0 * k.astype(kappa.dtype) * half)
    return jnp.sum(terms), jnp.sum(2.0 * k.astype(kappa.dtype) * terms)


def small(kappa: Float[Array, ""], dim: int) -> Bool[Array, ""]:
    """Return whether the power series is the more accurate."""
    return kappa < max(10.0, dim / 2)


def check_dim(dim: int) -> None:
    """Raise a ValueError unless there is a sphere of that ambient dimension."""
    if dim < 2:
        raise ValueError(f"dim must be at least 2, the circle's; got {dim}.")


def unit(
    vector: Float[Array, " m"], fallback: Float[Array, " m"] | None = None
) -> Float[Array, " m"]:
    """Scale a vector to length 1; one of no length gives the fallback, or first axis.

    Derivatives are finite for every vector.
    """
    squared = jnp.sum(vector**2, axis=-1, keepdims=True)
    usable = squared > (1e-24 if vector.dtype == jnp.float32 else 1e-200)
    if fallback is None:
        fallback = jnp.zeros_like(vector).at[..., 0].set(1.0)
    return jnp.where(
        usable, vector / jnp.sqrt(jnp.where(usable, squared, 1.0)), fallback
    )


def great_circle(
    starts: Float[Array, "P m"], ends: Float[Array, "P m"], times: Float[Array, " T"]
) -> Float[Array, "P T m"]:
    """Join pairs of unit vectors by the sphere's geodesics.

    Between opposite points, which every great circle joins, the path stays where it
    starts.
    """
    norm = lambda x: jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True))
    angle = 2.0 * jnp.arctan2(norm(ends - starts), norm(ends + starts))
    across = ends - jnp.cos(angle) * starts
    length = norm(across)
    across = jnp.where(length > 0, across / jnp.where(length > 0, length, 1.0), 0.0)
    turned = times[None, :, None] * angle[:, None]
    return jnp.cos(turned) * starts[:, None] + jnp.sin(turned) * across[:, None]
