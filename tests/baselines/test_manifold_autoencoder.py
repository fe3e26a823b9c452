"""Codes without a density, operators of pairs of them, both tuned together."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import Batch
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.manifold_autoencoder import ManifoldAutoencoder
from vaells_jax.baselines.training import BaselineOptions, init_state, make_step
from vaells_jax.networks.stock import dense_networks
from vaells_jax.trained.baseline import TrainedBaseline
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.fit import fit
from vaells_jax.training.schedule import Schedule

MODEL = ManifoldAutoencoder(
    dense_networks(2, 5, hidden=16), 2, Likelihood("gaussian", 0.1), num_operators=2,
    num_examples=7,
)  # fmt: skip
OPTIONS = BaselineOptions(rate=1e-2)
SCHEDULE = Schedule(300, 200, 0, 0)


@pytest.fixture(scope="module")
def circle(dtype):
    """Return points of a circle in five dimensions, not about the origin of any."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lift = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0]
    return jnp.asarray(plane @ lift.T, dtype)


@pytest.fixture(scope="module")
def train(circle):
    batch = Batch(circle, jnp.zeros(len(circle), jnp.int32))

    def run(state=None, steps=SCHEDULE.steps, **more):
        if state is None:
            state = init_state(jax.random.key(0), circle, model=MODEL, options=OPTIONS)
        return fit(
            jax.random.key(3), state, lambda step: batch,
            schedule=dataclasses.replace(SCHEDULE, steps=steps),
            make_step=lambda phase: make_step(MODEL, OPTIONS, phase),
            after_warm_up=MODEL.after_warm_up(jax.random.key(4), lambda step: batch),
            **more,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def run(train):
    rows = []
    state = train(on_step=lambda step, phase, values, state: rows.append(values))
    return state, rows


def test_paths_between_points_of_a_circle_stay_on_it(run, circle):
    state, rows = run
    trained = TrainedBaseline(MODEL, state.params)
    found = trained.interpolate(circle[:8], circle[12:20], steps=9)
    radii = np.linalg.norm(np.asarray(trained.decode(found.latents)), axis=-1)
    # Of few steps; the chord's middle is at 0.83.
    assert np.median(np.abs(radii - 1.0)) < 0.06
    assert np.median(found.gap / found.distance) < 0.1
    samples = trained.decode(trained.sample_prior(jax.random.key(1), 200))
    off = np.abs(np.linalg.norm(samples, axis=-1) - 1.0)
    assert np.median(off) < 0.15  # 0.29 in the disc
    transport = np.array([row["transport"] for row in rows])
    assert np.all(transport[:200] == 0)
    assert 0 < transport[-20:].mean() < 0.01


def test_operators_rest_while_networks_warm_up_and_both_move_later(train, run, circle):
    first = init_state(jax.random.key(0), circle, model=MODEL, options=OPTIONS)
    operators = np.asarray(first.params.prior["operators"])
    warm = train(steps=200).params
    np.testing.assert_array_equal(warm.prior["operators"], operators)
    end = run[0].params
    assert np.all(end.prior["operators"] != operators)
    np.testing.assert_array_equal(end.prior["examples"], warm.prior["examples"])
    for x, y in zip(
        jax.tree.leaves(warm.encoder), jax.tree.leaves(end.encoder), strict=True
    ):
        assert np.any(np.asarray(x) != np.asarray(y))


def test_resumed_run_is_the_uninterrupted_one_to_the_bit(train, run, circle, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    train(steps=250, save=checkpoints.save)
    empty = init_state(jax.random.key(0), circle, model=MODEL, options=OPTIONS)
    again = checkpoints.restore(empty)
    checkpoints.close()
    chex.assert_trees_all_equal(train(again), run[0])


def test_there_is_no_density(run, circle, unchecked):
    trained = TrainedBaseline(MODEL, run[0].params)
    assert not trained.has_density
    with pytest.raises(ValueError, match="ManifoldAutoencoder has no density"):
        trained.log_marginal_likelihood(circle[:2], num_samples=3)
    with pytest.raises(ValueError, match="neighbours must be an integer"):
        dataclasses.replace(MODEL, neighbours=0)
