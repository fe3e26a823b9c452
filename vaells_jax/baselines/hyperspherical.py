"""The hyperspherical VAE (Davidson et al., 2018): latents on the unit sphere."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines import von_mises_fisher
from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.sphere import great_circle, log_sphere_area, unit
from vaells_jax.checks import as_count

MAX_CONCENTRATION = 1e4
"""Largest concentration at which density, divergence and samples are tested."""


class VonMisesFisher(NamedTuple):
    """Parameters of the von Mises-Fisher density."""

    direction: Float[Array, "*n m"]
    concentration: Float[Array, "*n"]


@dataclasses.dataclass(frozen=True)
class Hyperspherical(Baseline):
    """Posterior vMF(mu(x), kappa(x)), uniform prior, paths great circles.

    `latent_size` is the ambient dimension m; the sphere has one less. As in the
    authors' program `kappa = 1 + softplus(.)`.
    """

    extra_entries: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind, or no sphere."""
        super().__post_init__()
        as_count("latent_size", self.latent_size, 2)

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return the direction's entries and one concentration."""
        return latent_size + 1

    def posterior(self, outputs: Float[Array, " e"]) -> VonMisesFisher:
        """Read direction (the first axis for a vector of length 0), concentration."""
        vector, raw = outputs[..., :-1], outputs[..., -1]
        concentration = jnp.minimum(1.0 + jax.nn.softplus(raw), MAX_CONCENTRATION)
        return VonMisesFisher(unit(vector), concentration)

    def centre(self, posterior: VonMisesFisher) -> Float[Array, " m"]:
        """Return the mean direction."""
        return posterior.direction

    def draw(self, key: PRNGKeyArray, posterior: VonMisesFisher) -> Float[Array, " m"]:
        """Draw a unit vector with unbiased gradients."""
        return von_mises_fisher.sample(key, *posterior)

    def log_posterior(
        self, z: Float[Array, " m"], posterior: VonMisesFisher
    ) -> Float[Array, ""]:
        """Return the density with respect to the sphere's area."""
        return von_mises_fisher.log_density(z, *posterior)

    def log_prior(self, z: Float[Array, " m"], prior: Any) -> Float[Array, ""]:
        """Return the uniform density."""
        return jnp.full((), -log_sphere_area(self.latent_size), z.dtype)

    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " m"]:
        """Draw uniformly."""
        return unit(jax.random.normal(key, (self.latent_size,)))

    def divergence(
        self, z: Float[Array, " m"], posterior: VonMisesFisher, prior: Any
    ) -> Float[Array, ""]:
        """Return the divergence from uniform, exactly."""
        return von_mises_fisher.kl_to_uniform(posterior.concentration, self.latent_size)

    def widen(self, posterior: VonMisesFisher, factor: float) -> VonMisesFisher:
        """Divide the concentration by the factor's square: about the angle's spread."""
        return posterior._replace(concentration=posterior.concentration / factor**2)

    def path(
        self,
        starts: Float[Array, "P m"],
        ends: Float[Array, "P m"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T m"]:
        """Join pairs of latents by great circles."""
        return great_circle(starts, ends, times)
