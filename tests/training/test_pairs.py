"""Operators from pairs of points: planted ones come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from vaells_jax import Batch
from vaells_jax.training.pairs import (
    PairOptions,
    fit_operators,
    pair_objective,
    partners,
)

TURN_AND_GROW = np.array([[[0.0, -1.0], [1.0, 0.0]], [[0.5, 0.0], [0.0, 0.5]]])
ROTATIONS = np.array(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    float,
)
OPTIONS = PairOptions(l1_weight=0.05, norm_weight=0.01)


def planted_pairs(generators, seed, dtype, count=500):
    """Move points by one generator each, SciPy's exponential, and add noise."""
    random = np.random.default_rng(seed)
    start = random.normal(size=(count, generators.shape[1]))
    which = random.integers(len(generators), size=count)
    angles = random.uniform(-1, 1, size=count)
    moves = scipy.linalg.expm(angles[:, None, None] * generators[which])
    end = np.einsum("nij,nj->ni", moves, start)
    return start.astype(dtype), (end + random.normal(0, 0.01, end.shape)).astype(dtype)


def recovery(generators, seed, dtype, num_operators, draws):
    """Return the largest principal angle [degrees], cosines, norms in order."""
    start, end = planted_pairs(generators, seed, dtype)
    fits = [
        fit_operators(key, start, end, num_operators=num_operators, options=OPTIONS)
        for key in jax.random.split(jax.random.key(seed), draws)
    ]
    fit = min(fits, key=lambda fit: fit.objective[-50:].mean())
    flat = np.asarray(fit.operators, float).reshape(num_operators, -1)
    true, count = generators.reshape(len(generators), -1), len(generators)
    span = np.linalg.svd(flat)[2][:count]
    angle = np.degrees(scipy.linalg.subspace_angles(span.T, true.T)).max()
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    large = np.argsort(-fit.norms[-1])[:count]
    cosines = np.abs(unit(flat[large]) @ unit(true).T)
    assert sorted(cosines.argmax(axis=1)) == list(range(count))  # up to their order
    return angle, cosines.max(axis=1), np.sort(fit.norms[-1])[::-1]


def check(generators, seed, dtype, num_operators, draws):
    angle, cosines, norms = recovery(generators, seed, dtype, num_operators, draws)
    assert angle < 4.0
    assert np.all(cosines > 0.995)
    assert norms[len(generators)] < 0.05 * norms[len(generators) - 1]


def test_generators_of_rotations_are_recovered_and_others_shrink(dtype):
    check(ROTATIONS, 0, dtype, num_operators=6, draws=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_planted_operators_of_five_seeds(seed, dtype):
    check(ROTATIONS, seed, dtype, num_operators=6, draws=1)
    check(TURN_AND_GROW, seed, dtype, num_operators=4, draws=4)


def test_objective_is_the_papers(dtype):
    random = np.random.default_rng(0)
    operators, (start, end) = (
        0.3 * random.normal(size=(2, 3, 3)),
        random.normal(size=(2, 4, 3)),
    )
    c = random.normal(size=(4, 2))
    moves = scipy.linalg.expm(np.einsum("nm,mij->nij", c, operators))
    gaps = end - np.einsum("nij,nj->ni", moves, start)
    residual = 0.5 * np.mean(np.sum(gaps**2, axis=1))
    found = pair_objective(
        *(jnp.asarray(x, dtype) for x in (operators, start, end, c)), norm_weight=0.2
    )
    wanted = (residual + 0.1 * np.sum(operators**2), residual)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_course_is_a_function_of_the_key_and_can_be_stopped(dtype):
    start, end = planted_pairs(ROTATIONS, 0, dtype)
    options = PairOptions(steps=60, batch_size=32)
    seen = []

    def run(on_step=None):
        return fit_operators(
            jax.random.key(3), start, end, num_operators=2, options=options,
            on_step=on_step,
        )  # fmt: skip

    whole = run()
    short = run(lambda step, values: seen.append(values["objective"]) or step == 5)
    np.testing.assert_array_equal(short.objective, whole.objective[:5])
    np.testing.assert_array_equal(short.objective, seen)
    assert whole.norms.shape == (60, 2)
    assert whole.objective[-20:].mean() < whole.objective[:20].mean()
    assert np.all((whole.objective >= whole.residual) & (whole.converged <= 1))


def test_bad_arguments(dtype, unchecked):
    points = np.ones((4, 3), dtype)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"one shape \[N, d\].*\[4, 3\] and \[4, 2\]"):
        fit_operators(key, points, points[:, :2], num_operators=1)
    with pytest.raises(ValueError, match="end must be finite; got 12 values"):
        fit_operators(key, points, np.nan * points, num_operators=1)
    with pytest.raises(ValueError, match="num_operators must be an integer"):
        fit_operators(key, points, points, num_operators=0)
    with pytest.raises(ValueError, match=r"rate must be at most max_rate = 10; got 11"):
        PairOptions(rate=11.0)


def test_partners_are_near_and_of_the_class(dtype):
    line = jnp.asarray(np.arange(8.0)[:, None], dtype)
    labels = jnp.asarray([0, 1, 0, 1, 0, 1, 0, 2], jnp.int32)
    for key in jax.random.split(jax.random.key(0), 8):
        found = np.asarray(partners(key, Batch(line, labels), 1))[:, 0]
        assert set(np.abs(found - np.arange(8))[:7]) == {2.0}
        assert found[7] == 7  # alone in its class
    anchors = line[:, None] + jnp.asarray([[[3.0], [-0.5], [2.0]]], dtype)
    found = partners(jax.random.key(1), Batch(line, labels, anchors), 1)
    np.testing.assert_allclose(found, line - 0.5)
