"""The Delta-VAE (Perez Rey et al., 2020): Brownian motion on a closed manifold."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.manifolds import (
    Manifold,
    ManifoldName,
    between,
    make_manifold,
)

MIN_TIME = 1e-5
"""The shortest time, of a deviation of 0.003."""


class HeatKernel(NamedTuple):
    """Parameters of Brownian motion's density."""

    mean: Float[Array, "*n d"]
    time: Float[Array, "*n"]


@dataclasses.dataclass(frozen=True)
class DeltaVae(Baseline):
    """Posterior the heat kernel of mean mu(x) and time t(x), uniform prior.

    Attributes:
        manifold: A "sphere" in R^latent_size (2 for the circle), a flat "torus" of
            latent_size / 2 circles, or "rotations", latents of 6 entries.
        steps: Of the random walk that draws from the heat kernel.

    Note:
        Importance samples are not the walk's, whose density is not known, but Gaussians
        of the same time pushed from the tangent space, the same to first order. Time is
        bounded to where the divergence's expansion is accurate.
    """

    extra_entries: ClassVar[int] = 1

    manifold: ManifoldName = "sphere"
    steps: int = 10

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind, or no manifold."""
        super().__post_init__()
        make_manifold(self.manifold, self.latent_size)

    @functools.cached_property
    def space(self) -> Manifold:
        """Return the manifold."""
        return make_manifold(self.manifold, self.latent_size)

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return the mean's entries and one time."""
        return latent_size + 1

    def posterior(self, outputs: Float[Array, " e"]) -> HeatKernel:
        """Read the mean, by projection, and the logarithm of time, by a sigmoid."""
        time = between(MIN_TIME, self.space.max_time, outputs[-1])
        return HeatKernel(self.space.project(outputs[:-1]), time)

    def centre(self, posterior: HeatKernel) -> Float[Array, " d"]:
        """Return the mean."""
        return posterior.mean

    def draw(self, key: PRNGKeyArray, posterior: HeatKernel) -> Float[Array, " d"]:
        """Draw by the random walk."""
        return self.space.walk(key, *posterior, self.steps)

    def propose(self, key: PRNGKeyArray, posterior: HeatKernel) -> Float[Array, " d"]:
        """Draw a tangent vector of the same time."""
        return self.space.push(key, posterior.mean, jnp.sqrt(posterior.time))

    def log_posterior(
        self, z: Float[Array, " d"], posterior: HeatKernel
    ) -> Float[Array, ""]:
        """Return the density of `propose`; on circles and tori also the walk's."""
        return self.space.log_pushed(z, posterior.mean, jnp.sqrt(posterior.time))

    def log_prior(self, z: Float[Array, " d"], prior: Any) -> Float[Array, ""]:
        """Return the uniform density."""
        return jnp.full((), -self.space.log_volume, z.dtype)

    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " d"]:
        """Draw uniformly."""
        return self.space.uniform(key)

    def divergence(
        self, z: Float[Array, " d"], posterior: HeatKernel, prior: Any
    ) -> Float[Array, ""]:
        """Return the divergence from uniform for small times."""
        return self.space.kl_to_uniform(posterior.time)

    def widen(self, posterior: HeatKernel, factor: float) -> HeatKernel:
        """Multiply the time by the factor's square."""
        return posterior._replace(time=posterior.time * factor**2)

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents by geodesics."""
        return self.space.path(starts, ends, times)
