"""Matrices without a structure."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.structures.base import Structure, normal


@dataclasses.dataclass(frozen=True)
class Dense(Structure):
    """Any matrices; the parameters are the dictionary itself, `[M, d, d]`."""

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> Float[Array, "M d d"]:  # fmt: skip
        """Draw every entry."""
        shape = (num_operators, latent_size, latent_size)
        return normal(key, shape, std, dtype)

    def matrices(
        self, parameters: Float[Array | np.ndarray, "M d d"]
    ) -> Float[Array | np.ndarray, "M d d"]:
        """Return the parameters."""
        return parameters
