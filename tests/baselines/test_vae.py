import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vae import (
    DiagonalNormal,
    kl_to_standard_normal,
    log_normal,
    sample_normal,
)
from vaells_jax.baselines.vamp_prior import log_mixture, sample_mixture


@pytest.fixture
def normal(dtype):
    mean = jnp.asarray([0.3, -2.0, 1.0], dtype)
    return DiagonalNormal(mean, jnp.asarray([-1.0, 0.5, 0.0], dtype))


@pytest.fixture
def mixture(dtype):
    rng = np.random.default_rng(1)
    mean, log_variance = rng.normal(size=(2, 7, 3))
    return DiagonalNormal(
        jnp.asarray(4 * mean, dtype), jnp.asarray(2 * log_variance - 3, dtype)
    )


def deviations(normal):
    return np.exp(0.5 * np.asarray(normal.log_variance, float))


def test_log_normal_against_scipy(normal):
    z = jnp.asarray([0.0, 1.0, 2.0], normal.mean.dtype)
    wanted = scipy.stats.norm(np.asarray(normal.mean), deviations(normal)).logpdf(z)
    np.testing.assert_allclose(log_normal(z, normal), wanted.sum(), rtol=1e-5)


def test_divergence_is_the_mean_of_the_log_ratio(normal):
    # One dimension after another, by quadrature.
    t, w = np.polynomial.hermite_e.hermegauss(40)
    total = 0.0
    for mean, std in zip(
        np.asarray(normal.mean, float), deviations(normal), strict=True
    ):
        z = mean + std * t
        ratio = scipy.stats.norm(mean, std).logpdf(z) - scipy.stats.norm.logpdf(z)
        total += np.sum(w * ratio) / np.sum(w)
    np.testing.assert_allclose(kl_to_standard_normal(normal), total, rtol=1e-5)


def test_samples_are_gaussian(normal):
    keys = jax.random.split(jax.random.key(0), 5_000)
    z = np.asarray(jax.vmap(sample_normal, (0, None))(keys, normal), float)
    for i in range(3):
        law = scipy.stats.norm(float(normal.mean[i]), deviations(normal)[i])
        assert scipy.stats.kstest(z[:, i], law.cdf).pvalue > 1e-3


def test_mixture_in_log_space_against_the_plain_sum(mixture):
    z = jnp.asarray([[0.5, -1.0, 0.2], [3.0, 2.0, -4.0]], mixture.mean.dtype)
    law = scipy.stats.norm(np.asarray(mixture.mean, float), deviations(mixture))
    for point in z:
        plain = np.mean(np.prod(law.pdf(np.asarray(point, float)), axis=1))
        np.testing.assert_allclose(
            log_mixture(point, mixture), np.log(plain), rtol=1e-5
        )


def test_mixture_is_finite_far_away_where_the_plain_sum_is_zero(mixture):
    far = jnp.full(3, 1e3, mixture.mean.dtype)
    law = scipy.stats.norm(np.asarray(mixture.mean, float), deviations(mixture))
    assert np.all(law.pdf(1e3) == 0.0)
    wanted = scipy.special.logsumexp(law.logpdf(1e3).sum(axis=1)) - np.log(7)
    np.testing.assert_allclose(log_mixture(far, mixture), wanted, rtol=1e-5)
    assert np.all(np.isfinite(jax.grad(log_mixture)(far, mixture)))


def test_mixture_samples_come_from_all_components_alike(mixture):
    narrow = mixture._replace(log_variance=jnp.full_like(mixture.mean, -12.0))
    keys = jax.random.split(jax.random.key(2), 7_000)
    z = np.asarray(jax.vmap(sample_mixture, (0, None))(keys, narrow))
    distance = np.linalg.norm(z[:, None] - np.asarray(narrow.mean), axis=-1)
    counts = np.bincount(distance.argmin(axis=1), minlength=7)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_likelihoods_against_scipy(dtype):
    x = jnp.asarray([[0.0, 1.0], [1.0, 0.0]], dtype)
    outputs = jnp.asarray([[-3.0, 0.2], [30.0, -90.0]], dtype)
    bernoulli = Likelihood("bernoulli")
    wanted = scipy.stats.bernoulli.logpmf(
        np.asarray(x), scipy.special.expit(np.asarray(outputs, float))
    )
    np.testing.assert_allclose(bernoulli.log_prob(x, outputs), wanted.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        bernoulli.mean(outputs), scipy.special.expit(outputs), rtol=1e-5
    )
    gaussian = Likelihood("gaussian", 0.3)
    wanted = scipy.stats.norm(np.asarray(outputs), 0.3).logpdf(np.asarray(x)).sum()
    np.testing.assert_allclose(gaussian.log_prob(x, outputs), wanted, rtol=1e-5)
    assert gaussian.mean(outputs) is outputs


def test_bad_likelihoods(unchecked):
    with pytest.raises(ValueError, match="kind.*'poisson'"):
        Likelihood("poisson")
    with pytest.raises(ValueError, match="std must be finite and greater than 0.*0"):
        Likelihood("gaussian", 0.0)
