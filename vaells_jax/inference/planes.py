"""Coefficients of operators that turn, or scale and turn, planes: closed forms.

Where operator m turns latents 2m and 2m + 1 alone, the objective is a sum over planes,

    1/2 |v - R(w c) a|^2 + zeta |c|
        = 1/2 (|a| - |v|)^2 + |a| |v| (1 - cos(w c - phi)) + zeta |c|,

phi the angle from a to v. By symmetry the least of it lies between 0 and phi, which is
at most half a turn: every further turn costs `zeta 2 pi / w` more. There it is at 0 or
where the derivative vanishes, `sin(phi - w c) = zeta / (|a| |v| w)`.

Where operators 2k and 2k + 1 scale and turn plane k, by r = exp(s c) and theta = w c',

    1/2 (r |a| - |v|)^2 + r |a| |v| (1 - cos(phi - theta)) + eta |log r| + nu theta

with eta = zeta / s and nu = zeta / w. For each r the best theta is that of above. Put
in, the derivative by r vanishes where a quadratic does: in r if theta = 0, and in
`y = sqrt(r^2 - (nu / |a| |v|)^2)` otherwise. The least of the objective at r = 1 and at
the larger roots for r < 1 and r > 1 is the least of all.
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


def plane_rates(
    operators: Float[Array, "M d d"],
) -> tuple[Array | None, Array, Bool[Array, ""]]:
    """Read operators that act on planes of latents.

    Returns:
        Rates of the scalings, one for each plane, None unless M = d; rates of the
        turnings; and whether the operators are these scalings and turnings, exactly.
    """
    count, size = operators.shape[:2]
    if count != size or size % 2:
        turnings = turning_rates(operators[: size // 2])
        wanted = turning(turnings, size, count)
        return None, turnings, jnp.all(operators == wanted)
    first = jnp.arange(0, size, 2)
    scalings = operators[first, first, first]
    turnings = operators[first + 1, first + 1, first]
    wanted = jnp.zeros_like(operators)
    for row in (first, first + 1):
        wanted = wanted.at[first, row, row].set(scalings)
    wanted = wanted.at[first + 1, first + 1, first].set(turnings)
    wanted = wanted.at[first + 1, first, first + 1].set(-turnings)
    return scalings, turnings, jnp.all(operators == wanted)


def plane_batch(problem: Problem) -> tuple[Float[Array, "B M"], Float[Array, " B"]]:
    """Solve the scaled problems, the batch axis first here.

    Returns:
        The coefficients at the global minimum, and the objective there; NaN where
        `plane_rates` says that the operators are others.
    """
    scalings, turnings, known = plane_rates(problem.operators)
    count, planes = len(problem.start), len(turnings)
    a, v = (
        x[:, : 2 * planes].reshape(count, planes, 2)
        for x in (problem.start, problem.end)
    )
    weights = problem.l1_weights
    if scalings is None:
        u, energy = _turned(a, v, turnings, weights)
    else:
        u, energy = _scaled(a, v, scalings, turnings, weights.reshape(-1, 2))
    rest = (problem.end - problem.start)[:, 2 * planes :]
    energy = (
        jnp.sum(energy, axis=-1)
        + jnp.sum(weights[None] * jnp.abs(u), axis=-1)
        + 0.5 * jnp.sum(rest**2, axis=-1)
    )
    return u, jnp.where(known, energy, jnp.nan)


def _turned(a, v, rates, weights):
    """Return the coefficients of turns, and what is left in each plane, [B K]."""
    reach, phi, sense = _polar(a, v)
    speed = jnp.abs(rates)[None]
    slope = reach * speed
    ratio = jnp.where(slope > 0, weights[None] / jnp.where(slope > 0, slope, 1.0), 2.0)
    angle = phi - jnp.arcsin(jnp.minimum(ratio, 1.0))
    # 1 - cos, without what rounding takes from it.
    lost = lambda x: 2.0 * reach * jnp.sin(0.5 * x) ** 2
    turned = lost(phi - angle) + reach * ratio * angle
    moves = (ratio < 1) & (angle > 0) & (turned < lost(phi))
    angle = jnp.where(moves, angle, 0.0)
    u = sense * angle / jnp.where(rates == 0, 1.0, rates)[None]
    sizes = [jnp.sqrt(jnp.sum(x**2, axis=-1)) for x in (a, v)]
    return u, 0.5 * (sizes[0] - sizes[1]) ** 2 + lost(phi - angle)


def _scaled(a, v, scalings, turnings, weights):
    """Return the coefficients of scalings and turns, [B 2K], and what is left."""
    reach, phi, sense = _polar(a, v)
    A, B = (jnp.sqrt(jnp.sum(x**2, axis=-1)) for x in (a, v))
    per = lambda weight, rate: weight / jnp.where(rate == 0, jnp.inf, jnp.abs(rate))
    grown, turned = (rate[None] for rate in (scalings, turnings))
    eta, nu = per(weights[None, :, 0], grown), per(weights[None, :, 1], turned)
    safe = lambda x: jnp.where(x > 0, x, 1.0)
    squared = safe(A * A)
    # sin(phi - theta) r; beyond 1 the plane does not turn.
    sine = jnp.where((reach > 0) & (turned != 0), nu / safe(reach), 0.0)

    def root(linear, constant):
        """Return the larger root of `|a|^2 x^2 - linear x + constant`."""
        inside = jnp.maximum(linear**2 - 4.0 * squared * constant, 0.0)
        return jnp.maximum(0.5 * (linear + jnp.sqrt(inside)) / squared, 0.0)

    straight, bent = [], []
    for sign, bound in ((1.0, jnp.maximum), (-1.0, jnp.minimum)):
        straight.append(bound(root(reach * jnp.cos(phi), sign * eta), 1.0))
        y = root(reach, squared * sine**2 + sign * eta)
        bent.append(bound(jnp.sqrt(y * y + sine * sine), 1.0))
    one = jnp.ones_like(A)
    scales = jnp.stack([one, *straight, one, *bent])
    # At 0 nothing but 1 will do: a scaling that tends to it is no minimum.
    usable = (scales > 0) & (A > 0)[None] & (grown != 0)[None]
    scales = jnp.where(usable, scales, 1.0)
    angles = phi[None] - jnp.arcsin(jnp.minimum(sine[None] / scales, 1.0))
    turns = (jnp.arange(len(scales)) >= 3)[:, None, None] & (turned != 0)[None]
    angles = jnp.where(turns, jnp.maximum(angles, 0.0), 0.0)
    left = 0.5 * (scales * A - B) ** 2
    left = left + 2.0 * scales * reach * jnp.sin(0.5 * (phi - angles)) ** 2
    total = left + eta * jnp.abs(jnp.log(scales)) + nu * angles
    best = jnp.argmin(total, axis=0)[None]
    pick = lambda x: jnp.take_along_axis(x, best, axis=0)[0]
    by = lambda rate: jnp.where(rate == 0, 1.0, rate)
    u = [jnp.log(pick(scales)) / by(grown), sense * pick(angles) / by(turned)]
    return jnp.stack(u, axis=-1).reshape(len(a), -1), pick(left)


def _polar(a, v):
    """Return |a| |v|, and the size and the sense of the angle from a to v."""
    along = a[..., 0] * v[..., 0] + a[..., 1] * v[..., 1]
    across = a[..., 0] * v[..., 1] - a[..., 1] * v[..., 0]
    reach = jnp.sqrt(along**2 + across**2)
    return reach, jnp.abs(jnp.arctan2(across, along)), jnp.where(across < 0, -1.0, 1.0)
