import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vaells_jax.baselines import elbo
from vaells_jax.baselines.lie_vae import STD_RANGE, LieVae
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.networks.stock import dense_networks

SIZES = {"SO2": 2, "SO3": 6}
GROUPS = [("SO2", 0), ("SO2", 3), ("SO3", 0), ("SO3", 2)]


@functools.cache
def lie(group, content=0):
    size = SIZES[group] + content
    networks = dense_networks(LieVae.encoder_size(size), 5, hidden=4)
    return LieVae(networks, size, Likelihood("gaussian", 0.5), group)


def outputs(model, dtype, seed=0):
    drawn = np.random.default_rng(seed).normal(size=2 * model.latent_size)
    return jnp.asarray(drawn, dtype)


@pytest.mark.parametrize(("group", "content"), GROUPS)
def test_divergence_is_the_mean_of_the_log_ratio(group, content, dtype):
    model = lie(group, content)
    posterior = model.posterior(outputs(model, dtype))

    @jax.jit
    def both(keys):
        z = jax.vmap(model.draw, (0, None))(keys, posterior)
        ratio = jax.vmap(model.log_posterior, (0, None))(z, posterior)
        ratio -= jax.vmap(model.log_prior, (0, None))(z, None)
        return ratio, jax.vmap(model.divergence, (0, None, None))(z, posterior, None)

    ratio, divergence = map(
        np.asarray, both(jax.random.split(jax.random.key(0), 5_000))
    )
    error = (ratio - divergence).std() / np.sqrt(5_000) + 1e-4
    assert abs(ratio.mean() - divergence.mean()) < 4.5 * error
    assert divergence.mean() > 0


def test_the_divergence_of_so2_against_quadrature(dtype):
    # Of the wrapped normal, by its Fourier series; exact in expectation.
    model, angle = lie("SO2"), 2 * np.pi * np.arange(4_000) / 4_000
    for raw in (-1.0, 1.0, 8.0):
        posterior = model.posterior(jnp.asarray([1.0, 0.0, raw, 0.0], dtype))
        std = float(posterior.std)
        n = np.arange(1, 400)[:, None]
        density = 1 + 2 * np.sum(np.exp(-((n * std) ** 2) / 2) * np.cos(n * angle), 0)
        density = np.maximum(density, 1e-12)
        wanted = np.mean(density * np.log(density))
        keys = jax.random.split(jax.random.key(1), 20_000)
        z = jax.vmap(model.draw, (0, None))(keys, posterior)
        found = jax.vmap(model.divergence, (0, None, None))(z, posterior, None)
        assert float(found.mean()) == pytest.approx(
            wanted, abs=4.5 * float(found.std()) / 140
        )
    assert std == pytest.approx(STD_RANGE[1], rel=1e-2)
    assert wanted < 0.03  # nearly uniform


@pytest.mark.parametrize(("group", "content"), GROUPS)
def test_the_group_acts_on_what_the_decoder_is_given(group, content, dtype):
    # f(h g, c) = (R(h) kron 1) f(g, c), R block-diagonal: an equivariant action.
    model, rng = lie(group, content), np.random.default_rng(2)
    space = model.space
    g, h = (
        space.project(jnp.asarray(x, dtype)) for x in rng.normal(size=(2, space.size))
    )
    c = jnp.asarray(rng.normal(size=content), dtype)
    if group == "SO2":
        turn = lambda x: complex(float(x[0]), float(x[1]))
        product = jnp.asarray([(turn(g) * turn(h)).real, (turn(g) * turn(h)).imag])
        matrices = [turn(h) ** n for n in range(1, 5)]
        blocks = [np.array([[m.real, -m.imag], [m.imag, m.real]]) for m in matrices]
        width = 1
    else:
        from vaells_jax.baselines import rotations

        product = rotations.columns(rotations.matrix(h) @ rotations.matrix(g))
        blocks = rotations.representations(rotations.matrix(h), 4)
        width = None
    given = lambda x: np.asarray(model.decoder_inputs(jnp.concatenate([x, c])), float)
    before, after = given(g), given(product)
    np.testing.assert_allclose(before[len(before) - content :], c, rtol=1e-6)
    offset = 0
    for block in map(np.asarray, blocks):
        n = len(block)
        count = n * (width or n) * (1 + content)
        part = before[offset : offset + count].reshape(n, -1)
        wanted = after[offset : offset + count].reshape(n, -1)
        np.testing.assert_allclose(block @ part, wanted, atol=1e-5)
        offset += count
    assert offset + content == len(before)


def test_the_mean_is_s2s2(dtype):
    # Every rotation is its own image, so that the mean has a continuous right inverse.
    model = lie("SO3")
    for matrix in Rotation.random(5, random_state=0).as_matrix():
        columns = matrix.T[:2].ravel()
        raw = np.concatenate([columns, np.zeros(6)])
        raw[3:6] = 2.0 * raw[3:6] + 0.7 * raw[:3]  # the span and its sense are the same
        mean = model.posterior(jnp.asarray(3.0 * raw, dtype)).mean
        np.testing.assert_allclose(mean, columns, atol=1e-6)


@pytest.mark.parametrize(("group", "content"), GROUPS)
def test_widened_samples_spread_and_paths_join(group, content, dtype):
    model = lie(group, content)
    first, last = (model.posterior(outputs(model, dtype, seed)) for seed in (0, 1))
    wide = model.widen(first, 3.0)
    np.testing.assert_allclose(wide.std, 3.0 * first.std, rtol=1e-6)
    starts, ends = (model.centre(p)[None] for p in (first, last))
    path = model.path(starts, ends, jnp.linspace(0.0, 1.0, 5, dtype=starts.dtype))
    np.testing.assert_allclose(path[:, 0], starts, atol=1e-5)
    np.testing.assert_allclose(path[:, -1], ends, atol=1e-5)
    straight = path[0, :, SIZES[group] :]
    np.testing.assert_allclose(np.diff(straight, axis=0, n=2), 0.0, atol=1e-5)


@pytest.mark.parametrize(("group", "content"), GROUPS)
def test_the_bound_and_its_gradient(group, content, x64, dtype):
    model = lie(group, content)
    points = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), dtype)
    params = jax.jit(elbo.init_params, static_argnames="model")(
        jax.random.key(1), points, model=model
    )
    loss = lambda p: elbo.negative_elbo(p, jax.random.key(2), points, model=model)[0]
    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
    if x64:
        step = jax.tree.map(
            lambda leaf: (
                1e-6 * jnp.cos(jnp.arange(leaf.size, dtype=dtype).reshape(leaf.shape))
            ),
            params,
        )
        moved = [
            jax.tree.map(lambda x, d, s=s: x + s * d, params, step) for s in (1, -1)
        ]
        change = (jax.jit(loss)(moved[0]) - jax.jit(loss)(moved[1])) / 2
        wanted = sum(
            jnp.sum(x * d)
            for x, d in zip(jax.tree.leaves(slope), jax.tree.leaves(step), strict=True)
        )
        assert float(change) == pytest.approx(float(wanted), rel=1e-4)
