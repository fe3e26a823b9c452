"""The interface of a structure of the dictionary."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_fields
from vaells_jax.operators.transport import transport

Parameters = Any
"""A structure's parameters: an array or a dictionary of arrays."""


@dataclasses.dataclass(frozen=True)
class Structure(abc.ABC):
    """How a dictionary Psi of M operators on R^d is made of parameters."""

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind."""
        check_fields(self)

    @abc.abstractmethod
    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> Parameters:  # fmt: skip
        """Draw parameters.

        Args:
            key: Random key.
            num_operators: M.
            latent_size: d.
            std: Deviation of the operators' entries that are not zero.
            dtype: Of the parameters; JAX's default floating-point type if None.

        Raises:
            ValueError: If the structure has no dictionary of these sizes.
        """

    @abc.abstractmethod
    def matrices(self, parameters: Parameters) -> Float[Array | np.ndarray, "M d d"]:
        """Return the dictionary Psi."""

    def transport(
        self, parameters: Parameters, coefficients: Float[Array, " M"],
        z: Float[Array, " d"],
    ) -> Float[Array, " d"]:  # fmt: skip
        """Return `expm(sum_m c_m Psi_m) z`, eq. 2, by the structure's own formula."""
        return transport(jnp.asarray(self.matrices(parameters)), coefficients, z)

    def num_parameters(self, num_operators: int, latent_size: int) -> int:
        """Return how many numbers the dictionary is made of."""
        draw = lambda key: self.init(key, num_operators, latent_size, 1.0)
        shapes = jax.eval_shape(draw, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def refuse(structure: Structure, wanted: str, num_operators: int, latent_size: int):
    """Raise a ValueError that names the dictionaries a structure allows."""
    raise ValueError(
        f"{type(structure).__name__}: {wanted}; got num_operators = {num_operators} "
        f"and latent_size = {latent_size}."
    )


def normal(key, shape, std, dtype):
    """Draw parameters from a normal density."""
    return std * jax.random.normal(key, shape, dtype or jnp.result_type(float))
