"""The pieces of the local search against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.inference.batches import lanes_per_chunk
from vaells_jax.inference.energy import operator_norms, pseudo_gradient
from vaells_jax.inference.linear_solve import solve_modified


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_definite_systems_are_solved(size, dtype):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(5, size, size))
    matrices = root @ np.swapaxes(root, 1, 2) + np.eye(size)
    right = rng.normal(size=(5, size))
    with jax.numpy_rank_promotion("allow"):
        found = solve_modified(
            jnp.asarray(np.moveaxis(matrices, 0, -1), dtype),
            jnp.asarray(right.T, dtype),
            jnp.full(5, 1e-6, dtype),
        )
    expected = np.linalg.solve(matrices, right[:, :, None])[:, :, 0]
    np.testing.assert_allclose(found.T, expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("size", [3, 9])
def test_indefinite_systems_give_descent(size, dtype):
    rng = np.random.default_rng(size)
    raw = rng.normal(size=(size, size, 40))
    matrices = jnp.asarray(raw + np.swapaxes(raw, 0, 1), dtype)
    right = jnp.asarray(rng.normal(size=(size, 40)), dtype)
    with jax.numpy_rank_promotion("allow"):
        found = solve_modified(matrices, right, jnp.full(40, 1e-2, dtype))
    assert np.all(np.sum(found * right, axis=0) > 0)


def test_pseudo_gradient_is_the_shortest_subgradient(dtype):
    u = jnp.asarray([[0.0, 0.0, 0.0, 1.0, -1.0]], dtype)
    gradient = jnp.asarray([[0.5, -2.0, 2.0, 0.5, 0.5]], dtype)
    found = pseudo_gradient(gradient, u, jnp.ones(1, dtype))
    np.testing.assert_allclose(found, [[0.0, -1.0, 1.0, 1.5, -0.5]])


def test_norms_of_useless_and_extreme_operators(dtype):
    operators = np.ones((4, 2, 2), dtype)
    operators[0] = 0.0
    operators[1, 0, 0] = np.inf
    operators[2] *= 1e-30
    norms = operator_norms(jnp.asarray(operators))
    np.testing.assert_allclose(norms, [1.0, 1.0, 2e-30, 2.0], rtol=1e-6)


def test_chunks_narrow_as_problems_grow():
    widths = [
        lanes_per_chunk(10_000, jnp.zeros((m, d, d))) for m, d in ((1, 2), (4, 6))
    ]
    assert widths[0] > widths[1]
    assert lanes_per_chunk(7, jnp.zeros((4, 6, 6))) == 7
