"""Operators that each act on one block of the latents."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.matrix_exponential import expm_action
from vaells_jax.operators.structures.base import Structure, normal, refuse


@dataclasses.dataclass(frozen=True)
class Blocks(Structure):
    """Operator m acts on the block `m mod K` of K = d / size blocks.

    The parameters are the blocks, `[M, size, size]`. Operators of different blocks
    commute, and a path costs K exponentials of small matrices.

    Attributes:
        size: Entries of a block.
        latent_size: d.
    """

    size: int = 2
    latent_size: int = 6

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind or does not divide."""
        super().__post_init__()
        if self.latent_size % self.size:
            raise ValueError(
                f"size must divide latent_size = {self.latent_size}; got {self.size}."
            )

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> Float[Array, "M b b"]:  # fmt: skip
        """Draw every entry of the blocks."""
        if latent_size != self.latent_size:
            wanted = f"latent_size must be {self.latent_size}"
            refuse(self, wanted, num_operators, latent_size)
        return normal(key, (num_operators, self.size, self.size), std, dtype)

    def matrices(
        self, parameters: Float[Array | np.ndarray, "M b b"]
    ) -> Float[Array, "M d d"]:
        """Put the blocks on the diagonal, zeros elsewhere."""
        count, blocks = len(parameters), self.latent_size // self.size
        where = jax.nn.one_hot(
            jnp.arange(count) % blocks, blocks, dtype=parameters.dtype
        )
        whole = jnp.einsum(
            "mk,mij,kl->mkilj", where, parameters, jnp.eye(blocks, dtype=where.dtype),
            precision="highest",
        )  # fmt: skip
        return whole.reshape(count, self.latent_size, self.latent_size)

    def transport(
        self, parameters: Float[Array, "M b b"], coefficients: Float[Array, " M"],
        z: Float[Array, " d"],
    ) -> Float[Array, " d"]:  # fmt: skip
        """Move each block by its own operators."""
        blocks = self.latent_size // self.size
        index = jnp.arange(len(parameters)) % blocks
        weighted = coefficients[:, None, None] * parameters
        sums = jax.ops.segment_sum(weighted, index, blocks)
        return jax.vmap(expm_action)(sums, z.reshape(blocks, self.size)).ravel()
