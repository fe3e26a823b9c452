import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from vaells_jax import LossWeights, transport
from vaells_jax.evaluation.importance import ImportanceOptions, log_marginal_likelihood
from vaells_jax.evaluation.likelihood import estimate
from vaells_jax.model.paths import encode
from vaells_jax.trained.vaells import SPREAD, TrainedVaells


@pytest.fixture
def trained(tiny_model, tiny_params):
    return TrainedVaells(tiny_model, tiny_params, LossWeights())


def test_codes_and_samples(trained, tiny_batch, tiny_model, tiny_params):
    inputs = tiny_batch.inputs
    latents = trained.encode(inputs)
    wanted = encode(tiny_params, inputs, model=tiny_model)
    np.testing.assert_allclose(latents, wanted, rtol=1e-6)
    samples = trained.sample_posterior(jax.random.key(0), inputs, 50)
    assert trained.decode(samples).shape == (4, 50, 5)
    wide = trained.widened().sample_posterior(jax.random.key(0), inputs, 50)
    assert np.var(wide, axis=1).mean() > np.var(samples, axis=1).mean()


def test_widened_samples_are_those_of_another_rate_and_noise(trained, tiny_batch):
    wide = trained.widened()
    rate, noise = trained.weights.posterior_l1, trained.model.noise_std
    weights = dataclasses.replace(trained.weights, posterior_l1=0.15 * rate)
    other = dataclasses.replace(trained.model, noise_std=3.0 * noise)
    assert pytest.approx(1.0 / 0.15) == SPREAD
    plain = dataclasses.replace(trained, model=other, weights=weights)
    draw = lambda t: t.sample_posterior(jax.random.key(0), tiny_batch.inputs, 5)
    np.testing.assert_allclose(draw(wide), draw(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*effective samples")
def test_likelihoods_are_those_of_the_objectives_densities(trained, tiny_batch):
    inputs, labels = tiny_batch.inputs, tiny_batch.labels
    params, key = trained.params, jax.random.key(2)
    model = dataclasses.replace(trained.model, num_samples=40)
    # Samples are spread by the objective's zeta_3.
    narrow = dataclasses.replace(trained.weights, posterior_l1=20.0)
    own = dataclasses.replace(trained, weights=narrow)
    for anchors, known in (("class", labels), ("all", None)):
        found = own.log_likelihood(inputs, known, num_samples=40, key=key)
        wanted = estimate(
            params, jax.random.clone(key), tiny_batch, model=model, anchors=anchors,
            objective=narrow,
        )  # fmt: skip
        np.testing.assert_allclose(found, wanted.log_likelihood, rtol=1e-4)
    # zeta_1 = zeta_4 = 1 and zeta_5 = 0.01 by default.
    weights = dataclasses.replace(trained.weights, prior_residual=4.0, prior_l1=0.5)
    options = ImportanceOptions(0.5, 0.5, label="marginal", num_samples=400)
    own = dataclasses.replace(trained, weights=weights)
    found = own.log_marginal_likelihood(inputs, num_samples=400, key=key)
    wanted = log_marginal_likelihood(
        params, jax.random.clone(key), tiny_batch, model=trained.model, options=options
    )
    np.testing.assert_array_equal(found.log_likelihood, wanted.log_likelihood)
    given = dataclasses.replace(options, label="given")
    by_class = own.log_marginal_likelihood(inputs, labels, options=given, key=key)
    assert np.all(by_class.log_likelihood != found.log_likelihood)


def test_paths_are_transported(trained, tiny_batch):
    starts = trained.encode(tiny_batch.inputs)
    ends = jax.vmap(transport, (None, 0, 0))(
        trained.params.operators, jnp.full((4, 2), 0.3, starts.dtype), starts
    )
    path = trained.join(starts, ends, np.linspace(0.0, 1.0, 5))
    np.testing.assert_allclose(path[:, 0], starts, atol=1e-5)
    np.testing.assert_allclose(path[:, -1], ends, atol=1e-2)
    found, reached = trained.search(starts, ends, operator=0)
    assert found.shape == (4, 1)
    alone = jax.vmap(transport, (None, 0, 0))(
        trained.params.operators[:1], found, starts
    )
    np.testing.assert_allclose(reached, alone, rtol=1e-4, atol=1e-5)


def test_path_moves_along_one_operator(trained, tiny_batch):
    inputs, times = tiny_batch.inputs, np.array([-1.0, 0.0, 2.5])
    found = trained.path(inputs, 1, times)
    means = np.asarray(trained.encode(inputs), float)
    operator = np.asarray(trained.params.operators[1], float)
    wanted = np.stack([means @ scipy.linalg.expm(t * operator).T for t in times], 1)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)
    for operator in (2, -1):
        with pytest.raises(ValueError, match=f"operator must be .*got {operator}"):
            trained.path(inputs, operator, times)


def test_prior_samples_of_one_class_start_at_its_anchors(tiny_model, tiny_params):
    still = TrainedVaells(
        tiny_model, tiny_params, LossWeights(), coefficient_scale=np.zeros(2)
    )
    for label in (0, 1):
        samples = still.sample_prior(jax.random.key(label), 50, label)
        own = np.asarray(still.encode(tiny_params.anchors[label]))
        distance = np.linalg.norm(np.asarray(samples)[:, None] - own, axis=-1)
        assert distance.min(axis=1).max() < 6 * tiny_model.noise_std
    for label in (2, -1):
        with pytest.raises(ValueError, match=f"label must be .*got {label}"):
            still.sample_prior(jax.random.key(0), 50, label)


def test_prior_samples_start_at_every_anchor_alike(tiny_model, tiny_params):
    still = TrainedVaells(
        tiny_model, tiny_params, LossWeights(), coefficient_scale=np.zeros(2)
    )
    samples = np.asarray(still.sample_prior(jax.random.key(0), 3_000))
    means = np.asarray(still.encode(tiny_params.anchors.reshape(6, 5)))
    # A tiny network may give two anchors one latent.
    anchors, times = np.unique(means.round(4), axis=0, return_counts=True)
    distance = np.linalg.norm(samples[:, None] - anchors, axis=-1)
    assert distance.min(axis=1).max() < 6 * tiny_model.noise_std
    counts = np.bincount(distance.argmin(axis=1), minlength=len(anchors))
    assert scipy.stats.chisquare(counts, 500 * times).pvalue > 1e-3
    without = TrainedVaells(
        tiny_model, tiny_params._replace(anchors=None), LossWeights()
    )
    with pytest.raises(ValueError, match="no anchors"):
        without.sample_prior(jax.random.key(0), 3)
