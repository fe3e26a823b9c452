"""The Manifold Autoencoder (Connor and Rozell, 2020), and operators on data alone.

A deterministic autoencoder is trained first (the schedule's warm-up), operators are
then learned from pairs of its codes (`fit_operators`), and both are tuned together.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import Baseline, BaselineParams
from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.model.types import Batch
from vaells_jax.networks.contract import apply_decoder, apply_encoder
from vaells_jax.operators.transport import transport, transport_path
from vaells_jax.training.optimizers import accept_reject_descent, idle
from vaells_jax.training.pairs import (
    PairOptions,
    fit_operators,
    pair_objective,
    partners,
)
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState

PAIR_BATCHES, DRAWS, STEPS = 8, 4, 500
"""Batches whose pairs make the first operators, dictionaries drawn, steps of each."""


class TransportTerms(NamedTuple):
    """The objective's terms, averaged over the batch."""

    reconstruction: Float[Array, ""]  # -log p(x|z) in nats, with its constant
    transport: Float[Array, ""]  # eq. 2 without its L1 term, of codes of magnitude 1


@dataclasses.dataclass(frozen=True)
class ManifoldAutoencoder(Baseline):
    """Codes without a density; paths by operators learned from pairs of them.

    A pair is an example and one of its nearest neighbours, of its class and batch, or
    among its own anchors. Samples are training examples' codes, moved by coefficients
    as large as those between neighbours: the paper has no prior.

    Attributes:
        num_operators: M.
        neighbours: Nearest examples among which an example's partner is drawn.
        l1_weight: zeta.
        norm_weight: gamma.
        transport_weight: Factor on the pairs' objective as networks are tuned.
        num_examples: Training examples that samples start from.
    """

    num_operators: int = 4
    neighbours: int = 10
    l1_weight: float = 0.01
    norm_weight: float = 0.003
    transport_weight: float = 30.0
    num_examples: int = 100
    has_density: ClassVar[bool] = False
    networks_first: ClassVar[bool] = True

    @property
    def pair_options(self) -> PairOptions:
        """Return how operators are learned from the codes of an autoencoder."""
        return PairOptions(
            STEPS, l1_weight=self.l1_weight, norm_weight=self.norm_weight
        )

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return the entries of a code."""
        return latent_size

    def posterior(self, outputs: Float[Array, " d"]) -> Float[Array, " d"]:
        """Return the code, all there is of a posterior."""
        return outputs

    def centre(self, posterior: Float[Array, " d"]) -> Float[Array, " d"]:
        """Return the code."""
        return posterior

    def draw(self, key: PRNGKeyArray, posterior: Float[Array, " d"]) -> Array:
        """Return the code."""
        return posterior

    def widen(self, posterior: Float[Array, " d"], factor: float) -> Array:
        """Return the code."""
        return posterior

    def log_posterior(self, z: Float[Array, " d"], posterior: Any) -> Array:
        """Raise a ValueError: codes have no density."""
        raise ValueError(f"model: a {type(self).__name__} has no density q(z|x).")

    def log_prior(self, z: Float[Array, " d"], prior: Any) -> Array:
        """Raise a ValueError: codes have no density."""
        raise ValueError(f"model: a {type(self).__name__} has no density p(z).")

    def init_prior(self, key: PRNGKeyArray, inputs: Float[Array, "n ..."]) -> Any:
        """Draw operators, and the examples that samples start from."""
        operator_key, choice_key = jax.random.split(key)
        shape = (self.num_operators, self.latent_size, self.latent_size)
        chosen = jax.random.choice(choice_key, len(inputs), (self.num_examples,))
        return {
            "operators": 0.1 * jax.random.normal(operator_key, shape, inputs.dtype),
            "spread": jnp.full(shape[0], 0.1, inputs.dtype),
            "examples": jnp.asarray(inputs)[chosen],
        }

    def prior(self, params: BaselineParams) -> Any:
        """Encode the examples that samples start from."""
        found = params.prior
        codes = apply_encoder(self.networks, params.encoder, found["examples"])
        return found | {"examples": codes}

    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " d"]:
        """Move an example's code by coefficients as large as neighbours'."""
        index_key, key = jax.random.split(key)
        code = jax.random.choice(index_key, prior["examples"])
        drawn = sample_laplace(key, prior["spread"].shape, 1.0)
        coefficients = drawn.astype(code.dtype) * prior["spread"]
        return transport(prior["operators"], coefficients, code)

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Transport codes along the paths inferred between them."""
        assert self.params is not None
        operators = jnp.asarray(self.params.prior["operators"])
        size = _magnitude(jnp.concatenate([starts, ends]))
        search = InferenceOptions(search="global", l1_weight=self.l1_weight)
        found = infer_coefficients(
            jax.random.key(0), operators, starts / size, ends / size, options=search
        )
        return _paths(operators, found.coefficients, starts, times)

    def optimizer(
        self, adam: optax.GradientTransformation, phase: Phase
    ) -> optax.GradientTransformation:
        """Move networks by Adam and, after the warm-up, operators where it pays."""
        operators = accept_reject_descent(0.1, self.pair_options.max_rate)
        operators = idle(operators) if phase == "warm_up" else operators
        labels: Any = {"operators": "operators", "spread": "fixed", "examples": "fixed"}
        return optax.multi_transform(
            {"networks": adam, "operators": operators, "fixed": optax.set_to_zero()},
            BaselineParams("networks", "networks", labels),
        )

    def objectives(
        self, params: BaselineParams, key: PRNGKeyArray, batch: Batch, phase: Phase
    ) -> tuple[Callable, Callable]:
        """Return a batch's objective, and the part that operators' steps must lower."""
        pair_key, search_key = jax.random.split(key)

        def reconstruction(params, codes):
            outputs = apply_decoder(self.networks, params.decoder, codes)
            return -jnp.mean(jax.vmap(self.likelihood.log_prob)(batch.inputs, outputs))

        def alone(params):
            codes = apply_encoder(self.networks, params.encoder, batch.inputs)
            term = reconstruction(params, codes)
            return term, TransportTerms(term, jnp.zeros_like(term))

        if phase == "warm_up":
            return alone, lambda params: jnp.zeros(())
        others = partners(pair_key, batch, self.neighbours)

        def pairs(params):
            """Return codes, and pairs of them at magnitude 1."""
            start, end = self._codes(params, batch.inputs, others)
            size = jax.lax.stop_gradient(_magnitude(start))
            return start, start / size, end / size

        _, *still = pairs(params)
        search, operators = self.pair_options.search, params.prior["operators"]
        fit = infer_coefficients(search_key, operators, *still, options=search)
        value = lambda operators, start, end: pair_objective(
            operators, start, end, fit.coefficients, norm_weight=self.norm_weight
        )[0]

        def objective(params):
            codes, *both = pairs(params)
            terms = TransportTerms(
                reconstruction(params, codes), value(params.prior["operators"], *both)
            )
            return terms.reconstruction + self.transport_weight * terms.transport, terms

        return objective, lambda params: value(params.prior["operators"], *still)

    def after_warm_up(
        self, key: PRNGKeyArray, next_batch: Callable[[int], Batch]
    ) -> Callable[[TrainState], TrainState]:
        """Return what learns a state's operators from pairs of codes, for `fit`."""

        def learn(state: TrainState) -> TrainState:
            pair_key, fit_key, search_key = jax.random.split(key, 3)
            both = []
            for i, own in enumerate(jax.random.split(pair_key, PAIR_BATCHES)):
                batch = next_batch(int(state.step) + i)
                others = partners(own, batch, self.neighbours)
                both.append(self._codes(state.params, batch.inputs, others))
            start, end = map(jnp.concatenate, zip(*both, strict=True))
            start, end = start / _magnitude(start), end / _magnitude(start)
            fits = [
                fit_operators(
                    own, start, end, num_operators=self.num_operators,
                    options=self.pair_options,
                )
                for own in jax.random.split(fit_key, DRAWS)
            ]  # fmt: skip
            operators = min(fits, key=lambda fit: fit.objective[-50:].mean()).operators
            found = infer_coefficients(
                search_key, operators, start, end, options=self.pair_options.search
            )
            spread = jnp.mean(jnp.abs(found.coefficients), axis=0)
            learned = {"operators": operators, "spread": spread}
            params = state.params._replace(prior=state.params.prior | learned)
            return state.replace(params=params)  # type: ignore[attr-defined]

        return learn

    def _codes(self, params, *inputs):
        """Encode several batches of one size at once."""
        codes = apply_encoder(self.networks, params.encoder, jnp.concatenate(inputs))
        return jnp.split(codes, len(inputs))


def _magnitude(codes):
    """Return the root mean square of codes' entries."""
    return jnp.sqrt(jnp.mean(codes**2) + jnp.finfo(codes.dtype).tiny)


_paths = jax.jit(jax.vmap(transport_path, (None, 0, 0, None)))
