"""New examples by walks: where they start, where they lead, and when they turn back."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from tests.baselines.conftest import tiny_baseline
from vaells_jax import LossWeights, TrainedBaseline, augment
from vaells_jax.baselines import elbo
from vaells_jax.trained.vaells import TrainedVaells


@dataclasses.dataclass(frozen=True)
class Plain(TrainedVaells):
    """A VAELLS whose data are its latents."""

    def encode(self, inputs):
        return jnp.asarray(inputs)

    def decode(self, latents):
        return latents


@pytest.fixture
def trained(tiny_model, tiny_params):
    return TrainedVaells(tiny_model, tiny_params, LossWeights(posterior_l1=2.0))


@pytest.fixture
def turning(tiny_model, tiny_params, dtype):
    """Return walks on circles: the coefficients are the angles, in radians."""
    turn = jnp.asarray([[[0.0, -1.0], [1.0, 0.0]]], dtype)
    params = tiny_params._replace(operators=turn)
    return Plain(tiny_model, params, LossWeights(posterior_l1=2.0))


def angles(points):
    return np.arctan2(points[:, 1], points[:, 0])


def test_examples_start_walks_in_turn_and_give_their_labels(trained, tiny_batch):
    inputs, labels = tiny_batch.inputs, np.array([3, 1, 4, 1])
    found, own = augment(trained, jax.random.key(0), inputs, labels, 10, scale=0.0)
    np.testing.assert_array_equal(own, [3, 1, 4, 1, 3, 1, 4, 1, 3, 1])
    wanted = np.tile(trained.reconstruct(inputs), (3, 1))[:10]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    fewer, own = augment(trained, jax.random.key(0), inputs, labels, 3, scale=0.0)
    np.testing.assert_array_equal(own, [3, 1, 4])
    np.testing.assert_allclose(fewer, wanted[:3], rtol=1e-5, atol=1e-6)


def test_a_key_decides_every_walk(trained, tiny_batch):
    walks = lambda seed: np.asarray(
        augment(trained, jax.random.key(seed), tiny_batch.inputs, tiny_batch.labels, 8)[
            0
        ]
    )
    np.testing.assert_array_equal(walks(1), walks(1))
    assert np.abs(walks(1) - walks(2)).max() > 1e-3
    assert np.abs(walks(1)[:4] - walks(1)[4:]).max() > 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_coefficients_are_laplace_of_the_models_spread(turning, dtype, scale):
    start = np.array([[1.0, 0.0]], dtype)
    found, _ = augment(
        turning, jax.random.key(0), start, np.zeros(1, int), 2_000, scale=0.2 * scale
    )
    found = np.asarray(found)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-4)
    laplace = scipy.stats.laplace(scale=0.2 * scale / 2.0)
    assert scipy.stats.kstest(angles(found), laplace.cdf).pvalue > 1e-3
    own = dataclasses.replace(turning, coefficient_scale=np.array([0.3]))
    found, _ = augment(
        own, jax.random.key(1), start, np.zeros(1, int), 2_000, scale=scale
    )
    laplace = scipy.stats.laplace(scale=0.3 * scale)
    near = np.abs(angles(found)) < 2.5  # of a circle, angles start again at pi
    cut = lambda x: (laplace.cdf(x) - laplace.cdf(-2.5)) / (1 - 2 * laplace.cdf(-2.5))
    assert scipy.stats.kstest(angles(found)[near], cut).pvalue > 1e-3


def test_walks_of_more_steps_lead_as_far(turning, dtype):
    start = np.array([[0.0, 2.0]], dtype)
    found, _ = augment(
        turning, jax.random.key(0), start, np.zeros(1, int), 4_000, scale=0.4, steps=5
    )
    away = angles(np.asarray(found)) - np.pi / 2
    # A sum of five Laplace variates has the variance of one, and lighter tails.
    assert np.var(away) == pytest.approx(2 * (0.4 / 2.0) ** 2, rel=0.1)
    assert scipy.stats.kurtosis(away) == pytest.approx(3.0 / 5.0, abs=0.4)


def test_every_operator_takes_part(tiny_model, tiny_params, dtype):
    operators = np.zeros((2, 2, 2), dtype)
    operators[0, 0, 0] = operators[1, 1, 1] = 1.0
    params = tiny_params._replace(operators=jnp.asarray(operators))
    scale = np.array([0.1, 0.4])
    run = Plain(tiny_model, params, LossWeights(), coefficient_scale=scale)
    found, _ = augment(
        run, jax.random.key(0), np.ones((1, 2), dtype), np.zeros(1, int), 4_000
    )
    found = np.log(np.asarray(found))  # both scale an entry of their own
    np.testing.assert_allclose(np.abs(found).mean(axis=0), scale, rtol=0.1)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.06


def test_a_walk_that_leaves_its_class_is_halved_and_then_given_up(turning, dtype):
    start, limit = np.array([[1.0, 0.0]], dtype), 0.3
    labels = np.array([7])
    walks = lambda **more: np.asarray(
        augment(turning, jax.random.key(3), start, labels, 500, scale=1.0, **more)[0]
    )
    near = lambda found: np.where(np.abs(angles(np.asarray(found))) < limit, 7, 0)
    free, held = angles(walks()), angles(walks(classify=near))
    wanted = np.zeros(500)
    for share in (0.25, 0.5, 1.0):
        wanted = np.where(np.abs(share * free) < limit, share * free, wanted)
    assert np.abs(free).max() < np.pi
    np.testing.assert_allclose(held, wanted, atol=1e-4)
    nowhere = walks(classify=lambda found: np.zeros(len(found), int))
    np.testing.assert_allclose(nowhere, np.tile(start, (500, 1)), atol=1e-6)
    everywhere = walks(classify=lambda found: np.full(len(found), 7))
    np.testing.assert_array_equal(everywhere, walks())


def test_a_baseline_goes_to_samples_of_its_posterior(tiny_batch):
    inputs, labels, model = tiny_batch.inputs, np.arange(4), tiny_baseline("vae")
    params = elbo.init_params(jax.random.key(1), inputs, model=model)
    baseline = TrainedBaseline(model, params)
    call = lambda scale: np.asarray(
        augment(baseline, jax.random.key(0), inputs, labels, 8, scale=scale)[0]
    )
    samples = np.asarray(baseline.sample_posterior(jax.random.key(0), inputs, 2))
    centres = np.asarray(baseline.encode(inputs))[:, None]
    for scale in (0.0, 1.0, 3.0):
        latents = centres + scale * (samples - centres)  # straight lines of a VAE
        wanted = baseline.decode(latents.swapaxes(0, 1).reshape(8, -1))
        np.testing.assert_allclose(call(scale), wanted, rtol=1e-4, atol=1e-5)


def test_walks_are_those_of_scipys_exponential(tiny_model, tiny_params, dtype):
    run = Plain(tiny_model, tiny_params, LossWeights())
    start = np.array([[0.7, -0.4]], dtype)
    whole = np.asarray(
        augment(run, jax.random.key(5), start, np.zeros(1, int), 4, scale=0.3)[0]
    )
    u = np.asarray(jax.random.uniform(jax.random.key(5), (4, 1, 2)), float) - 0.5
    c = -0.3 * np.sign(u) * np.log1p(-2 * np.abs(u))
    A = np.einsum("nm,mij->nij", c[:, 0], np.asarray(tiny_params.operators, float))
    wanted = scipy.linalg.expm(A) @ start[0]
    np.testing.assert_allclose(whole, wanted, rtol=1e-4, atol=1e-5)
