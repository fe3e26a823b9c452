import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.baselines.conftest import tiny_baseline
from vaells_jax import Batch, dense_networks
from vaells_jax.baselines.elbo import negative_elbo
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.r_vae import RVae
from vaells_jax.baselines.training import (
    BaselineOptions,
    _rate,
    divergence_weight,
    init_state,
    make_step,
)
from vaells_jax.baselines.vae import Vae
from vaells_jax.baselines.vamp_prior import VampPrior
from vaells_jax.baselines.vdae import Vdae
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.fit import fit
from vaells_jax.training.schedule import Schedule

OPTIONS = BaselineOptions(rate=1e-2, warm_up_steps=4, decay_from=6, decay_steps=4)
SCHEDULE = Schedule(steps=10, network_steps=0, operator_steps=0)


@pytest.fixture
def new_state(baseline, points):
    return lambda: init_state(
        jax.random.key(0), points, model=baseline, options=OPTIONS
    )


@pytest.fixture
def train(baseline, points):
    labels = jnp.zeros(len(points), jnp.int32)
    batch = lambda step: Batch(points + 0.01 * step, labels)

    def run(state, steps=10, **more):
        return fit(
            jax.random.key(3), state, batch,
            schedule=dataclasses.replace(SCHEDULE, steps=steps),
            make_step=lambda phase: make_step(baseline, OPTIONS), **more,
        )  # fmt: skip

    return run


def test_resumed_run_is_the_uninterrupted_one_to_the_bit(train, new_state, tmp_path):
    whole = train(new_state())
    checkpoints = Checkpoints(tmp_path)
    train(new_state(), steps=5, save=checkpoints.save)
    again = checkpoints.restore(new_state())
    checkpoints.close()
    assert int(again.step) == 5
    chex.assert_trees_all_equal(train(again), whole)


def test_every_leaf_moves_and_steps_are_traced_once(baseline, new_state, points):
    options = dataclasses.replace(OPTIONS, beta2=0.99)  # a step of this test's own
    step = make_step(baseline, options)
    batch = Batch(points, jnp.zeros(len(points), jnp.int32))
    before = jax.tree.map(np.asarray, new_state().params)
    state, metrics = step(new_state(), jax.random.key(0), batch)
    for x, y in zip(
        jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True
    ):
        assert np.any(x != y)
    assert all(np.isfinite(value) for value in metrics.values())
    state, _ = step(state, jax.random.key(0), batch)
    assert step._cache_size() == 1


def test_training_raises_the_bound(baseline, points):
    options = BaselineOptions(rate=1e-2)
    state = init_state(jax.random.key(0), points, model=baseline, options=options)
    batch = Batch(points, jnp.zeros(len(points), jnp.int32))
    losses = []
    fit(
        jax.random.key(3), state, lambda step: batch,
        schedule=dataclasses.replace(SCHEDULE, steps=300),
        make_step=lambda phase: make_step(baseline, options),
        on_step=lambda step, phase, m, state: losses.append(m["negative_elbo"]),
    )  # fmt: skip
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 1.0


STAGED = {
    "r": (RVae, {"num_centres": 8}, {"mean", "log_time", "log_weights", "log_times"}),
    "vdae": (Vdae, {"num_examples": 60, "neighbours": 8}, set()),
}
"""Models that the end of the warm-up sets parts of, and what the prior learns."""


@pytest.mark.parametrize("name", STAGED)
def test_a_model_of_two_stages_learns_and_resumes_to_the_bit(name, tmp_path, dtype):
    kind, options, learned = STAGED[name]
    networks = dense_networks(kind.encoder_size(2), 3, hidden=16)
    model = kind(networks, 2, Likelihood("gaussian", 0.2), **options)
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, (20, 30))
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1).astype(dtype)

    def next_batch(step):
        return Batch(jnp.asarray(circle[step % 20]), jnp.zeros(30, jnp.int32))

    def start():
        return init_state(
            jax.random.key(0), jnp.asarray(circle[0]), model=model, options=OPTIONS
        )

    def train(state, steps=260, **more):
        return fit(
            jax.random.key(3), state, next_batch,
            schedule=Schedule(steps, min(steps, 160), 0, 0),
            make_step=lambda phase: make_step(model, OPTIONS, phase),
            after_warm_up=model.after_warm_up(jax.random.key(4), next_batch), **more,
        )  # fmt: skip

    rows, kept = [], {}
    on_step = lambda step, phase, m, state: rows.append(m["negative_elbo"])

    def save(state):
        kept[int(state.step)] = jax.tree.map(np.array, state.params)

    whole = train(start(), on_step=on_step, save=save, save_every=20)
    assert np.mean(rows[-20:]) < np.mean(rows[160:170])
    for key, value in kept[180].prior.items():
        moved = np.any(value != kept[260].prior[key])
        assert moved == (key in learned), key
    checkpoints = Checkpoints(tmp_path)
    for stop in (150, 200):
        train(start(), stop, save=checkpoints.save)
        again = checkpoints.restore(start())
        assert int(again.step) == stop
        chex.assert_trees_all_equal(train(again), whole)
    checkpoints.close()


