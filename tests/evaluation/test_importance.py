import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

from vaells_jax import Batch, Model, Params, dense_networks
from vaells_jax.evaluation.importance import (
    ImportanceOptions,
    log_marginal_likelihood,
    log_weights,
    summarise,
)
from vaells_jax.evaluation.samples import SHARES
from vaells_jax.model.paths import decode, encode
from vaells_jax.model.prior import anchor_components, log_prior
from vaells_jax.networks.contract import init_networks

OPTIONS = ImportanceOptions(
    noise_std=0.3, coefficient_rate=0.8, pixel_std=0.5, num_samples=4000
)
SIZE, CLASSES, ANCHORS = 3, 2, 2


def tiny(latent_size, dtype):
    """Return a model of 3-D data with one operator, and three data points."""
    model = Model(dense_networks(latent_size, SIZE, hidden=6))
    keys = jax.random.split(jax.random.key(3), 4)
    inputs = jax.random.normal(keys[0], (3, SIZE), dtype)
    encoder, decoder = init_networks(keys[1], model.networks, inputs)
    as_dtype = lambda tree: jax.tree.map(lambda x: x.astype(dtype), tree)
    operators = jax.random.normal(keys[2], (1, latent_size, latent_size), dtype)
    anchors = 1.5 * jax.random.normal(keys[3], (CLASSES, ANCHORS, SIZE), dtype)
    params = Params(as_dtype(encoder), as_dtype(decoder), operators, anchors, 2.0)
    return model, params, Batch(inputs, jnp.array([0, 1, 1]))


def quadrature(model, params, batch, options):
    """Return log p(x|y) of each data point and class by sums over grids of c and z."""
    dtype = params.operators.dtype
    size = params.operators.shape[-1]
    c = np.linspace(-12, 12, 1201 if size == 1 else 481)
    axis = np.linspace(-6, 6, 2001 if size == 1 else 101)
    z = np.stack(np.meshgrid(*[axis] * size, indexing="ij"), -1).reshape(-1, size)
    flat = params.anchors.reshape(-1, SIZE)
    starts = np.asarray(encode(params, flat, model=model), float)
    paths = np.stack(
        [scipy.linalg.expm(t * np.asarray(params.operators[0], float)) for t in c]
    )
    gamma, rate = options.noise_std, options.coefficient_rate
    log_c = np.log(rate / 2) - rate * np.abs(c) + np.log(c[1] - c[0])
    log_prior = []
    for group in starts.reshape(CLASSES, ANCHORS, size):
        total = np.full(len(z), -np.inf)
        for start in group:
            ends = paths @ start
            near = np.exp(log_c) > 1e-12
            squared = sum(
                (z[:, i, None] - ends[None, near, i]) ** 2 for i in range(size)
            )
            logs = log_c[near] - 0.5 * squared / gamma**2
            total = np.logaddexp(total, scipy.special.logsumexp(logs, axis=1))
        normal = 0.5 * size * np.log(2 * np.pi * gamma**2) + np.log(ANCHORS)
        log_prior.append(total - normal)
    outputs = decode(params, jnp.asarray(z, dtype), model=model)
    errors = np.asarray(batch.inputs, float)[:, None] - np.asarray(outputs, float)
    log_image = -0.5 * (errors**2).sum(-1) / options.pixel_std**2
    log_image -= 0.5 * SIZE * np.log(2 * np.pi * options.pixel_std**2)
    volume = size * np.log(axis[1] - axis[0])
    joint = log_image[:, None] + np.array(log_prior)[None] + volume
    return scipy.special.logsumexp(joint, axis=-1)


@pytest.fixture(scope="module", params=[1, 2])
def solved(request, dtype):
    """Return a tiny model, log p(x|y) by quadrature, and the weights of each point."""
    model, params, batch = tiny(request.param, dtype)
    wanted = quadrature(model, params, batch, OPTIONS)
    weights = log_weights(
        params, jax.random.key(1), batch, model=model, options=OPTIONS
    )
    return model, params, batch, wanted, np.asarray(weights, float)


def test_agrees_with_quadrature(solved):
    _, _, batch, wanted, weights = solved
    wanted = wanted[np.arange(3), np.asarray(batch.labels)]
    found = summarise(weights)
    assert (found.standard_error < 0.15).all()
    assert (np.abs(found.log_likelihood - wanted) < 4 * found.standard_error).all()


