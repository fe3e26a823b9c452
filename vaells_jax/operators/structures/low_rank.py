"""Operators of low rank: a path moves within few directions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.matrix_exponential import expm_action
from vaells_jax.operators.structures.base import Structure, normal, refuse


@dataclasses.dataclass(frozen=True)
class LowRank(Structure):
    """`Psi_m = U_m V_m^T`, U_m and V_m of `rank` columns, which are the parameters.

    `exp(U V^T) z = z + U phi(V^T U) V^T z`, `phi(X) = (exp(X) - 1) / X`: an exponential
    of size M rank + 1 in place of d.

    Attributes:
        rank: r.
    """

    rank: int = 1

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Draw both factors, alike."""
        if self.rank > latent_size:
            refuse(self, f"rank = {self.rank} is above d", num_operators, latent_size)
        shape = (num_operators, latent_size, self.rank)
        each = (std / self.rank**0.5) ** 0.5
        keys = jax.random.split(key)
        return {
            name: normal(own, shape, each, dtype)
            for name, own in zip(("left", "right"), keys, strict=True)
        }

    def matrices(self, parameters: dict[str, Any]) -> Float[Array, "M d d"]:
        """Return the products."""
        left, right = parameters["left"], parameters["right"]
        return jnp.einsum("mir,mjr->mij", left, right, precision="highest")

    def transport(
        self, parameters: dict[str, Any], coefficients: Float[Array, " M"],
        z: Float[Array, " d"],
    ) -> Float[Array, " d"]:  # fmt: skip
        """Move within the span of all left factors."""
        weighted = coefficients[:, None, None] * parameters["left"]
        left, right = (
            jnp.moveaxis(x, 1, 0).reshape(len(z), -1)
            for x in (weighted, parameters["right"])
        )
        dot = lambda a, b: jnp.dot(a, b, precision="highest")
        # exp([[X, y], [0, 0]]) ends in the column (phi(X) y, 1).
        whole = jnp.zeros((left.shape[1] + 1,) * 2, z.dtype)
        whole = whole.at[:-1, :-1].set(dot(right.T, left))
        whole = whole.at[:-1, -1].set(dot(right.T, z))
        last = jnp.zeros(len(whole), z.dtype).at[-1].set(1.0)
        return z + dot(left, expm_action(whole, last)[:-1])
