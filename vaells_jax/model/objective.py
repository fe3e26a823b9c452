"""The objective: negative ELBO with learned operators (eqs. 8-9, Appendix A)."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.model.integrals import log_component
from vaells_jax.model.paths import (
    Model,
    Paths,
    decode,
    encode,
    infer_paths,
    sample_latents,
)
from vaells_jax.model.prior import anchor_components, log_prior
from vaells_jax.model.types import Batch, Density, LossWeights, Params
from vaells_jax.networks.contract import check_outputs


class LossTerms(NamedTuple):
    """The objective's terms in the paper's order, in nats, averaged over the batch.

    The loss is `reconstruction_factor * reconstruction + posterior +
    prior_factor * prior + operator_norm`.
    """

    reconstruction: Float[Array, ""]  # 1/2 zeta_1 ||x - g(z)||^2
    posterior: Float[Array, ""]  # log q(z|x), without its constant if a maximum
    prior: Float[Array, ""]  # -log p(z), likewise
    operator_norm: Float[Array, ""]  # eta/2 sum_m ||Psi_m||_F^2

    def total(self, weights: LossWeights) -> Float[Array, ""]:
        """Add the terms up with the phase's factors."""
        return (
            weights.reconstruction_factor * self.reconstruction
            + self.posterior
            + weights.prior_factor * self.prior
            + self.operator_norm
        )


def loss(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights,
) -> tuple[Float[Array, ""], LossTerms]:
    """Estimate the negative ELBO of eq. 9 on a batch.

    Args:
        params: Networks, operators and anchors.
        key: Random key of the posterior samples and of the searches' starts.
        batch: Examples with their labels (and their own anchors, if they have any).
        model: The static part of the model.
        weights: The terms' weights.

    Returns:
        The loss in nats per example, without additive constants, and its terms.

    Raises:
        ValueError: If the batch does not fit the model or the anchors.

    Note:
        Inferred coefficients are constants: no gradient passes through the search.
    """
    total, terms, _ = loss_and_paths(params, key, batch, model=model, weights=weights)
    return total, terms


def loss_and_paths(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights,
    anchor_latents: Float[Array, "G N d"] | None = None,
) -> tuple[Float[Array, ""], LossTerms, Paths]:
    """Evaluate `loss` and return the samples and paths that it was made of.

    `infer_paths` explains `anchor_latents`.
    """
    paths = infer_paths(
        params, key, batch, model=model, weights=weights, anchor_latents=anchor_latents
    )
    terms = LossTerms(
        reconstruction=reconstruction_term(
            params, batch, paths.latents, model=model, weights=weights
        ),
        posterior=posterior_term(
            params.operators, paths, weights, density=model.density
        ),
        prior=prior_term(params.operators, paths, weights, density=model.density),
        operator_norm=operator_norm_term(params.operators, weights),
    )
    return terms.total(weights), terms, paths


def warm_up_loss(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights,
    coefficient_rate: float = 100.0,
) -> tuple[Float[Array, ""], LossTerms]:
    """Evaluate the reconstruction alone, samples hardly moved (Appendix B, warm-up).

    Args:
        params: Networks and operators.
        key: Random key of the coefficients.
        batch: Examples.
        model: The static part of the model; its noise is not used.
        weights: Only `reconstruction` (zeta_1) enters.
        coefficient_rate: zeta_3 of the warm-up; large, so that paths are short.

    Returns:
        The loss in nats per example and its terms, the others zero.
    """
    means = encode(params, batch.inputs, model=model)
    latents = sample_latents(
        key,
        params.operators,
        means,
        num_samples=model.num_samples,
        coefficient_rate=coefficient_rate,
        noise_std=0.0,
    )
    term = reconstruction_term(params, batch, latents, model=model, weights=weights)
    zero = jnp.zeros_like(term)
    return term, LossTerms(term, zero, zero, zero)


def operator_objective(
    operators: Float[Array, "M d d"],
    paths: Paths,
    weights: LossWeights,
    *,
    density: Density = "max",
) -> Float[Array, ""]:
    """Evaluate the part of the loss in which Psi stands explicitly (Appendix B).

    Samples and coefficients are held: this is what an operator step has to improve.

    Returns:
        Posterior, prior and Frobenius terms, in nats per example. L1 terms that are
        constants here are left out because they would cost the comparison digits:
        the posterior's where densities are maxima, and the prior's where besides
        only the closest anchor counts.
    """
    l1_weight = None
    if density == "max":
        l1_weight, paths = 0.0, paths._replace(point_spread=None)
        if paths.anchor_index is not None:
            weights = dataclasses.replace(weights, prior_l1=0.0)
    posterior = log_posteriors(
        operators, paths, weights, l1_weight=l1_weight, density=density
    )
    return (
        jnp.mean(posterior)
        + weights.prior_factor * prior_term(operators, paths, weights, density=density)
        + operator_norm_term(operators, weights)
    )


