"""VAELLS behind the same functions as the models it is compared with."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.evaluation.importance import (
    ImportanceEstimate,
    ImportanceOptions,
    log_marginal_likelihood,
)
from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.model.paths import Model, decode, encode, sample_latents
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.operators.transport import transport, transport_path


@dataclasses.dataclass(frozen=True)
class TrainedVaells:
    """A trained VAELLS behind `protocol.LatentModel`.

    Attributes:
        model: The static part.
        params: The trained parameters.
        weights: The objective's, which say what is sampled and what the generative
            densities are.
        rate_factor: Factor on zeta_3 in posterior samples, below 1 for wide ones.
        noise_factor: Factor on the noise of posterior samples.
        coefficient_scale: Laplace scale of each operator in prior samples, `[M]`;
            `1 / zeta_3` where it is None.
    """

    model: Model
    params: Params
    weights: LossWeights
    rate_factor: float = 1.0
    noise_factor: float = 1.0
    coefficient_scale: Float[Array | np.ndarray, " M"] | None = None

    def encode(self, inputs: Float[Array | np.ndarray, "n ..."]) -> Array:
        """Return latent means, `[n, d]`."""
        return _encode(self.params, jnp.asarray(inputs), model=self.model)

    def decode(self, latents: Float[Array | np.ndarray, "*n d"]) -> Array:
        """Return the mean data point of each latent."""
        return _decode(self.params, jnp.asarray(latents), model=self.model)

    def sample_posterior(
        self,
        key: PRNGKeyArray,
        inputs: Float[Array | np.ndarray, "n ..."],
        num_samples: int,
    ) -> Float[Array, "n S d"]:
        """Draw latents around each data point's mean, eq. 5."""
        return _sample(
            key,
            self.params.operators,
            self.encode(inputs),
            num_samples=num_samples,
            coefficient_rate=self.weights.posterior_l1 * self.rate_factor,
            noise_std=self.model.noise_std * self.noise_factor,
        )

    def sample_prior(self, key: PRNGKeyArray, count: int) -> Float[Array, "n d"]:
        """Draw latents from the prior: an anchor, all equally likely, then eq. 5.

        Raises:
            ValueError: If the anchors are the examples' own.
        """
        anchors = self.params.anchors
        if anchors is None:
            raise ValueError("params hold no anchors to sample from.")
        index_key, coefficient_key, noise_key = jax.random.split(key, 3)
        means = self.encode(anchors.reshape(-1, *anchors.shape[2:]))
        index = jax.random.randint(index_key, (count,), 0, len(means))
        shape = (count, len(self.params.operators))
        scale = self.coefficient_scale
        if scale is None:
            scale = np.full(shape[1], 1.0 / self.weights.posterior_l1)
        coefficients = sample_laplace(coefficient_key, shape, 1.0)
        coefficients = coefficients * jnp.asarray(scale, means.dtype)[None]
        noise = jax.random.normal(noise_key, (count, means.shape[1]), means.dtype)
        moved = _move(self.params.operators, coefficients, means[index])
        return moved + self.model.noise_std * noise

    def search(
        self,
        starts: Float[Array | np.ndarray, "P d"],
        ends: Float[Array | np.ndarray, "P d"],
        *,
        operator: int | None = None,
    ) -> tuple[Float[Array, "P M"], Float[Array, "P d"]]:
        """Find the best coefficients of pairs of latents anywhere, by a global search.

        Args:
            starts: Where paths start.
            ends: Where they should lead.
            operator: The one operator to use, or None for all.

        Returns:
            Coefficients and where they lead.
        """
        operators = self.params.operators
        if operator is not None:
            operators = operators[operator : operator + 1]
        options = InferenceOptions(
            search="global", l1_weight=self.model.prior_search.l1_weight
        )
        # Every search draws from the same key: they are answers, not samples.
        return _search(
            jax.random.key(0), operators, jnp.asarray(starts), jnp.asarray(ends),
            options=options,
        )  # fmt: skip

    def path(
        self,
        starts: Float[Array | np.ndarray, "P d"],
        ends: Float[Array | np.ndarray, "P d"],
        times: Float[Array | np.ndarray, " T"],
    ) -> Float[Array, "P T d"]:
        """Transport pairs of latents along the paths inferred between them."""
        found, _ = self.search(starts, ends)
        times = jnp.asarray(times, found.dtype)
        return _paths(self.params.operators, found, jnp.asarray(starts), times)

    def widened(self) -> "TrainedVaells":
        """Return the model with the sampling of Figs. 5 and 6: 0.15 zeta_3, 3 gamma."""
        return dataclasses.replace(self, rate_factor=0.15, noise_factor=3.0)

    def log_likelihood(
        self,
        key: PRNGKeyArray,
        inputs: Float[Array | np.ndarray, "n ..."],
        num_samples: int,
        on_done: Callable[[int], None] | None = None,
    ) -> ImportanceEstimate:
        """Estimate log p(x), coefficients and latents integrated, over all anchors."""
        options = ImportanceOptions(
            noise_std=self.weights.prior_residual**-0.5,
            coefficient_rate=self.weights.prior_l1,
            pixel_std=self.weights.reconstruction**-0.5,
            label="marginal",
            num_samples=num_samples,
        )
        batch = Batch(jnp.asarray(inputs), jnp.zeros(len(inputs), jnp.int32))
        return log_marginal_likelihood(
            self.params, key, batch, model=self.model, options=options, on_done=on_done
        )


# Functions of their arrays alone, so that the runs of several seeds share compilations.
_encode = jax.jit(encode, static_argnames="model")
_decode = jax.jit(decode, static_argnames="model")
_sample = jax.jit(
    sample_latents, static_argnames=("num_samples", "coefficient_rate", "noise_std")
)
_paths = jax.jit(jax.vmap(transport_path, (None, 0, 0, None)))
_move = jax.jit(jax.vmap(transport, (None, 0, 0)))


@functools.partial(jax.jit, static_argnames="options")
def _search(key, operators, starts, ends, *, options):
    """Return the best coefficients of each pair and where they lead."""
    fit = infer_coefficients(key, operators, starts, ends, options=options)
    reached = jax.vmap(transport, (None, 0, 0))(operators, fit.coefficients, starts)
    return fit.coefficients, reached
