"""The interface of a baseline: a posterior, a prior and a likelihood.

A model is a frozen record (static under `jit`) whose functions take one example;
`elbo.py` maps them over samples and examples. A new model is a subclass that defines
its posterior and its prior.
"""

import abc
import copy
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.checks import check_fields
from vaells_jax.evaluation.structure import straight_line
from vaells_jax.model.types import Batch
from vaells_jax.networks.contract import Networks, PyTree
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState

Posterior = Any
"""A posterior's parameters, whatever a model makes of its encoder's outputs."""

Kind = TypeVar("Kind", bound="Baseline")


class BaselineParams(NamedTuple):
    """Everything that training changes.

    Attributes:
        encoder: The encoder network's parameters.
        decoder: The decoder network's parameters.
        prior: A learned prior's parameters, or None.
    """

    encoder: PyTree
    decoder: PyTree
    prior: PyTree


@dataclasses.dataclass(frozen=True)
class Baseline(abc.ABC):
    """A variational autoencoder; its subclasses are the baselines.

    Attributes:
        networks: Encoder, to `encoder_size(latent_size)` features, and decoder.
        latent_size: Entries of a latent.
        likelihood: Density of the data, given the decoder's outputs.
        has_density: Whether log p(z) and log q(z|x) exist, and log p(x) with them.
        networks_first: Whether the schedule's warm-up trains the networks alone.
        params: The parameters of a model that `bind` gave them; otherwise None.
    """

    extra_entries: ClassVar[int] = 0
    """Entries of a latent beyond its degrees of freedom, 1 on a sphere."""
    networks_first: ClassVar[bool] = False
    params: ClassVar[BaselineParams | None] = None

    networks: Networks
    latent_size: int
    likelihood: Likelihood = Likelihood()
    has_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind."""
        check_fields(self)

    def bind(self: Kind, params: BaselineParams) -> Kind:
        """Return the model with its parameters, for methods that need them.

        `elbo.py` and `trained/baseline.py` call every function of a model with them.
        As a static argument a bound model equals the one without.
        """
        bound = copy.copy(self)
        object.__setattr__(bound, "params", params)
        return bound

    @staticmethod
    @abc.abstractmethod
    def encoder_size(latent_size: int) -> int:
        """Return how many features the encoder must give."""

    @abc.abstractmethod
    def posterior(self, outputs: Float[Array, " e"]) -> Posterior:
        """Read the posterior's parameters off the encoder's outputs."""

    @abc.abstractmethod
    def centre(self, posterior: Posterior) -> Float[Array, " d"]:
        """Return the latent that stands for the posterior, its mean or direction."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, posterior: Posterior) -> Float[Array, " d"]:
        """Draw a latent, differentiable in the posterior's parameters."""

    @abc.abstractmethod
    def log_posterior(
        self, z: Float[Array, " d"], posterior: Posterior
    ) -> Float[Array, ""]:
        """Return log q(z|x) in nats, or the density of what `propose` draws."""

    @abc.abstractmethod
    def log_prior(self, z: Float[Array, " d"], prior: Any) -> Float[Array, ""]:
        """Return log p(z) in nats; `prior` is what `prior` returns."""

    @abc.abstractmethod
    def draw_prior(self, key: PRNGKeyArray, prior: Any) -> Float[Array, " d"]:
        """Draw a latent from the prior."""

    def propose(self, key: PRNGKeyArray, posterior: Posterior) -> Float[Array, " d"]:
        """Draw an importance sample, of density `log_posterior`."""
        return self.draw(key, posterior)

    def decoder_inputs(self, z: Float[Array, " d"]) -> Float[Array, " f"]:
        """Return what the decoder is given of a latent."""
        return z

    @property
    def divergence_weight(self) -> float:
        """Return the divergence's weight in the objective; 1 is the bound's."""
        return 1.0

    @property
    def decoder_size(self) -> int:
        """Return how many features the decoder is given."""
        latent = jax.ShapeDtypeStruct((self.latent_size,), jnp.float32)
        return jax.eval_shape(self.decoder_inputs, latent).size

    def log_data(
        self, x: Float[Array, "*x"], outputs: Float[Array, "*x"], z: Float[Array, " d"]
    ) -> Float[Array, ""]:
        """Return log p(x|z) in nats; `outputs` are the decoder's for the latent."""
        return self.likelihood.log_prob(x, outputs)

    def divergence(
        self, z: Float[Array, " d"], posterior: Posterior, prior: Any
    ) -> Float[Array, ""]:
        """Return KL(q(z|x), p(z)) in nats; here its estimate from one sample."""
        return self.log_posterior(z, posterior) - self.log_prior(z, prior)

    def widen(self, posterior: Posterior, factor: float) -> Posterior:
        """Widen a posterior's deviation by a factor, for figures of its samples."""
        raise NotImplementedError(f"{type(self).__name__} cannot widen its posterior.")

    def init_prior(self, key: PRNGKeyArray, inputs: Float[Array, "n ..."]) -> PyTree:
        """Draw the first parameters of a learned prior from the training data."""
        del key, inputs

    def prior(self, params: BaselineParams) -> Any:
        """Prepare the input of `log_prior`, once for a whole batch."""
        del params

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents; here by straight lines."""
        return jnp.asarray(straight_line(starts, ends, times))

    def optimizer(
        self, adam: optax.GradientTransformation, phase: Phase
    ) -> optax.GradientTransformation:
        """Return what moves the parameters in a phase; here Adam moves all."""
        return adam

    def objectives(
        self, params: BaselineParams, key: PRNGKeyArray, batch: Batch, phase: Phase
    ) -> tuple[Callable, Callable] | None:
        """Return a batch's own objective, where it is not the bound on log p(x).

        Returns:
            A function of the parameters to the loss and its terms, and one to the part
            that steps on operators must lower; or None for the bound.
        """
        return None

    def after_warm_up(
        self, key: PRNGKeyArray, next_batch: Callable[[int], Batch]
    ) -> Callable[[TrainState], TrainState] | None:
        """Return what changes a state once the schedule's warm-up is over, or None."""
        return None


def gather_examples(
    next_batch: Callable[[int], Batch], step: int, count: int
) -> Float[Array, "n ..."]:
    """Return `count` examples, those of a step's batch and of the following ones."""
    inputs: list[np.ndarray] = []
    while sum(len(x) for x in inputs) < count:
        inputs.append(np.asarray(next_batch(step + len(inputs)).inputs))
    return jnp.asarray(np.concatenate(inputs)[:count])
