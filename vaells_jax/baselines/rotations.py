"""The rotation group SO(3): exponential, logarithm, representations.

A rotation is written as the first two columns of its matrix, six numbers, which embed
the group in R^6 without a seam; the third column is their cross product.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.baselines.sphere import unit


def orthonormal(vectors: Float[Array, " 6"]) -> Float[Array, " 6"]:
    """Make two vectors the first columns of a rotation by Gram-Schmidt.

    The map "s2s2" of Falorsi et al. (2018): unlike the exponential of a vector it has a
    continuous right inverse, as the mean of an encoder needs.
    """
    first = unit(vectors[:3])
    second = vectors[3:] - jnp.sum(first * vectors[3:]) * first
    axis = jnp.eye(3, dtype=vectors.dtype)[jnp.argmin(jnp.abs(first))]
    return jnp.concatenate([first, unit(second, unit(jnp.cross(first, axis)))])


def matrix(rotation: Float[Array, " 6"]) -> Float[Array, "3 3"]:
    """Return the matrix whose first columns are given."""
    first, second = rotation[:3], rotation[3:]
    return jnp.stack([first, second, jnp.cross(first, second)], axis=1)


def columns(matrix: Float[Array, "3 3"]) -> Float[Array, " 6"]:
    """Return a matrix's first two columns, one after the other."""
    return matrix.T[:2].reshape(6)


def from_quaternion(q: Float[Array, " 4"]) -> Float[Array, "3 3"]:
    """Return the matrix of a unit quaternion, real part first."""
    w, v = q[0], q[1:]
    eye = jnp.eye(3, dtype=q.dtype)
    cross = jnp.cross(v[None], eye).T  # times a vector: v x the vector
    return (w**2 - jnp.sum(v**2)) * eye + 2.0 * (jnp.outer(v, v) + w * cross)


def to_quaternion(matrix: Float[Array, "3 3"]) -> Float[Array, " 4"]:
    """Return a unit quaternion of a rotation, its real part at least 0.

    `4 q q^T` is linear in the matrix; its row of the largest diagonal has all digits.
    """
    m, trace = matrix, jnp.trace(matrix)
    skew = jnp.stack([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    inner = m + m.T + (1.0 - trace) * jnp.eye(3, dtype=m.dtype)
    rows = jnp.concatenate(
        [
            jnp.concatenate([1.0 + trace[None], skew])[None],
            jnp.concatenate([skew[:, None], inner], axis=1),
        ]
    )
    q = unit(rows[jnp.argmax(jnp.diagonal(rows))])
    return jnp.where(q[0] < 0, -q, q)


def exponential(vector: Float[Array, " 3"]) -> Float[Array, "3 3"]:
    """Return the rotation about a vector by its length, Rodrigues' formula."""
    half = 0.5 * jnp.sqrt(jnp.sum(vector**2) + jnp.finfo(vector.dtype).tiny)
    part = 0.5 * vector * jnp.sinc(half / jnp.pi)
    return from_quaternion(jnp.concatenate([jnp.cos(half)[None], part]))


def logarithm(
    matrix: Float[Array, "3 3"],
) -> tuple[Float[Array, ""], Float[Array, " 3"]]:
    """Return a rotation's angle, 0 to pi, and its axis, the null vector for none."""
    q = to_quaternion(matrix)
    tiny = 1e-30 if q.dtype == jnp.float32 else 1e-60
    sine = jnp.sqrt(jnp.sum(q[1:] ** 2) + tiny)
    return 2.0 * jnp.arctan2(sine, q[0]), q[1:] / sine


def geodesic(
    start: Float[Array, " 6"], end: Float[Array, " 6"], times: Float[Array, " T"]
) -> Float[Array, "T 6"]:
    """Turn one rotation into another about a fixed axis, the group's geodesic."""
    first = matrix(start)
    angle, axis = logarithm(first.T @ matrix(end))
    turned = lambda time: columns(first @ exponential(time * angle * axis))
    return jax.vmap(turned)(times)


def representations(
    matrix: Float[Array, "3 3"], degrees: int
) -> list[Float[Array, "n n"]]:
    """Return the group's irreducible representations, real Wigner matrices.

    Degree l + 1 is the part of highest weight in the product of degrees 1 and l.

    Args:
        matrix: The rotation.
        degrees: How many, from degree 1 on: `[3, 3]`, `[5, 5]` and so on.
    """
    found = [matrix]
    for basis in _highest_parts(degrees):
        product = jnp.kron(matrix, found[-1])
        part = jnp.asarray(basis, matrix.dtype)
        found.append(part.T @ product @ part)
    return found


@functools.cache
def _highest_parts(degrees: int) -> list[np.ndarray]:
    """Return bases `[3 (2l+1), 2l+3]` of these parts, l = 1 to `degrees - 1`.

    They are eigenvectors of the sum of the generators' squares, `-(l+1)(l+2)`.
    """
    generators = np.cross(np.eye(3)[:, None], np.eye(3)).transpose(0, 2, 1)
    first, bases = generators, []
    for degree in range(1, degrees):
        eye = np.eye(2 * degree + 1)
        both = [
            np.kron(a, eye) + np.kron(np.eye(3), b)
            for a, b in zip(first, generators, strict=True)
        ]
        squares = sum(g @ g for g in both)
        basis = np.linalg.eigh(squares)[1][:, : 2 * degree + 3]  # the lowest ones
        bases.append(basis)
        generators = np.stack([basis.T @ g @ basis for g in both])
    return bases
