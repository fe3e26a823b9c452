"""Operators that are mixtures of given generators."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.operators.structures.base import Structure, normal, refuse


@dataclasses.dataclass(frozen=True)
class Basis(Structure):
    """`Psi_m = sum_g W_mg G_g`; the parameters are the mixture W, `[M, G]`.

    Attributes:
        generators: The G_g, nested tuples `[G d d]`; lists and arrays become them.
    """

    generators: Any = (((0.0, -1.0), (1.0, 0.0)),)

    def __post_init__(self) -> None:
        """Take arrays and lists too.

        Raises:
            ValueError: If the generators are not finite square matrices of one size.
        """
        try:
            found = np.asarray(self.generators, float)
        except (TypeError, ValueError):
            found = np.zeros(0)
        square = found.ndim == 3 and found.shape[1] == found.shape[2] and found.size
        if not square or not np.all(np.isfinite(found)):
            raise ValueError(
                "generators must be finite numbers of shape [G d d]; got "
                f"{type(self.generators).__name__} of shape {list(found.shape)}."
            )
        nested = tuple(tuple(map(tuple, matrix)) for matrix in found.tolist())
        object.__setattr__(self, "generators", nested)

    def init(
        self, key: PRNGKeyArray, num_operators: int, latent_size: int, std: float,
        dtype: Any = None,
    ) -> Float[Array, "M G"]:  # fmt: skip
        """Draw the mixture."""
        if latent_size != len(self.generators[0]):
            wanted = f"latent_size must be the generators' {len(self.generators[0])}"
            refuse(self, wanted, num_operators, latent_size)
        return normal(key, (num_operators, len(self.generators)), std, dtype)

    def matrices(
        self, parameters: Float[Array | np.ndarray, "M G"]
    ) -> Float[Array, "M d d"]:
        """Mix the generators."""
        given = jnp.asarray(self.generators, parameters.dtype)
        return jnp.einsum("mg,gij->mij", parameters, given, precision="highest")
