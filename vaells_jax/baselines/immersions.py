"""The geometry that an immersion induces on its coordinates.

An immersion `f(params, z)` maps coordinates in R^d to R^D, D >= d. Its metric is
`M(z) = J^T J`, J its Jacobian: lengths of curves of coordinates are those of their
images. All functions take one point, or one pair, and are to be mapped by `jax.vmap`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Immersion = Callable[[Any, Array], Array]

SEGMENTS, ITERATIONS = 10, 10
"""Of a geodesic: chords, and steps of the search for it."""


def metric(
    immersion: Immersion, params: Any, z: Float[Array, " d"]
) -> Float[Array, "d d"]:
    """Return `J^T J`, with rounding's share added so that it has an inverse."""
    jacobian = jax.jacfwd(functools.partial(immersion, params))(z)
    found = jacobian.T @ jacobian
    least = jnp.finfo(z.dtype).eps * jnp.trace(found) + jnp.finfo(z.dtype).tiny
    return found + least * jnp.eye(len(z), dtype=z.dtype)


def curve_energy(
    immersion: Immersion, params: Any, curve: Float[Array, "n d"]
) -> Float[Array, ""]:
    """Return `T sum_i |f(z_i+1) - f(z_i)|^2`: of T equal chords, the length squared."""
    images = jax.vmap(immersion, (None, 0))(params, curve)
    return (len(curve) - 1) * jnp.sum(jnp.diff(images, axis=0) ** 2)


def geodesic(
    immersion: Immersion,
    params: Any,
    start: Float[Array, " d"],
    end: Float[Array, " d"],
    *,
    first: Float[Array, "n d"] | None = None,
    segments: int = SEGMENTS,
    iterations: int = ITERATIONS,
) -> Float[Array, "n d"]:
    """Search for the curve of least energy.

    Levenberg-Marquardt on the chords: a step that does not lower the energy is not
    taken. The curve is the locally shortest one that this search ends in.

    Args:
        immersion: f.
        params: Its first argument.
        start: First point.
        end: Last point.
        first: n = T + 1 points of a curve to begin with, its ends replaced; None for
            the straight line.
        segments: T of the straight line; the length's error falls as 1 / T^2.
        iterations: Steps of the search.

    Returns:
        Points at equal distances. No derivative goes through the search.
    """
    params, start, end = jax.lax.stop_gradient((params, start, end))
    if first is None:
        first = jnp.linspace(start, end, segments + 1, dtype=start.dtype)
    # Second differences, which the energy of a polygon is made of.
    count = len(first) - 2
    stiffness = 2.0 * jnp.eye(count) - jnp.eye(count, k=1) - jnp.eye(count, k=-1)
    stiffness = stiffness.astype(start.dtype)[:, None, :, None]
    image = functools.partial(immersion, params)
    whole = lambda inner: jnp.concatenate([start[None], inner, end[None]])
    energy = lambda inner: curve_energy(immersion, params, whole(inner))

    def improve(_, state):
        inner, value, damping = state
        jacobians = jax.vmap(jax.jacfwd(image))(inner)
        bends = jnp.diff(jax.vmap(image)(whole(inner)), n=2, axis=0)
        slope = -jnp.einsum("ixd,ix->id", jacobians, bends).ravel()
        cross = jnp.einsum("ixd,jxe->idje", jacobians, jacobians) * stiffness
        matrix = cross.reshape(slope.size, slope.size)
        scale = jnp.diag(matrix) + jnp.finfo(value.dtype).tiny
        factor = jax.scipy.linalg.cho_factor(matrix + damping * jnp.diag(scale))
        step = jax.scipy.linalg.cho_solve(factor, slope).reshape(inner.shape)
        moved = energy(inner - step)
        better = moved < value  # not so for NaN
        inner = jnp.where(better, inner - step, inner)
        damping = jnp.clip(jnp.where(better, damping / 10, damping * 10), 1e-6, 1e6)
        return inner, jnp.where(better, moved, value), damping

    inner = jax.lax.stop_gradient(first)[1:-1]
    state = (inner, energy(inner), jnp.asarray(1e-3, start.dtype))
    return whole(jax.lax.fori_loop(0, iterations, improve, state)[0])


