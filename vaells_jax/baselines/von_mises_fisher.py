"""The von Mises-Fisher density on the unit sphere (Davidson et al., 2018, Section 3).

`f(z) = exp(kappa mu.z) / C`, with its divergence from the uniform density and samples
that carry unbiased gradients. All take one example and any number type, and are finite
with finite derivatives for concentrations from 1e-3 to 1e4 in 2 to 64 dimensions.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.sphere import (
    REACH,
    angle_spread,
    check_dim,
    cosine_moments,
    log_sphere_area,
    quadrature,
    series,
    small,
)
from vaells_jax.loops import as_varying


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def kl_to_uniform(kappa: Float[Array, ""], dim: int) -> Float[Array, ""]:
    """Return the divergence from uniform, `kappa E[w] - log E_0[exp(kappa w)]`.

    Args:
        kappa: Concentration, positive.
        dim: Ambient dimension m.

    Returns:
        The divergence in nats; its derivative is `kappa Var[w]`.
    """
    excess, first = series(jnp.minimum(kappa, max(10.0, dim / 2)), dim)
    moments = cosine_moments(kappa, dim)
    return jnp.where(
        small(kappa, dim),
        first / (1.0 + excess) - jnp.log1p(excess),
        -kappa * moments.complement - moments.log_mass,
    )


@kl_to_uniform.defjvp
def _kl_jvp(dim, primals, tangents):
    (kappa,), (change,) = primals, tangents
    slope = kappa * cosine_moments(kappa, dim).variance
    return kl_to_uniform(kappa, dim), slope * change


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def log_mass(kappa: Float[Array, ""], dim: int) -> Float[Array, ""]:
    """Return `log E_0[exp(-kappa (1 - w))]`, whose derivative is `E[w] - 1`."""
    return cosine_moments(kappa, dim).log_mass


@log_mass.defjvp
def _log_mass_jvp(dim, primals, tangents):
    (kappa,), (change,) = primals, tangents
    return log_mass(kappa, dim), -cosine_moments(kappa, dim).complement * change


def log_density(
    z: Float[Array, " m"], mean: Float[Array, " m"], kappa: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the log-density at a unit vector, in nats.

    Args:
        z: Where, a unit vector.
        mean: Mean direction, a unit vector.
        kappa: Concentration.
    """
    below = 0.5 * jnp.sum((z - mean) ** 2)  # 1 - mean.z, without cancellation
    return -kappa * below - log_mass(kappa, z.size) - log_sphere_area(z.size)


def sample(
    key: PRNGKeyArray, mean: Float[Array, " m"], kappa: Float[Array, ""]
) -> Float[Array, " m"]:
    """Draw a unit vector, differentiable in mean direction and concentration.

    Its angle with the mean comes from `sample_angle`; its direction is a Gaussian
    vector's part across the mean, which varies smoothly with it.

    Args:
        key: Random key.
        mean: Mean direction, a unit vector.
        kappa: Concentration.

    Returns:
        The sample; averages of its derivatives are derivatives of averages.
    """
    angle_key, across_key = jax.random.split(key)
    angle = sample_angle(angle_key, kappa, mean.size)
    noise = jax.random.normal(across_key, mean.shape, mean.dtype)
    across = noise - jnp.sum(noise * mean) * mean
    across = across / jnp.sqrt(jnp.sum(across**2) + jnp.finfo(mean.dtype).tiny)
    z = jnp.cos(angle) * mean + jnp.sin(angle) * across
    return z / jnp.sqrt(jnp.sum(z**2))


def sample_angle(
    key: PRNGKeyArray, kappa: Float[Array, ""], dim: int
) -> Float[Array, ""]:
    """Draw the angle between a sample and the mean direction.

    Its derivative is that of the inverse distribution function at the angle drawn
    (Figurnov et al., 2018), so that rejection adds no bias.

    Args:
        key: Random key.
        kappa: Concentration, positive.
        dim: Ambient dimension m.

    Returns:
        The angle in radians, 0 to pi.
    """
    return _follow(reject_angle(key, jax.lax.stop_gradient(kappa), dim), kappa, dim)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _follow(
    angle: Float[Array, ""], kappa: Float[Array, ""], dim: int
) -> Float[Array, ""]:
    """Let a drawn angle follow the concentration at its quantile."""
    del kappa, dim
    return angle


