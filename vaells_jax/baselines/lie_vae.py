"""The Lie-group VAE (Falorsi et al., 2018, 2019): latents that are rotations.

A latent holds a group element and, where it has more entries, a Gaussian content that
the group acts on, so that one model shows many objects in every pose.
"""

import dataclasses
import functools
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines import rotations
from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.manifolds import Manifold, between, make_manifold
from vaells_jax.baselines.vae import (
    LOG_VARIANCE_RANGE,
    DiagonalNormal,
    Vae,
    kl_to_standard_normal,
    log_normal,
    sample_normal,
    widened,
)
from vaells_jax.checks import as_count
from vaells_jax.evaluation.structure import straight_line

STD_RANGE = (3e-3, 2.0)
"""Deviations in the algebra, in radians: at the upper end SO(2) is nearly uniform."""


class PushedNormal(NamedTuple):
    """Parameters of `mean exp(v)`, v Gaussian in the algebra, and of the content."""

    mean: Float[Array, "*n g"]
    std: Float[Array, "*n k"]
    content: DiagonalNormal


@dataclasses.dataclass(frozen=True)
class LieVae(Baseline):
    """Posterior a Gaussian of the algebra pushed to the group, Haar measure as prior.

    The content's posterior and prior are a plain VAE's. The decoder is given the
    matrices of the group's first representations and, with content, their products with
    each of its entries: a dense layer over them is the action on vectors that are
    affine in the content, as many copies as the layer has units.

    Attributes:
        group: "SO2", the first 2 entries of a latent, or "SO3", the first 6.
        degrees: Representations that the decoder is given, from degree 1 on.
    """

    extra_entries: ClassVar[int] = 1

    group: Literal["SO2", "SO3"] = "SO2"
    degrees: int = 4

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind, or no group."""
        super().__post_init__()
        as_count("latent_size", self.latent_size, self.space.size)

    @functools.cached_property
    def space(self) -> Manifold:
        """Return the group as a manifold."""
        if self.group == "SO2":
            return make_manifold("sphere", 2)
        return make_manifold("rotations", 6)

    encoder_size = staticmethod(Vae.encoder_size)

    def posterior(self, outputs: Float[Array, " e"]) -> PushedNormal:
        """Read the mean by projection, the deviations by a sigmoid, and the content.

        There are fewer deviations than entries of a group element: the first count.
        """
        mean, spread = jnp.split(outputs, 2)
        size = self.space.size
        log_variance = jnp.clip(spread[size:], *LOG_VARIANCE_RANGE)
        return PushedNormal(
            self.space.project(mean[:size]),
            between(*STD_RANGE, jnp.squeeze(spread[: self.space.dim])),
            DiagonalNormal(mean[size:], log_variance),
        )

    def centre(self, posterior: PushedNormal) -> Float[Array, " d"]:
        """Return mean and mean content."""
        return jnp.concatenate([posterior.mean, posterior.content.mean])

    def draw(self, key: PRNGKeyArray, posterior: PushedNormal) -> Float[Array, " d"]:
        """Draw both by the reparameterisation."""
        group_key, content_key = jax.random.split(key)
        element = self.space.push(group_key, posterior.mean, posterior.std)
        content = sample_normal(content_key, posterior.content)
        return jnp.concatenate([element, content])

    def log_posterior(
        self, z: Float[Array, " d"], posterior: PushedNormal
    ) -> Float[Array, ""]:
        """Return the log-density, summed over the pre-images in the algebra."""
        element, content = self._parts(z)
        pushed = self.space.log_pushed(element, posterior.mean, posterior.std)
        return pushed + log_normal(content, posterior.content)

    def log_prior(self, z: Float[Array, " d"], prior: Any) -> Float[Array, ""]:
        """Return the uniform density, times the content's standard normal."""
        _, content = self._parts(z)
        zero = jnp.zeros_like(content)
        standard = log_normal(content, DiagonalNormal(zero, zero))
        return standard - self.space.log_volume

    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " d"]:
        """Draw a uniform element and a content."""
        group_key, content_key = jax.random.split(key)
        content = jax.random.normal(content_key, (self.latent_size - self.space.size,))
        return jnp.concatenate([self.space.uniform(group_key), content])

    def divergence(
        self, z: Float[Array, " d"], posterior: PushedNormal, prior: Any
    ) -> Float[Array, ""]:
        """Estimate the group's divergence from one sample; the content's is exact."""
        element, _ = self._parts(z)
        pushed = self.space.log_pushed(element, posterior.mean, posterior.std)
        exact = kl_to_standard_normal(posterior.content)
        return pushed + self.space.log_volume + exact

    def decoder_inputs(self, z: Float[Array, " d"]) -> Float[Array, " f"]:
        """Return the representations' entries, their products with content, content."""
        element, content = self._parts(z)
        one = jnp.ones(1, z.dtype)
        products = jnp.outer(self.represent(element), jnp.concatenate([one, content]))
        return jnp.concatenate([products.ravel(), content])

    def represent(self, element: Float[Array, " g"]) -> Float[Array, " r"]:
        """Return an element's representations; of SO(2) cos and sin of n angles."""
        if self.group == "SO3":
            matrix = rotations.matrix(element)
            found = rotations.representations(matrix, self.degrees)
            return jnp.concatenate([x.ravel() for x in found])
        cosine, sine = element
        turn, powers = jnp.array([[cosine, -sine], [sine, cosine]]), [element]
        for _ in range(self.degrees - 1):
            powers.append(turn @ powers[-1])
        return jnp.concatenate(powers)

    def widen(self, posterior: PushedNormal, factor: float) -> PushedNormal:
        """Multiply the deviations."""
        content = widened(posterior.content, factor)
        return posterior._replace(std=factor * posterior.std, content=content)

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Join group elements by geodesics, contents by straight lines."""
        size = self.space.size
        turned = self.space.path(starts[:, :size], ends[:, :size], times)
        straight = jnp.asarray(straight_line(starts[:, size:], ends[:, size:], times))
        return jnp.concatenate([turned, straight], axis=-1)

    def _parts(self, z):
        return z[: self.space.size], z[self.space.size :]