def test_the_integral_prior_has_the_same_likelihood(dtype):
    """log p(x|y) by the prior of eq. 7 as an integral, against importance sampling."""
    model, params, batch = tiny(2, dtype)
    turn = jnp.array([[[0.0, -1.3], [1.3, 0.0]]], dtype)
    params = params._replace(operators=turn)
    found = log_marginal_likelihood(
        params, jax.random.key(2), batch, model=model, options=OPTIONS
    )
    axis = np.linspace(-6, 6, 121)
    z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(dtype)
    means = encode(params, params.anchors[batch.labels].reshape(-1, SIZE), model=model)
    prior = lambda z, means: log_prior(
        anchor_components(
            z,
            means,
            turn,
            jnp.zeros((ANCHORS, 1), dtype),
            residual_weight=OPTIONS.noise_std**-2,
            l1_weight=OPTIONS.coefficient_rate,
            density="integral",
        )
    )
    densities = jax.jit(jax.vmap(jax.vmap(prior, (0, None)), (None, 0)))
    logs = np.array(densities(z, means.reshape(3, ANCHORS, 2)), float)
    outputs = np.asarray(decode(params, z, model=model), float)
    errors = np.asarray(batch.inputs, float)[:, None] - outputs
    logs -= 0.5 * (errors**2).sum(-1) / OPTIONS.pixel_std**2
    logs -= 0.5 * SIZE * np.log(2 * np.pi * OPTIONS.pixel_std**2)
    wanted = scipy.special.logsumexp(logs, axis=1) + 2 * np.log(axis[1] - axis[0])
    assert (found.standard_error < 0.15).all()
    assert (np.abs(found.log_likelihood - wanted) < 4 * found.standard_error).all()
    table = quadrature(model, params, batch, OPTIONS)
    by_sums = table[np.arange(3), np.asarray(batch.labels)]
    np.testing.assert_allclose(wanted, by_sums, atol=2e-3)


def test_the_mean_weight_is_unbiased(solved):
    _, _, batch, wanted, weights = solved
    wanted = wanted[np.arange(3), np.asarray(batch.labels)]
    ratios = np.exp(weights - wanted[:, None])
    error = ratios.std(axis=1) / np.sqrt(ratios.shape[1])
    assert (np.abs(ratios.mean(axis=1) - 1) < 4 * error).all()


def test_the_bound_grows_with_the_samples(solved):
    *_, weights = solved
    bounds = []
    for count in (1, 4, 20, 100, 4000):
        groups = weights.reshape(3, -1, count)
        bounds.append(np.mean(scipy.special.logsumexp(groups, axis=-1)) - np.log(count))
    assert (np.diff(bounds) > 0).all()


def test_no_weight_exceeds_its_bound(solved):
    *_, weights = solved
    peak = -0.5 * SIZE * np.log(2 * np.pi * OPTIONS.pixel_std**2)
    assert weights.max() <= peak - np.log(SHARES[2]) + 1e-3


def test_without_labels_it_is_the_mean_over_classes(dtype):
    model, params, batch = tiny(1, dtype)
    options = dataclasses.replace(OPTIONS, label="marginal", num_samples=2000)
    done = []
    found = log_marginal_likelihood(
        params, jax.random.key(2), batch, model=model, options=options,
        on_done=done.append,
    )  # fmt: skip
    wanted = quadrature(model, params, batch, options)
    wanted = scipy.special.logsumexp(wanted, axis=1) - np.log(CLASSES)
    assert (np.abs(found.log_likelihood - wanted) < 4 * found.standard_error).all()
    assert sum(done) == 3


def test_summary_of_weights():
    weights = np.log([[1.0, 3.0], [2.0, 2.0]]) - 2000.0
    weights[1, 0] = -np.inf
    found = summarise(weights)
    np.testing.assert_allclose(found.log_likelihood, np.log([2.0, 1.0]) - 2000.0)
    np.testing.assert_allclose(found.effective_samples, [16 / 10, 1.0])
    np.testing.assert_allclose(found.standard_error, np.array([0.5, 1.0]) / np.sqrt(2))
    assert summarise(np.full((1, 3), -np.inf)).log_likelihood[0] == -np.inf


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"noise_std": 0.0}, "noise_std.*0.0"),
        ({"coefficient_rate": float("nan")}, "coefficient_rate"),
        ({"num_samples": 0}, "num_samples"),
        ({"label": "guessed"}, "label.*guessed"),
    ],
)
def test_bad_options(changes, match, unchecked):
    with pytest.raises(ValueError, match=match):
        dataclasses.replace(OPTIONS, **changes)


def test_bad_batches(dtype):
    model, params, batch = tiny(1, dtype)
    estimate = lambda params, batch: log_marginal_likelihood(
        params, jax.random.key(0), batch, model=model, options=OPTIONS
    )
    with pytest.raises(ValueError, match="at least one example"):
        estimate(params, Batch(batch.inputs[:0], batch.labels[:0]))
    with pytest.raises(ValueError, match="anchors"):
        estimate(params._replace(anchors=None), batch)
