"""Pairs of points on one orbit of a flow that is known and not linear."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vaells_jax.checks import as_count, check_finite, check_key, check_shapes

# Yoshida, "Construction of higher order symplectic integrators", 1990, Table 1, A.
_OUTER = (0.784513610477560, 0.235573213359357, -1.17767998417887)
_LENGTHS = np.array([*_OUTER, 1.0 - 2.0 * sum(_OUTER), *_OUTER[::-1]])


class FlowPairs(NamedTuple):
    """Pairs of points and the time from one to the other.

    Attributes:
        start: Where each pair starts: positions q, then momenta p.
        end: Where the flow is after the time.
        times: Of each pair, of either sign.
    """

    start: Float[Array, "n d"]
    end: Float[Array, "n d"]
    times: Float[Array, " n"]


class Flow(NamedTuple):
    """A flow that conserves H = kinetic(p) + potential(q): q' = dH/dp, p' = -dH/dq.

    Attributes:
        name: Name in tables.
        kinetic: Of the momenta of one point.
        potential: Of the positions of one point.
        starts: Draws points `[n, d]` from a key and their number.
        reach: Times are drawn uniformly between -reach and reach.
        step: Longest step in time of the integrator.
    """

    name: str
    kinetic: Callable[[Array], Array]
    potential: Callable[[Array], Array]
    starts: Callable[[Array, int], Array]
    reach: float = 1.0
    step: float = 0.02

    def energy(self, points: Float[Array | np.ndarray, "n d"]) -> Float[Array, " n"]:
        """Return H of each point.

        Raises:
            ValueError: If points are not finite numbers of an even size.
        """
        _check_points(points)
        q, p = jnp.split(points, 2, axis=1)
        return jax.vmap(self.kinetic)(p) + jax.vmap(self.potential)(q)

    def move(
        self,
        points: Float[Array | np.ndarray, "n d"],
        times: Float[Array | np.ndarray, " n"],
    ) -> Float[Array, "n d"]:
        """Return where each point is after its time, by Yoshida's sixth-order scheme.

        Each point has steps of its own length, all have the same number. The scheme is
        symplectic and reversible.

        Args:
            points: Positions, then momenta.
            times: Of either sign.

        Raises:
            ValueError: If shapes disagree, the points' size is odd or numbers are not
                finite.
        """
        _check_points(points)
        check_finite("times", times)
        check_shapes(points=(points, "n d"), times=(times, "n"))
        return _moved(self, points, times)

    def pairs(self, key: Key[Array, ""], count: int) -> FlowPairs:
        """Draw pairs.

        Args:
            key: Random key.
            count: Number of pairs.

        Raises:
            ValueError: If an argument is not of its kind.
        """
        check_key("key", key)
        count = as_count("count", count)
        start_key, time_key = jax.random.split(key)
        start = self.starts(start_key, count)
        times = jax.random.uniform(
            time_key, (count,), minval=-self.reach, maxval=self.reach
        )
        return FlowPairs(start, self.move(start, times), times)


def _check_points(points):
    check_finite("points", points)
    check_shapes(points=(points, "n d"))
    if points.shape[1] % 2:
        raise ValueError(
            "points must have as many momenta as positions, [n, 2 h]; got shape "
            f"{list(points.shape)}."
        )


@functools.partial(jax.jit, static_argnums=0)
def _moved(flow, points, times):
    velocity, slope = (jax.vmap(jax.grad(f)) for f in (flow.kinetic, flow.potential))
    count = jnp.ceil(jnp.max(jnp.abs(times)) / flow.step).astype(int)
    length = (times / jnp.maximum(count, 1))[:, None].astype(points.dtype)

    def step(_, point):
        q, p = point
        for share in _LENGTHS:
            h = jnp.asarray(share, points.dtype) * length
            q = q + 0.5 * h * velocity(p)
            p = p - h * slope(q)
            q = q + 0.5 * h * velocity(p)
        return q, p

    halves = tuple(jnp.split(points, 2, axis=1))
    return jnp.concatenate(jax.lax.fori_loop(0, count, step, halves), axis=1)


def _swinging(key, count):
    """Draw (angle, velocity) that swings without going over: k = sin(highest / 2)."""
    size_key, phase_key = jax.random.split(key)
    k = jax.random.uniform(size_key, (count,), minval=0.1, maxval=0.9)
    phase = jax.random.uniform(phase_key, (count,), maxval=2.0 * jnp.pi)
    angle = 2.0 * jnp.arcsin(k * jnp.cos(phase))
    return jnp.stack([angle, 2.0 * k * jnp.sin(phase)], axis=1)


def _populations(key, count):
    """Draw logarithms of predators and prey, in units of the equilibrium."""
    size_key, phase_key = jax.random.split(key)
    size = jax.random.uniform(size_key, (count, 1), minval=0.1, maxval=1.2)
    phase = jax.random.uniform(phase_key, (count,), maxval=2.0 * jnp.pi)
    return size * jnp.stack([jnp.cos(phase), jnp.sin(phase)], axis=1)


def _orbiting(key, count):
    """Draw ellipses of semi-axis 1, so of period 2 pi, that turn anticlockwise."""
    shape_key, place_key, turn_key = jax.random.split(key, 3)
    e = jax.random.uniform(shape_key, (count,), maxval=0.5)
    E = jax.random.uniform(place_key, (count,), maxval=2.0 * jnp.pi)
    turn = jax.random.uniform(turn_key, (count,), maxval=2.0 * jnp.pi)
    narrow = jnp.sqrt(1.0 - e**2)
    position = (jnp.cos(E) - e) + 1j * narrow * jnp.sin(E)
    velocity = (-jnp.sin(E) + 1j * narrow * jnp.cos(E)) / (1.0 - e * jnp.cos(E))
    z = jnp.exp(1j * turn)[:, None] * jnp.stack([position, velocity], axis=1)
    return jnp.stack([z.real, z.imag], axis=2).reshape(count, 4)


FLOWS: dict[str, Flow] = {
    "pendulum": Flow(
        "pendulum",
        kinetic=lambda p: 0.5 * jnp.sum(p**2),
        potential=lambda q: -jnp.sum(jnp.cos(q)),
        starts=_swinging,
    ),
    "lotka_volterra": Flow(
        "Lotka-Volterra",
        kinetic=lambda p: jnp.sum(jnp.exp(p) - p),
        potential=lambda q: jnp.sum(jnp.exp(q) - q),
        starts=_populations,
    ),
    "two_bodies": Flow(
        "two bodies",
        kinetic=lambda p: 0.5 * jnp.sum(p**2),
        potential=lambda q: -1.0 / jnp.sqrt(jnp.sum(q**2)),
        starts=_orbiting,
    ),
}
"""Known flows, in units of which every constant is 1.

The pendulum's positions are angles, and as it never goes over the top they need no
wrapping. Those of Lotka and Volterra are logarithms of predators (q) and prey (p), of
their equilibrium. Two bodies are one as the other sees it, in the plane of its ellipse.
"""
