"""The VDAE (Li et al., 2020): latents are the coordinates of a diffusion map.

The map of some training examples is computed first. Encoder and decoder then learn to
go to it and back, by the bound on log p(x'|x) of a step of its walk from x to x'.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline, BaselineParams, gather_examples
from vaells_jax.baselines.diffusion import DiffusionMap, embed, fit_diffusion
from vaells_jax.baselines.elbo import (
    ElboTerms,
    decode_outputs,
    draw_samples,
    posteriors,
    reconstruction_alone,
)
from vaells_jax.checks import as_count
from vaells_jax.model.types import Batch
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState


class Normal(NamedTuple):
    """Parameters of N(mean, L L^T)."""

    mean: Float[Array | np.ndarray, "*n d"]
    factor: Float[Array | np.ndarray, "*n d d"]


def sample_full(key: PRNGKeyArray, normal: Normal) -> Float[Array, " d"]:
    """Draw `mean + L noise`."""
    noise = jax.random.normal(key, normal.mean.shape, normal.mean.dtype)
    return jnp.asarray(normal.mean) + jnp.asarray(normal.factor) @ noise


def log_full(z: Float[Array, " d"], normal: Normal) -> Float[Array, ""]:
    """Return log N(z; mean, L L^T) in nats."""
    noise = jax.scipy.linalg.solve_triangular(
        normal.factor, z - normal.mean, lower=True
    )
    logs = jnp.log(jnp.diag(normal.factor))
    return -0.5 * jnp.sum(noise**2 + math.log(2 * math.pi)) - jnp.sum(logs)


def kl_full(first: Normal, second: Normal) -> Float[Array, ""]:
    """Return KL(first, second) in nats."""
    both = jnp.column_stack([first.factor, first.mean - second.mean])
    squared = jax.scipy.linalg.solve_triangular(second.factor, both, lower=True) ** 2
    logs = [jnp.sum(jnp.log(jnp.diag(x.factor))) for x in (first, second)]
    return 0.5 * (jnp.sum(squared) - len(first.mean)) + logs[1] - logs[0]


@dataclasses.dataclass(frozen=True)
class Vdae(Baseline):
    """Posterior N(mu(x), L(x) L(x)^T), prior a step of the walk from an example.

    Attributes:
        num_examples: N, the number of examples in the map.
        neighbours: The neighbour whose distance is an example's scale, see
            `diffusion.py`.
        steps: Of the walk that draws from the prior; all but the first go through the
            networks. `log_prior` is the density of one step.
    """

    num_examples: int = 1_000
    neighbours: int = 30
    steps: int = 1

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind, or too large."""
        super().__post_init__()
        as_count("num_examples", self.num_examples, least=self.latent_size + 2)
        if self.neighbours > self.num_examples:
            raise ValueError(
                f"neighbours must be at most num_examples = {self.num_examples}; got "
                f"{self.neighbours}."
            )

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return the entries of a mean and of a triangle."""
        return latent_size + latent_size * (latent_size + 1) // 2

    def posterior(self, outputs: Float[Array, " e"]) -> Normal:
        """Read the mean, and a triangle whose diagonal is given by its logarithm."""
        size = self.latent_size
        entries = outputs[size:]
        lower = jnp.zeros((size, size), entries.dtype)
        lower = lower.at[jnp.tril_indices(size, -1)].set(entries[size:])
        return Normal(outputs[:size], lower + jnp.diag(jnp.exp(entries[:size])))

    def centre(self, posterior: Normal) -> Float[Array, " d"]:
        """Return the mean."""
        return jnp.asarray(posterior.mean)

    def draw(self, key: PRNGKeyArray, posterior: Normal) -> Float[Array, " d"]:
        """Draw by the reparameterisation."""
        return sample_full(key, posterior)

    def log_posterior(self, z: Float[Array, " d"], posterior: Normal) -> Array:
        """Return the Gaussian's log-density."""
        return log_full(z, posterior)

    def log_prior(self, z: Float[Array, " d"], prior: Normal) -> Float[Array, ""]:
        """Return `log 1/N sum_j N(z; psi(x_j), C(x_j))`."""
        # L^-1 once for all z: a triangular solve would copy each L for each of them.
        unit = jnp.eye(z.size, dtype=z.dtype)
        invert = lambda factor: jax.scipy.linalg.solve_triangular(
            factor, unit, lower=True
        )
        inverse = jax.vmap(invert)(jnp.asarray(prior.factor))
        noise = jnp.einsum("nij,nj->ni", inverse, z[None] - prior.mean)
        diagonals = jnp.diagonal(inverse, axis1=1, axis2=2)
        logs = jnp.sum(jnp.log(diagonals), axis=1) - 0.5 * jnp.sum(noise**2, axis=1)
        constant = 0.5 * z.size * math.log(2 * math.pi) + math.log(logs.size)
        return jax.nn.logsumexp(logs) - constant

    def draw_prior(self, key: PRNGKeyArray, prior: Normal) -> Float[Array, " d"]:
        """Walk from an example, all of them equally likely."""
        index_key, *keys = jax.random.split(key, self.steps + 1)
        index = jax.random.randint(index_key, (), 0, len(prior.mean))
        z = sample_full(keys[0], jax.tree.map(lambda x: jnp.asarray(x)[index], prior))
        for own in keys[1:]:
            assert self.params is not None
            outputs = decode_outputs(self.params, z[None], model=self)
            x = self.likelihood.mean(outputs)
            here = posteriors(self.params, x, model=self)
            z = sample_full(own, jax.tree.map(lambda x: x[0], here))
        return z

    def widen(self, posterior: Normal, factor: float) -> Normal:
        """Multiply the deviation."""
        return posterior._replace(factor=factor * posterior.factor)

    def init_prior(self, key: PRNGKeyArray, inputs: Float[Array, "n ..."]) -> Any:
        """Return what `after_warm_up` will set."""
        count, size, dtype = self.num_examples, self.latent_size, inputs.dtype
        return {
            "examples": jnp.zeros((count, *inputs.shape[1:]), dtype),
            "scales": jnp.ones(count, dtype),
            "eigenvalues": jnp.ones(size, dtype),
            "coordinates": jnp.zeros((count, size), dtype),
            "factors": jnp.broadcast_to(
                jnp.eye(size, dtype=dtype), (count, size, size)
            ),
        }

    def prior(self, params: BaselineParams) -> Normal:
        """Return the examples' coordinates and the spread of a step from each."""
        return Normal(params.prior["coordinates"], params.prior["factors"])

    def optimizer(
        self, adam: optax.GradientTransformation, phase: Phase
    ) -> optax.GradientTransformation:
        """Move the networks alone."""
        return optax.multi_transform(
            {"networks": adam, "fixed": optax.set_to_zero()},
            BaselineParams("networks", "networks", "fixed"),
        )

    def objectives(
        self, params: BaselineParams, key: PRNGKeyArray, batch: Batch, phase: Phase
    ) -> tuple[Callable, Callable]:
        """Return the bound on log p(x'|x), x' a step of the walk from x.

        `E_q(z|x') log p(x'|z) - KL(q(z|x'), N(psi(x), C(x)))`. In a warm-up, when there
        is no map, it is an autoencoder's.
        """
        if phase == "warm_up":
            alone = lambda params: reconstruction_alone(
                params, batch.inputs, model=self
            )
            return alone, lambda params: jnp.zeros(())
        step_key, draw_key = jax.random.split(key)
        found = _map(params)
        go = lambda x: embed(x, found, neighbours=self.neighbours)
        chances, psi, factors = jax.lax.map(go, batch.inputs)
        there = jax.random.categorical(step_key, jnp.log(chances))
        targets = jnp.asarray(found.examples)[there]

        def objective(params):
            model = self.bind(params)
            own = posteriors(params, targets, model=model)
            latents = draw_samples(draw_key, own, 1, model.draw)[:, 0]
            outputs = decode_outputs(params, latents, model=model)
            images = jax.vmap(model.log_data)(targets, outputs, latents)
            divergences = jax.vmap(kl_full)(own, Normal(psi, factors))
            terms = ElboTerms(-jnp.mean(images), jnp.mean(divergences))
            return terms.reconstruction + terms.divergence, terms

        return objective, lambda params: jnp.zeros(())

    def after_warm_up(
        self, key: PRNGKeyArray, next_batch: Callable[[int], Batch]
    ) -> Callable[[TrainState], TrainState]:
        """Return what computes the map, for `fit`."""

        def learn(state: TrainState) -> TrainState:
            examples = gather_examples(next_batch, int(state.step), self.num_examples)
            found = fit_diffusion(
                examples, self.latent_size, neighbours=self.neighbours
            )
            go = lambda x: embed(x, found, neighbours=self.neighbours)[2]
            factors = jax.lax.map(go, examples)
            prior = jax.tree.map(np.asarray, found._asdict() | {"factors": factors})
            params = state.params._replace(prior=prior)
            return state.replace(params=params)  # type: ignore[attr-defined]

        return learn


def _map(params):
    return DiffusionMap(*(params.prior[name] for name in DiffusionMap._fields))
