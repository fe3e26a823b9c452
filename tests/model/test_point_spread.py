"""A spread of its own for each point: how far it may go along each operator."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests import reference
from vaells_jax import (
    Batch,
    LossWeights,
    Model,
    OptimizerOptions,
    Params,
    Schedule,
    augment,
    dense_networks,
    init_state,
    log_posterior,
    log_posterior_integral,
    make_train_step,
    sample_posterior,
)
from vaells_jax.model.objective import loss_and_paths
from vaells_jax.model.paths import point_spread
from vaells_jax.networks.spread import LARGEST_FACTOR, SpreadNetwork
from vaells_jax.operators.structures import Commuting
from vaells_jax.trained.base import from_named_arrays, named_arrays
from vaells_jax.trained.vaells import TrainedVaells

WEIGHTS = LossWeights(posterior_l1=2.0)
TURNS = Commuting(separate=True, scaling=False, learned_basis=False)


@dataclasses.dataclass(frozen=True)
class Radius:
    """A spread that everyone can compute: the logarithm of m + 1 + |z|."""

    num_operators: int = 2

    def init(self, key, inputs):
        del key, inputs
        return {}

    def apply(self, parameters, inputs):
        del parameters
        radius = jnp.linalg.norm(inputs, axis=1, keepdims=True)
        return jnp.log(1.0 + radius + jnp.arange(self.num_operators)[None])


def evaluated(model, params, batch):
    """Return the loss, its terms and its paths; compiled whole it would take longer."""
    return loss_and_paths(
        params, jax.random.key(0), batch, model=model, weights=WEIGHTS
    )


@pytest.fixture
def own(tiny_model):
    return dataclasses.replace(tiny_model, point_spread=Radius())


def test_a_rate_for_each_operator(dtype):
    operators = jnp.zeros((3, 2, 2), dtype)
    rates = jnp.array([0.5, 2.0, 10.0], dtype)
    draw = lambda key: sample_posterior(
        key, operators, jnp.ones(2, dtype), coefficient_rate=rates, noise_std=0.1
    )[1]
    found = jax.vmap(draw)(jax.random.split(jax.random.key(0), 10_000))
    for c, rate in zip(np.asarray(found).T, rates, strict=True):
        law = scipy.stats.laplace(scale=1 / float(rate))
        assert scipy.stats.kstest(c, law.cdf).pvalue > 1e-3


def test_rates_scale_coefficients_as_operators_do(dtype, x64):
    """Coefficients of rate zeta / s along Psi are those of rate zeta along s Psi."""
    rng = np.random.default_rng(0)
    z, mean = (jnp.asarray(rng.normal(size=4), dtype) for _ in range(2))
    scale, spread = jnp.array([0.7, 1.9], dtype), jnp.array([0.3, 4.0], dtype)
    turn = jnp.zeros((2, 4, 4), dtype)
    for m in range(2):
        turn = turn.at[m, 2 * m, 2 * m + 1].set(-scale[m])
        turn = turn.at[m, 2 * m + 1, 2 * m].set(scale[m])
    density = lambda operators, rate: log_posterior_integral(
        z, mean, operators, residual_weight=5.0, l1_weight=rate
    )
    found = density(turn, 1.5 / spread)
    wanted = density(spread[:, None, None] * turn, 1.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-9 if x64 else 1e-4)
    c = jnp.array([0.4, -2.0], dtype)
    largest = log_posterior(
        z, mean, turn, c, residual_weight=5.0, l1_weight=1.5 / spread
    )
    scaled = spread[:, None, None] * turn
    arrays = (np.asarray(x) for x in (z, mean, scaled, c / spread))
    wanted = reference.log_density(*arrays, 5.0, 1.5)
    np.testing.assert_allclose(largest, wanted, rtol=1e-9 if x64 else 1e-4)


@pytest.mark.parametrize("density", ["max", "integral"])
def test_the_objective_has_the_posteriors_own_scales(
    density, own, tiny_params, tiny_batch, x64
):
    """Against densities evaluated point by point, constants that differ included."""
    params = tiny_params
    if density == "integral":
        turn = jnp.array([[[0.0, -0.8], [0.8, 0.0]]], params.operators.dtype)
        params = params._replace(operators=turn)
        own = dataclasses.replace(
            own, point_spread=Radius(1), density="integral", structure=TURNS
        )
    _, terms, paths = evaluated(own, params, tiny_batch)
    spreads = np.exp(Radius(len(params.operators)).apply({}, paths.latent_means))
    np.testing.assert_allclose(paths.point_spread, spreads, rtol=1e-5)
    if density == "max":
        operators, wanted = np.asarray(params.operators), []
        for mean, latents, found, spread in zip(
            *map(np.asarray, paths[:3]), spreads, strict=True
        ):
            scaled = spread[:, None, None] * operators
            for z, c in zip(latents, found, strict=True):
                log = reference.log_density(z, mean, scaled, c / spread, 1.0, 2.0)
                wanted.append(log - np.log(spread).sum())
    else:
        one = lambda z, mean, spread: log_posterior_integral(
            z, mean, params.operators, residual_weight=1.0, l1_weight=2.0 / spread
        )
        every = jax.jit(jax.vmap(jax.vmap(one, (0, None, None))))
        wanted = every(paths.latents, paths.latent_means, jnp.asarray(spreads))
    np.testing.assert_allclose(
        terms.posterior, np.mean(wanted), rtol=1e-8 if x64 else 1e-3
    )


def test_before_training_all_is_as_without(tiny_model, tiny_params, tiny_batch):
    network = SpreadNetwork(2)
    model = dataclasses.replace(tiny_model, point_spread=network)
    latents = jnp.zeros((1, 2), tiny_params.operators.dtype)
    params = tiny_params._replace(point_spread=network.init(jax.random.key(1), latents))
    wanted = evaluated(tiny_model, tiny_params, tiny_batch)[1]
    found = evaluated(model, params, tiny_batch)[1]
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_spreads_are_bounded(dtype):
    network = SpreadNetwork(3)
    latents = 1e6 * jax.random.normal(jax.random.key(0), (50, 2), dtype)
    params = network.init(jax.random.key(1), latents)
    wide = jax.tree.map(lambda x: 100.0 * (x + 1.0), params)
    found = np.exp(np.asarray(network.apply(wide, latents)))
    assert found.min() >= 0.999 / LARGEST_FACTOR
    assert found.max() <= 1.001 * LARGEST_FACTOR
    assert found.max() > 0.9 * LARGEST_FACTOR


def identity_model():
    """Return a model whose latents are the data, and whose operator turns the plane."""

    @dataclasses.dataclass(frozen=True)
    class Identity:
        def init(self, key, inputs):
            del key, inputs
            return {}

        def apply(self, parameters, inputs):
            del parameters
            return inputs

    networks = dense_networks(2, 2)._replace(encoder=Identity(), decoder=Identity())
    return Model(networks, point_spread=SpreadNetwork(1), closest_anchor=True)


@pytest.mark.slow
def test_points_that_a_turn_moves_far_learn_to_turn_less(dtype):
    """A turn by c moves a point at radius r by r c: large radii get small spreads."""
    model = identity_model()
    radii = np.repeat([0.5, 4.0], 16)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 32)
    inputs = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
    batch = Batch(jnp.asarray(inputs, dtype), jnp.zeros(32, int))
    schedule = Schedule(steps=300, warm_up_steps=0, network_steps=300, operator_steps=1)
    weights = LossWeights(reconstruction=30.0, posterior_l1=5.0, prior_l1=0.01)
    options = OptimizerOptions(network_rate=1e-2, rate_after_warm_up=1.0)
    state = init_state(
        jax.random.key(0), model=model, num_operators=1, inputs=batch.inputs,
        anchors=batch.inputs[None], optimizer=options,
    )  # fmt: skip
    turn = jnp.array([[[0.0, -1.0], [1.0, 0.0]]], dtype)
    state = state.replace(params=state.params._replace(operators=turn))
    step = make_train_step(
        "network", model=model, weights=weights, schedule=schedule, optimizer=options
    )
    key = jax.random.key(1)
    for _ in range(300):
        state, metrics = step(state, jax.random.clone(key), batch)
    trained = TrainedVaells(model, state.params, weights)
    near, far = np.asarray(trained.point_spread(batch.inputs)).reshape(2, 16).mean(1)
    assert near > 2 * far
    np.testing.assert_allclose(metrics["point_spread"], np.sqrt(near * far), rtol=0.2)
    drawn = trained.sample_posterior(jax.random.key(2), batch.inputs, 200)
    # Both move about equally far, r times their spread.
    moved = np.linalg.norm(np.asarray(drawn) - inputs[:, None], axis=2)
    near, far = np.median(moved.reshape(2, -1), axis=1)
    assert far < 3 * near


def test_a_network_of_another_size_is_named(tiny_model, tiny_params, unchecked):
    model = dataclasses.replace(tiny_model, point_spread=Radius(3))
    with pytest.raises(ValueError, match=r"point_spread must have shape \[batch, 2\]"):
        point_spread(tiny_params, jnp.zeros((4, 2)), model=model)
    with pytest.raises(ValueError, match=r"point_spread must have shape \[batch, 2\]"):
        init_state(
            jax.random.key(0), model=model, num_operators=2,
            inputs=jnp.zeros((2, 5)), anchors=jnp.zeros((1, 2, 5)),
        )  # fmt: skip
    with pytest.raises(ValueError, match="coefficient_rate must be a number, or one"):
        sample_posterior(
            jax.random.key(0), tiny_params.operators, jnp.ones(2),
            coefficient_rate=jnp.ones(3), noise_std=0.1,
        )  # fmt: skip


def test_samples_and_new_examples_use_the_points_own_spread(
    own, tiny_params, tiny_batch
):
    wide = TrainedVaells(own, tiny_params, WEIGHTS)
    plain = TrainedVaells(
        dataclasses.replace(own, point_spread=None), tiny_params, WEIGHTS
    )
    means = wide.encode(tiny_batch.inputs)
    spreads = np.asarray(wide.point_spread(means))
    np.testing.assert_allclose(spreads, np.exp(Radius().apply({}, means)), rtol=1e-5)
    np.testing.assert_array_equal(plain.point_spread(means), np.ones_like(spreads))
    key = lambda: jax.random.key(3)
    moved = [
        np.linalg.norm(
            np.asarray(model.sample_posterior(key(), tiny_batch.inputs, 200))
            - np.asarray(means)[:, None],
            axis=2,
        ).mean(1)
        for model in (wide, plain)
    ]
    assert (moved[0] > 1.3 * moved[1]).all()
    prior = [np.asarray(model.sample_prior(key(), 100)) for model in (wide, plain)]
    assert not np.allclose(*prior)
    labels = np.asarray(tiny_batch.labels)
    new = [
        np.asarray(augment(model, key(), tiny_batch.inputs, labels, 8)[0])
        for model in (wide, plain)
    ]
    assert not np.allclose(*new)


def test_parameters_are_stored_by_name(tiny_params):
    network = SpreadNetwork(2)
    spreads = network.init(jax.random.key(1), jnp.zeros((1, 2)))
    params = tiny_params._replace(point_spread=spreads)
    found = from_named_arrays(Params, named_arrays(params))
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert from_named_arrays(Params, named_arrays(tiny_params)).point_spread is None