def test_divergence_warms_up_evenly():
    weights = [float(divergence_weight(jnp.asarray(i), OPTIONS)) for i in range(6)]
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    assert float(divergence_weight(jnp.asarray(0), BaselineOptions())) == 1.0


def test_rate_rises_stays_and_falls():
    rate = _rate(BaselineOptions(rate=2.0, ramp_steps=4, decay_from=6, decay_steps=4))
    found = [float(rate(jnp.asarray(i))) for i in (0, 1, 4, 6, 8, 10, 99)]
    middle = 0.02 + 0.5 * (2.0 - 0.02)  # of the cosine
    np.testing.assert_allclose(
        found, [0.0, 0.5, 2.0, 2.0, middle, 0.02, 0.02], rtol=1e-5
    )
    assert _rate(BaselineOptions(rate=2.0)) == 2.0


def test_normalised_gradients_do_not_feel_the_scale(points):
    # The likelihood's deviation scales most of the gradient; Adam's first step hides
    # it anyway, its second does not.
    model = tiny_baseline("vae")
    options = BaselineOptions(normalise_gradients=True)
    state = init_state(jax.random.key(0), points, model=model, options=options)
    batch = Batch(points, jnp.zeros(len(points), jnp.int32))
    state, _ = make_step(model, options)(state, jax.random.key(0), batch)
    adam = state.opt_state[1][0]
    for moment in jax.tree.leaves(adam.mu):
        np.testing.assert_allclose(jnp.sqrt(jnp.sum(moment**2)), 0.1, rtol=1e-4)


def test_bad_options():
    with pytest.raises(ValueError, match=r"rate must be finite.*-1"):
        BaselineOptions(rate=-1.0)
    with pytest.raises(ValueError, match="beta1 must be below 1"):
        BaselineOptions(beta1=1.0)


def test_pseudo_inputs(points, unchecked):
    model = tiny_baseline("vampprior")
    start = model.init_prior(jax.random.key(0), points)
    near = np.linalg.norm(np.asarray(start)[:, None] - np.asarray(points), axis=-1)
    assert len(set(near.argmin(axis=1))) == 3
    assert np.all(near.min(axis=1) < 0.1)
    with pytest.raises(ValueError, match="3 pseudo-inputs cannot start from 2"):
        model.init_prior(jax.random.key(0), points[:2])
    with pytest.raises(ValueError, match="num_components must be.*at least 1"):
        VampPrior(model.networks, 2, num_components=0)
    with pytest.raises(ValueError, match="pseudo_inputs"):
        VampPrior(model.networks, 2, pseudo_inputs="noise")
    images = dataclasses.replace(model, pseudo_inputs="images")
    params = init_state(jax.random.key(0), points, model=images).params
    clipped = params._replace(prior=params.prior + 5.0)
    ones = params._replace(prior=jnp.ones_like(params.prior))
    chex.assert_trees_all_equal(images.prior(clipped), images.prior(ones))


def test_posterior_of_a_zero_vector_is_finite():
    model = Hyperspherical(tiny_baseline("hyperspherical").networks, 2)

    @jax.jit
    def found(outputs):
        posterior = model.posterior(outputs)
        return jnp.append(posterior.direction, posterior.concentration)

    zero = jnp.zeros(3)
    np.testing.assert_allclose(found(zero), [1.0, 0.0, 1.0 + np.log(2.0)], rtol=1e-6)
    assert np.all(np.isfinite(jax.jit(jax.jacrev(found))(zero)))
    assert float(found(jnp.asarray([1.0, 0.0, 1e9]))[-1]) == pytest.approx(1e4)


def test_data_that_no_density_is_of_are_refused(unchecked):
    networks = dense_networks(6, 5, hidden=4)
    model = Vae(networks, 3, Likelihood("bernoulli"))
    inputs = 0.5 * np.ones((4, 5), jnp.ones(()).dtype)
    params = init_state(jax.random.key(0), inputs, model=model).params
    for bad in (255 * inputs, -inputs, np.nan * inputs):
        with pytest.raises(ValueError, match="inputs must be"):
            negative_elbo(params, jax.random.key(1), bad, model=model)
        with pytest.raises(ValueError, match="inputs must be"):
            init_state(jax.random.key(1), bad, model=model)
    # Traced data are the caller's: a step costs no look at its numbers.
    loss = jax.jit(lambda x: negative_elbo(params, jax.random.key(1), x, model=model))
    assert np.isfinite(loss(255 * inputs)[0])


def test_an_encoder_of_other_features_is_refused(unchecked):
    model = Vae(dense_networks(3, 5, hidden=4), 2)
    with pytest.raises(ValueError, match="latent_size 2 must give 4 features; got 3"):
        init_state(jax.random.key(0), np.ones((4, 5), jnp.ones(()).dtype), model=model)
