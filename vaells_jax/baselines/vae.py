"""The variational autoencoder (Kingma and Welling, 2013): all Gaussian."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline

LOG_VARIANCE_RANGE = (-12.0, 6.0)
"""Bounds of log sigma^2, within which its exponential stays in range."""


class DiagonalNormal(NamedTuple):
    """Parameters of N(mean, diag(exp(log_variance)))."""

    mean: Float[Array, "*n d"]
    log_variance: Float[Array, "*n d"]


def sample_normal(key: PRNGKeyArray, normal: DiagonalNormal) -> Float[Array, " d"]:
    """Draw `mean + sigma noise`."""
    noise = jax.random.normal(key, normal.mean.shape, normal.mean.dtype)
    return normal.mean + jnp.exp(0.5 * normal.log_variance) * noise


def log_normal(z: Float[Array, " d"], normal: DiagonalNormal) -> Float[Array, ""]:
    """Return log N(z; mean, diag(sigma^2)) in nats."""
    squared = (z - normal.mean) ** 2 * jnp.exp(-normal.log_variance)
    return -0.5 * jnp.sum(squared + normal.log_variance + math.log(2 * math.pi))


def kl_to_standard_normal(normal: DiagonalNormal) -> Float[Array, ""]:
    """Return `1/2 sum(mean^2 + sigma^2 - 1 - log sigma^2)`, nats (their eq. 10)."""
    excess = jnp.expm1(normal.log_variance) - normal.log_variance
    return 0.5 * jnp.sum(normal.mean**2 + excess)


def widened(normal: DiagonalNormal, factor: float) -> DiagonalNormal:
    """Multiply the deviation."""
    log_variance = normal.log_variance + 2.0 * math.log(factor)
    return normal._replace(log_variance=log_variance)


@dataclasses.dataclass(frozen=True)
class Vae(Baseline):
    """Posterior N(mu(x), diag sigma^2(x)), prior N(0, I), paths straight lines.

    Attributes:
        beta: Weight of the divergence in the objective: 1 is the bound, other values
            are the beta-VAE (Higgins et al., "beta-VAE: Learning Basic Visual Concepts
            with a Constrained Variational Framework", 2017, eq. 4).
    """

    beta: float = 1.0

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return mean and log-variance of each entry."""
        return 2 * latent_size

    @property
    def divergence_weight(self) -> float:
        """Return beta."""
        return self.beta

    def posterior(self, outputs: Float[Array, " e"]) -> DiagonalNormal:
        """Read mean and log-variance, the latter within its range."""
        mean, log_variance = jnp.split(outputs, 2, axis=-1)
        return DiagonalNormal(mean, jnp.clip(log_variance, *LOG_VARIANCE_RANGE))

    def centre(self, posterior: DiagonalNormal) -> Float[Array, " d"]:
        """Return the mean."""
        return posterior.mean

    def draw(self, key: PRNGKeyArray, posterior: DiagonalNormal) -> Float[Array, " d"]:
        """Draw by the reparameterisation."""
        return sample_normal(key, posterior)

    def log_posterior(
        self, z: Float[Array, " d"], posterior: DiagonalNormal
    ) -> Float[Array, ""]:
        """Return the Gaussian's log-density."""
        return log_normal(z, posterior)

    def log_prior(self, z: Float[Array, " d"], prior: Any) -> Float[Array, ""]:
        """Return the standard normal log-density."""
        return log_normal(z, DiagonalNormal(jnp.zeros_like(z), jnp.zeros_like(z)))

    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " d"]:
        """Draw from the standard normal."""
        return jax.random.normal(key, (self.latent_size,))

    def divergence(
        self, z: Float[Array, " d"], posterior: DiagonalNormal, prior: Any
    ) -> Float[Array, ""]:
        """Return the divergence of the two Gaussians, exactly."""
        return kl_to_standard_normal(posterior)

    def widen(self, posterior: DiagonalNormal, factor: float) -> DiagonalNormal:
        """Multiply the deviation."""
        return widened(posterior, factor)
