"""What metrics, figures and training may know of a model: these functions, no name."""

from collections.abc import Callable
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.evaluation.importance import ImportanceEstimate


class LatentModel(Protocol):
    """A trained model, VAELLS or another, as functions of whole batches."""

    def encode(self, inputs: Float[Array, "n ..."]) -> Float[Array, "n d"]:
        """Return the centre of each data point's posterior."""
        ...

    def decode(self, latents: Float[Array, "*n d"]) -> Float[Array, "..."]:
        """Return the mean data point of each latent, any leading axes."""
        ...

    def sample_posterior(
        self, key: PRNGKeyArray, inputs: Float[Array, "n ..."], num_samples: int
    ) -> Float[Array, "n S d"]:
        """Draw latents of each data point from q(z|x)."""
        ...

    def sample_prior(self, key: PRNGKeyArray, count: int) -> Float[Array, "n d"]:
        """Draw latents from p(z)."""
        ...

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents in the model's own way, at times from 0 to 1."""
        ...

    def widened(self) -> "LatentModel":
        """Return the model with its posterior as wide as the paper's figures show."""
        ...

    def log_likelihood(
        self,
        key: PRNGKeyArray,
        inputs: Float[Array, "n ..."],
        num_samples: int,
        on_done: Callable[[int], None] | None = None,
    ) -> ImportanceEstimate:
        """Estimate log p(x) of each data point by importance sampling, in nats.

        `on_done` is called with the number of data points done, after each part.
        """
        ...


def straight_line(
    starts: Float[Array, "P d"], ends: Float[Array, "P d"], times: Float[Array, " T"]
) -> Float[Array, "P T d"]:
    """Join pairs of latents by straight lines, the path of a Euclidean space."""
    return starts[:, None] + times[None, :, None] * (ends - starts)[:, None]


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
