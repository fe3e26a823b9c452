"""The paper's estimate of the log-likelihood (Fig. 6), by importance sampling [26].

It is an estimate of a surrogate: both latent densities replace the integral over
coefficients by its largest term at the searches' `c*` (eqs. 6 and 10), unless the
model's `density` is the integral itself, and the label of each data point is known. So
it is no bound on log p(x), it depends on how well the searches do, and it cannot be
compared with another model's likelihood.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_key, check_kind, check_member
from vaells_jax.evaluation.chunks import in_chunks
from vaells_jax.model.arguments import check_arguments
from vaells_jax.model.objective import log_images, log_posteriors, log_priors
from vaells_jax.model.paths import Model, Paths, infer_paths
from vaells_jax.model.prior import log_prior, log_prior_closest
from vaells_jax.model.types import Batch, LossWeights, Params

UNIT_WEIGHTS = LossWeights(prior_l1=1.0)
"""sigma = 1, gamma = 1, zeta_3 = 1: with these the printed numbers come out."""

Anchors = Literal["class", "all", "closest"]
"""Which anchors make the prior: the mean over those of the data point's class (label
known), over those of all classes (label unknown), or the closest of its class (eq. 12,
label known)."""

PATHS_AT_ONCE = 5_000
"""Paths that are searched at once, which bounds the memory."""


class ImportanceTerms(NamedTuple):
    """The terms of the estimate, for each data point and sample, in nats.

    Constants of the latent densities are equal and cancel, so they are left out.
    """

    log_image: Float[Array, "B S"]  # log p(x|z), with its constant
    log_prior: Float[Array, "B S"]  # log p(z)
    log_posterior: Float[Array, "B S"]  # log q(z|x)

    def log_likelihood(self) -> Float[Array, " B"]:
        """Return `log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x)` of each data point."""
        logs = self._log_weights()
        return jax.nn.logsumexp(logs, axis=1) - math.log(logs.shape[1])

    def effective_samples(self) -> Float[Array, " B"]:
        """Return `(sum w)^2 / sum w^2` of each data point's S weights."""
        logs = self._log_weights()
        total, squared = (jax.nn.logsumexp(n * logs, axis=1) for n in (1, 2))
        return jnp.exp(2 * total - squared)

    def _log_weights(self):
        return self.log_image + self.log_prior - self.log_posterior


class Estimate(NamedTuple):
    """The paper's two numbers for each data point, in nats, of the same samples.

    Attributes:
        log_likelihood: `log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x)`, with unit weights.
        elbo: Eq. 4, `1/S sum_s log p(x|z_s) + log p(z_s) - log q(z_s|x)`, with the
            weights and the anchors of the training.
        effective_samples: `(sum w)^2 / sum w^2` of the likelihood's weights, of S.
    """

    log_likelihood: Float[np.ndarray, " B"]
    elbo: Float[np.ndarray, " B"]
    effective_samples: Float[np.ndarray, " B"]


def importance_terms(
    params: Params,
    batch: Batch,
    paths: Paths,
    *,
    model: Model,
    weights: LossWeights = UNIT_WEIGHTS,
) -> ImportanceTerms:
    """Evaluate the estimate's terms at given samples and coefficients.

    Args:
        params: A trained model's parameters.
        batch: Data points with their labels.
        paths: Posterior samples and the paths inferred to them.
        model: The static part; it decides whether the closest anchor alone counts.
        weights: Inverse variances and L1 weights of the three densities.

    Returns:
        The terms of each data point and sample.
    """
    image = log_images(params, batch, paths.latents, model=model, weights=weights)
    return ImportanceTerms(
        image + image_constant(math.prod(batch.inputs.shape[1:]), weights),
        log_priors(
            params.operators,
            paths,
            weights,
            combine=_combine(model.closest_anchor),
            density=model.density,
        ),
        log_posteriors(params.operators, paths, weights, density=model.density),
    )


def image_constant(size: int, weights: LossWeights = UNIT_WEIGHTS) -> float:
    """Return the part of log p(x|z) that depends on neither x nor z, in nats.

    Args:
        size: Pixels of a data point.
        weights: `reconstruction` is 1 / sigma^2.
    """
    return -0.5 * size * math.log(2 * math.pi / weights.reconstruction)


def log_likelihood(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights = UNIT_WEIGHTS,
    anchors: Anchors = "class",
    objective: LossWeights = UNIT_WEIGHTS,
) -> Float[np.ndarray, " B"]:
    """Estimate each data point's log-likelihood as the paper does; see `estimate`."""
    found = estimate(
        params, key, batch, model=model, weights=weights, anchors=anchors,
        objective=objective,
    )  # fmt: skip
    return found.log_likelihood


