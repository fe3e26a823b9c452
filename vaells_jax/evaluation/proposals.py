"""Proposals of the (anchor, c, z) that explain a data point.

A proposal q(a, c, z) for importance sampling, built from the searches and a Gaussian
picture of the posterior. Around the most probable latent z0, log p(x|z) is replaced by
its quadratic `slope.(z - z0) - 1/2 (z - z0) H (z - z0)`; then `z` given `c` is
Gaussian, and so, with the path linearised at the search's c*, is `c` given `a`. Neither
has to be right: `samples.py` widens both and lets the model itself draw a share.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.loops import as_varying
from vaells_jax.model.paths import Model, anchor_means, decode, encode
from vaells_jax.model.types import Batch, Params
from vaells_jax.networks.contract import check_outputs
from vaells_jax.operators.transport import transport

ANCHOR_SHARE = 0.2
"""Share of the anchors' draws that is uniform."""

ROUNDS, STEPS = 2, 6
"""Rounds of search and latent steps that look for the most probable latent."""

LONGEST_STEP = 2.0
"""Largest correction of c* by the quadratic, in deviations."""


class Generative(NamedTuple):
    """The generative model's numbers: gamma, the Laplace density's rate, sigma."""

    noise_std: float
    coefficient_rate: float
    pixel_std: float


class Spread(NamedTuple):
    """A Gaussian's covariance `root root^T`, with the root's inverse."""

    root: Float[Array, "... n n"]
    inverse: Float[Array, "... n n"]


