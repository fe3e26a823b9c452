"""Transport operators (Section 2.1): paths `expm(sum_m c_m Psi_m t) z` in latent space.

Each function treats one example; `jax.vmap` makes a batch of it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaells_jax.checks import check_numbers
from vaells_jax.operators.matrix_exponential import expm_action


def generator(
    operators: Float[Array, "M d d"], coefficients: Float[Array, " M"]
) -> Float[Array, "d d"]:
    """Combine the operators into one dynamics matrix, eq. 1: `A = sum_m c_m Psi_m`.

    Args:
        operators: The dictionary Psi; each matrix acts from the left.
        coefficients: The weights `c`.

    Returns:
        The matrix `A` of `dz/dt = A z`.

    Raises:
        ValueError: If the operators are not square or their number differs from that of
            the coefficients.
    """
    check_operators(operators)
    check_numbers(coefficients=coefficients)
    if coefficients.shape != operators.shape[:1]:
        raise ValueError(
            f"coefficients must have shape [{operators.shape[0]}], one for each "
            f"operator; got {list(coefficients.shape)}."
        )
    return jnp.einsum("m,mij->ij", coefficients, operators, precision="highest")


def transport(
    operators: Float[Array, "M d d"],
    coefficients: Float[Array, " M"],
    z: Float[Array, " d"],
) -> Float[Array, " d"]:
    """Move `z` along the manifold: `T_Psi(c) z = expm(sum_m c_m Psi_m) z`, eq. 2.

    Args:
        operators: The dictionary Psi.
        coefficients: The weights `c`.
        z: The point to move, in the scaled latent space.

    Returns:
        The moved point; NaN if the generator's norm is out of range (see
        `expm_action`).

    Raises:
        ValueError: If shapes disagree.
    """
    A = generator(operators, coefficients)
    check_numbers(z=z)
    if z.shape != A.shape[:1]:
        raise ValueError(
            f"z must have shape [{A.shape[0]}], the operators' latent size; "
            f"got {list(z.shape)}."
        )
    return expm_action(A, z)


def transport_path(
    operators: Float[Array, "M d d"],
    coefficients: Float[Array, " M"],
    z: Float[Array, " d"],
    times: Float[Array, " T"],
) -> Float[Array, "T d"]:
    """Trace the path `z_t = expm(sum_m c_m Psi_m t) z` of Section 2.1.

    Args:
        operators: The dictionary Psi.
        coefficients: The weights `c`.
        z: The point at `t = 0`.
        times: Where to evaluate the path; `t = 1` is `transport`, negative times
            and times beyond 1 extrapolate.

    Returns:
        One point for each time.

    Raises:
        ValueError: If shapes disagree.
    """
    check_numbers(times=times, coefficients=coefficients)
    if times.ndim != 1:
        raise ValueError(f"times must have shape [T]; got {list(times.shape)}.")
    at = lambda t: transport(operators, t * coefficients, z)
    return jax.vmap(at)(times)


def check_operators(operators: Array) -> None:
    """Raise a ValueError unless `operators` has shape `[M, d, d]` with M, d >= 1."""
    check_numbers(operators=operators)
    shape = operators.shape
    if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
        raise ValueError(
            "operators must have shape [M, d, d] with M and d at least 1; "
            f"got {list(shape)}."
        )
