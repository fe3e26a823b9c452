import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.model.distributions import (
    laplace_from_uniform,
    log_laplace,
    log_normal,
    sample_laplace,
)


def test_inverse_transform_is_the_quantile_function(dtype):
    u = np.linspace(-0.499, 0.499, 401)
    found = laplace_from_uniform(jnp.array(u, dtype), 2.5)
    wanted = -scipy.stats.laplace(scale=1 / 2.5).ppf(u + 0.5)
    # The paper's l(u) = -sgn(u)/zeta log(1 - 2|u|) has the sign of u.
    np.testing.assert_allclose(found, -wanted, rtol=2e3 * np.finfo(dtype).eps)


def test_finite_at_both_ends(dtype):
    ends = jnp.array([-0.5, 0.5], dtype)
    values = laplace_from_uniform(ends, 1.0)
    slopes = jax.vmap(jax.grad(lambda u: laplace_from_uniform(u, 1.0)))(ends)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(values[0], -values[1])
    inner = laplace_from_uniform(jnp.nextafter(ends[1], 0 * ends[1]), 1.0)
    assert values[1] > inner


def test_samples_follow_the_density():
    samples = np.asarray(sample_laplace(jax.random.key(0), (100_000,), 3.0))
    law = scipy.stats.laplace(scale=1 / 3)
    assert scipy.stats.kstest(samples, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.1, 1.0, 100.0])
def test_log_laplace(rate, dtype):
    c = np.array([-1.0, 0.0, 2.5])
    wanted = scipy.stats.laplace(scale=1 / rate).logpdf(c).sum()
    found = log_laplace(jnp.array(c, dtype), rate)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_log_normal(dtype):
    z, mean = np.array([0.3, -1.0]), np.array([0.1, 0.4])
    wanted = scipy.stats.norm(mean, 0.2).logpdf(z).sum()
    found = log_normal(jnp.array(z, dtype), jnp.array(mean, dtype), 0.2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
