import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.baselines import diffusion
from vaells_jax.baselines.elbo import init_params
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vdae import Normal, Vdae, kl_full, log_full, sample_full
from vaells_jax.model.types import Batch
from vaells_jax.networks.stock import dense_networks
from vaells_jax.training.step import TrainState

NEIGHBOURS = 12


def circle(count, dtype):
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1).astype(dtype)


@functools.cache
def fitted(dtype):
    return diffusion.fit_diffusion(circle(200, dtype), 2, neighbours=NEIGHBOURS)


def walk_matrix(points, neighbours):
    """Return P of examples, by NumPy."""
    squared = np.sum((points[:, None] - points) ** 2, axis=-1)
    scales = np.sqrt(np.sort(squared, axis=1)[:, neighbours - 1])
    kernel = np.exp(-squared / np.outer(scales, scales))
    return kernel / kernel.sum(axis=1, keepdims=True)


def test_coordinates_of_a_circle_are_its_harmonics(dtype):
    found = fitted(dtype)
    psi = np.asarray(found.coordinates, float)
    np.testing.assert_allclose(np.linalg.norm(psi, axis=1), np.sqrt(2), rtol=1e-4)
    turned = psi @ psi.T / 2  # the cosines of the angles, whatever the basis
    points = circle(200, float)
    np.testing.assert_allclose(turned, points @ points.T, atol=1e-4)
    walk = walk_matrix(points, NEIGHBOURS)
    np.testing.assert_allclose(
        walk @ psi, psi * np.asarray(found.eigenvalues), atol=1e-4
    )
    assert found.eigenvalues[0] == pytest.approx(float(found.eigenvalues[1]), abs=1e-5)


def test_coordinates_of_uneven_points_are_eigenvectors(dtype):
    points = np.random.default_rng(0).normal(size=(150, 4))
    found = diffusion.fit_diffusion(points.astype(dtype), 3, neighbours=20)
    walk = walk_matrix(points, 20)
    values = np.sort(np.linalg.eigvals(walk).real)[::-1]
    np.testing.assert_allclose(found.eigenvalues, values[1:4], atol=1e-5)
    psi = np.asarray(found.coordinates, float)
    np.testing.assert_allclose(walk @ psi, psi * values[1:4], atol=1e-4)
    np.testing.assert_allclose(np.mean(psi**2, axis=0), 1.0, rtol=1e-4)


def test_a_steps_chances_coordinates_and_covariance(dtype):
    points, found = circle(200, float), fitted(dtype)
    at = lambda x: diffusion.embed(jnp.asarray(x, dtype), found, neighbours=NEIGHBOURS)
    chances, psi, factor = at(points[7])
    row = walk_matrix(points, NEIGHBOURS)[7]
    np.testing.assert_allclose(chances, row, atol=1e-5)
    np.testing.assert_allclose(psi, found.coordinates[7], atol=1e-4)
    apart = np.asarray(found.coordinates, float) - np.asarray(found.coordinates[7])
    wanted = (apart * row[:, None]).T @ apart
    wanted += (0.01 * np.trace(wanted) + 1e-6) * np.eye(2)
    np.testing.assert_allclose(factor @ factor.T, wanted, rtol=1e-3, atol=1e-6)
    # Nystroem's between two examples lie on the circle between theirs.
    middle = points[:2].mean(axis=0) / np.linalg.norm(points[:2].mean(axis=0))
    between = np.asarray(found.coordinates[:2], float).mean(axis=0)
    np.testing.assert_allclose(at(middle)[1], between, atol=2e-3)


def test_neighbours_that_no_coordinate_tells_apart_have_a_density(dtype):
    # The first coordinate of two groups far apart is the group.
    points = np.random.default_rng(3).normal(size=(60, 2))
    points[30:] += 1e3
    found = diffusion.fit_diffusion(points.astype(dtype), 1, neighbours=8)
    psi = np.asarray(found.coordinates[:, 0], float)
    assert max(psi[:30].std(), psi[30:].std()) < 1e-3
    assert abs(psi[:30].mean() - psi[30:].mean()) > 1.0
    for x in points[::20]:
        factor = diffusion.embed(jnp.asarray(x, dtype), found, neighbours=8)[2]
        assert float(factor[0, 0]) == pytest.approx(1e-3, rel=0.05)


@pytest.fixture
def normals(dtype):
    rng = np.random.default_rng(1)
    draw = lambda: Normal(
        jnp.asarray(rng.normal(size=3), dtype),
        jnp.asarray(np.tril(rng.normal(size=(3, 3))) + 2 * np.eye(3), dtype),
    )
    return draw(), draw()