class Proposals(NamedTuple):
    """The proposal of each data point; N anchors each.

    Attributes:
        starts: `f(a)`.
        anchor_logits: log q(a).
        coefficients: Centre of c for each anchor.
        coefficient_spread: Its covariance.
        latent: z0, the most probable latent.
        shrink: `K = (I + gamma^2 H)^-1`: the mean of z given c is
            `z0 + K (T(c) f(a) - z0 + gamma^2 slope)`.
        slope: Gradient of log p(x|z) at z0.
        latent_spread: Covariance of z given c, `gamma^2 K`.
    """

    starts: Float[Array, "B N d"]
    anchor_logits: Float[Array, "B N"]
    coefficients: Float[Array, "B N M"]
    coefficient_spread: Spread
    latent: Float[Array, "B d"]
    shrink: Float[Array, "B d d"]
    slope: Float[Array, "B d"]
    latent_spread: Spread


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
        batch: Data points with their labels, which select the anchors.
        model: The static part.
        generative: Numbers of the generative model.
        search: How c* is searched.

    Returns:
        One proposal for each data point.
    """
    starts = _anchor_means(params, batch, model=model)
    latents = _encode(params, batch.inputs, model=model)
    keys = jax.random.split(key, ROUNDS + 1)

    def search_all(key, latents):
        return infer_coefficients(
            key, params.operators, starts, latents[:, None, :], options=search
        )

    # Compiled piece by piece, so that the rounds share their compilations.
    for key in keys[:-1]:
        fit = search_all(key, latents)
        latents = _climb(
            params, batch.inputs, latents, starts, fit, model=model,
            generative=generative,
        )  # fmt: skip
    fit = search_all(keys[-1], latents)
    return _picture(
        params, batch.inputs, latents, starts, fit.coefficients, model=model,
        generative=generative,
    )  # fmt: skip


_encode = jax.jit(encode, static_argnames="model")
_anchor_means = jax.jit(anchor_means, static_argnames="model")


@functools.partial(jax.jit, static_argnames=("model", "generative"))
def _climb(params, inputs, latents, starts, fit, *, model, generative):
    """Move each latent to the most probable one, given its best path."""
    best = jnp.argmin(fit.objective, axis=1)
    pick = jax.vmap(lambda rows, i: rows[i])
    c, a = pick(fit.coefficients, best), pick(starts, best)
    ends = jax.vmap(transport, (None, 0, 0))(params.operators, c, a)
    climb = lambda x, z, end: _most_probable(params, x, z, end, model, generative)
    return jax.vmap(climb)(inputs, latents, ends)


@functools.partial(jax.jit, static_argnames=("model", "generative"))
def _picture(params, inputs, latents, starts, found, *, model, generative):
    """Put the proposals together from where the searches ended."""
    quadratic = lambda x, z: _quadratic(params, x, z, model, generative)
    slopes, curvatures, axes = jax.vmap(quadratic)(inputs, latents)
    assemble = lambda *a: _assemble(params.operators, *a, generative=generative)
    return jax.vmap(assemble)(starts, found, latents, slopes, curvatures, axes)


def _errors(params, x, z, model, generative):
    output = decode(params, z, model=model)
    check_outputs(output.shape, x.shape)
    return ((output - x) / generative.pixel_std).ravel()


def _most_probable(params, x, z, end, model, generative):
    """Climb to the largest p(x|z) N(z; end, gamma^2 I) by damped Gauss-Newton steps."""
    precision = generative.noise_std**-2
    errors = lambda z: _errors(params, x, z, model, generative)

    def energy(z):
        return 0.5 * jnp.sum(errors(z) ** 2) + 0.5 * precision * jnp.sum((z - end) ** 2)

    def step(_, carry):
        z, damping = carry
        jacobian = jax.jacfwd(errors)(z)
        gradient = dot(errors(z), jacobian) + precision * (z - end)
        normal = dot(jacobian.T, jacobian) + precision * jnp.eye(z.size, dtype=z.dtype)
        damped = normal + damping * jnp.diag(jnp.diag(normal))
        trial = z - jnp.linalg.solve(damped, gradient)
        better = energy(trial) < energy(z)
        return jnp.where(better, trial, z), jnp.where(better, 0.3, 5.0) * damping

    first = as_varying((z, jnp.asarray(0.1, z.dtype)), params, x, z, end)
    return jax.lax.fori_loop(0, STEPS, step, first)[0]


def _quadratic(params, x, z, model, generative):
    """Return the gradient of log p(x|z), and the curvatures of -log p and their axes.

    Directions along which log p curves upward count as flat.
    """

    def energy(z):
        return 0.5 * jnp.sum(_errors(params, x, z, model, generative) ** 2)

    curvatures, axes = jnp.linalg.eigh(jax.hessian(energy)(z))
    return -jax.grad(energy)(z), jnp.maximum(curvatures, 0.0), axes


def _assemble(operators, starts, found, z0, slope, curvatures, axes, *, generative):
    """Put one data point's proposal together; `found` are the searches' c*."""
    gamma, rate, _ = generative
    # In the curvature's axes nothing large has to cancel, however small gamma is.
    shrinkage = 1.0 / (1.0 + gamma**2 * curvatures)
    shrink = dot(axes * shrinkage[None, :], axes.T)
    # log p(x|c, a) = pull.(end - z0) - 1/2 (end - z0) stiffness (end - z0) + constant.
    pull = dot(shrink, slope)
    stiffness = dot(axes * (curvatures * shrinkage)[None, :], axes.T)

    def per_anchor(start, c):
        path = lambda c: transport(operators, c, start)
        jacobian, away = jax.jacfwd(path)(c), path(c) - z0
        normal = dot(jacobian.T, dot(stiffness, jacobian))
        values, vectors = jnp.linalg.eigh(normal)
        # A Laplace density's variance is 2 / rate^2.
        spread = _spread(vectors, 1.0 / (jnp.maximum(values, 0.0) + 0.5 * rate**2))
        uphill = dot(pull - dot(stiffness, away), jacobian) - rate * jnp.sign(c)
        step = dot(uphill, spread.root)
        length = jnp.sqrt(jnp.sum(step**2))
        step = step * jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(length, 1e-6))
        c = c + dot(spread.root, step)
        away = path(c) - z0
        logit = dot(pull, away) - 0.5 * dot(away, dot(stiffness, away))
        volume = -log_determinant(spread.inverse)
        return logit - rate * jnp.sum(jnp.abs(c)) + volume, c, spread

    logits, coefficients, spread = jax.vmap(per_anchor)(starts, found)
    logits = jax.nn.log_softmax(jnp.where(jnp.isnan(logits), -jnp.inf, logits))
    even = math.log(ANCHOR_SHARE / starts.shape[0])
    logits = jnp.logaddexp(logits + math.log1p(-ANCHOR_SHARE), even)
    latent_spread = _spread(axes, gamma**2 * shrinkage)
    return Proposals(
        starts, logits, coefficients, spread, z0, shrink, slope, latent_spread
    )


def _spread(vectors, variances):
    """Make a covariance of its axes and the variances along them."""
    deviations = jnp.sqrt(variances)
    return Spread(vectors * deviations[None, :], vectors.T / deviations[:, None])


def log_determinant(matrix):
    """Return log |det|."""
    return jnp.linalg.slogdet(matrix)[1]


def dot(a, b):
    """Multiply matrices in full precision."""
    return jnp.matmul(a, b, precision="highest")
