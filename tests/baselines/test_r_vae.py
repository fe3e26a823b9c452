import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.baselines import iwae, radial
from vaells_jax.baselines.base import BaselineParams
from vaells_jax.baselines.brownian import BrownianMotion
from vaells_jax.baselines.elbo import draw_samples, init_params, posteriors
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.r_vae import RVae
from vaells_jax.model.types import Batch
from vaells_jax.networks.contract import Networks
from vaells_jax.training.step import TrainState

STD = 0.3


@dataclasses.dataclass(frozen=True)
class Linear:
    """A network that multiplies by a matrix."""

    def init(self, key, inputs):
        return jnp.ones((inputs.shape[1], 2 if inputs.shape[1] == 5 else 5))

    def apply(self, parameters, inputs):
        return inputs @ parameters


MODEL = RVae(Networks(Linear(), Linear()), 2, Likelihood("gaussian", STD), 4)


@pytest.fixture
def params(dtype):
    """Return a linear decoder whose deviation is STD everywhere: all is flat."""
    rng = np.random.default_rng(0)
    encoder, decoder = (
        jnp.asarray(rng.normal(size=s), dtype) for s in ((5, 2), (2, 5))
    )
    found = init_params(jax.random.key(0), jnp.zeros((3, 5), dtype), model=MODEL)
    weight = (1.0 - radial.FAR**-2) / STD**2 / 4
    prior = found.prior | {
        "mean": jnp.asarray([0.4, -0.2], dtype),
        "log_time": jnp.asarray(math.log(0.8), dtype),
        "widths": jnp.full(4, 1e5, dtype),
        "log_weights": jnp.full((4, 5), math.log(weight), dtype),
    }
    return BaselineParams(0.5 * encoder, decoder, prior)


def test_times_and_deviations_are_those_of_the_nearest_centres(params, dtype):
    centres = np.asarray([[0, 0], [3, 0], [0, 3], [3, 3]], dtype)
    values = np.asarray([1.0, 2.0, 3.0, 4.0], dtype)
    found = radial.Radial(centres, np.full(4, 0.5, dtype), np.zeros((4, 2), dtype))
    at = lambda z: float(found.mean(jnp.asarray(z, dtype), jnp.asarray(values)))
    assert at([3.0, 0.1]) == pytest.approx(2.0, abs=1e-4)
    assert at([1.5, 0.0]) == pytest.approx(1.5, abs=1e-4)
    assert at([90.0, 99.0]) == pytest.approx(4.0, abs=1e-4)
    near = found.precision(jnp.asarray([3.0, 0.0], dtype), STD)
    far = found.precision(jnp.asarray([50.0, 0.0], dtype), STD)
    np.testing.assert_allclose(near, 1.0, rtol=2e-3)
    np.testing.assert_allclose(far, (radial.FAR * STD) ** -2.0, rtol=1e-5)


def test_basis_functions_are_fitted_to_codes(dtype):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 500)
    codes = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(dtype)
    found = radial.fit_radial(codes, count=16, size=3, std=STD, seed=0)
    again = radial.fit_radial(codes, count=16, size=3, std=STD, seed=0)
    np.testing.assert_array_equal(found.centres, again.centres)
    np.testing.assert_allclose(np.linalg.norm(found.centres, axis=1), 1.0, atol=0.05)
    precisions = jax.vmap(lambda z: found.precision(z, STD))(jnp.asarray(codes))
    assert float(jnp.mean(precisions)) == pytest.approx(STD**-2, rel=1e-3)
    middle = found.precision(jnp.zeros(2, dtype), STD)
    assert np.all(middle < 0.01 * STD**-2)


