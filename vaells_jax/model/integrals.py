"""Latent densities with the coefficients integrated, not maximised: eqs. 6 and 7.

For operators that scale and turn planes of latents, each by a coefficient of its own,

    q(z|x) = int p(c) N(z; T_Psi(c) f(x), gamma^2 I) dc

is a product over planes. In each plane the coefficient of the turning enters by the
angle `theta = w c` alone, modulo 2 pi: all windings together are one integral over one
turn, under the density of a Laplace variable wrapped around the circle,

    p(theta) = rho / 2 cosh(rho (pi - |theta|)) / sinh(pi rho),   rho = zeta_3 / |w|.

The integrand is steep in two places at most, the kink at 0 and the maximum near the
angle from f(x) to z. Quadrature starts at both with the step that the slope and the
curvature there ask for, and its steps grow from there, however small gamma is. Scalings
`exp(a c)` are integrated around that in the same way.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import check_number
from vaells_jax.inference.planes import plane_rates
from vaells_jax.model.posterior import check_latent, check_rate, log_posterior
from vaells_jax.model.types import Density
from vaells_jax.operators.transport import check_operators

_NODES = 32
"""Nodes to each side of a steep place. Relative errors were at most 3e-6 (24: 5e-5) in
60 random planes, gamma from 1e-3 to 3, rates from 1e-2 to 1e6."""

_SLOWEST = 1e-9
"""Rates of operators are rounded up to this times zeta_3: below it nothing moves."""

_TAIL = 45.0
"""A Laplace density is followed down to e^-45 of its maximum."""


def log_posterior_integral(
    z: Float[Array, " d"],
    latent_mean: Float[Array, " d"],
    operators: Float[Array, "M d d"],
    *,
    residual_weight: float,
    l1_weight: float | Float[Array, " M"],
) -> Float[Array, ""]:
    """Return the normalised log q(z|x) of eq. 6, with coefficients integrated, in nats.

    Args:
        z: The point at which to evaluate the density.
        latent_mean: `f(x)`, or an anchor's latent for a component of the prior.
        operators: M <= d / 2: operator m turns latents 2m and 2m + 1 alone; M = d:
            operator 2k scales latents 2k and 2k + 1, and operator 2k + 1 turns them.
        residual_weight: zeta_2 = 1 / gamma^2 (zeta_4 in the prior), positive.
        l1_weight: zeta_3 (zeta_5 in the prior), the rate of all coefficients or of
            each, positive.

    Returns:
        The log-density; NaN for operators of another kind.

    Raises:
        ValueError: If shapes disagree, or a concrete weight is not positive.
    """
    check_operators(operators)
    check_latent("latent_mean", latent_mean, operators)
    check_latent("z", z, operators)
    check_number("residual_weight", residual_weight, strict=True)
    check_rate("l1_weight", l1_weight, operators, strict=True)
    scalings, turnings, known = plane_rates(operators)
    count = 2 * len(turnings)
    a, v = (x[:count].reshape(-1, 2) for x in (latent_mean, z))
    l1_weights = jnp.broadcast_to(jnp.asarray(l1_weight, z.dtype), len(operators))
    if scalings is None:
        one = functools.partial(_log_turned, residual_weight=residual_weight)
        logs = jax.vmap(one)(a, v, turnings, l1_weights[: len(turnings)])
    else:
        one = functools.partial(_log_scaled, residual_weight=residual_weight)
        logs = jax.vmap(one)(a, v, scalings, turnings, l1_weights.reshape(-1, 2))
    rest = jnp.sum((z - latent_mean)[count:] ** 2)
    constant = 0.5 * z.size * math.log(2 * math.pi)
    scale = 0.5 * z.size * jnp.log(jnp.asarray(residual_weight, z.dtype))
    found = jnp.sum(logs) - 0.5 * residual_weight * rest - constant + scale
    return jnp.where(known, found, jnp.nan)


def log_component(
    operators: Float[Array, "M d d"],
    start: Float[Array, " d"],
    z: Float[Array, " d"],
    coefficients: Float[Array, " M"],
    *,
    residual_weight: float,
    l1_weight: float,
    density: Density,
    point_spread: Float[Array, " M"] | None = None,
) -> Float[Array, ""]:
    """Return the log-density of `z` around the start of a path, in nats.

    Args:
        operators: The dictionary Psi.
        start: `f(x)` or an anchor's latent.
        z: The point at which to evaluate the density.
        coefficients: The inferred `c*`, which an integral does not use.
        residual_weight: zeta_2 or zeta_4.
        l1_weight: zeta_3 or zeta_5.
        density: `log_posterior` or `log_posterior_integral`.
        point_spread: Factor on the scale of each coefficient at the start, if it
            differs from point to point.
    """
    units = point_spread
    if units is not None and density == "max":
        # c* is a constant for differentiation, as in the paper, but in units of its
        # scale: a sample's coefficients grow with it. The entropy's gradient is left.
        units = jax.lax.stop_gradient(units)
    rate = l1_weight if units is None else l1_weight / units
    if density == "integral":
        return log_posterior_integral(
            z, start, operators, residual_weight=residual_weight, l1_weight=rate
        )
    found = log_posterior(
        z, start, operators, coefficients, residual_weight=residual_weight,
        l1_weight=rate,
    )  # fmt: skip
    return found if point_spread is None else found - jnp.sum(jnp.log(point_spread))


def log_wrapped_laplace(
    angle: Float[Array, "*s"], rate: Float[Array, ""] | float
) -> Float[Array, "*s"]:
    """Return the log-density of a Laplace variable around the circle, in nats.

    Args:
        angle: In radians, from -2 pi to 2 pi.
        rate: Inverse scale rho of the variable on the line, positive.
    """
    size = jnp.abs(angle)
    near = jnp.minimum(size, 2 * jnp.pi - size)
    back = jnp.log1p(jnp.exp(-2 * rate * (jnp.pi - near)))
    total = jnp.log(-jnp.expm1(-2 * jnp.pi * rate))
    return jnp.log(0.5 * rate) - rate * near + back - total


def _log_turned(a, v, w, l1_weight, *, residual_weight):
    """Integrate over one turn of a plane, the Gaussian's constant left out."""
    rate = _laplace_rate(w, l1_weight)
    angles, weights = jax.lax.stop_gradient(_angles(a, v, rate, residual_weight))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first = v[0] - (cos * a[0] - sin * a[1])
    second = v[1] - (sin * a[0] + cos * a[1])
    logs = log_wrapped_laplace(angles, rate)
    logs = logs - 0.5 * residual_weight * (first**2 + second**2)
    return jax.nn.logsumexp(logs, b=weights)


