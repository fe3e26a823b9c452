"""The two elementary distributions of the model (Appendix A)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def laplace_from_uniform(
    u: Float[Array, "*s"], rate: float | Float[Array, " M"]
) -> Float[Array, "*s"]:
    """Map uniform variates to Laplace ones: `l(u) = -sgn(u) / rate log(1 - 2|u|)`.

    Args:
        u: Variates in [-1/2, 1/2], both ends included.
        rate: Inverse scale (the paper's zeta_3), positive.

    Returns:
        Laplace variates, finite everywhere: at the ends of the interval `1 - 2|u|` is
        taken as half a unit roundoff, the density's quantile there (17 / rate in
        float32, 37 / rate in float64).
    """
    smallest = jnp.finfo(u.dtype).epsneg / 2
    # Clipped before the logarithm, so that the gradient is finite as well.
    tail = jnp.minimum(2 * jnp.abs(u), 1 - 2 * smallest)
    at_end = 2 * jnp.abs(u) >= 1
    log_tail = jnp.where(at_end, jnp.log(smallest), jnp.log1p(-tail))
    return -jnp.sign(u) / rate * log_tail


def sample_laplace(
    key: PRNGKeyArray, shape: tuple[int, ...], rate: float | Float[Array, " M"]
) -> Float[Array, "..."]:
    """Draw independent Laplace variates with density `rate/2 exp(-rate |c|)`."""
    return laplace_from_uniform(jax.random.uniform(key, shape) - 0.5, rate)


def log_laplace(c: Float[Array, " M"], rate: float) -> Float[Array, ""]:
    """Return the log-density of independent Laplace variates, in nats."""
    return c.size * jnp.log(jnp.asarray(rate / 2, c.dtype)) - rate * jnp.sum(jnp.abs(c))


def log_normal(
    z: Float[Array, " d"], mean: Float[Array, " d"], std: float
) -> Float[Array, ""]:
    """Return the log-density of `N(mean, std^2 I)` at `z`, in nats."""
    constant = 0.5 * jnp.log(2 * jnp.pi) + jnp.log(jnp.asarray(std, z.dtype))
    return -z.size * constant - 0.5 * jnp.sum(((z - mean) / std) ** 2)
