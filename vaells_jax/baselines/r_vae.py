"""The R-VAE (Kalatzis et al., 2020): Brownian motion under the decoder's metric.

An autoencoder is trained first (the schedule's warm-up). Radial basis functions about
its codes then become the decoder's deviation, which grows away from the data. The
deviation, the posteriors' times and the prior are trained further; the networks are
not.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines import brownian, immersions
from vaells_jax.baselines.base import Baseline, BaselineParams, gather_examples
from vaells_jax.baselines.brownian import BrownianMotion
from vaells_jax.baselines.elbo import decode_outputs, reconstruction_alone
from vaells_jax.baselines.radial import Radial, fit_radial
from vaells_jax.model.types import Batch
from vaells_jax.networks.contract import apply_encoder
from vaells_jax.training.optimizers import idle
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState

LATER_RATE = 10.0
"""Factor on Adam's rate after the warm-up: what it moves are logarithms."""

FIRST_TIME = 0.1
"""Of posteriors, in the likelihood's variances."""

POSTERIOR_STEPS, PRIOR_STEPS = 5, 500
"""Of the random walks that draw from a posterior and from the prior."""

CODES = 2_000
"""Examples whose codes decide the radial basis functions."""

PATH_SEGMENTS, PATH_ITERATIONS = 30, 30