def oracle(normal):
    factor = np.asarray(normal.factor, float)
    return scipy.stats.multivariate_normal(normal.mean, factor @ factor.T)


def test_normal_density_divergence_and_samples(normals):
    first, second = normals
    z = oracle(second).rvs(20, random_state=0).astype(first.mean.dtype)
    logs = jax.vmap(log_full, (0, None))(jnp.asarray(z), first)
    np.testing.assert_allclose(logs, oracle(first).logpdf(z), rtol=1e-4)
    p, q = oracle(first), oracle(second)
    apart = p.mean - q.mean
    wanted = 0.5 * (
        np.trace(np.linalg.solve(q.cov, p.cov)) + apart @ np.linalg.solve(q.cov, apart)
        - 3 + np.log(np.linalg.det(q.cov) / np.linalg.det(p.cov))
    )  # fmt: skip
    assert float(kl_full(first, second)) == pytest.approx(wanted, rel=1e-4)
    assert float(kl_full(first, first)) == pytest.approx(0.0, abs=1e-5)
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.vmap(sample_full, (0, None))(keys, first), float)
    noise = np.linalg.solve(np.asarray(first.factor, float), (drawn - p.mean).T)
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.cov(noise), np.eye(3), atol=0.04)


MODEL = Vdae(
    dense_networks(Vdae.encoder_size(2), 3, hidden=16), 2, Likelihood("gaussian", 0.1),
    num_examples=200, neighbours=NEIGHBOURS,
)  # fmt: skip


@functools.cache
def learned(dtype):
    """Return the parameters once the map is computed, and the batches."""
    points = circle(200, dtype)
    next_batch = lambda step: Batch(
        jnp.asarray(points[step % 4 :: 4]), jnp.zeros(50, jnp.int32)
    )
    params = init_params(jax.random.key(0), jnp.asarray(points), model=MODEL)
    state = TrainState(jnp.asarray(0), params, None)
    state = MODEL.after_warm_up(jax.random.key(1), next_batch)(state)
    return state.params, next_batch


def test_the_prior_is_a_density_and_is_drawn_from(dtype):
    params, _ = learned(dtype)
    prior = MODEL.bind(params).prior(params)
    axis = np.arange(-2.0, 2.0, 0.02)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(dtype)
    log_prior = jax.jit(jax.vmap(MODEL.log_prior, (0, None)))
    assert np.exp(log_prior(grid, prior)).sum() * 0.02**2 == pytest.approx(1, abs=2e-3)
    keys = jax.random.split(jax.random.key(2), 5_000)
    drawn = np.asarray(jax.jit(jax.vmap(MODEL.draw_prior, (0, None)))(keys, prior))
    for axis in (0, 1):
        spread = np.linalg.norm(np.asarray(prior.factor, float)[:, axis], axis=-1)
        each = scipy.stats.norm(np.asarray(prior.mean, float)[:, axis], spread)
        cdf = lambda x, each=each: np.mean(each.cdf(x[:, None]), axis=1)
        assert scipy.stats.kstest(drawn[:, axis], cdf).pvalue > 1e-3


def test_the_objective_is_the_bound_on_a_step(dtype):
    params, next_batch = learned(dtype)
    batch = next_batch(0)
    objective = lambda params: MODEL.objectives(
        params, jax.random.key(3), batch, "joint"
    )[0](params)
    loss, terms = objective(params)
    assert float(loss) == pytest.approx(float(sum(terms)), rel=1e-5)
    assert terms.divergence > 0
    slope = jax.grad(lambda p: objective(p)[0])(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(slope.encoder)) > 0


def test_training_goes_to_the_map_and_longer_walks_stay(dtype):
    from vaells_jax.baselines.training import BaselineOptions, init_state, make_step

    params, next_batch = learned(dtype)
    options = BaselineOptions(rate=5e-3)
    state = init_state(
        jax.random.key(0), jnp.asarray(circle(200, dtype)), model=MODEL, options=options
    )
    state = state.replace(params=params)
    step = make_step(MODEL, options, "joint")
    before = jax.tree.map(np.array, params.prior)
    for number in range(1_500):
        state, metrics = step(state, jax.random.key(5), next_batch(number))
    jax.tree.map(np.testing.assert_array_equal, before, state.params.prior)
    assert float(metrics["divergence"]) < 3.0
    model = dataclasses.replace(MODEL, steps=4).bind(state.params)
    keys = jax.random.split(jax.random.key(6), 500)
    walk = jax.jit(jax.vmap(model.draw_prior, (0, None)))
    radii = np.linalg.norm(walk(keys, model.prior(state.params)), axis=1)
    assert np.median(np.abs(radii - np.sqrt(2))) < 0.15
