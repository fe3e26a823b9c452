"""Where to look for the (anchor, c, z) that explain a data point.

A proposal q(a, c, z) for importance sampling, built from the searches and a Gaussian
picture of the posterior. Around the most probable latent, log p(x|z) is replaced by its
quadratic `slope.(z - z0) - 1/2 (z - z0) H (z - z0)`; then `z` given `c` is Gaussian,
and so, with the path linearised at the search's c*, is `c` given `a`. Neither has to be
right: both are widened, and a share of the samples comes from the model itself, so that
no weight exceeds the largest p(x|z) divided by that share.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.model.paths import Model, anchor_means, decode_scaled, encode_scaled
from vaells_jax.model.types import Batch, Params
from vaells_jax.operators.transport import transport

SHARES = (0.5, 0.3, 0.2)
"""Shares of: c near c*; c from its prior; c and z from the model. The last bounds the
weights, the second catches paths that no search found."""

ANCHOR_SHARE = 0.2
"""Share of the anchors' draws that is uniform."""

WIDTHS = (1.0, 2.0)
"""Gaussians are an even mixture of these standard deviations: heavier tails."""

ROUNDS, STEPS = 2, 6
"""Rounds of search and latent steps that find the most probable latent."""


class Generative(NamedTuple):
    """Numbers of the generative model: gamma, the rate of the Laplace density, sigma."""

    noise_std: float
    coefficient_rate: float
    pixel_std: float


class Proposals(NamedTuple):
    """The proposal of each data point; N anchors each.

    Attributes:
        starts: `f(a)`, scaled.
        anchor_logits: log q(a).
        coefficients: Centre of c for each anchor.
        spreads: `L` with `L L^T` the covariance of c.
        latent: z0, the most probable latent.
        slope: Gradient of log p(x|z) there.
        spread: `L` with `L L^T` the covariance of z given c.
    """

    starts: Float[Array, "B N d"]
    anchor_logits: Float[Array, "B N"]
    coefficients: Float[Array, "B N M"]
    spreads: Float[Array, "B N M M"]
    latent: Float[Array, "B d"]
    slope: Float[Array, "B d"]
    spread: Float[Array, "B d d"]


class Samples(NamedTuple):
    """Draws from the proposals: anchor, coefficients, the path's end and the latent."""

    anchor: Int[Array, "B S"]
    coefficients: Float[Array, "B S M"]
    ends: Float[Array, "B S d"]
    z: Float[Array, "B S d"]


class LogDensities(NamedTuple):
    """log p(a) p(c) p(z|a, c) and log q(a, c, z) of each sample, in nats."""

    model: Float[Array, "B S"]
    proposal: Float[Array, "B S"]


def propose(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    generative: Generative,
    search: InferenceOptions,
) -> Proposals:
    """Build the proposal of each data point.

    Args:
        params: A trained model's parameters.
        key: Random key of the searches.
        batch: Data points with their labels.
        model: The static part.
        generative: Numbers of the generative model.
        search: How c* is searched.

    Returns:
        One proposal for each data point.
    """
    starts = anchor_means(params, batch, model)
    latents = encode_scaled(params.encoder, batch.inputs, model=model)
    keys = jax.random.split(key, ROUNDS + 1)

    def look(key, latents):
        return infer_coefficients(
            key, params.operators, starts, latents[:, None, :], options=search
        )

    def one_round(i, latents):
        fit = look(keys[i], latents)
        best = jnp.argmin(fit.objective, axis=1)
        pick = lambda rows, i: rows[i]
        c, a = (jax.vmap(pick)(x, best) for x in (fit.coefficients, starts))
        ends = jax.vmap(transport, (None, 0, 0))(params.operators, c, a)
        return jax.vmap(climb)(batch.inputs, latents, ends)

    climb = lambda x, z, end: _most_probable(params, x, z, end, model, generative)
    latents = jax.lax.fori_loop(0, ROUNDS, one_round, latents)
    fit = look(keys[-1], latents)
    picture = lambda x, z: _gaussian_picture(params, x, z, model, generative)
    slope, hessian = jax.vmap(picture)(batch.inputs, latents)
    per_example = lambda *a: _one_proposal(params.operators, *a, generative=generative)
    return jax.vmap(per_example)(starts, fit.coefficients, latents, slope, hessian)


