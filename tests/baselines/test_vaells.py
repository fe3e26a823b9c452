import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax import LossWeights, transport
from vaells_jax.baselines.vaells import TrainedVaells
from vaells_jax.model.paths import encode


@pytest.fixture
def trained(tiny_model, tiny_params):
    return TrainedVaells(tiny_model, tiny_params, LossWeights())


def test_it_meets_the_protocol(trained, tiny_batch, tiny_model, tiny_params):
    inputs = tiny_batch.inputs
    latents = trained.encode(inputs)
    wanted = encode(tiny_params, inputs, model=tiny_model)
    np.testing.assert_allclose(latents, wanted, rtol=1e-6)
    samples = trained.sample_posterior(jax.random.key(0), inputs, 50)
    assert trained.decode(samples).shape == (4, 50, 5)
    wide = trained.widened().sample_posterior(jax.random.key(0), inputs, 50)
    assert np.var(wide, axis=1).mean() > np.var(samples, axis=1).mean()
    estimate = trained.log_likelihood(jax.random.key(1), inputs, 40)
    assert np.all(np.isfinite(estimate.log_likelihood))


def test_paths_are_transported(trained, tiny_batch):
    starts = trained.encode(tiny_batch.inputs)
    ends = jax.vmap(transport, (None, 0, 0))(
        trained.params.operators, jnp.full((4, 2), 0.3, starts.dtype), starts
    )
    path = trained.path(starts, ends, np.linspace(0.0, 1.0, 5))
    np.testing.assert_allclose(path[:, 0], starts, atol=1e-5)
    np.testing.assert_allclose(path[:, -1], ends, atol=1e-2)
    found, reached = trained.search(starts, ends, operator=0)
    assert found.shape == (4, 1)
    alone = jax.vmap(transport, (None, 0, 0))(
        trained.params.operators[:1], found, starts
    )
    np.testing.assert_allclose(reached, alone, rtol=1e-4, atol=1e-5)


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
