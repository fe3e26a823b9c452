import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests import reference
from vaells_jax import log_posterior, sample_posterior


def draw(key, count, operators, mean, **options):
    keys = jax.random.split(key, count)
    one = lambda key: sample_posterior(key, operators, mean, **options)
    z, c = jax.jit(jax.vmap(one))(keys)
    return np.asarray(z), np.asarray(c)


def test_without_operators_the_noise_is_normal(dtype):
    mean = jnp.array([1.0, -2.0], dtype)
    z, _ = draw(
        jax.random.key(0), 20_000, jnp.zeros((1, 2, 2), dtype), mean,
        coefficient_rate=1.0, noise_std=0.3,
    )  # fmt: skip
    for i in range(2):
        law = scipy.stats.norm(float(mean[i]), 0.3)
        assert scipy.stats.kstest(z[:, i], law.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03


def test_rotations_turn_by_laplace_angles(dtype):
    turn = jnp.array([[[0.0, -1.0], [1.0, 0.0]]], dtype)
    mean = jnp.array([2.0, 0.0], dtype)
    z, c = draw(
        jax.random.key(1), 20_000, turn, mean, coefficient_rate=8.0, noise_std=0.0
    )
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 2.0, rtol=1e-5)
    angles = np.arctan2(z[:, 1], z[:, 0])
    small = np.abs(c[:, 0]) < 3
    np.testing.assert_allclose(angles[small], c[small, 0], atol=1e-5)
    assert (
        scipy.stats.kstest(c[:, 0], scipy.stats.laplace(scale=1 / 8).cdf).pvalue > 1e-3
    )


def test_log_posterior_agrees_with_the_oracle(dtype):
    rng = np.random.default_rng(0)
    operators, z, mean, c = (
        rng.normal(size=s).astype(dtype) for s in ((2, 3, 3), 3, 3, 2)
    )
    found = log_posterior(
        *(jnp.array(x) for x in (z, mean, operators, c)),
        residual_weight=2.0,
        l1_weight=0.3,
    )
    wanted = reference.log_density(z, mean, operators, c, 2.0, 0.3)
    np.testing.assert_allclose(
        found, wanted, rtol=1e-4 if dtype == np.float32 else 1e-12
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"coefficient_rate": 0.0, "noise_std": 0.1}, "coefficient_rate.*0.0"),
        ({"coefficient_rate": float("inf"), "noise_std": 0.1}, "coefficient_rate"),
        ({"coefficient_rate": float("nan"), "noise_std": 0.1}, "coefficient_rate"),
        ({"coefficient_rate": 1.0, "noise_std": -1.0}, "noise_std.*-1.0"),
    ],
)
def test_bad_numbers(options, match):
    with pytest.raises(ValueError, match=match):
        sample_posterior(
            jax.random.key(0), jnp.zeros((1, 2, 2)), jnp.zeros(2), **options
        )


def test_latent_size_disagrees(unchecked):
    with pytest.raises(ValueError, match=r"latent_mean must have shape \[2\]"):
        sample_posterior(
            jax.random.key(0), jnp.zeros((1, 2, 2)), jnp.zeros(3),
            coefficient_rate=1.0, noise_std=0.1,
        )  # fmt: skip
