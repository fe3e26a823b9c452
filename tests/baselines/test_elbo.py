import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests.baselines.conftest import tiny_baseline
from vaells_jax.baselines import elbo, iwae
from vaells_jax.baselines.base import BaselineParams
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vae import Vae

# Compiled once for each model: so much faster than one operation after another.
init_params = jax.jit(elbo.init_params, static_argnames="model")
negative_elbo = jax.jit(elbo.negative_elbo, static_argnames="model")
log_weights = jax.jit(elbo.log_weights, static_argnames=("model", "num_samples"))


@pytest.fixture
def params(baseline, points):
    return init_params(jax.random.key(1), points, model=baseline)


def test_mean_log_weight_is_the_bound(baseline, params, points):
    # E[log p(x|z) + log p(z) - log q(z|x)], with the divergence in closed form or not.
    many = jnp.tile(points, (200, 1))
    loss, terms = negative_elbo(params, jax.random.key(2), many, model=baseline)
    weights = np.asarray(
        log_weights(params, jax.random.key(3), points, model=baseline, num_samples=200)
    )
    error = 2 * weights.std() / math.sqrt(weights.size)
    assert abs(float(loss) + weights.mean()) < 4 * error
    np.testing.assert_allclose(terms.reconstruction + terms.divergence, loss, rtol=1e-5)


def test_divergence_weight_multiplies_it_alone(points):
    model = tiny_baseline("vae")
    params = init_params(jax.random.key(1), points, model=model)
    loss, terms = negative_elbo(
        params, jax.random.key(2), points, model=model, divergence_weight=0.25
    )
    wanted = terms.reconstruction + 0.25 * terms.divergence
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)


def test_objective_and_gradient_of_a_beta_vae_in_closed_form(dtype):
    # Where the decoder is constant, c, and the encoder's outputs are its offsets, the
    # objective is the mean of |x - c|^2 / (2 sigma^2) and beta times the divergence.
    model = tiny_baseline("vae", beta=4.0)
    points = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), dtype)
    params = init_params(jax.random.key(1), points, model=model)
    mean, log_variance = np.array([0.5, -2.0]), np.array([-1.0, 0.7])
    params = jax.tree.map(jnp.zeros_like, params)
    encoder, c = params.encoder["params"]["Dense_1"], np.linspace(-1.0, 1.0, 5)
    encoder["bias"] = jnp.asarray(np.r_[mean, log_variance], dtype)
    params.decoder["params"]["Dense_1"]["bias"] = jnp.asarray(c, dtype)
    of = lambda p: elbo.negative_elbo(p, jax.random.key(2), points, model=model)
    (loss, terms), slope = jax.jit(jax.value_and_grad(of, has_aux=True))(params)
    residuals = np.asarray(points, float) - c
    fit = np.mean(np.sum(residuals**2, axis=1)) / 0.5 + 2.5 * np.log(2 * np.pi * 0.25)
    excess = mean**2 + np.exp(log_variance) - 1.0 - log_variance
    np.testing.assert_allclose(loss, fit + 4.0 * excess.sum() / 2.0, rtol=1e-5)
    np.testing.assert_allclose(sum(terms), fit + excess.sum() / 2.0, rtol=1e-5)
    wanted = 4.0 * np.r_[mean, (np.exp(log_variance) - 1.0) / 2.0]
    np.testing.assert_allclose(
        slope.encoder["params"]["Dense_1"]["bias"], wanted, rtol=1e-5
    )
    np.testing.assert_allclose(
        slope.decoder["params"]["Dense_1"]["bias"],
        -residuals.mean(axis=0) / 0.25, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["vae", "vampprior"])
def test_beta_multiplies_the_weight_of_the_warm_up(name, points):
    plain = tiny_baseline(name)
    params = init_params(jax.random.key(1), points, model=plain)
    key = jax.random.key(2)
    at = lambda weight, **beta: negative_elbo(
        params, jax.random.clone(key), points, model=tiny_baseline(name, **beta),
        divergence_weight=weight,
    )  # fmt: skip
    assert at(0.5, beta=4.0)[0] == at(2.0)[0]
    assert at(1.0, beta=1.0)[0] == at(1.0)[0]
    np.testing.assert_array_equal(at(1.0, beta=4.0)[1], at(1.0)[1])


MATRIX = np.array([[1.0, -0.5, 0.3, 0.0, 0.8], [0.2, 0.9, 0.0, -0.7, 0.1]])