@_follow.defjvp
def _follow_jvp(dim, primals, tangents):
    angle, kappa = primals
    angle = _follow(angle, kappa, dim)  # for derivatives of a higher order
    return angle, angle_derivative(angle, kappa, dim) * tangents[1]


def reject_angle(
    key: PRNGKeyArray, kappa: Float[Array, ""], dim: int
) -> Float[Array, ""]:
    """Draw an angle by rejection from Ulrich's and Wood's envelope (Wood, 1994).

    It is written in `1 - cos`, so that small angles keep their digits.
    """
    check_dim(dim)
    n = dim - 1
    b = n / (2.0 * kappa + jnp.sqrt(4.0 * kappa**2 + n**2))
    middle = 2.0 * b / (1.0 + b)  # 1 - x_0

    def propose(key):
        vector_key, accept_key = jax.random.split(key)
        low, high = _beta_and_complement(vector_key, dim, kappa.dtype)
        below = 2.0 * b * low / (high + b * low)  # 1 - w
        log_share = kappa * (middle - below) + n * (
            jnp.log(middle + (1.0 - middle) * below) - jnp.log(middle * (2.0 - middle))
        )
        uniform = jax.random.uniform(
            accept_key, (), kappa.dtype, jnp.finfo(kappa.dtype).tiny
        )
        return below, jnp.log(uniform) <= log_share

    def again(carry):
        attempt, _, _ = carry
        return attempt + 1, *propose(jax.random.fold_in(key, attempt))

    # A share of at least two thirds is accepted in every dimension.
    start = (jnp.asarray(0), jnp.zeros_like(kappa), jnp.asarray(False))
    start = as_varying(start, kappa, jax.random.key_data(key))
    _, below, _ = jax.lax.while_loop(
        lambda carry: ~carry[2] & (carry[0] < 1000), again, start
    )
    return 2.0 * jnp.arcsin(jnp.sqrt(jnp.clip(below / 2.0, 0.0, 1.0)))


def angle_derivative(
    angle: Float[Array, ""], kappa: Float[Array, ""], dim: int
) -> Float[Array, ""]:
    """Differentiate the angle of a fixed quantile by the concentration.

    `d angle / d kappa = -1/h(angle) int_0^angle (cos t - E[w]) h(t) dt`, h the angle's
    density; beyond the mean cosine the other tail, which is as large, is the one
    without cancellation.

    Args:
        angle: In radians, 0 to pi.
        kappa: Concentration.
        dim: Ambient dimension m.
    """
    complement = cosine_moments(kappa, dim).complement
    here = 2.0 * jnp.sin(angle / 2.0) ** 2
    inner = here <= complement
    reach = jnp.minimum(angle + REACH * angle_spread(kappa, dim), jnp.pi)
    nodes, weights = quadrature(
        jnp.where(inner, 0.0, angle), jnp.where(inner, angle, reach)
    )
    below = 2.0 * jnp.sin(nodes / 2.0) ** 2
    logs = -kappa * (below - here) + (dim - 2) * (_log_sine(nodes) - _log_sine(angle))
    total = jnp.sum(weights * jnp.exp(logs) * (complement - below))
    return jnp.where(inner, -total, total)


def _log_sine(angle):
    """Return log sin, finite at 0 and at pi, whose nearest number may lie above it."""
    return jnp.log(jnp.maximum(jnp.sin(angle), jnp.finfo(angle.dtype).tiny))


def _beta_and_complement(key, dim, dtype):
    """Draw `(1 + y)/2` and `(1 - y)/2`, y a coordinate of a uniform unit vector.

    That is Beta((m-1)/2, (m-1)/2), both ends with all their digits.
    """
    vector = jax.random.normal(key, (dim,), dtype)
    first, rest = vector[0], jnp.sum(vector[1:] ** 2)
    norm = jnp.sqrt(first**2 + rest)
    far = (norm + jnp.abs(first)) / (2.0 * norm)
    near = rest / (2.0 * norm * (norm + jnp.abs(first)))
    return jnp.where(first >= 0, far, near), jnp.where(first >= 0, near, far)
