"""Solves small symmetric systems, one per lane, made positive definite."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from vaells_jax.inference.energy import dot
from vaells_jax.loops import as_varying

# Largest system that is written out; beyond, compile time would grow with its cube.
UNROLLED = 8


def solve_modified(matrix: Array, right: Array, floor: Array) -> Array:
    """Solve by elimination without exchanges, every pivot replaced by its modulus.

    The result is a descent direction for any symmetric matrix: an LDL^T factorisation
    with `|D|` (at least `floor`) in place of D is positive definite.

    Args:
        matrix: Symmetric matrices, shape [M M W].
        right: Right-hand sides, shape [M W].
        floor: Smallest pivot, shape [W].
    """
    if matrix.shape[0] > UNROLLED:
        return _solve_looped(matrix, right, floor)
    size = matrix.shape[0]
    rows = [[matrix[i, j] for j in range(size)] for i in range(size)]
    y = [right[i] for i in range(size)]
    pivots = []
    for k in range(size):
        pivots.append(jnp.maximum(jnp.abs(rows[k][k]), floor))
        for i in range(k + 1, size):
            factor = rows[k][i] / pivots[k]
            for j in range(i, size):
                rows[i][j] = rows[i][j] - factor * rows[k][j]
            y[i] = y[i] - factor * y[k]
    for k in reversed(range(size)):
        for j in range(k + 1, size):
            y[k] = y[k] - rows[k][j] * y[j]
        y[k] = y[k] / pivots[k]
    return jnp.stack(y)


def _solve_looped(matrix: Array, right: Array, floor: Array) -> Array:
    """Do the same with loops, whose compile time does not grow with the size."""
    size = matrix.shape[0]
    index = jnp.arange(size)[:, None]

    def eliminate(k, carry):
        matrix, y, pivots = carry
        pivot = jnp.maximum(jnp.abs(matrix[k, k]), floor)
        factors = jnp.where(index > k, matrix[k] / pivot[None, :], 0.0)
        matrix = matrix - factors[:, None] * matrix[k][None]
        return matrix, y - factors * y[k][None, :], pivots.at[k].set(pivot)

    first = as_varying((matrix, right, jnp.ones_like(right)), matrix, right, floor)
    matrix, y, pivots = jax.lax.fori_loop(0, size, eliminate, first)

    def substitute(i, x):
        k = size - 1 - i
        # x is zero at the rows not yet solved, so the whole row may be summed.
        return x.at[k].set((y[k] - dot(matrix[k], x)) / pivots[k])

    return jax.lax.fori_loop(0, size, substitute, as_varying(jnp.zeros_like(y), y))