def test_on_a_flat_space_all_is_gaussian(params, dtype):
    # Of metric A A^T: N(mean, t (A A^T)^-1), KL by the closed form.
    model = MODEL.bind(params)
    inverse = np.linalg.inv(np.asarray(params.decoder @ params.decoder.T, float))
    prior = model.prior(params)
    mean = jnp.asarray([-0.3, 0.9], dtype)
    posterior = BrownianMotion(mean, jnp.asarray(0.05, dtype), prior.factor)
    keys = jax.random.split(jax.random.key(1), 4_000)
    again = jax.random.split(jax.random.key(7), 4_000)
    z = jax.jit(jax.vmap(model.draw, (0, None)))(keys, posterior)
    gaussian = scipy.stats.multivariate_normal
    own, other = gaussian(mean, 0.05 * inverse), gaussian(prior.mean, 0.8 * inverse)
    np.testing.assert_allclose(
        jax.vmap(model.log_posterior, (0, None))(z[:50], posterior),
        own.logpdf(z[:50]), atol=2e-3,
    )  # fmt: skip
    np.testing.assert_allclose(
        jax.jit(jax.vmap(model.log_prior, (0, None)))(z[:50], prior),
        other.logpdf(z[:50]), atol=2e-3,
    )  # fmt: skip
    apart = np.asarray(mean - prior.mean, float)
    ratio = 0.05 / 0.8
    wanted = 0.5 * (2 * (ratio - 1 - math.log(ratio)))
    wanted += 0.5 * apart @ np.linalg.solve(0.8 * inverse, apart)
    found = np.asarray(
        jax.jit(jax.vmap(model.divergence, (0, None, None)))(z, posterior, prior)
    )
    assert found.mean() == pytest.approx(wanted, abs=4.5 * float(found.std()) / 63)
    drawn = jax.jit(jax.vmap(model.draw_prior, (0, None)))(again, prior)
    noise = np.linalg.solve(
        np.linalg.cholesky(0.8 * inverse),
        (np.asarray(drawn) - np.asarray(prior.mean)).T,
    )
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-3


def test_likelihood_of_a_linear_model_is_the_closed_form(params, dtype):
    decoder = np.asarray(params.decoder, float)
    inverse = np.linalg.inv(decoder @ decoder.T)
    covariance = decoder.T @ (0.8 * inverse) @ decoder + STD**2 * np.eye(5)
    mean = np.asarray(params.prior["mean"], float) @ decoder
    exact = scipy.stats.multivariate_normal(mean, covariance)
    inputs = jnp.asarray(exact.rvs(4, random_state=0), dtype)
    # Posteriors that are wide enough, centred by least squares.
    encoder = jnp.asarray(np.linalg.pinv(decoder), dtype)
    log_times = jnp.full(4, math.log(2.0 * STD**2), dtype)
    params = params._replace(
        encoder=encoder, prior=params.prior | {"log_times": log_times}
    )
    found = iwae.log_likelihood(
        params, jax.random.key(2), inputs, model=MODEL, num_samples=4_000
    )
    error = 4.5 * np.max(found.standard_error) + 0.02
    np.testing.assert_allclose(found.log_likelihood, exact.logpdf(inputs), atol=error)


def test_what_training_sets_by_the_codes(params, dtype):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, (40, 50))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    decoder = np.asarray(params.decoder, float)
    encoder = jnp.asarray(np.linalg.pinv(decoder), dtype)

    def next_batch(step):
        inputs = jnp.asarray(circle[step % 40] @ decoder, dtype)
        return Batch(inputs, jnp.zeros(50, jnp.int32))

    model = dataclasses.replace(MODEL, num_centres=32)
    fresh = init_params(jax.random.key(0), next_batch(0).inputs, model=model)
    state = TrainState(
        jnp.asarray(0), fresh._replace(encoder=encoder, decoder=params.decoder), None
    )
    learned = model.after_warm_up(jax.random.key(3), next_batch)(state).params
    prior = learned.prior
    radii = np.linalg.norm(prior["centres"], axis=1)
    np.testing.assert_allclose(radii, 1.0, atol=0.03)
    assert all(x.dtype == dtype for x in jax.tree.leaves(prior))
    np.testing.assert_allclose(prior["routes"][:, 0], np.tile(prior["mean"], (32, 1)))
    np.testing.assert_allclose(prior["routes"][:, -1], prior["centres"], rtol=1e-5)
    # Paths go along the circle: the deviation grows beside it.
    ends = jnp.asarray([[1.0, 0.0], [0.0, 1.0]], dtype)
    bound = model.bind(learned)
    path = bound.path(
        ends[:1], -ends[:1] + 0.3 * ends[1:], jnp.linspace(0, 1, 9, dtype=dtype)
    )
    assert np.linalg.norm(path[0], axis=1).min() > 0.8
    found = posteriors(learned, next_batch(0).inputs, model=model)
    drawn = draw_samples(jax.random.key(4), found, 1, bound.draw)[:, 0]
    assert np.abs(np.linalg.norm(drawn, axis=1) - 1.0).max() < 0.3
    samples = jax.jit(jax.vmap(bound.draw_prior, (0, None)))(
        jax.random.split(jax.random.key(5), 100), bound.prior(learned)
    )
    assert np.abs(np.linalg.norm(samples, axis=1) - 1.0).max() < 0.5


def test_binary_data_are_refused():
    with pytest.raises(ValueError, match="an RVae's must be gaussian; got 'bernoulli'"):
        dataclasses.replace(MODEL, likelihood=Likelihood("bernoulli"))
