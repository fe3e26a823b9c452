"""Operators that commute: scalings and rotations of shared planes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.structures.base import Structure, normal, refuse
from vaells_jax.operators.structures.skew import rotation


@dataclasses.dataclass(frozen=True)
class Commuting(Structure):
    """`Psi_m = Q diag_k [[a_mk, -w_mk], [w_mk, a_mk]] Q^T` in d / 2 planes.

    A path scales plane k by `exp(sum_m c_m a_mk)` and turns it by `sum_m c_m w_mk`, by
    sin, cos and exp, however large the coefficients. Parameters: `rates`, a and w.

    Attributes:
        scaling: Whether planes are scaled; else all a are 0, and |z| is kept.
        separate: Whether operators have planes for themselves: operator m plane m,
            M = d / 2; or, with scalings, operator 2k scales plane k and operator
            2k + 1 turns it, M = d. Without a basis the search "planes" finds their
            coefficients exactly, and their densities are known as integrals
            (`Model.density`); but not of spirals, M = d / 2 with scalings.
        learned_basis: Learn the rotation Q, by an antisymmetric `basis`; else the
            planes are pairs of latents, which an encoder can turn as it likes.
    """

    scaling: bool = True
    separate: bool = False
    learned_basis: bool = False

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Draw turnings; scalings start at 0, and Q as the identity.

        Drawn scalings outgrow turnings in half of all planes, and few such operators
        find their way back. Operators that only scale are drawn: at 0 nothing would
        ever move them.
        """
        if latent_size % 2:
            refuse(self, "latent_size must be even", num_operators, latent_size)
        planes = latent_size // 2
        alone = self.scaling and self.separate and num_operators == latent_size
        if self.separate and num_operators != planes and not alone:
            wanted = "separate planes want d / 2 operators"
            wanted += ", or d with scalings" if self.scaling else ""
            refuse(self, wanted, num_operators, latent_size)
        shape = (num_operators, 1 if self.separate else planes, 1)
        turn = normal(key, shape, std, dtype)
        scale = [jnp.zeros_like(turn)] if self.scaling and not alone else []
        found = {"rates": jnp.concatenate([*scale, turn], axis=-1)}
        if self.learned_basis:
            count = latent_size * (latent_size - 1) // 2
            found["basis"] = jnp.zeros(count, found["rates"].dtype)
        return found

    def matrices(self, parameters: dict[str, Any]) -> Float[Array, "M d d"]:
        """Return `Q diag(...) Q^T`."""
        scale, turn = self._rates(parameters)
        planes = scale.shape[1]
        eye = jnp.eye(2, dtype=scale.dtype)
        quarter = jnp.asarray([[0.0, -1.0], [1.0, 0.0]], scale.dtype)
        both = jnp.einsum("mk,ij->mkij", scale, eye)
        both = both + jnp.einsum("mk,ij->mkij", turn, quarter)
        whole = jnp.einsum("mkij,kl->mkilj", both, jnp.eye(planes, dtype=scale.dtype))
        whole = whole.reshape(len(scale), 2 * planes, 2 * planes)
        if not self.learned_basis:
            return whole
        Q = rotation(parameters["basis"])
        return jnp.einsum("ij,mjk,lk->mil", Q, whole, Q, precision="highest")

    def transport(
        self, parameters: dict[str, Any], coefficients: Float[Array, " M"],
        z: Float[Array, " d"],
    ) -> Float[Array, " d"]:  # fmt: skip
        """Scale and turn each plane."""
        scale, turn = (
            jnp.dot(coefficients, x, precision="highest")
            for x in self._rates(parameters)
        )
        Q = rotation(parameters["basis"]) if self.learned_basis else None
        x = z if Q is None else jnp.dot(Q.T, z, precision="highest")
        first, second = x.reshape(-1, 2).T
        cos, sin = jnp.cos(turn), jnp.sin(turn)
        moved = jnp.stack([cos * first - sin * second, sin * first + cos * second], 1)
        moved = (jnp.exp(scale)[:, None] * moved).ravel()
        return moved if Q is None else jnp.dot(Q, moved, precision="highest")

    def _rates(self, parameters):
        """Return the scalings and the turnings of each operator, `[M, d / 2]`."""
        rates = parameters["rates"]
        index = jnp.arange(len(rates))
        each = 1  # operators of a plane
        if self.scaling and rates.shape[-1] == 1:
            each = 2
            rates = rates * jax.nn.one_hot(index % 2, 2, dtype=rates.dtype)[:, None]
        if self.separate:
            planes = len(rates) // each
            own = jax.nn.one_hot(index // each, planes, dtype=rates.dtype)
            rates = rates * own[:, :, None]
        turn = rates[..., -1]
        return (rates[..., 0] if self.scaling else jnp.zeros_like(turn)), turn
