"""The paper's estimate of the log-likelihood (Fig. 6), by importance sampling [26].

It is an estimate of a surrogate: both latent densities replace the integral over
coefficients by its largest term at the searches' `c*` (eqs. 6 and 10), and the label
of each data point is known. So it is no bound on log p(x), it depends on how well the
searches do, and it stands beside no other model's likelihood.
"""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.model.objective import log_images, log_posteriors, log_priors
from vaells_jax.model.paths import Model, Paths, infer_paths
from vaells_jax.model.types import Batch, LossWeights, Params

UNIT_WEIGHTS = LossWeights(prior_l1=1.0)
"""sigma = 1, gamma = 1, zeta_3 = 1: with these the printed numbers come out."""

PATHS_AT_ONCE = 40_000
"""Paths that are searched at once, which bounds the memory."""


class ImportanceTerms(NamedTuple):
    """What the estimate is made of, for each data point and sample, in nats.

    Constants of the latent densities are equal and cancel, so they are left out.
    """

    log_image: Float[Array, "B S"]  # log p(x|z), with its constant
    log_prior: Float[Array, "B S"]  # log p(z)
    log_posterior: Float[Array, "B S"]  # log q(z|x)

    def log_likelihood(self) -> Float[Array, " B"]:
        """Return `log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x)` of each data point."""
        logs = self.log_image + self.log_prior - self.log_posterior
        return jax.nn.logsumexp(logs, axis=1) - math.log(logs.shape[1])


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
        model: The static part.
        weights: Inverse variances and L1 weights of the three densities.

    Returns:
        The terms of each data point and sample.
    """
    size = math.prod(batch.inputs.shape[1:])
    constant = 0.5 * size * math.log(2 * math.pi / weights.reconstruction)
    image = log_images(
        params.decoder, batch, paths.latents, model=model, weights=weights
    )
    return ImportanceTerms(
        image - constant,
        log_priors(params.operators, paths, weights),
        log_posteriors(params.operators, paths, weights),
    )


def log_likelihood(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights = UNIT_WEIGHTS,
) -> Float[np.ndarray, " B"]:
    """Estimate each data point's log-likelihood as the paper does.

    Args:
        params: A trained model's parameters.
        key: Random key of samples and searches.
        batch: Data points with their labels, as many as there are.
        model: The static part: number of samples (the paper's is 100), closest anchor
            or the mean over the class's, spread of the samples, searches.
        weights: Inverse variances and L1 weights of the three densities.

    Returns:
        One estimate for each data point, in nats, with the constant of log p(x|z).

    Raises:
        ValueError: If the batch is empty or does not fit the parameters.
    """
    count = batch.inputs.shape[0]
    if count == 0:
        raise ValueError("batch must hold at least one example; got none.")
    anchors = params.anchors if batch.anchors is None else batch.anchors
    paths = model.num_samples * (1 + (1 if anchors is None else anchors.shape[1]))
    chunk = max(1, min(count, PATHS_AT_ONCE // paths))
    found = []
    for i in range(0, count, chunk):
        # The last chunk is filled up with examples seen before: one shape, one compile.
        index = np.arange(i, i + chunk) % count
        part = jax.tree.map(lambda x, index=index: x[index], batch)
        values = _estimate(
            params, jax.random.fold_in(key, i), part, model=model, weights=weights
        )
        found.append(np.asarray(values)[: count - i])
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnames=("model", "weights"))
def _estimate(params, key, batch, *, model, weights):
    paths = infer_paths(params, key, batch, model=model, weights=weights)
    terms = importance_terms(params, batch, paths, model=model, weights=weights)
    return terms.log_likelihood()