def test_importance_estimate_of_a_linear_gaussian_model(points, dtype):
    # Table 2's decoder is linear where its hidden units stand in pairs; p(x) is then
    # N(b, W W^T + sigma^2).
    model = tiny_baseline("vae")
    params = init_params(jax.random.key(1), points, model=model)
    hidden = np.array([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    offset = np.array([0.1, 0.0, -0.2, 0.3, 0.0])
    decoder = {
        "params": {
            "Dense_0": {"kernel": hidden, "bias": np.zeros(4)},
            "Dense_1": {"kernel": np.concatenate([MATRIX, -MATRIX]), "bias": offset},
        }
    }
    decoder = jax.tree.map(lambda x: jnp.asarray(x, dtype), decoder)
    params = params._replace(decoder=decoder)
    covariance = MATRIX.T @ MATRIX + 0.25 * np.eye(5)
    wanted = scipy.stats.multivariate_normal(offset, covariance).logpdf(points)
    found = iwae.log_likelihood(
        params, jax.random.key(4), points, model=model, num_samples=8_000
    )
    assert np.all(
        np.abs(found.log_likelihood - wanted) < 5 * found.standard_error + 1e-3
    )
    assert np.all(found.standard_error < 0.3)
    few = iwae.log_likelihood(
        params,
        jax.random.key(5),
        jnp.tile(points, (200, 1)),
        model=model,
        num_samples=2,
    )
    # In expectation a lower bound, well below with two samples.
    assert np.all(few.log_likelihood.reshape(200, -1).mean(axis=0) < wanted)


@pytest.mark.parametrize("name", ["hyperspherical", "delta", "lie", "vampprior"])
def test_importance_estimate_against_quadrature(name, points):
    # log p(x) = log int p(x|z) p(z) dz over the circle, or over the plane.
    model = tiny_baseline(name)
    params = init_params(jax.random.key(1), points, model=model)
    # Posteriors that cover the prior, so that no weight is much above the others.
    weak = jax.tree.map(lambda leaf: 0.3 * leaf, params.encoder)
    if name in ("delta", "lie"):  # whose spread is the last output's sigmoid
        bias = weak["params"]["Dense_1"]["bias"]
        weak["params"]["Dense_1"]["bias"] = bias + 4.0 * (np.arange(len(bias)) >= 2)
    params = params._replace(encoder=weak)
    if name != "vampprior":
        angles = 2 * np.pi * np.arange(2_000) / 2_000
        grid = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        log_cell = math.log(2 * np.pi / 2_000)
    else:
        axis = np.linspace(-7.0, 7.0, 281)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        log_cell = 2 * math.log(axis[1] - axis[0])
    z = jnp.asarray(grid, points.dtype)
    prior = model.prior(params)
    log_prior = jax.vmap(model.log_prior, (0, None))(z, prior)
    outputs = elbo.decode_outputs(params, z, model=model)
    images = jax.vmap(jax.vmap(model.likelihood.log_prob, (None, 0)), (0, None))(
        points, outputs
    )
    logs = np.asarray(images, float) + np.asarray(log_prior, float) + log_cell
    wanted = scipy.special.logsumexp(logs, axis=1)
    found = iwae.log_likelihood(
        params, jax.random.key(4), points, model=model, num_samples=4_000
    )
    assert np.all(
        np.abs(found.log_likelihood - wanted) < 5 * found.standard_error + 2e-3
    )
    assert np.all(found.standard_error < 0.2)


def test_estimates_do_not_depend_on_the_parts(points, monkeypatch):
    model = tiny_baseline("vae")
    params = init_params(jax.random.key(1), points, model=model)
    estimate = lambda samples: iwae.log_likelihood(
        params, jax.random.key(4), points, model=model, num_samples=samples
    )
    first = estimate(300)
    monkeypatch.setattr(iwae, "DECODED_AT_ONCE", 650)  # two data points at a time
    second = estimate(301)  # compiled anew
    error = first.standard_error + second.standard_error
    assert first.log_likelihood.shape == (6,)
    assert np.all(np.abs(first.log_likelihood - second.log_likelihood) < 5 * error)


def test_no_points_and_no_samples(points):
    model = tiny_baseline("vae")
    params = init_params(jax.random.key(1), points, model=model)
    with pytest.raises(ValueError, match=r"inputs must have shape.*\[0, 5\]"):
        iwae.log_likelihood(
            params, jax.random.key(0), points[:0], model=model, num_samples=3
        )


def test_one_example_is_a_batch_of_one(points):
    # vmap == loop, for the same keys.
    baseline = tiny_baseline("vampprior")
    params = init_params(jax.random.key(1), points, model=baseline)
    key = jax.random.key(5)
    together = log_weights(params, key, points, model=baseline, num_samples=3)
    assert together.shape == (6, 3)
    alone = []
    draw = jax.jit(baseline.draw)
    keys = jax.random.split(jax.random.clone(key), (6, 3))
    posteriors = jax.vmap(baseline.posterior)(
        baseline.networks.encoder.apply(params.encoder, points)
    )
    prior = baseline.prior(params)
    for i in range(6):
        posterior = jax.tree.map(lambda leaf, i=i: leaf[i], posteriors)
        for j in range(3):
            z = draw(keys[i, j], posterior)
            output = baseline.networks.decoder.apply(params.decoder, z[None])[0]
            weight = baseline.likelihood.log_prob(points[i], output)
            weight += baseline.log_prior(z, prior) - baseline.log_posterior(
                z, posterior
            )
            alone.append(weight)
    np.testing.assert_allclose(together.ravel(), np.stack(alone), rtol=2e-4)


def test_bernoulli_model_of_images(dtype):
    from vaells_jax.networks.stock import make_networks

    images = jnp.asarray(np.random.default_rng(0).random((2, 28, 28)) > 0.5, dtype)
    for name in ("plain", "gated"):
        model = Vae(make_networks(name, 6, (28, 28)), 3, Likelihood("bernoulli"))
        params = init_params(jax.random.key(0), images, model=model)
        assert isinstance(params, BaselineParams)
        loss, _ = negative_elbo(params, jax.random.key(1), images, model=model)
        assert 400 < float(loss) < 800  # about 784 log 2
