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
from vaells_jax.inference.planes import turning, turning_rates
from vaells_jax.model.posterior import check_latent, log_posterior
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
    l1_weight: float,
) -> Float[Array, ""]:
    """Return the normalised log q(z|x) of eq. 6, with coefficients integrated, in nats.

    Args:
        z: The point at which to evaluate the density.
        latent_mean: `f(x)`, or an anchor's latent for a component of the prior.
        operators: M <= d / 2: operator m turns latents 2m and 2m + 1 alone; M = d:
            operator 2k scales latents 2k and 2k + 1, and operator 2k + 1 turns them.
        residual_weight: zeta_2 = 1 / gamma^2 (zeta_4 in the prior), positive.
        l1_weight: zeta_3, the rate of the coefficients (zeta_5 in the prior), positive.

    Returns:
        The log-density; NaN for operators of another kind.

    Raises:
        ValueError: If shapes disagree, or a concrete weight is not positive.
    """
    check_operators(operators)
    check_latent("latent_mean", latent_mean, operators)
    check_latent("z", z, operators)
    check_number("residual_weight", residual_weight, strict=True)
    check_number("l1_weight", l1_weight, strict=True)
    scalings, turnings, moved = _rates(operators)
    kind = jnp.all(operators == moved)
    count = 2 * len(turnings)
    planes = [x[:count].reshape(-1, 2) for x in (latent_mean, z)]
    rates = (turnings,) if scalings is None else (scalings, turnings)
    one = functools.partial(
        _log_turned if scalings is None else _log_scaled,
        residual_weight=residual_weight,
        l1_weight=l1_weight,
    )
    logs = jax.vmap(one)(*planes, *rates)
    rest = jnp.sum((z - latent_mean)[count:] ** 2)
    constant = 0.5 * z.size * math.log(2 * math.pi)
    scale = 0.5 * z.size * jnp.log(jnp.asarray(residual_weight, z.dtype))
    found = jnp.sum(logs) - 0.5 * residual_weight * rest - constant + scale
    return jnp.where(kind, found, jnp.nan)


def log_component(
    operators: Float[Array, "M d d"],
    start: Float[Array, " d"],
    z: Float[Array, " d"],
    coefficients: Float[Array, " M"],
    *,
    residual_weight: float,
    l1_weight: float,
    density: Density,
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
    """
    weights = {"residual_weight": residual_weight, "l1_weight": l1_weight}
    if density == "max":
        return log_posterior(z, start, operators, coefficients, **weights)
    return log_posterior_integral(z, start, operators, **weights)


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


def _rates(operators):
    """Return rates of scalings, if there are any, and turnings, and the dictionary."""
    count, size = operators.shape[:2]
    if count != size or size % 2:
        turnings = turning_rates(operators[: size // 2])
        return None, turnings, turning(turnings, size, count)
    first = jnp.arange(0, size, 2)
    scalings = operators[first, first, first]
    turnings = operators[first + 1, first + 1, first]
    moved = jnp.zeros_like(operators)
    for row in (first, first + 1):
        moved = moved.at[first, row, row].set(scalings)
    moved = moved.at[first + 1, first + 1, first].set(turnings)
    return scalings, turnings, moved.at[first + 1, first, first + 1].set(-turnings)


def _log_turned(a, v, w, *, residual_weight, l1_weight):
    """Integrate over one turn of a plane, the Gaussian's constant left out."""
    rate = _laplace_rate(w, l1_weight)
    angles, weights = jax.lax.stop_gradient(_angles(a, v, rate, residual_weight))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first = v[0] - (cos * a[0] - sin * a[1])
    second = v[1] - (sin * a[0] + cos * a[1])
    logs = log_wrapped_laplace(angles, rate)
    logs = logs - 0.5 * residual_weight * (first**2 + second**2)
    return jax.nn.logsumexp(logs, b=weights)


def _log_scaled(a, v, scaling, w, *, residual_weight, l1_weight):
    """Integrate over scalings and turns of a plane."""
    rate = _laplace_rate(scaling, l1_weight)
    logs, weights = jax.lax.stop_gradient(_scalings(a, v, rate, residual_weight))
    weights_of = {"residual_weight": residual_weight, "l1_weight": l1_weight}
    one = lambda s: _log_turned(jnp.exp(s) * a, v, w, **weights_of)
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