def _errors(params, x, z, model, generative):
    output = decode_scaled(params.decoder, z[None], model=model)[0]
    return ((output - x) / generative.pixel_std).ravel()


def _most_probable(params, x, z, end, model, generative):
    """Climb to the largest p(x|z) N(z; end, gamma^2 I) by damped Gauss-Newton steps."""
    precision = generative.noise_std**-2
    eye = jnp.eye(z.size, dtype=z.dtype)

    def errors(z):
        return _errors(params, x, z, model, generative)

    def energy(z):
        return 0.5 * jnp.sum(errors(z) ** 2) + 0.5 * precision * jnp.sum((z - end) ** 2)

    def step(_, carry):
        z, damping = carry
        jacobian = jax.jacfwd(errors)(z)
        matmul = lambda a, b: jnp.matmul(a, b, precision="highest")
        gradient = matmul(errors(z), jacobian) + precision * (z - end)
        normal = matmul(jacobian.T, jacobian) + precision * eye
        damped = normal + damping * jnp.diag(jnp.diag(normal))
        trial = z - jnp.linalg.solve(damped, gradient)
        better = energy(trial) < energy(z)
        return jnp.where(better, trial, z), jnp.where(better, 0.3, 5.0) * damping

    return jax.lax.fori_loop(0, STEPS, step, (z, jnp.asarray(0.1, z.dtype)))[0]


def _gaussian_picture(params, x, z, model, generative):
    """Return gradient and negative Hessian of log p(x|z), the latter made positive."""

    def energy(z):
        return 0.5 * jnp.sum(_errors(params, x, z, model, generative) ** 2)

    values, vectors = jnp.linalg.eigh(jax.hessian(energy)(z))
    values = jnp.maximum(values, 0.0)
    hessian = jnp.matmul(vectors * values[None, :], vectors.T, precision="highest")
    return -jax.grad(energy)(z), hessian


def _one_proposal(operators, starts, found, latent, slope, hessian, *, generative):
    """Put one data point's proposal together; `found` are the searches' c*."""
    gamma, rate, _ = generative
    size = latent.size
    eye = jnp.eye(size, dtype=latent.dtype)
    # (H + I/gamma^2)^-1 = gamma^2 (I + gamma^2 H)^-1: no large number for small gamma.
    shrink = jnp.linalg.inv(eye + gamma**2 * hessian)
    covariance = gamma**2 * shrink
    # Precision of the path's end once z is integrated: (H^-1 + gamma^2 I)^-1.
    end_precision = jnp.matmul(hessian, shrink, precision="highest")

    def per_anchor(start, c):
        end = transport(operators, c, start)
        jacobian = jax.jacfwd(lambda c: transport(operators, c, start))(c)
        pull = end_slope(latent, slope, shrink, end_precision, end)
        dot = lambda a, b: jnp.matmul(a, b, precision="highest")
        precision = dot(jacobian.T, dot(end_precision, jacobian))
        # The Laplace density's variance is 2 / rate^2.
        precision = precision + 0.5 * rate**2 * jnp.eye(c.size, dtype=c.dtype)
        spread = jnp.linalg.cholesky(jnp.linalg.inv(precision))
        gain = dot(pull, jacobian) - rate * jnp.sign(c)
        step = dot(spread, dot(spread.T, gain))
        logit = (
            _log_end(latent, slope, shrink, covariance, end_precision, end)
            - rate * jnp.sum(jnp.abs(c))
            + jnp.sum(jnp.log(jnp.diag(spread)))
        )
        return logit, jnp.where(c == 0, 0.0, 1.0) * 0.0 * step + c, spread

    logits, coefficients, spreads = jax.vmap(per_anchor)(starts, found)
    logits = jax.nn.log_softmax(jnp.where(jnp.isnan(logits), -jnp.inf, logits))
    share = math.log(ANCHOR_SHARE / starts.shape[0])
    logits = jnp.logaddexp(logits + math.log1p(-ANCHOR_SHARE), share)
    spread = jnp.linalg.cholesky(covariance)
    return Proposals(starts, logits, coefficients, spreads, latent, slope, spread)