def reconstruction_term(
    params: Params,
    batch: Batch,
    latents: Float[Array, "B S d"],
    *,
    model: Model,
    weights: LossWeights,
) -> Float[Array, ""]:
    """Return `1/2 zeta_1 ||x - g(z)||^2` averaged over samples and examples, nats."""
    return -jnp.mean(log_images(params, batch, latents, model=model, weights=weights))


def posterior_term(
    operators: Float[Array, "M d d"],
    paths: Paths,
    weights: LossWeights,
    *,
    density: Density = "max",
) -> Float[Array, ""]:
    """Return log q(z|x), eq. 6 or 11, averaged over samples and examples, nats."""
    return jnp.mean(log_posteriors(operators, paths, weights, density=density))


def prior_term(
    operators: Float[Array, "M d d"],
    paths: Paths,
    weights: LossWeights,
    *,
    density: Density = "max",
) -> Float[Array, ""]:
    """Return -log p(z), eq. 7 or 12, averaged over samples and examples, nats."""
    return -jnp.mean(log_priors(operators, paths, weights, density=density))


def log_images(
    params: Params,
    batch: Batch,
    latents: Float[Array, "B S d"],
    *,
    model: Model,
    weights: LossWeights,
) -> Float[Array, "B S"]:
    """Return log p(x|z) of each sample without its constant `C_1`, in nats."""
    outputs = decode(params, latents, model=model)
    check_outputs(outputs.shape[2:], batch.inputs.shape[1:])
    errors = (outputs - jnp.expand_dims(batch.inputs, 1)) ** 2
    squared = jnp.sum(errors, axis=tuple(range(2, errors.ndim)))
    return -0.5 * weights.reconstruction * squared


def log_posteriors(
    operators: Float[Array, "M d d"],
    paths: Paths,
    weights: LossWeights,
    *,
    l1_weight: float | None = None,
    density: Density = "max",
) -> Float[Array, "B S"]:
    """Return log q(z|x) of each sample, eq. 6 or 11, in nats.

    Args:
        operators: The dictionary Psi.
        paths: Samples and the paths to them from their own means.
        weights: zeta_2 and zeta_3.
        l1_weight: Stands in place of zeta_3, if it is given.
        density: The integral over coefficients, or its largest term without its
            constant.
    """
    l1_weight = weights.posterior_l1 if l1_weight is None else l1_weight

    def one(mean, z, coefficients, point_spread):
        return log_component(
            operators,
            mean,
            z,
            coefficients,
            residual_weight=weights.posterior_residual,
            l1_weight=l1_weight,
            density=density,
            point_spread=point_spread,
        )

    per_sample = jax.vmap(jax.vmap(one, (None, 0, 0, None)))
    return per_sample(
        paths.latent_means,
        paths.latents,
        paths.posterior_coefficients,
        paths.point_spread,
    )


def log_priors(
    operators: Float[Array, "M d d"],
    paths: Paths,
    weights: LossWeights,
    *,
    combine: Callable[[Array], Array] = log_prior,
    density: Density = "max",
) -> Float[Array, "B S"]:
    """Return log p(z) of each sample in nats.

    Args:
        operators: The dictionary Psi.
        paths: Samples and the paths to them from the anchors that count.
        weights: zeta_4 and zeta_5.
        combine: What makes the anchors' terms a density: eq. 7, which is eq. 12 where
            the closest alone counts, or `log_prior_closest` where all are there.
        density: Of each anchor the integral over coefficients, or its largest term
            without its constant.
    """

    def one(anchor_means, z, coefficients):
        components = anchor_components(
            z,
            anchor_means,
            operators,
            coefficients,
            residual_weight=weights.prior_residual,
            l1_weight=weights.prior_l1,
            density=density,
        )
        return combine(components)

    per_sample = jax.vmap(jax.vmap(one))
    return per_sample(paths.anchor_means, paths.latents, paths.prior_coefficients)


def operator_norm_term(
    operators: Float[Array, "M d d"], weights: LossWeights
) -> Float[Array, ""]:
    """Return the Frobenius regulariser of eq. 8, `eta/2 sum_m ||Psi_m||_F^2`."""
    return 0.5 * weights.operator_norm * jnp.sum(operators**2)
