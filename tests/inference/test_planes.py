import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.operators.structures import Commuting

PLANES = Commuting(scaling=False, separate=True)
BOTH = Commuting(separate=True)


def problem(dtype, seed, pairs=200, planes=3, rest=0):
    rng = np.random.default_rng(seed)
    rates = rng.normal(size=planes) * rng.choice([0.05, 1.0, 4.0], planes)
    operators = np.zeros((planes, 2 * planes + rest, 2 * planes + rest), dtype)
    operators[:, : 2 * planes, : 2 * planes] = PLANES.matrices(
        {"rates": jnp.asarray(rates[:, None, None], dtype)}
    )
    start, end = rng.normal(size=(2, pairs, 2 * planes + rest)).astype(dtype)
    return operators, start, end, rates


@functools.cache
def search(l1_weight):
    options = InferenceOptions(search="planes", l1_weight=l1_weight)
    return jax.jit(
        lambda *pairs: infer_coefficients(jax.random.key(0), *pairs, options=options)
    )


@pytest.mark.parametrize("l1_weight", [1e-6, 0.05, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_coefficient_of_a_dense_scan_is_better(l1_weight, seed, dtype):
    operators, start, end, rates = problem(dtype, seed)
    fit = search(l1_weight)(operators, start, end)
    assert np.all(fit.converged)
    # Three turns either way of each plane, by complex numbers.
    pair = lambda x: (x[:, ::2] + 1j * x[:, 1::2]).astype(complex)
    a, v = pair(start), pair(end)
    angle = np.linspace(-6 * np.pi, 6 * np.pi, 6_001)
    best = np.zeros(len(start))
    for m, rate in enumerate(rates):
        moved = np.exp(1j * angle)[None] * a[:, m, None]
        energy = 0.5 * np.abs(v[:, m, None] - moved) ** 2
        energy = energy + l1_weight * np.abs(angle / rate)[None]
        best += energy.min(axis=1)
    assert np.all(np.asarray(fit.objective, float) <= best * (1 + 1e-5) + 1e-6)
    # And the objective is that of the coefficients.
    turned = np.exp(1j * np.asarray(fit.coefficients, float) * rates) * a
    own = 0.5 * np.sum(np.abs(v - turned) ** 2, axis=1)
    own += l1_weight * np.sum(np.abs(fit.coefficients), axis=1)
    np.testing.assert_allclose(fit.objective, own, rtol=1e-4, atol=1e-5)


def scalings_and_turns(dtype, seed, pairs=60, planes=3):
    rng = np.random.default_rng(seed)
    rates = rng.normal(size=2 * planes) * rng.choice([0.05, 1.0, 4.0], 2 * planes)
    operators = BOTH.matrices({"rates": jnp.asarray(rates[:, None, None], dtype)})
    lengths = rng.choice([0.2, 1.0, 3.0], (2, pairs, 1))
    start, end = (lengths * rng.normal(size=(2, pairs, 2 * planes))).astype(dtype)
    return operators, start, end, rates.reshape(-1, 2).astype(dtype).astype(float)


@pytest.mark.parametrize("l1_weight", [1e-6, 0.05, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_scalings_and_turns_are_as_good_as_a_dense_scan(l1_weight, seed, dtype):
    operators, start, end, rates = scalings_and_turns(dtype, seed)
    fit = search(l1_weight)(operators, start, end)
    assert np.all(fit.converged)
    pair = lambda x: (x[:, ::2] + 1j * x[:, 1::2]).astype(complex)
    a, v = pair(start), pair(end)
    logs = np.append(np.linspace(-5, 5, 401), 0.0)[:, None]
    angle = np.linspace(-np.pi, np.pi, 361)[None]
    best = np.zeros(len(start))
    for m, (grow, turn) in enumerate(rates):
        path = np.exp(logs + 1j * angle)
        cost = l1_weight * (np.abs(logs / grow) + np.abs(angle / turn))
        for i in range(len(start)):
            energy = 0.5 * np.abs(v[i, m] - path * a[i, m]) ** 2 + cost
            best[i] += energy.min()
    assert np.all(np.asarray(fit.objective, float) <= best * (1 + 1e-5) + 1e-6)
    c = np.asarray(fit.coefficients, float).reshape(-1, 3, 2) * rates[None]
    moved = np.exp(c[..., 0] + 1j * c[..., 1]) * a
    own = 0.5 * np.sum(np.abs(v - moved) ** 2, axis=1)
    own += l1_weight * np.sum(np.abs(fit.coefficients), axis=1)
    np.testing.assert_allclose(fit.objective, own, rtol=1e-4, atol=1e-5)


def test_scalings_and_turns_stay_where_nothing_is_gained(dtype):
    operators, start, end, _ = scalings_and_turns(dtype, 3, pairs=6)
    end[0] = start[0]
    start[1, :2] = 0.0  # this plane cannot move
    end[2, 2:4] = 0.0  # here the start shrinks as far as it pays
    start[3] = 0.0
    fit = search(1e-3)(operators, start, end)
    found = np.asarray(fit.coefficients).reshape(6, 3, 2)
    np.testing.assert_array_equal(fit.converged, [True, True, True, False, True, True])
    np.testing.assert_array_equal(found[0], 0.0)
    np.testing.assert_array_equal(found[1, 0], 0.0)
    assert np.all(np.isfinite(found))
    still = jnp.zeros_like(operators).at[1::2].set(operators[1::2])
    turns = search(1e-3)(still, start, end)
    np.testing.assert_array_equal(turns.coefficients[:, ::2], 0.0)
    alone = search(1e-3)(operators[1::2], start, end)
    np.testing.assert_allclose(
        turns.coefficients[:, 1::2], alone.coefficients, rtol=1e-4, atol=1e-5
    )


def test_the_global_search_of_dense_operators_finds_the_same(dtype):
    operators, start, end, _ = problem(dtype, 7, pairs=64, planes=2, rest=1)
    operators = operators / np.linalg.norm(operators, axis=(1, 2))[:, None, None]
    found = search(0.01)(operators, start, end)
    options = InferenceOptions(search="global", l1_weight=0.01)
    given = map(jnp.asarray, (operators, start, end))
    dense = infer_coefficients(jax.random.key(0), *given, options=options)
    assert np.all(found.objective <= dense.objective * (1 + 1e-5) + 1e-6)
    close = np.isclose(found.objective, dense.objective, rtol=1e-3)
    assert np.mean(close) > 0.9


def test_what_has_no_path_is_said_or_stays(dtype):
    operators, start, end, rates = problem(dtype, 3, pairs=6)
    start[0] = 0.0
    start[1, 0] = np.nan
    end[2] = start[2]
    end[3] = -start[3]
    fit = search(1e-6)(operators, start, end)
    np.testing.assert_array_equal(fit.converged, [False, False, True, True, True, True])
    np.testing.assert_array_equal(fit.coefficients[:3], 0.0)
    half = np.abs(np.asarray(fit.coefficients[3]) * rates)
    np.testing.assert_allclose(half, np.pi, rtol=1e-3)
    others = operators + np.asarray(1e-3, dtype) * np.eye(6, dtype=dtype)
    fit = search(1e-6)(others, start, end)
    assert not np.any(fit.converged)
    np.testing.assert_array_equal(fit.coefficients, 0.0)
    with pytest.raises(ValueError, match="a plane of latents each"):
        search(1e-6)(operators[:, :5, :5], start[:, :5], end[:, :5])
    with pytest.raises(ValueError, match='needs solver="gauss_newton"'):
        InferenceOptions(search="planes", solver="lbfgs")


def test_the_argmin_has_its_derivative(x64, dtype):
    operators, start, end, _ = problem(dtype, 11, pairs=1)
    options = InferenceOptions(search="planes", l1_weight=0.01, differentiable=True)
    operators, start = jnp.asarray(operators), jnp.asarray(start[0])
    find = jax.jit(
        lambda end: (
            infer_coefficients(
                jax.random.key(0), operators, start, end, options=options
            ).coefficients
        )
    )
    end = jnp.asarray(end[0])
    slope = jax.jit(jax.jacobian(find))(end)
    step = 1e-5 if x64 else 1e-2
    way = jnp.asarray(np.random.default_rng(0).normal(size=6), dtype)
    change = (find(end + step * way) - find(end - step * way)) / (2 * step)
    tolerance = 1e-4 if x64 else 0.02
    np.testing.assert_allclose(slope @ way, change, rtol=tolerance, atol=1e-3)
