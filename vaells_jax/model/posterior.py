"""The variational posterior q(z|x): a noisy transport of the latent mean.

Each function treats one example.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_key, check_number, check_numbers
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.operators.transport import check_operators, transport


def sample_posterior(
    key: PRNGKeyArray,
    operators: Float[Array, "M d d"],
    latent_mean: Float[Array, " d"],
    *,
    coefficient_rate: float | Float[Array, " M"],
    noise_std: float,
) -> tuple[Float[Array, " d"], Float[Array, " M"]]:
    """Draw `z = T_Psi(c) f(x) + gamma eps` with Laplace coefficients, eq. 5.

    Args:
        key: Random key.
        operators: The dictionary Psi.
        latent_mean: `f(x)`, or an anchor's latent to sample the prior around it.
        coefficient_rate: Inverse scale of the coefficients (zeta_3), of all or of each.
        noise_std: Standard deviation gamma of the latent noise.

    Returns:
        The sample `z` and the coefficients that moved it.

    Raises:
        ValueError: If shapes disagree, or the rate is not positive or the deviation
            negative (if they are concrete numbers).
    """
    check_key("key", key)
    check_operators(operators)
    check_latent("latent_mean", latent_mean, operators)
    check_rate("coefficient_rate", coefficient_rate, operators, strict=True)
    check_number("noise_std", noise_std)
    coefficient_key, noise_key = jax.random.split(key)
    coefficients = sample_laplace(
        coefficient_key, operators.shape[:1], coefficient_rate
    ).astype(operators.dtype)
    noise = jax.random.normal(noise_key, latent_mean.shape, latent_mean.dtype)
    z = transport(operators, coefficients, latent_mean) + noise_std * noise
    return z, coefficients


def log_posterior(
    z: Float[Array, " d"],
    latent_mean: Float[Array, " d"],
    operators: Float[Array, "M d d"],
    coefficients: Float[Array, " M"],
    *,
    residual_weight: float,
    l1_weight: float | Float[Array, " M"],
) -> Float[Array, ""]:
    """Return log q(z|x) of eq. 11 without its constant `C_2`, in nats.

    `-1/2 zeta_2 ||z - T_Psi(c*) f(x)||^2 - zeta_3 ||c*||_1`.

    Args:
        z: The point at which to evaluate the density.
        latent_mean: `f(x)`, the start of the path.
        operators: The dictionary Psi.
        coefficients: The inferred `c*`, a constant for differentiation if it comes
            from `infer_coefficients`.
        residual_weight: zeta_2 = 1 / gamma^2 (zeta_4 in the prior).
        l1_weight: zeta_3 (zeta_5 in the prior), of all coefficients or of each.

    Returns:
        The un-normalised log-density.

    Raises:
        ValueError: If shapes disagree, or a concrete weight is negative or not finite.

    Note:
        The squared term has a factor of one half, as in the authors' program; the
        paper's formula hides it in zeta_2.
    """
    check_operators(operators)
    check_latent("latent_mean", latent_mean, operators)
    check_latent("z", z, operators)
    check_number("residual_weight", residual_weight)
    check_rate("l1_weight", l1_weight, operators)
    residual = z - transport(operators, coefficients, latent_mean)
    squared = jnp.sum(residual**2)
    if getattr(l1_weight, "ndim", 0):
        length = jnp.sum(l1_weight * jnp.abs(coefficients))
    else:
        length = l1_weight * jnp.sum(jnp.abs(coefficients))
    return -0.5 * residual_weight * squared - length


def check_rate(name, rate, operators, *, strict=False):
    """Raise a ValueError unless a rate is one number, or one for each operator."""
    if getattr(rate, "ndim", 0) == 0:
        check_number(name, rate, strict=strict)
        return
    check_numbers(**{name: rate})
    if rate.shape != operators.shape[:1]:
        raise ValueError(
            f"{name} must be a number, or one for each of {len(operators)} operators; "
            f"got shape {list(rate.shape)}."
        )


def check_latent(name, latent, operators):
    """Raise a ValueError unless a latent point is of the operators' size."""
    check_numbers(**{name: latent})
    if latent.shape != operators.shape[2:]:
        raise ValueError(
            f"{name} must have shape [{operators.shape[2]}], the operators' latent "
            f"size; got {list(latent.shape)}."
        )
