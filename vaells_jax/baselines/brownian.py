"""Brownian motion of an immersion's metric, and its density for small times."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.immersions import Immersion, metric


class BrownianMotion(NamedTuple):
    """A start, a time t, and the Cholesky factor L of the metric there."""

    mean: Float[Array, "*n d"]
    time: Float[Array, "*n"]
    factor: Float[Array, "*n d d"]


def motion(
    immersion: Immersion, params: Any, mean: Float[Array, " d"], time: Float[Array, ""]
) -> BrownianMotion:
    """Return the motion from a point, of so long a time."""
    return BrownianMotion(
        mean, time, jnp.linalg.cholesky(metric(immersion, params, mean))
    )


def log_heat(
    squared: Float[Array, ""], time: Float[Array, ""], factor: Float[Array, "d d"]
) -> Float[Array, ""]:
    """Return `log sqrt(det M) (2 pi t)^(-d/2) exp(-l^2 / 2t)` in nats.

    The first term of the density's expansion for small times, of coordinates; on a flat
    space it is the density.

    Args:
        squared: l^2, the squared distance from the start.
        time: t.
        factor: Cholesky factor of M where the density is wanted.
    """
    volume = jnp.sum(jnp.log(jnp.diag(factor)))
    return volume - 0.5 * (len(factor) * jnp.log(2 * math.pi * time) + squared / time)


def sample_tangent(key: PRNGKeyArray, start: BrownianMotion) -> Float[Array, " d"]:
    """Draw N(mean, t M^-1(mean)), to which the motion tends for small times."""
    mean, time, factor = start
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    return mean + jnp.sqrt(time) * jax.scipy.linalg.solve_triangular(
        factor.T, noise, lower=False
    )


def log_tangent(z: Float[Array, " d"], start: BrownianMotion) -> Float[Array, ""]:
    """Return the log-density of `sample_tangent`, exactly."""
    mean, time, factor = start
    return log_heat(jnp.sum((factor.T @ (z - mean)) ** 2), time, factor)


def walk(
    key: PRNGKeyArray,
    immersion: Immersion,
    params: Any,
    start: BrownianMotion,
    *,
    steps: int,
) -> Float[Array, " d"]:
    """Draw where the motion is, by a walk.

    Each step's image has the variance t / steps in every direction and follows a
    geodesic to second order, `z + v - 1/2 M^-1 J^T D^2 f(v, v)`: that is the drift.
    A step whose image is more than twice as long as the geodesic is not taken: the
    metric grows along it, and the walk is too coarse for that. Differentiable in
    params, mean and time.
    """

    def step(z, noise):
        factor = jnp.linalg.cholesky(metric(immersion, params, z))
        v = jax.scipy.linalg.solve_triangular(factor.T, noise, lower=False)
        v = v * jnp.sqrt(start.time / steps)
        image = lambda z: immersion(params, z)
        along = lambda z: jax.jvp(image, (z,), (v,))[1]
        normal = jax.vjp(image, z)[1](jax.jvp(along, (z,), (v,))[1])[0]
        turn = jax.scipy.linalg.cho_solve((factor, True), normal)
        moved = z + v - 0.5 * turn
        squared = jnp.sum((image(moved) - image(z)) ** 2)
        near = squared <= 4.0 * jnp.sum(noise**2) * start.time / steps
        return jnp.where(near, moved, z), None  # nor is one to NaN

    noise = jax.random.normal(key, (steps, *start.mean.shape), start.mean.dtype)
    return jax.lax.scan(step, start.mean, noise)[0]
