"""Operators on the data themselves (Culpepper and Olshausen, 2009): codes are data."""

import dataclasses
from typing import ClassVar

from jaxtyping import Array, PRNGKeyArray

from vaells_jax.baselines.manifold_autoencoder import ManifoldAutoencoder
from vaells_jax.networks.contract import Networks


@dataclasses.dataclass(frozen=True)
class Identity:
    """A network that changes nothing and has no parameters."""

    def init(self, key: PRNGKeyArray, inputs: Array) -> dict:
        """Return no parameters."""
        return {}

    def apply(self, parameters: dict | None, inputs: Array) -> Array:
        """Return the inputs."""
        return inputs


@dataclasses.dataclass(frozen=True)
class DataOperators(ManifoldAutoencoder):
    """A Manifold Autoencoder without networks, for data points that are vectors.

    `latent_size` is the number of their entries.
    """

    networks_first: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Replace the given networks by the identity."""
        super().__post_init__()
        object.__setattr__(self, "networks", Networks(Identity(), Identity()))