def estimate(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights = UNIT_WEIGHTS,
    anchors: Anchors = "class",
    objective: LossWeights = UNIT_WEIGHTS,
    on_done: Callable[[int], None] | None = None,
    mesh: Mesh | None = None,
) -> Estimate:
    """Estimate each data point's log-likelihood and ELBO as the paper does.

    Args:
        params: A trained model's parameters.
        key: Random key of samples and searches.
        batch: Data points with their labels, as many as there are.
        model: The static part: number of samples (the paper's is 100), their noise,
            and the searches.
        weights: Inverse variances and L1 weights of the likelihood's three densities.
        anchors: Which anchors make its prior.
        objective: The ELBO's weights, those of the training, whose zeta_3 is also the
            rate of the samples' coefficients; the ELBO's prior is over the closest
            anchor if `model.closest_anchor` is true.
        on_done: Called with the number of data points done, after each part.
        mesh: Devices that share the data points; None for one device.

    Returns:
        All for each data point, in nats with the constant of log p(x|z).

    Raises:
        ValueError: If the batch is empty or does not fit the parameters, or `anchors`
            is unknown or not to be had.
    """
    check_key("key", key)
    check_kind(
        model=(model, Model),
        weights=(weights, LossWeights),
        objective=(objective, LossWeights),
    )
    check_kind(params=(params, Params), batch=(batch, Batch))
    closest = model.closest_anchor
    params, batch, model = _with_anchors(anchors, params, batch, model)
    check_arguments(params, batch)
    met = params.anchors if batch.anchors is None else batch.anchors
    paths = model.num_samples * (1 + (1 if met is None else met.shape[1]))
    evaluate = _estimator(model, weights, objective, closest)
    found = in_chunks(
        evaluate, params, key, batch, size=PATHS_AT_ONCE // paths, mesh=mesh,
        on_done=on_done,
    )  # fmt: skip
    return Estimate(*found)


@functools.lru_cache(maxsize=16)
def _estimator(model, weights, objective, closest):
    """Return the estimate of a chunk as one function for each setting."""
    return functools.partial(
        _estimate, model=model, weights=weights, objective=objective, closest=closest
    )


def _with_anchors(anchors, params, batch, model):
    """Change parameters, labels and model to use the anchors that are wanted."""
    check_member("anchors", anchors, get_args(Anchors))
    model = dataclasses.replace(model, closest_anchor=anchors == "closest")
    if anchors == "all":
        if params.anchors is None or batch.anchors is not None:
            raise ValueError(
                "anchors='all' needs anchors by class in the parameters, and none in "
                "the batch."
            )
        pooled = params.anchors.reshape(1, -1, *params.anchors.shape[2:])
        params = params._replace(anchors=pooled)
        batch = batch._replace(labels=jnp.zeros_like(batch.labels))
    return params, batch, model


def describe(
    model: Model,
    anchors: Anchors,
    weights: LossWeights = UNIT_WEIGHTS,
    objective: LossWeights = UNIT_WEIGHTS,
) -> dict[str, Any]:
    """Return all that decides the estimate, to be recorded beside it."""
    prior = {
        "class": "mean over the anchors of the data point's class",
        "all": "mean over the anchors of all classes",
        "closest": "closest anchor of the data point's class",
    }
    return {
        "samples": model.num_samples,
        "sample_noise_std": model.noise_std,
        "sample_coefficient_rate": objective.posterior_l1,
        "pixel_std": weights.reconstruction**-0.5,
        "density_noise_std": weights.posterior_residual**-0.5,
        "density_coefficient_rate": weights.posterior_l1,
        "prior": prior[anchors],
        "latent_densities": model.density,
        "labels_used": anchors != "all",
        "posterior_search": dataclasses.asdict(model.posterior_search),
        "prior_search": dataclasses.asdict(model.prior_search),
    }


@functools.partial(
    jax.jit, static_argnames=("model", "weights", "objective", "closest")
)
def _estimate(params, key, batch, *, model, weights, objective, closest):
    every = dataclasses.replace(model, closest_anchor=False)
    paths = infer_paths(params, key, batch, model=every, weights=objective)
    terms = importance_terms(params, batch, paths, model=model, weights=weights)
    image = log_images(params, batch, paths.latents, model=model, weights=objective)
    size = math.prod(batch.inputs.shape[1:])
    density = model.density
    prior = log_priors(
        params.operators, paths, objective, combine=_combine(closest), density=density
    )
    posterior = log_posteriors(params.operators, paths, objective, density=density)
    elbo = (
        jnp.mean(image, axis=1)
        + image_constant(size, objective)
        + jnp.mean(prior, axis=1)
        - jnp.mean(posterior, axis=1)
    )
    return terms.log_likelihood(), elbo, terms.effective_samples()


def _combine(closest):
    """Choose what makes a prior of the anchors' terms."""
    return log_prior_closest if closest else log_prior
