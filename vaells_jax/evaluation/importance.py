"""log p(x) of the model as Section 2.3 defines it, by importance sampling.

The generative model draws an anchor `a`, coefficients `c` from a Laplace density, a
latent `z ~ N(T(c) f(a), gamma^2 I)` and a data point `x ~ N(g(z), sigma^2 I)`. Nothing
is maximised here: all three are integrated, on the space of (a, c, z),

    p(x) = E_q[ p(x|z) p(a) p(c) N(z; T(c) f(a), gamma^2 I) / q(a, c, z) ],

and the mean of S such weights is unbiased for p(x). Its logarithm is therefore, in
expectation, a lower bound on log p(x), which grows with S and converges to it.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_fields, check_key, check_kind
from vaells_jax.evaluation.chunks import in_chunks
from vaells_jax.evaluation.proposals import Generative, propose
from vaells_jax.evaluation.samples import draw
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.arguments import check_arguments
from vaells_jax.model.paths import Model, decode
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.networks.contract import check_outputs

DECODED_AT_ONCE = 4_000
"""Latents that are decoded at once, which bounds the memory."""


@dataclasses.dataclass(frozen=True)
class ImportanceOptions:
    """The densities of the estimate, and its number of samples.

    Attributes:
        noise_std: gamma of the generative model. The
            trained objective's is `1 / sqrt(zeta_4)`.
        coefficient_rate: Rate of the Laplace density of c; the objective's is zeta_5.
        pixel_std: sigma; the objective's is `1 / sqrt(zeta_1)`.
        label: "given" uses the anchors of the data point's class alone, which makes
            it log p(x|y); "marginal" those of all classes, equally likely: log p(x).
        num_samples: Samples of each data point, S.
        restarts: Starts of each search.
    """

    noise_std: float
    coefficient_rate: float
    pixel_std: float = 1.0
    label: Literal["given", "marginal"] = "given"
    num_samples: int = 1_000
    restarts: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If one is not positive and finite, or the label's mode unknown.
        """
        check_fields(self, positive=("noise_std", "coefficient_rate", "pixel_std"))

    @property
    def generative(self) -> Generative:
        """Return the three densities' numbers."""
        return Generative(self.noise_std, self.coefficient_rate, self.pixel_std)

    @property
    def search(self) -> InferenceOptions:
        """Return the search of the largest `p(c) N(z; T(c) f(a), gamma^2 I)`."""
        l1_weight = self.coefficient_rate * self.noise_std**2
        return InferenceOptions(l1_weight=l1_weight, restarts=self.restarts)


def objective_options(weights: LossWeights, **others: Any) -> ImportanceOptions:
    """Take the densities of a trained objective, but for the fields that are given."""
    own = {
        "noise_std": weights.prior_residual**-0.5,
        "coefficient_rate": weights.prior_l1,
        "pixel_std": weights.reconstruction**-0.5,
    }
    return ImportanceOptions(**own | others)


class ImportanceEstimate(NamedTuple):
    """The estimate for each data point, and its reliability.

    Attributes:
        log_likelihood: `log 1/S sum_s w_s`, nats; in expectation below log p(x).
        standard_error: Of the logarithm, nats, to first order; too small
            if few samples carry most of the weight.
        effective_samples: `(sum w)^2 / sum w^2`, of S.
    """

    log_likelihood: Float[np.ndarray, " B"]
    standard_error: Float[np.ndarray, " B"]
    effective_samples: Float[np.ndarray, " B"]


def log_marginal_likelihood(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    options: ImportanceOptions,
    on_done: Callable[[int], None] | None = None,
    mesh: Mesh | None = None,
) -> ImportanceEstimate:
    """Estimate log p(x) of each data point, c and z integrated.

    Args:
        params: A trained model's parameters.
        key: Random key of samples and searches.
        batch: Data points; labels are used if `options.label` is "given".
        model: The static part; only its networks are used.
        options: The generative model's numbers and the number of samples.
        on_done: Called with the number of data points done, after each part.
        mesh: Devices that share the data points; None for one device.

    Returns:
        The estimate for each data point.

    Raises:
        ValueError: If the batch is empty, or has its own anchors.
    """
    check_key("key", key)
    check_kind(model=(model, Model), options=(options, ImportanceOptions))
    check_kind(params=(params, Params), batch=(batch, Batch))
    if batch.anchors is not None or params.anchors is None:
        raise ValueError("anchors must be the parameters', grouped by class.")
    if options.label == "marginal":
        pooled = params.anchors.reshape(1, -1, *params.anchors.shape[2:])
        params = params._replace(anchors=pooled)
        batch = batch._replace(labels=jnp.zeros_like(batch.labels))
    check_arguments(params, batch)
    weights = in_chunks(
        _weigher(model, options), params, key, Batch(batch.inputs, batch.labels),
        size=DECODED_AT_ONCE // options.num_samples, mesh=mesh, on_done=on_done,
    )  # fmt: skip
    return summarise(weights.astype(np.float64))


@functools.lru_cache(maxsize=16)
def _weigher(model, options):
    """Return the weights of a chunk as one function for each setting."""
    return functools.partial(log_weights, model=model, options=options)


def summarise(log_weights: Float[np.ndarray, "B S"]) -> ImportanceEstimate:
    """Average weights in log-space, and measure how even they are."""
    samples = log_weights.shape[1]
    largest = np.max(log_weights, axis=1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    weights = np.exp(log_weights - largest)
    mean = weights.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ImportanceEstimate(
            np.log(mean) + largest[:, 0],
            weights.std(axis=1) / mean / math.sqrt(samples),
            weights.sum(axis=1) ** 2 / np.sum(weights**2, axis=1),
        )


def log_weights(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    options: ImportanceOptions,
) -> Float[Array, "B S"]:
    """Draw (a, c, z) and return the logarithm of each weight, in nats.

    Where a path leaves the range of the numbers the weight counts as zero: the
    estimate stays a lower bound.
    """
    proposal_key, sample_key = jax.random.split(key)
    proposals = propose(
        params, proposal_key, batch, model=model, generative=options.generative,
        search=options.search,
    )  # fmt: skip
    return _weigh(params, sample_key, batch, proposals, model=model, options=options)


@functools.partial(jax.jit, static_argnames=("model", "options"))
def _weigh(params, key, batch, proposals, *, model, options):
    """Draw samples part by part, and weigh them."""
    count = batch.inputs.shape[0]
    parts = math.ceil(count * options.num_samples / DECODED_AT_ONCE)
    size = math.ceil(options.num_samples / parts)

    def part(key):
        samples = draw(
            key, params.operators, proposals, size, generative=options.generative
        )
        image = _log_images(params, batch, samples.z, model, options.pixel_std)
        weights = image + samples.log_model - samples.log_proposal
        return jnp.where(jnp.isnan(weights), -jnp.inf, weights)

    weights = jax.lax.map(part, jax.random.split(key, parts))
    weights = jnp.moveaxis(weights, 0, 1).reshape(count, -1)
    return weights[:, : options.num_samples]


def _log_images(params, batch, latents, model, pixel_std):
    """Return log p(x|z) of each sample, [B S]."""
    outputs = decode(params, latents, model=model)
    check_outputs(outputs.shape[2:], batch.inputs.shape[1:])
    errors = (outputs - jnp.expand_dims(batch.inputs, 1)) / pixel_std
    squared = jnp.sum(errors**2, axis=tuple(range(2, errors.ndim)))
    size = math.prod(batch.inputs.shape[1:])
    return -0.5 * squared - 0.5 * size * math.log(2 * math.pi * pixel_std**2)