def _log_scaled(a, v, scaling, w, l1_weights, *, residual_weight):
    """Integrate over scalings and turns of a plane."""
    rate = _laplace_rate(scaling, l1_weights[0])
    logs, weights = jax.lax.stop_gradient(_scalings(a, v, rate, residual_weight))
    one = lambda s: _log_turned(
        jnp.exp(s) * a, v, w, l1_weights[1], residual_weight=residual_weight
    )
    density = jnp.log(0.5 * rate) - rate * jnp.abs(logs)
    return jax.nn.logsumexp(jax.vmap(one)(logs) + density, b=weights)


def _laplace_rate(speed, l1_weight):
    """Return the rate of `speed * c`: zeta_3 / |speed|, finite and smooth at 0."""
    return l1_weight / jnp.sqrt(speed**2 + (_SLOWEST * l1_weight) ** 2)


def _angles(a, v, rate, residual_weight):
    """Place nodes on one turn: from 0 and from the maximum, to both sides of each."""
    along, across = a[0] * v[0] + a[1] * v[1], a[0] * v[1] - a[1] * v[0]
    steep = residual_weight * jnp.sqrt(along**2 + across**2)
    ratio = jnp.where(steep > 0, rate / jnp.where(steep > 0, steep, 1.0), 1.0)
    apart = jnp.abs(jnp.arctan2(across, along))
    top = jnp.maximum(apart - jnp.arcsin(jnp.minimum(ratio, 1.0)), 0.0)
    wide = 1.0 / (1.0 + jnp.sqrt(steep))
    kink = 1.0 / (1.0 / wide + rate + steep * jnp.sin(apart))
    peak = jnp.where(top > 0, wide, kink)
    below, below_weights = _graded(jnp.pi - top, kink)
    above, above_weights = _graded(0.5 * top, kink)
    before, before_weights = _graded(0.5 * top, peak)
    after, after_weights = _graded(jnp.full_like(top, jnp.pi), peak)
    sense = jnp.where(across < 0, -1.0, 1.0)
    angles = jnp.concatenate([-below, above, top - before, top + after])
    weights = [below_weights, above_weights, before_weights, after_weights]
    return sense * angles, jnp.concatenate(weights)


def _scalings(a, v, rate, residual_weight):
    """Place nodes on the logarithms of scalings, from 0 and from the maximum."""
    tiny = jnp.finfo(a.dtype).tiny ** 0.25
    radius, wanted = (jnp.maximum(jnp.hypot(*x), tiny) for x in (a, v))
    # Stationary points of 1/2 (r - wanted)^2 / gamma^2 + rate |log(r / radius)|.
    root = lambda sign: (
        0.5
        * (
            wanted
            + jnp.sqrt(jnp.maximum(wanted**2 - sign * 4 * rate / residual_weight, 0))
        )
    )
    grown = jnp.maximum(root(1.0), radius)
    shrunk = jnp.minimum(root(-1.0), radius)
    top = jnp.log(jnp.where(wanted > radius, grown, shrunk) / radius)
    slope = residual_weight * radius * jnp.abs(radius - wanted)
    bend = jnp.sqrt(residual_weight) * jnp.maximum(radius, wanted)
    kink = 1.0 / (1.0 + rate + slope + bend)
    peak = jnp.where(top != 0, 1.0 / (1.0 + bend), kink)
    # Beyond both, towards 0 by the Laplace density, outwards by the Gaussian as well.
    inwards = _TAIL / rate
    farthest = (radius + wanted + _TAIL / jnp.sqrt(residual_weight)) / radius
    outwards = jnp.minimum(inwards, 1.0 + jnp.log(farthest))
    up = top > 0
    half = 0.5 * jnp.abs(top)
    sense = jnp.where(up, 1.0, -1.0)
    below, below_weights = _graded(jnp.where(up, inwards, outwards), kink)
    above, above_weights = _graded(half, kink)
    before, before_weights = _graded(half, peak)
    after, after_weights = _graded(jnp.where(up, outwards, inwards), peak)
    size = jnp.abs(top)
    nodes = jnp.concatenate([-below, above, size - before, size + after])
    weights = [below_weights, above_weights, before_weights, after_weights]
    return sense * nodes, jnp.concatenate(weights)


def _graded(length, scale):
    """Return nodes and weights on [0, length], the closer to 0 the denser.

    Gauss-Legendre's, of u in `x = scale sinh(u)`.
    """
    nodes, weights = (
        jnp.asarray(x, length.dtype) for x in np.polynomial.legendre.leggauss(_NODES)
    )
    half = 0.5 * jnp.arcsinh(length / scale)
    u = half * (nodes + 1.0)
    return scale * jnp.sinh(u), half * weights * scale * jnp.cosh(u)
