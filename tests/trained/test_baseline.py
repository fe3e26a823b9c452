import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.baselines.conftest import KINDS, tiny_baseline
from vaells_jax.baselines import elbo, iwae
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vae import Vae
from vaells_jax.networks.stock import convolutional_networks
from vaells_jax.trained.baseline import TrainedBaseline

init_params = jax.jit(elbo.init_params, static_argnames="model")


@pytest.fixture(scope="module")
def points(dtype):
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), dtype)


def trained_baseline(name, points):
    model = tiny_baseline(name)
    return TrainedBaseline(model, init_params(jax.random.key(1), points, model=model))


@pytest.fixture(scope="module", params=list(KINDS))
def trained(request, points):
    return trained_baseline(request.param, points)


def test_every_baseline_is_a_trained_model(trained, points):
    latents = trained.encode(points)
    assert latents.shape == (6, 2)
    samples = trained.sample_posterior(jax.random.key(0), points, 40)
    assert samples.shape == (6, 40, 2)
    assert trained.decode(samples).shape == (6, 40, 5)
    assert trained.sample_prior(jax.random.key(1), 9).shape == (9, 2)
    path = trained.join(latents[:3], latents[3:], np.linspace(0, 1, 5))
    np.testing.assert_allclose(path[:, 0], latents[:3], atol=1e-5)
    np.testing.assert_allclose(path[:, -1], latents[3:], atol=1e-5)
    found = trained.interpolate(points[:3], points[3:], steps=5)
    np.testing.assert_allclose(found.latents, path, atol=1e-6)
    np.testing.assert_allclose(found.gap, 0.0, atol=1e-5)
    wide = trained.widened().sample_posterior(jax.random.key(0), points, 40)
    assert np.var(wide, axis=1).mean() > np.var(samples, axis=1).mean()


def test_its_prior_knows_no_classes(trained):
    with pytest.raises(ValueError, match=r"label must be None for a \w+; got 0"):
        trained.sample_prior(jax.random.key(1), 9, label=0)


@pytest.mark.filterwarnings("ignore:.*effective samples")
def test_likelihood_is_the_importance_weighted_estimate(points):
    trained = trained_baseline("vae", points)
    done = []
    found = trained.log_marginal_likelihood(
        points, num_samples=300, key=jax.random.key(4), on_done=done.append
    )
    wanted = iwae.log_likelihood(
        trained.params, jax.random.key(4), points, model=trained.model, num_samples=300
    )
    np.testing.assert_array_equal(found.log_likelihood, wanted.log_likelihood)
    assert sum(done) == len(points)
    again = [trained.log_marginal_likelihood(points, num_samples=300) for _ in "ab"]
    np.testing.assert_array_equal(again[0].log_likelihood, again[1].log_likelihood)
    with pytest.warns(UserWarning, match="effective samples of 2"):
        trained.log_marginal_likelihood(points, num_samples=2)


def test_grey_images_may_lack_their_channel_as_in_training(dtype):
    networks = convolutional_networks(4, (8, 8, 1))
    vae = Vae(networks, 2, Likelihood("bernoulli"))
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(dtype)
    params = init_params(jax.random.key(0), images, model=vae)
    bare = TrainedBaseline(vae, params)
    trained = TrainedBaseline(vae, params, record={"data": {"shape": [8, 8, 1]}})
    flat, key = images[..., 0], lambda: jax.random.key(1)
    np.testing.assert_array_equal(trained.encode(flat), bare.encode(images))
    np.testing.assert_array_equal(
        trained.sample_posterior(key(), flat), bare.sample_posterior(key(), images)
    )
    assert trained.interpolate(flat, flat[::-1]).latents.shape == (3, 11, 2)
    with pytest.raises(ValueError, match=r"shape \[batch, 8, 8, 1\]; got \[3, 8, 8\]"):
        bare.encode(flat)
