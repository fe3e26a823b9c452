"""A trained VAELLS."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.checks import (
    as_count,
    as_number,
    check_key,
    check_kind,
    check_numbers,
)
from vaells_jax.evaluation.importance import (
    ImportanceEstimate,
    ImportanceOptions,
    log_marginal_likelihood,
    objective_options,
)
from vaells_jax.evaluation.likelihood import estimate
from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.model.paths import (
    Model,
    decode,
    encode,
    point_spread,
    sample_latents,
)
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.operators.transport import transport, transport_path
from vaells_jax.trained.base import (
    Latents,
    Points,
    TrainedModel,
    check_pairs,
    check_times,
    through,
    warn_of_few_samples,
)

SPREAD = 1.0 / 0.15
"""Factor on the coefficients' deviation in widened samples."""

PAIRS = 200
"""Searches are of a multiple of so many pairs."""


@dataclasses.dataclass(frozen=True)
class TrainedVaells(TrainedModel):
    """A trained VAELLS; latents are the scaled ones, in which operators act.

    Attributes:
        model: The static part.
        params: The trained parameters.
        weights: The objective's, which define the generative densities.
        rate_factor: Factor on zeta_3 in posterior samples, below 1 for wide ones.
        noise_factor: Factor on the noise of posterior samples.
        coefficient_scale: Laplace scale of each operator in prior samples, `[M]`;
            `1 / zeta_3` if it is None. Factors of `point_spread` come on top.
    """

    model: Model
    params: Params
    weights: LossWeights
    rate_factor: float = 1.0
    noise_factor: float = 1.0
    coefficient_scale: Float[Array | np.ndarray, " M"] | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError for a field that is not of its kind."""
        check_kind(model=(self.model, Model), params=(self.params, Params))
        check_kind(weights=(self.weights, LossWeights))
        for name in ("rate_factor", "noise_factor"):
            value = as_number(name, getattr(self, name), strict=name == "rate_factor")
            object.__setattr__(self, name, value)

    def encode(self, inputs: Points) -> Array:
        """Return latent means, `[n, d]`."""
        points = self._points(inputs)
        network = functools.partial(_encode, self.params, model=self.model)
        return through(network, points, points.ndim - 1)

    def decode(self, latents: Float[Array | np.ndarray, "*n d"]) -> Array:
        """Return the mean data point of each latent."""
        check_numbers(latents=latents)
        network = functools.partial(_decode, self.params, model=self.model)
        return through(network, jnp.asarray(latents), 1)

    def sample_posterior(
        self, key: PRNGKeyArray, inputs: Points, num_samples: int = 1
    ) -> Float[Array, "n S d"]:
        """Draw latents around each data point's mean, eq. 5."""
        check_key("key", key)
        num_samples = as_count("num_samples", num_samples)
        means = self.encode(inputs)
        return _sample(
            key,
            self.params.operators,
            means,
            _spread(self.params, means, model=self.model),
            num_samples=num_samples,
            coefficient_rate=self.weights.posterior_l1 * self.rate_factor,
            noise_std=self.model.noise_std * self.noise_factor,
        )

    def point_spread(self, latents: Latents) -> Float[Array, "n M"]:
        """Return the factor on each coefficient's scale in paths from a latent.

        Without `Model.point_spread` all are 1.
        """
        check_numbers(latents=latents)
        latents = jnp.asarray(latents)
        found = _spread(self.params, latents, model=self.model)
        shape = (len(latents), len(self.params.operators))
        return jnp.ones(shape, latents.dtype) if found is None else found

    def sample_prior(
        self, key: PRNGKeyArray, count: int, label: int | None = None
    ) -> Float[Array, "n d"]:
        """Draw latents from the prior: an anchor, all equally likely, then eq. 5.

        Args:
            key: Random key.
            count: Samples.
            label: The class whose anchors to start from; None for all classes.

        Raises:
            ValueError: If the anchors are the examples' own, or there is no such class.
        """
        anchors = self.params.anchors
        check_key("key", key)
        count = as_count("count", count)
        if anchors is None:
            raise ValueError("params hold no anchors to sample from.")
        if label is not None:
            label = as_count("label", label, 0)
            if label >= len(anchors):
                raise ValueError(
                    f"label must be 0..{len(anchors) - 1}, one of the classes; got "
                    f"{label}."
                )
            anchors = anchors[label : label + 1]
        index_key, coefficient_key, noise_key = jax.random.split(key, 3)
        means = self.encode(anchors.reshape(-1, *anchors.shape[2:]))
        index = jax.random.randint(index_key, (count,), 0, len(means))
        shape = (count, len(self.params.operators))
        scale = self.coefficient_scale
        if scale is None:
            scale = np.full(shape[1], 1.0 / self.weights.posterior_l1)
        coefficients = sample_laplace(coefficient_key, shape, 1.0)
        coefficients = coefficients * jnp.asarray(scale, means.dtype)[None]
        coefficients = coefficients * self.point_spread(means)[index]
        noise = jax.random.normal(noise_key, (count, means.shape[1]), means.dtype)
        moved = _move(self.params.operators, coefficients, means[index])
        return moved + self.model.noise_std * noise

    def search(
        self,
        starts: Latents,
        ends: Latents,
        *,
        operator: int | None = None,
    ) -> tuple[Float[Array, "P M"], Float[Array, "P d"]]:
        """Find the best coefficients of pairs of latents by a global search.

        Args:
            starts: Where paths start.
            ends: Where they should lead.
            operator: The one operator to use, or None for all.

        Returns:
            Coefficients, and the latents that they lead to.
        """
        operators = self.params.operators
        check_pairs(starts, ends, operators.shape[-1])
        if operator is not None:
            operators = self._operator(operator)
        options = InferenceOptions(
            search="global", l1_weight=self.model.prior_search.l1_weight
        )
        # Filled up to a multiple of PAIRS, so that calls share a compilation.
        pairs = len(starts)
        rows = np.arange(math.ceil(pairs / PAIRS) * PAIRS) % pairs
        starts, ends = (jnp.asarray(x)[rows] for x in (starts, ends))
        # Every search draws from the same key: they are answers, not samples.
        fit = infer_coefficients(
            jax.random.key(0), operators, starts, ends, options=options
        )
        reached = _move(operators, fit.coefficients, starts)
        return fit.coefficients[:pairs], reached[:pairs]

    def join(
        self, starts: Latents, ends: Latents, times: Float[Array | np.ndarray, " T"]
    ) -> Float[Array, "P T d"]:
        """Transport pairs of latents along the paths inferred between them."""
        times = check_times(times)
        found, _ = self.search(starts, ends)
        times = jnp.asarray(times, found.dtype)
        return _paths(self.params.operators, found, jnp.asarray(starts), times)

    def path(
        self,
        inputs: Points,
        operator: int,
        coefficients: Float[Array | np.ndarray, " T"],
    ) -> Float[Array, "n T d"]:
        """Move data points' latents along one operator.

        Args:
            inputs: Data points where the paths start.
            operator: Which operator, counted from 0.
            coefficients: How far along it to go, in order.

        Raises:
            ValueError: If there is no such operator.
        """
        alone = self._operator(operator)
        coefficients = check_times(coefficients, "coefficients")
        means = self.encode(inputs)
        times = jnp.asarray(coefficients, means.dtype)
        unit = jnp.ones((len(means), 1), means.dtype)
        return _paths(alone, unit, means, times)

    def _operator(self, operator):
        """Return one operator as a dictionary of its own."""
        count = len(self.params.operators)
        operator = as_count("operator", operator, 0)
        if operator >= count:
            raise ValueError(f"operator must be 0..{count - 1}; got {operator}.")
        return self.params.operators[operator : operator + 1]

    def widened(self) -> "TrainedVaells":
        """Return the model with the sampling of Figs. 5 and 6: 0.15 zeta_3, 3 gamma."""
        return dataclasses.replace(self, rate_factor=1.0 / SPREAD, noise_factor=3.0)

    def log_likelihood(
        self,
        inputs: Points,
        labels: Int[Array | np.ndarray, " n"] | None = None,
        *,
        num_samples: int = 100,
        key: PRNGKeyArray | None = None,
        on_done: Callable[[int], None] | None = None,
    ) -> Float[np.ndarray, " n"]:
        """Estimate each data point's likelihood as the paper does, in nats.

        A surrogate, comparable only between runs of this model; for log p(x) see
        `log_marginal_likelihood`.

        Args:
            inputs: Data points.
            labels: Their classes, whose anchors make the prior; None for all anchors.
            num_samples: Importance samples of each.
            key: Random key; None for one that is always the same.
            on_done: Called with the number of data points done, after each part.

        Warns:
            UserWarning: If some have few effective samples.
        """
        model = dataclasses.replace(self.model, num_samples=num_samples)
        found = estimate(
            self.params, jax.random.key(0) if key is None else key,
            _batch(self._points(inputs), labels), model=model,
            anchors="all" if labels is None else "class", objective=self.weights,
            on_done=on_done,
        )  # fmt: skip
        warn_of_few_samples(found.effective_samples, num_samples)
        return found.log_likelihood

    def log_marginal_likelihood(
        self,
        inputs: Points,
        labels: Int[Array | np.ndarray, " n"] | None = None,
        *,
        num_samples: int = 1000,
        key: PRNGKeyArray | None = None,
        options: ImportanceOptions | None = None,
        on_done: Callable[[int], None] | None = None,
        mesh: Mesh | None = None,
    ) -> ImportanceEstimate:
        """Estimate log p(x), coefficients and latents integrated.

        Args:
            inputs: Data points.
            labels: Their classes, for log p(x | label) if `options` ask for it.
            num_samples: Importance samples of each.
            key: Random key; None for one that is always the same.
            options: Other densities than the objective's; they include the number
                of samples.
            on_done: Called with the number of data points done, after each part.
            mesh: Devices that share the data points; None for one device.
        """
        if options is None:
            options = objective_options(
                self.weights, label="marginal", num_samples=num_samples
            )
        found = log_marginal_likelihood(
            self.params, jax.random.key(0) if key is None else key,
            _batch(self._points(inputs), labels), model=self.model, options=options,
            on_done=on_done, mesh=mesh,
        )  # fmt: skip
        warn_of_few_samples(found.effective_samples, options.num_samples)
        return found


def _batch(inputs, labels=None):
    labels = np.zeros(len(inputs), np.int32) if labels is None else labels
    return Batch(inputs, jnp.asarray(labels))


# Functions of their arrays alone, so that the runs of several seeds share compilations.
_encode = jax.jit(encode, static_argnames="model")
_decode = jax.jit(decode, static_argnames="model")
_spread = jax.jit(point_spread, static_argnames="model")
_sample = jax.jit(
    sample_latents, static_argnames=("num_samples", "coefficient_rate", "noise_std")
)
_paths = jax.jit(jax.vmap(transport_path, (None, 0, 0, None)))
_move = jax.jit(jax.vmap(transport, (None, 0, 0)))
