"""Antisymmetric operators: their paths are rotations, |z| is kept."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.structures.base import Structure, normal, refuse
from vaells_jax.operators.transport import transport


@dataclasses.dataclass(frozen=True)
class Skew(Structure):
    """`Psi_m = P - P^T`; the parameters are what stands above the diagonal."""

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> Float[Array, "M k"]:  # fmt: skip
        """Draw the entries above the diagonal, `[M, d (d - 1) / 2]`."""
        if latent_size < 2:
            refuse(self, "a line has no rotations", num_operators, latent_size)
        count = latent_size * (latent_size - 1) // 2
        return normal(key, (num_operators, count), std, dtype)

    def matrices(
        self, parameters: Float[Array | np.ndarray, "M k"]
    ) -> Float[Array, "M d d"]:
        """Write the entries above the diagonal, and below it with the other sign."""
        return antisymmetric(parameters)

    def transport(
        self, parameters: Float[Array, "M k"], coefficients: Float[Array, " M"],
        z: Float[Array, " d"],
    ) -> Float[Array, " d"]:  # fmt: skip
        """Return the exponential's action, its length that of `z` to rounding."""
        moved = transport(self.matrices(parameters), coefficients, z)
        before, after = jnp.sum(z**2), jnp.sum(moved**2)
        # A first-order correction of rounding; a factor near 1 would round down more
        # finely than up, which shows after 10,000 steps.
        excess = (after - before) / jnp.where(after > 0, after, 1.0)
        return moved - 0.5 * excess * moved


def antisymmetric(entries: Float[Array | np.ndarray, "*n k"]) -> Float[Array, "*n d d"]:
    """Return antisymmetric matrices with `d (d - 1) / 2` given entries above."""
    count = entries.shape[-1]
    size = (1 + math.isqrt(1 + 8 * count)) // 2
    rows, columns = jnp.triu_indices(size, 1)
    upper = jnp.zeros((*entries.shape[:-1], size, size), entries.dtype)
    upper = upper.at[..., rows, columns].set(entries)
    return upper - jnp.swapaxes(upper, -1, -2)


def rotation(entries: Float[Array | np.ndarray, " k"]) -> Float[Array, "d d"]:
    """Return the rotation `expm(P - P^T)`."""
    return jax.scipy.linalg.expm(antisymmetric(entries))
