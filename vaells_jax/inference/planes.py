"""Coefficients of operators that turn a plane of latents each: a closed form.

Operator m turns latents 2m and 2m + 1 alone; the objective is a sum over planes,

    1/2 |v - R(w c) a|^2 + zeta |c|
        = 1/2 (|a| - |v|)^2 + |a| |v| (1 - cos(w c - phi)) + zeta |c|,

phi the angle from a to v. By symmetry the least of it lies between 0 and phi, which is
at most half a turn: every further turn costs `zeta 2 pi / w` more. There it is at 0 or
where the derivative vanishes, `sin(phi - w c) = zeta / (|a| |v| w)`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vaells_jax.inference.energy import Problem


def turning_rates(operators: Float[Array, "M d d"]) -> Float[Array, " M"]:
    """Return w of each operator, the entry below the diagonal of its plane."""
    first = 2 * jnp.arange(len(operators))
    return operators[first // 2, first + 1, first]


def turning(
    rates: Float[Array, " K"], latent_size: int, count: int | None = None
) -> Float[Array, "M d d"]:
    """Return operators that turn a plane each; those beyond the planes are zero."""
    index = jnp.arange(len(rates))
    shape = (count or len(rates), latent_size, latent_size)
    below = jnp.zeros(shape, rates.dtype).at[index, 2 * index + 1, 2 * index].set(rates)
    return below - jnp.swapaxes(below, 1, 2)


def are_planes(operators: Float[Array, "M d d"]) -> Bool[Array, ""]:
    """Return whether each operator turns its own plane, exactly."""
    count, size, _ = operators.shape
    wanted = turning(turning_rates(operators), size)
    return jnp.all(operators == wanted) & (2 * count <= size)


def plane_batch(problem: Problem) -> tuple[Float[Array, "B M"], Float[Array, " B"]]:
    """Solve the scaled problems, the batch axis first here.

    Returns:
        The coefficients at the global minimum, and the objective there; NaN where
        `are_planes` is false.
    """
    rates, weights = turning_rates(problem.operators), problem.l1_weights
    count, planes = len(problem.start), len(rates)
    a, v = (
        x[:, : 2 * planes].reshape(count, planes, 2)
        for x in (problem.start, problem.end)
    )
    along = a[..., 0] * v[..., 0] + a[..., 1] * v[..., 1]
    across = a[..., 0] * v[..., 1] - a[..., 1] * v[..., 0]
    reach = jnp.sqrt(along**2 + across**2)  # |a| |v|
    phi = jnp.abs(jnp.arctan2(across, along))
    speed = jnp.abs(rates)[None]
    slope = reach * speed
    ratio = jnp.where(slope > 0, weights[None] / jnp.where(slope > 0, slope, 1.0), 2.0)
    angle = phi - jnp.arcsin(jnp.minimum(ratio, 1.0))
    # 1 - cos, without what rounding takes from it.
    lost = lambda x: 2.0 * reach * jnp.sin(0.5 * x) ** 2
    turned = lost(phi - angle) + reach * ratio * angle
    moves = (ratio < 1) & (angle > 0) & (turned < lost(phi))
    angle = jnp.where(moves, angle, 0.0)
    sense = jnp.where(across < 0, -1.0, 1.0) * jnp.where(rates < 0, -1.0, 1.0)[None]
    u = sense * angle / jnp.where(speed > 0, speed, 1.0)
    sizes = [jnp.sqrt(jnp.sum(x**2, axis=-1)) for x in (a, v)]
    rest = (problem.end - problem.start)[:, 2 * planes :]
    energy = (
        jnp.sum(0.5 * (sizes[0] - sizes[1]) ** 2 + lost(phi - angle), axis=-1)
        + jnp.sum(weights[None] * jnp.abs(u), axis=-1)
        + 0.5 * jnp.sum(rest**2, axis=-1)
    )
    return u, jnp.where(are_planes(problem.operators), energy, jnp.nan)
