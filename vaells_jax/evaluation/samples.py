"""Samples (anchor, c, z) from the importance proposals, with their densities.

Each sample is drawn in one of three ways, and its density is that of the three ways
together. The last way is the model itself, so that no weight exceeds the largest p(x|z)
divided by that way's share.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.evaluation.proposals import (
    Generative,
    Proposals,
    dot,
    log_determinant,
)
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.operators.transport import transport

SHARES = (0.5, 0.3, 0.2)
"""Shares of: c near c*; c from its prior density; all of a, c and z from the model. The
second finds paths that no search found, the last bounds the weights."""

WIDTHS = (1.0, 2.0)
"""Gaussians are even mixtures of these multiples of their deviation: heavier tails."""


class Samples(NamedTuple):
    """Draws (a, c, z) from the proposals, and their log-densities in nats.

    Attributes:
        z: The latents.
        log_model: log p(a) p(c) p(z|a, c).
        log_proposal: log q(a, c, z).
    """

    z: Float[Array, "B S d"]
    log_model: Float[Array, "B S"]
    log_proposal: Float[Array, "B S"]


def draw(
    key: PRNGKeyArray,
    operators: Float[Array, "M d d"],
    proposals: Proposals,
    num_samples: int,
    *,
    generative: Generative,
) -> Samples:
    """Draw (a, c, z) for each data point, with their densities.

    Args:
        key: Random key.
        operators: The dictionary Psi.
        proposals: Where to look, for each data point.
        num_samples: Samples of each.
        generative: Numbers of the generative model.

    Returns:
        The latents and both log-densities.
    """
    keys = jax.random.split(key, (proposals.latent.shape[0], num_samples))
    one = lambda key, proposal: _draw_one(key, operators, proposal, generative)
    return jax.vmap(jax.vmap(one, (0, None)))(keys, proposals)


def _draw_one(key, operators, proposal, generative):
    """Draw one (a, c, z); `SHARES` decides which of the three ways."""
    gamma, rate, _ = generative
    keys = jax.random.split(key, 6)
    shares = jnp.log(jnp.asarray(SHARES, proposal.latent.dtype))
    way = jax.random.categorical(keys[0], shares)
    count, size = proposal.coefficients.shape
    likely = jax.random.categorical(keys[1], proposal.anchor_logits)
    any_anchor = jax.random.randint(keys[2], (), 0, count)
    a = jnp.where(way == 2, any_anchor, likely)
    spread = jax.tree.map(lambda x: x[a], proposal.coefficient_spread)
    centre = proposal.coefficients[a]
    near = centre + _gaussian_draw(keys[3], spread)
    anywhere = sample_laplace(keys[4], (size,), rate).astype(centre.dtype)
    c = jnp.where(way == 0, near, anywhere)
    end = transport(operators, c, proposal.starts[a])
    around = gamma**2 * proposal.slope + end - proposal.latent
    mean = proposal.latent + dot(proposal.shrink, around)
    noise_key, model_key = jax.random.split(keys[5])
    near_z = mean + _gaussian_draw(noise_key, proposal.latent_spread)
    model_z = end + gamma * jax.random.normal(model_key, end.shape, end.dtype)
    z = jnp.where(way == 2, model_z, near_z)

    log_c = size * math.log(rate / 2) - rate * jnp.sum(jnp.abs(c))
    log_z = -0.5 * jnp.sum(((z - end) / gamma) ** 2) - z.size * (
        math.log(gamma) + 0.5 * math.log(2 * math.pi)
    )
    log_model = -math.log(count) + log_c + log_z
    log_near_c = jnp.logaddexp(
        shares[0] + _log_gaussian(c - centre, spread), shares[1] + log_c
    )
    log_near_z = _log_gaussian(z - mean, proposal.latent_spread)
    log_near = proposal.anchor_logits[a] + log_near_c + log_near_z
    return Samples(z, log_model, jnp.logaddexp(log_near, shares[2] + log_model))


def _gaussian_draw(key, spread):
    """Draw from the mixture of widths, about zero."""
    width_key, normal_key = jax.random.split(key)
    size = spread.root.shape[-1]
    normal = jax.random.normal(normal_key, (size,), spread.root.dtype)
    width = jax.random.choice(width_key, jnp.asarray(WIDTHS, spread.root.dtype))
    return width * dot(spread.root, normal)


def _log_gaussian(offset, spread):
    """Return the log-density of the mixture of widths, in nats."""
    size = offset.shape[-1]
    squared = jnp.sum(dot(spread.inverse, offset) ** 2)
    widths = jnp.asarray(WIDTHS, offset.dtype)
    logs = -0.5 * squared / widths**2 - size * jnp.log(widths)
    constant = 0.5 * size * math.log(2 * math.pi) + math.log(len(WIDTHS))
    return jax.nn.logsumexp(logs) - constant + log_determinant(spread.inverse)
