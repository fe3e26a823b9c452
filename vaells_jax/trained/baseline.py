"""A trained baseline."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines import iwae
from vaells_jax.baselines.base import Baseline, BaselineParams
from vaells_jax.baselines.elbo import decode_outputs, draw_samples, posteriors
from vaells_jax.checks import (
    as_count,
    as_number,
    check_key,
    check_kind,
    check_numbers,
)
from vaells_jax.evaluation.importance import ImportanceEstimate
from vaells_jax.trained.base import (
    Latents,
    Points,
    TrainedModel,
    check_pairs,
    check_times,
    through,
    warn_of_few_samples,
)


@dataclasses.dataclass(frozen=True)
class TrainedBaseline(TrainedModel):
    """A trained baseline.

    Attributes:
        model: The static part.
        params: Its trained parameters.
        spread: Factor on the deviation of posterior samples, for figures.
    """

    model: Baseline
    params: BaselineParams
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind."""
        check_kind(model=(self.model, Baseline), params=(self.params, BaselineParams))
        spread = as_number("spread", self.spread, strict=True)
        object.__setattr__(self, "spread", spread)

    @property
    def has_density(self) -> bool:
        """Return whether the model has log p(x)."""
        return self.model.has_density

    def encode(self, inputs: Points) -> Array:
        """Return the centre of each data point's posterior, `[n, d]`."""
        points = self._points(inputs)
        network = functools.partial(_encode, self.params, model=self.model)
        return through(network, points, points.ndim - 1)

    def decode(self, latents: Float[Array | np.ndarray, "*n d"]) -> Array:
        """Return the mean data point of each latent."""
        check_numbers(latents=latents)
        if latents.shape[-1:] != (self.model.latent_size,):
            raise ValueError(
                f"latents must have shape [..., {self.model.latent_size}]; got "
                f"{list(latents.shape)}."
            )
        network = functools.partial(_decode, self.params, model=self.model)
        return through(network, jnp.asarray(latents), 1)

    def sample_posterior(
        self, key: PRNGKeyArray, inputs: Points, num_samples: int = 1
    ) -> Float[Array, "n S d"]:
        """Draw latents of each data point from q(z|x), widened by `spread`."""
        check_key("key", key)
        return _sample(
            self.params, key, self._points(inputs), model=self.model,
            num_samples=as_count("num_samples", num_samples), spread=self.spread,
        )  # fmt: skip

    def sample_prior(
        self, key: PRNGKeyArray, count: int, label: int | None = None
    ) -> Float[Array, "n d"]:
        """Draw latents from p(z), which has no classes: `label` must be None."""
        if label is not None:
            kind = type(self.model).__name__
            raise ValueError(f"label must be None for a {kind}; got {label}.")
        check_key("key", key)
        count = as_count("count", count)
        return _sample_prior(self.params, key, model=self.model, count=count)

    def join(
        self, starts: Latents, ends: Latents, times: Float[Array | np.ndarray, " T"]
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents in the model's way."""
        check_pairs(starts, ends, self.model.latent_size)
        times = check_times(times)
        starts, ends = jnp.asarray(starts), jnp.asarray(ends)
        times = jnp.asarray(times, starts.dtype)
        return self.model.bind(self.params).path(starts, ends, times)

    def widened(self) -> "TrainedBaseline":
        """Return the model with samples three times as far from their centre."""
        return dataclasses.replace(self, spread=3.0 * self.spread)

    def log_marginal_likelihood(
        self,
        inputs: Points,
        *,
        num_samples: int = 1000,
        key: PRNGKeyArray | None = None,
        on_done: Callable[[int], None] | None = None,
    ) -> ImportanceEstimate:
        """Estimate log p(x) with importance samples from the posterior."""
        found = iwae.log_likelihood(
            self.params, jax.random.key(0) if key is None else key,
            self._points(inputs), model=self.model, num_samples=num_samples,
            on_done=on_done,
        )  # fmt: skip
        warn_of_few_samples(found.effective_samples, num_samples)
        return found


# Functions of their arrays alone, so that runs share compilations.
@functools.partial(jax.jit, static_argnames="model")
def _encode(params, inputs, *, model):
    model = model.bind(params)
    return jax.vmap(model.centre)(posteriors(params, inputs, model=model))


@functools.partial(jax.jit, static_argnames="model")
def _decode(params, latents, *, model):
    return model.likelihood.mean(decode_outputs(params, latents, model=model))


@functools.partial(jax.jit, static_argnames=("model", "num_samples", "spread"))
def _sample(params, key, inputs, *, model, num_samples, spread):
    model = model.bind(params)
    found = posteriors(params, inputs, model=model)
    if spread != 1.0:
        found = jax.vmap(lambda posterior: model.widen(posterior, spread))(found)
    return draw_samples(key, found, num_samples, model.draw)


@functools.partial(jax.jit, static_argnames=("model", "count"))
def _sample_prior(params, key, *, model, count):
    model = model.bind(params)
    prior = model.prior(params)
    keys = jax.random.split(key, count)
    return jax.vmap(model.draw_prior, (0, None))(keys, prior)