def squared_distance(
    immersion: Immersion,
    params: Any,
    start: Float[Array, " d"],
    end: Float[Array, " d"],
    *,
    first: Float[Array, "n d"] | None = None,
    segments: int = SEGMENTS,
    iterations: int = ITERATIONS,
) -> Float[Array, ""]:
    """Return the geodesic's squared length, differentiable in params and ends.

    A minimum's derivative is the energy's with the curve held fixed: with respect to
    an end it is twice the velocity there, lowered by the metric.

    Note:
        The other arguments are `geodesic`'s. Chords make the distance too short, by
        a share that falls as 1 / T^2; an unfinished search makes it too long.
    """
    curve = geodesic(
        immersion, params, start, end,
        first=first, segments=segments, iterations=iterations,
    )  # fmt: skip
    curve = jnp.concatenate([start[None], curve[1:-1], end[None]])
    return curve_energy(immersion, params, curve)


@functools.partial(jax.jit, static_argnums=0, static_argnames="iterations")
def geodesic_paths(
    immersion: Immersion,
    params: Any,
    curves: Float[Array | np.ndarray, "P n d"],
    times: Float[Array, " S"],
    *,
    iterations: int = ITERATIONS,
) -> Float[Array, "P S d"]:
    """Follow, at times from 0 to 1, the geodesics that searches from curves end in."""

    def follow(first):
        curve = geodesic(
            immersion, params, first[0], first[-1], first=first, iterations=iterations
        )
        known = jnp.linspace(0.0, 1.0, len(curve), dtype=times.dtype)
        return jax.vmap(jnp.interp, (None, None, 1), 1)(times, known, curve)

    return jax.vmap(follow)(jnp.asarray(curves))


def routes(
    immersion: Immersion,
    params: Any,
    points: Float[Array | np.ndarray, "K d"],
    starts: Float[Array | np.ndarray, "P d"],
    ends: Float[Array | np.ndarray, "P d"],
    *,
    segments: int = SEGMENTS,
) -> Float[np.ndarray, "P n d"]:
    """Join pairs by the shortest polygons whose corners are among some points.

    Geodesics searched from there go round what the straight line would have to cross.

    Args:
        immersion: f.
        params: Its first argument.
        points: Where corners may be, a cover of the data.
        starts: First points.
        ends: Last points.
        segments: T.

    Returns:
        Points of each polygon at equal distances along it.
    """
    from scipy.sparse.csgraph import shortest_path

    points, starts, ends = (np.asarray(x) for x in (points, starts, ends))
    length = functools.partial(_line_length, immersion, params)
    edges = np.asarray(length(points[:, None], points[None]))
    between, before = shortest_path(edges, return_predecessors=True)
    to_points = np.asarray(length(starts[:, None], points[None]))
    to_ends = np.asarray(length(ends[:, None], points[None]))
    through = to_points[:, :, None] + between + to_ends[:, None, :]
    direct = np.asarray(length(starts, ends))
    found = np.empty((len(starts), segments + 1, points.shape[1]), points.dtype)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first, corner = np.unravel_index(np.argmin(through[i]), through[i].shape)
        corners, pieces = [], [direct[i]]
        if through[i, first, corner] < direct[i]:
            corners, pieces = [points[corner]], [to_ends[i, corner]]
            while corner != first:
                corner, after = before[first, corner], corner
                corners.insert(0, points[corner])
                pieces.insert(0, edges[corner, after])
            pieces.insert(0, to_points[i, first])
        polygon = np.stack([start, *corners, end])
        along = np.concatenate([[0.0], np.cumsum(pieces)])
        wanted = np.linspace(0.0, along[-1], segments + 1)
        found[i] = np.stack([np.interp(wanted, along, x) for x in polygon.T], axis=-1)
    return found


@functools.partial(jax.jit, static_argnums=0)
def _line_length(immersion, params, start, end):
    """Return the lengths of straight lines of coordinates, `[..., d]` to `[..., d]`."""
    times = jnp.linspace(0.0, 1.0, 17, dtype=start.dtype)
    start, end = jnp.broadcast_arrays(start, end)

    def one(pair):
        line = pair[0][None] + times[:, None] * (pair[1] - pair[0])[None]
        images = jax.vmap(immersion, (None, 0))(params, line)
        return jnp.sum(jnp.linalg.norm(jnp.diff(images, axis=0), axis=1))

    flat = [x.reshape(-1, x.shape[-1]) for x in (start, end)]
    return jax.lax.map(one, flat, batch_size=1024).reshape(start.shape[:-1])
