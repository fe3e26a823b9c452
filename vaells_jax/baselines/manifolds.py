"""Closed manifolds that latents may lie on: spheres, flat tori, rotations.

Each has points as vectors of `size` entries, of which an encoder gives any `size`
numbers, random walks, Gaussians of its tangent spaces pushed onto it, and geodesics.
Densities are with respect to the volume. All functions but `path` take one point.
"""

import abc
import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines import rotations
from vaells_jax.baselines.sphere import great_circle, log_sphere_area, unit

_TURNS = 3
"""Turns to either side whose pre-images count: beyond lie 9 deviations or more."""


def between(low: float, high: float, raw: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Map any numbers into a range, their sigmoid being the place on its log scale."""
    first, last = math.log(low), math.log(high)
    return jnp.exp(first + (last - first) * jax.nn.sigmoid(raw))


@dataclasses.dataclass(frozen=True)
class Manifold(abc.ABC):
    """A closed manifold without a boundary, embedded.

    Attributes:
        size: Entries of a point.
        dim: The manifold's dimension d.
        log_volume: Log of its volume.
        curvature: Its scalar curvature.
        max_time: The time of Brownian motion to which the small-time divergence is
            accurate (to 0.005 nats in dimensions 1 and 2, 0.07 in 6, 0.3 in 16).
    """

    size: int
    dim: int
    log_volume: float
    curvature: float
    max_time: float

    @abc.abstractmethod
    def project(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """Map any vector to the manifold."""

    @abc.abstractmethod
    def walk(
        self, key: PRNGKeyArray, start: Float[Array, " n"], time: Float[Array, ""],
        steps: int,
    ) -> Float[Array, " n"]:  # fmt: skip
        """Draw from the heat kernel by a random walk; t is a direction's variance."""

    @abc.abstractmethod
    def push(
        self, key: PRNGKeyArray, mean: Float[Array, " n"], std: Float[Array, "*k"]
    ) -> Float[Array, " n"]:
        """Draw a Gaussian tangent vector at the mean and map it by the exponential."""

    @abc.abstractmethod
    def log_pushed(
        self, z: Float[Array, " n"], mean: Float[Array, " n"], std: Float[Array, "*k"]
    ) -> Float[Array, ""]:
        """Return the log-density of `push` in nats, summed over the pre-images."""

    @abc.abstractmethod
    def path(
        self,
        starts: Float[Array, "P n"],
        ends: Float[Array, "P n"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T n"]:
        """Join pairs of points by geodesics."""

    def uniform(self, key: PRNGKeyArray) -> Float[Array, " n"]:
        """Draw uniformly: a Gaussian vector's projection."""
        return self.project(jax.random.normal(key, (self.size,)))

    def kl_to_uniform(self, time: Float[Array, ""]) -> Float[Array, ""]:
        """Return the heat kernel's divergence from uniform for small times, nats.

        `-d/2 log(2 pi t) - d/2 + log Vol + Scal t / 4` (Perez Rey et al., 2020), with
        an error of order t^2.
        """
        flat = -0.5 * self.dim * (jnp.log(2.0 * math.pi * time) + 1.0)
        return flat + self.log_volume + 0.25 * self.curvature * time


class Spheres(Manifold):
    """A product of unit spheres S^(m-1): a circle, a sphere, a flat torus."""

    def __init__(self, count: int, ambient: int):
        dim = ambient - 1
        super().__init__(
            count * ambient, count * dim, count * log_sphere_area(ambient),
            count * dim * (dim - 1.0), 1.0 / dim,
        )  # fmt: skip

    def _each(self, vector):
        count = self.size - self.dim
        return vector.reshape(count, self.size // count)

    def project(self, vector):
        """Scale each sphere's vector to length 1."""
        return jax.vmap(unit)(self._each(vector)).ravel()

    def walk(self, key, start, time, steps):
        """Add Gaussian vectors and project, step after step (Perez Rey et al.).

        Note:
            Of a step of variance s a sphere's Laplacian sees `s (1 + (3 - d) s / 2)`,
            so that steps are shorter or longer by that: the walk errs by 1/steps^2.
        """
        share = time / steps
        dim = self.size // (self.size - self.dim) - 1
        std = jnp.sqrt(share / (1.0 + 0.5 * (3 - dim) * share))
        for noise in jax.random.normal(key, (steps, self.size), start.dtype):
            start = self.project(start + std * noise)
        return start

    def push(self, key, mean, std):
        """Draw along great circles."""
        mean = self._each(mean)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        along = jnp.sum(noise * mean, axis=1, keepdims=True)
        v = std * (noise - along * mean)
        tiny = jnp.finfo(v.dtype).tiny
        length = jnp.sqrt(jnp.sum(v**2, axis=1, keepdims=True) + tiny)
        return (jnp.cos(length) * mean + jnp.sinc(length / jnp.pi) * v).ravel()

    def log_pushed(self, z, mean, std):
        """Sum `N(r + 2 pi k) |(r + 2 pi k) / sin r|^(d-1)`, r the angle to the mean."""
        each = jax.vmap(_log_along_circles, (0, 0, None))
        return jnp.sum(each(self._each(z), self._each(mean), std))

    def path(self, starts, ends, times):
        """Join each sphere's points by great circles."""
        each = lambda x: x.reshape(-1, self._each(x[0]).shape[1])
        found = great_circle(each(starts), each(ends), times)
        found = found.reshape(len(starts), -1, *found.shape[1:])
        return jnp.swapaxes(found, 1, 2).reshape(len(starts), len(times), -1)


class Rotations(Manifold):
    """SO(3), where a tangent vector's length is the angle that it turns by."""

    def __init__(self):
        # The half of a sphere S^3 of radius 2.
        super().__init__(6, 3, math.log(8.0 * math.pi**2), 1.5, 2.0 / 3.0)

    def project(self, vector):
        """Make two vectors orthonormal."""
        return rotations.orthonormal(vector)

    def walk(self, key, start, time, steps):
        """Walk on the sphere of unit quaternions, of half the lengths."""
        one = jnp.zeros(4, start.dtype).at[0].set(1.0)
        turn = rotations.from_quaternion(
            Spheres(1, 4).walk(key, one, time / 4.0, steps)
        )
        return rotations.columns(rotations.matrix(start) @ turn)

    def push(self, key, mean, std):
        """Multiply the mean by the exponential (Falorsi et al., 2019)."""
        turn = rotations.exponential(std * jax.random.normal(key, (3,), mean.dtype))
        return rotations.columns(rotations.matrix(mean) @ turn)

    def log_pushed(self, z, mean, std):
        """Sum `N(v) |v|^2 / (2 - 2 cos|v|)` over the pre-images v (theirs too)."""
        turn = rotations.matrix(mean).T @ rotations.matrix(z)
        angle, axis = rotations.logarithm(turn)
        std = jnp.broadcast_to(std, (3,))
        turns = _turned(angle)
        logs = -0.5 * turns**2 * jnp.sum((axis / std) ** 2)
        logs += 2.0 * (jnp.log(jnp.abs(turns)) - jnp.log(2.0 * jnp.sin(angle / 2.0)))
        constant = jnp.sum(jnp.log(std)) + 1.5 * math.log(2.0 * math.pi)
        return jax.nn.logsumexp(logs) - constant

    def path(self, starts, ends, times):
        """Turn about fixed axes."""
        return jax.vmap(rotations.geodesic, (0, 0, None))(starts, ends, times)


def _log_along_circles(z, mean, std):
    """Return `Spheres.log_pushed` of one sphere."""
    dim = z.size - 1
    tiny = 1e-30 if z.dtype == jnp.float32 else 1e-60
    near, far = (jnp.sqrt(jnp.sum(x**2) + tiny) for x in (z - mean, z + mean))
    turns = _turned(2.0 * jnp.arctan2(near, far))
    logs = -0.5 * (turns / std) ** 2
    if dim > 1:
        logs += (dim - 1) * (jnp.log(jnp.abs(turns)) - jnp.log(0.5 * near * far))
    constant = dim * (jnp.log(std) + 0.5 * math.log(2.0 * math.pi))
    return jax.nn.logsumexp(logs) - constant


def _turned(angle):
    """Return an angle with whole turns added, less and more."""
    turns = jnp.arange(-_TURNS, _TURNS + 1, dtype=angle.dtype)
    return angle + 2.0 * jnp.pi * turns


ManifoldName = Literal["sphere", "torus", "rotations"]


def make_manifold(name: ManifoldName, size: int) -> Manifold:
    """Make a manifold of points of `size` entries.

    Raises:
        ValueError: If there is none of that size.
    """
    if name == "sphere" and size >= 2:
        return Spheres(1, size)
    if name == "torus" and size >= 2 and size % 2 == 0:
        return Spheres(size // 2, 2)
    if name == "rotations" and size == 6:
        return Rotations()
    raise ValueError(
        f"latent_size must be at least 2 on a sphere, even on a torus and 6 for "
        f"rotations; got {size} for {name!r}."
    )