@dataclasses.dataclass(frozen=True)
class RVae(Baseline):
    """Posterior and prior Brownian motion of `J_mu^T J_mu + J_sigma^T J_sigma`.

    mu is the decoder, sigma the deviation of `radial.py`; the prior has one mean, time.

    Attributes:
        num_centres: Radial basis functions.

    Note:
        The density is the first term of its expansion for small times, `log_heat`,
        which integrates to one up to O(t). The authors divide by the mean's `sqrt(det
        M)` as well: theirs does not, so that their divergence may be negative.
        Importance samples are Gaussians of the same time under the mean's metric.
    """

    networks_first: ClassVar[bool] = True

    num_centres: int = 64

    def __post_init__(self) -> None:
        """Raise a ValueError for a field of another kind, or binary data."""
        super().__post_init__()
        if self.likelihood.kind != "gaussian":
            raise ValueError("likelihood: an RVae's must be gaussian; got 'bernoulli'.")

    @staticmethod
    def encoder_size(latent_size: int) -> int:
        """Return the mean's entries."""
        return latent_size

    def posterior(self, outputs: Float[Array, " e"]) -> BrownianMotion:
        """Take the outputs as the mean; time is learned at the radial centres."""
        log_time = _radial(self._bound).mean(outputs, self._bound.prior["log_times"])
        return self._motion(outputs, jnp.exp(log_time))

    def centre(self, posterior: BrownianMotion) -> Float[Array, " d"]:
        """Return the mean."""
        return posterior.mean

    def draw(self, key: PRNGKeyArray, posterior: BrownianMotion) -> Float[Array, " d"]:
        """Draw by a random walk."""
        return brownian.walk(
            key, self._immersion, self._bound, posterior, steps=POSTERIOR_STEPS
        )

    def propose(self, key: PRNGKeyArray, posterior: BrownianMotion) -> Array:
        """Draw N(mean, t M^-1(mean))."""
        return brownian.sample_tangent(key, posterior)

    def log_posterior(self, z: Float[Array, " d"], posterior: BrownianMotion) -> Array:
        """Return the density of `propose`."""
        return brownian.log_tangent(z, posterior)

    def log_prior(self, z: Float[Array, " d"], prior: BrownianMotion) -> Array:
        """Return the expansion's first term."""
        here = self._motion(z, prior.time).factor
        return brownian.log_heat(self._squared(z, prior.mean), prior.time, here)

    def draw_prior(self, key: PRNGKeyArray, prior: BrownianMotion) -> Array:
        """Draw by a random walk."""
        return brownian.walk(
            key, self._immersion, self._bound, prior, steps=PRIOR_STEPS
        )

    def divergence(
        self, z: Float[Array, " d"], posterior: BrownianMotion, prior: BrownianMotion
    ) -> Float[Array, ""]:
        """Estimate KL(q, p) from one sample; for small times E_q l^2(z, mean) = d t."""
        ratio = jnp.log(prior.time / posterior.time) - 1.0
        squared = self._squared(z, prior.mean)
        return 0.5 * (self.latent_size * ratio + squared / prior.time)

    def widen(self, posterior: BrownianMotion, factor: float) -> BrownianMotion:
        """Multiply the time by the factor's square."""
        return posterior._replace(time=posterior.time * factor**2)

    def log_data(
        self, x: Float[Array, "*x"], outputs: Float[Array, "*x"], z: Float[Array, " d"]
    ) -> Float[Array, ""]:
        """Return the Gaussian's log-density, of the learned deviation."""
        precision = _radial(self._bound).precision(z, self.likelihood.std)
        squared = precision * (x - outputs).ravel() ** 2
        return -0.5 * jnp.sum(squared - jnp.log(precision) + math.log(2 * math.pi))

    def path(
        self,
        starts: Float[Array, "P d"],
        ends: Float[Array, "P d"],
        times: Float[Array, " T"],
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents by geodesics; not under `jax.jit`."""
        immersion = dataclasses.replace(self)._immersion  # without its parameters
        centres = self._bound.prior["centres"]
        curves = immersions.routes(
            immersion, self._bound, centres, starts, ends, segments=PATH_SEGMENTS
        )
        return immersions.geodesic_paths(
            immersion, self._bound, curves, times, iterations=PATH_ITERATIONS
        )

    def init_prior(self, key: PRNGKeyArray, inputs: Float[Array, "n ..."]) -> Any:
        """Return what `after_warm_up` will set; routes go from the mean to centres."""
        size, count, dtype = self.latent_size, self.num_centres, inputs.dtype
        first = math.log(FIRST_TIME * self.likelihood.std**2)
        return {
            "mean": jnp.zeros(size, dtype),
            "log_time": jnp.zeros((), dtype),
            "centres": jnp.zeros((count, size), dtype),
            "widths": jnp.ones(count, dtype),
            "log_weights": jnp.zeros((count, inputs[0].size), dtype),
            "log_times": jnp.full(count, first, dtype),
            "routes": jnp.zeros((count, immersions.SEGMENTS + 1, size), dtype),
        }

    def prior(self, params: BaselineParams) -> BrownianMotion:
        """Return the prior's centre, time and metric."""
        found = params.prior
        mean = jnp.asarray(found["mean"])
        return self.bind(params)._motion(mean, jnp.exp(found["log_time"]))

    def optimizer(
        self, adam: optax.GradientTransformation, phase: Phase
    ) -> optax.GradientTransformation:
        """Move the networks in the warm-up, then the rest but for the centres."""
        first, second = adam, optax.chain(adam, optax.scale(LATER_RATE))
        if phase == "warm_up":
            second = idle(second)
        else:
            first = idle(first)
        names = ("mean", "log_time", "log_weights", "log_times")
        fixed = dict.fromkeys(("centres", "widths", "routes"), "fixed")
        return optax.multi_transform(
            {"first": first, "second": second, "fixed": optax.set_to_zero()},
            BaselineParams("first", "first", fixed | dict.fromkeys(names, "second")),
        )

    def objectives(
        self, params: BaselineParams, key: PRNGKeyArray, batch: Batch, phase: Phase
    ) -> tuple[Callable, Callable] | None:
        """Return the autoencoder's objective in the warm-up, then the bound."""
        if phase != "warm_up":
            return None
        alone = lambda params: reconstruction_alone(params, batch.inputs, model=self)
        return alone, lambda params: jnp.zeros(())

    def after_warm_up(
        self, key: PRNGKeyArray, next_batch: Callable[[int], Batch]
    ) -> Callable[[TrainState], TrainState]:
        """Return what sets the prior and the deviation by the codes, for `fit`."""

        def learn(state: TrainState) -> TrainState:
            params = state.params
            examples = gather_examples(next_batch, int(state.step), CODES)
            codes = np.asarray(apply_encoder(self.networks, params.encoder, examples))
            count, size = params.prior["log_weights"].shape
            seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
            found = fit_radial(
                codes, count=count, size=size, std=self.likelihood.std, seed=seed
            )
            centres = found.centres
            middle = np.argmin(np.sum((centres - codes.mean(axis=0)) ** 2, axis=1))
            prior = params.prior | found._asdict() | {"mean": centres[middle]}
            params = params._replace(prior=prior)
            first = np.broadcast_to(centres[middle], centres.shape)
            prior["routes"] = immersions.routes(
                self._immersion, params, centres, first, centres
            )
            lengths = jax.vmap(immersions.curve_energy, (None, None, 0))
            squared = lengths(self._immersion, params, prior["routes"])
            prior["log_time"] = np.log(np.mean(squared) / self.latent_size)
            return state.replace(params=params)  # type: ignore[attr-defined]

        return learn

    @property
    def _bound(self) -> BaselineParams:
        assert self.params is not None
        return self.params

    def _immersion(self, params, z):
        """Map a latent to mean and deviation, whose differences are distances."""
        mean = decode_outputs(params, z[None], model=self)[0].ravel()
        precision = _radial(params).precision(z, self.likelihood.std)
        return jnp.concatenate([mean, precision**-0.5])

    def _motion(self, mean, time):
        return brownian.motion(self._immersion, self._bound, mean, time)

    def _squared(self, z, mean):
        """Return the squared distance from the prior's mean."""
        found = self._bound.prior
        nearest = jnp.argmin(jnp.sum((z[None] - found["centres"]) ** 2, axis=-1))
        route = jnp.asarray(found["routes"])[nearest]
        route = route + jnp.linspace(mean - route[0], z - route[-1], len(route))
        return immersions.squared_distance(
            self._immersion, self._bound, mean, z, first=route
        )


def _radial(params):
    return Radial(*(params.prior[name] for name in Radial._fields))
