"""The evidence lower bound of any baseline: the one place that batches."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline, BaselineParams, Posterior
from vaells_jax.networks.contract import apply_decoder, apply_encoder, init_networks


class ElboTerms(NamedTuple):
    """The negative bound's terms in nats, averaged over the batch."""

    reconstruction: Float[Array, ""]  # -log p(x|z), with its constant
    divergence: Float[Array, ""]  # KL(q(z|x), p(z))


def init_params(
    key: PRNGKeyArray, inputs: Float[Array, "n ..."], *, model: Baseline
) -> BaselineParams:
    """Draw a model's first parameters.

    Args:
        key: Random key.
        inputs: Training data: their shape, and where a prior starts from.
        model: What to draw for.
    """
    network_key, prior_key = jax.random.split(key)
    encoder, decoder = init_networks(
        network_key, model.networks, inputs[:2], latent_size=model.decoder_size
    )
    params = BaselineParams(encoder, decoder, model.init_prior(prior_key, inputs))
    jax.eval_shape(lambda p, x: posteriors(p, x, model=model), params, inputs[:2])
    return params


def posteriors(
    params: BaselineParams, inputs: Float[Array, "n ..."], *, model: Baseline
) -> Posterior:
    """Return the posterior of each data point, its leaves with a leading axis.

    Raises:
        ValueError: If the inputs do not fit the encoder, or it gives other features
            than the model reads.
    """
    outputs = apply_encoder(model.networks, params.encoder, inputs)
    wanted = model.encoder_size(model.latent_size)
    if outputs.shape[1:] != (wanted,):
        raise ValueError(
            f"the encoder of a {type(model).__name__} of latent_size "
            f"{model.latent_size} must give {wanted} features; got {outputs.shape[1]}."
        )
    return jax.vmap(model.bind(params).posterior)(outputs)


def decode_outputs(
    params: BaselineParams, latents: Float[Array, "*n d"], *, model: Baseline
) -> Float[Array, "..."]:
    """Decode latents with any leading axes: the likelihood's parameters."""
    flat = jax.vmap(model.decoder_inputs)(latents.reshape(-1, latents.shape[-1]))
    outputs = apply_decoder(model.networks, params.decoder, flat)
    return outputs.reshape(latents.shape[:-1] + outputs.shape[1:])


def draw_samples(
    key: PRNGKeyArray,
    found: Posterior,
    num_samples: int,
    draw: Callable[[PRNGKeyArray, Posterior], Array],
) -> Float[Array, "n S d"]:
    """Draw latents of each posterior, by `Baseline.draw` or `Baseline.propose`."""
    count = jax.tree.leaves(found)[0].shape[0]
    keys = jax.random.split(key, (count, num_samples))
    return jax.vmap(jax.vmap(draw, (0, None)))(keys, found)


def negative_elbo(
    params: BaselineParams,
    key: PRNGKeyArray,
    inputs: Float[Array, "n ..."],
    *,
    model: Baseline,
    divergence_weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], ElboTerms]:
    """Estimate the negative bound on a batch, with a sample for each data point.

    Args:
        params: Networks and prior.
        key: Random key of the samples.
        inputs: Data points.
        model: The static part.
        divergence_weight: Of the divergence, below 1 while training warms up; the
            model's own weight multiplies it.

    Returns:
        The loss in nats per data point, and its terms, unweighted.

    Raises:
        ValueError: If the data do not fit the networks, or the likelihood is not of
            such data, where they are concrete.
    """
    model.likelihood.check_support(inputs)
    model = model.bind(params)
    found = posteriors(params, inputs, model=model)
    latents = draw_samples(key, found, 1, model.draw)[:, 0]
    outputs = decode_outputs(params, latents, model=model)
    images = jax.vmap(model.log_data)(inputs, outputs, latents)
    prior = model.prior(params)
    divergences = jax.vmap(model.divergence, (0, 0, None))(latents, found, prior)
    terms = ElboTerms(-jnp.mean(images), jnp.mean(divergences))
    weight = divergence_weight * model.divergence_weight
    return terms.reconstruction + weight * terms.divergence, terms


def reconstruction_alone(
    params: BaselineParams, inputs: Float[Array, "n ..."], *, model: Baseline
) -> tuple[Float[Array, ""], ElboTerms]:
    """Return the objective of an autoencoder, whose codes are the posteriors' centres.

    The likelihood is the model's before it learns one of its own. Arguments and terms
    are those of `negative_elbo`.
    """
    codes = jax.vmap(model.centre)(posteriors(params, inputs, model=model))
    outputs = decode_outputs(params, codes, model=model)
    term = -jnp.mean(jax.vmap(model.likelihood.log_prob)(inputs, outputs))
    return term, ElboTerms(term, jnp.zeros_like(term))


def log_weights(
    params: BaselineParams,
    key: PRNGKeyArray,
    inputs: Float[Array, "n ..."],
    *,
    model: Baseline,
    num_samples: int,
) -> Float[Array, "n S"]:
    """Return `log p(x|z) + log p(z) - log q(z|x)` of posterior samples, in nats."""
    model = model.bind(params)
    found = posteriors(params, inputs, model=model)
    latents = draw_samples(key, found, num_samples, model.propose)
    outputs = decode_outputs(params, latents, model=model)
    prior = model.prior(params)

    def weigh(x, z, output, posterior):
        image = model.log_data(x, output, z)
        latent = model.log_prior(z, prior) - model.log_posterior(z, posterior)
        return image + latent

    over_samples = jax.vmap(weigh, (None, 0, 0, None))
    return jax.vmap(over_samples)(inputs, latents, outputs, found)
