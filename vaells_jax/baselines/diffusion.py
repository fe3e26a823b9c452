"""Diffusion maps (Coifman and Lafon, 2006): coordinates of a walk among examples.

A walk goes from a point x to examples x_j with probabilities
`P(x, x_j) ~ exp(-|x - x_j|^2 / (s(x) s(x_j)))`, s the distance to the `neighbours`-th
nearest example. Its first eigenvectors are the coordinates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class DiffusionMap(NamedTuple):
    """A walk among examples and their coordinates.

    Attributes:
        examples: x_j, of any shape.
        scales: s(x_j).
        eigenvalues: lambda of each coordinate, falling.
        coordinates: psi(x_j), each of mean square 1.
    """

    examples: Float[Array | np.ndarray, "N ..."]
    scales: Float[Array | np.ndarray, " N"]
    eigenvalues: Float[Array | np.ndarray, " d"]
    coordinates: Float[Array | np.ndarray, "N d"]


def transitions(
    x: Float[Array, "..."],
    examples: Float[Array | np.ndarray, "N ..."],
    scales: Float[Array | np.ndarray, " N"],
    *,
    neighbours: int,
) -> Float[Array, " N"]:
    """Return P(x, x_j) of one point."""
    squared, own = _distances(x, examples, neighbours)
    return jax.nn.softmax(-squared / (own * jnp.asarray(scales)))


def embed(
    x: Float[Array, "..."], found: DiffusionMap, *, neighbours: int
) -> tuple[Float[Array, " N"], Float[Array, " d"], Float[Array, "d d"]]:
    """Return a point's transitions, its coordinates and how far a step goes in them.

    The coordinates are Nystroem's, `1/lambda sum_j P(x, x_j) psi(x_j)`, which are those
    of the map where x is an example.

    Returns:
        P(x, x_j), psi(x), and the Cholesky factor of
        `C(x) = sum_j P(x, x_j) (psi(x_j) - psi(x)) (psi(x_j) - psi(x))^T`.
    """
    chances = transitions(x, found.examples, found.scales, neighbours=neighbours)
    psi = chances @ found.coordinates / jnp.asarray(found.eigenvalues)
    apart = found.coordinates - psi[None]
    covariance = (apart * chances[:, None]).T @ apart
    # Across a curve nothing varies: a tenth of the deviation is added there, and a
    # thousandth where no coordinate (of mean square 1) separates neighbours.
    least = 0.01 * jnp.trace(covariance) + 1e-6
    return chances, psi, jnp.linalg.cholesky(covariance + least * jnp.eye(len(psi)))


def fit_diffusion(
    examples: Float[Array | np.ndarray, "N ..."], size: int, *, neighbours: int
) -> DiffusionMap:
    """Find the coordinates of examples.

    Args:
        examples: x_j.
        size: How many coordinates.
        neighbours: The neighbour, the example itself being the first, whose distance
            is the example's scale.
    """
    from scipy.linalg import eigh

    examples = jnp.asarray(examples)
    squared, scales = jax.lax.map(
        lambda x: _distances(x, examples, neighbours), examples, batch_size=64
    )
    squared, scales = np.asarray(squared, float), np.asarray(scales, float)
    kernel = np.exp(-squared / (scales[:, None] * scales))
    root = np.sqrt(kernel.sum(axis=1))
    last = len(kernel) - 1  # its eigenvector is constant, and left out
    values, vectors = eigh(
        kernel / (root[:, None] * root), subset_by_index=[last - size, last - 1]
    )
    psi = vectors[:, ::-1] / root[:, None]
    psi /= np.sqrt(np.mean(psi**2, axis=0))
    psi *= np.sign(psi[np.argmax(np.abs(psi), axis=0), np.arange(size)])
    arrays = (scales, values[::-1], psi)
    return DiffusionMap(examples, *(np.asarray(x, examples.dtype) for x in arrays))


def _distances(x, examples, neighbours):
    """Return squared distances from a point, and the root of its scale's."""
    axes = tuple(range(1, examples.ndim))
    squared = jnp.sum((jnp.asarray(examples) - x[None]) ** 2, axis=axes)
    nearest = -jax.lax.top_k(-squared, neighbours)[0]
    return squared, jnp.sqrt(nearest[-1] + jnp.finfo(squared.dtype).tiny)
