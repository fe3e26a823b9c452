"""Measures of a latent space against a known manifold.

Nothing here knows what a model is made of. A model comes as functions of whole batches
(`encode`, `decode`, `sample`, `path`), a manifold as its curves: noiseless points in
order, one curve for each class. So other models are measured in the same way.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from vaells_jax.checks import (
    as_count,
    check_callable,
    check_classes,
    check_number,
    check_shapes,
)
from vaells_jax.evaluation.ranks import spearman

Points = Float[Array | np.ndarray, "n x"]
Curves = Float[Array | np.ndarray, "C K x"]
PathFunction = Callable[..., Array | np.ndarray]
"""From starts `[P, d]`, ends `[P, d]` and times `[T]` to latent paths `[P, T, d]`."""
BatchFunction = Callable[..., Array | np.ndarray]
"""From points `[n, x]` to points `[n, y]`."""

_CHUNK = 2048


class CurvePlace(NamedTuple):
    """Where points lie with respect to the curves of a manifold.

    Attributes:
        distance: To the nearest curve, in units of the data.
        label: Which curve that is.
        position: Where along it the nearest point lies, from 0 to 1.
    """

    distance: Float[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    position: Float[np.ndarray, " n"]


class Spectrum(NamedTuple):
    """The operators' sizes and eigenvalues.

    Attributes:
        norms: Frobenius norm of each.
        eigenvalues: Of each, largest imaginary part first.
        dominant: The operator of the largest norm.
        dominant_share: Its share of the norms' sum.
        rotation_purity: `|Re| / |Im|` of its first eigenvalue: 0 for a rotation,
            infinite where nothing turns.
    """

    norms: Float[np.ndarray, " M"]
    eigenvalues: np.ndarray
    dominant: int
    dominant_share: float
    rotation_purity: float


class PathScore(NamedTuple):
    """How well decoded paths keep to the manifold.

    Attributes:
        error: RMS distance to the curve of the path's own class, over the RMS of
            the data (their norm about the origin).
        class_preservation: Share of the paths that are nearest to their own class's
            curve all the way.
    """

    error: float
    class_preservation: float


class PriorScore(NamedTuple):
    """How well decoded samples of the prior match the manifold.

    Attributes:
        precision: Share of the samples that lie within the tolerance of it.
        coverage: Share of equal arcs of the curves that such a sample reaches.
    """

    precision: float
    coverage: float


def spectrum(operators: Float[Array | np.ndarray, "M d d"]) -> Spectrum:
    """Measure the operators: norms, eigenvalues, and whether the largest rotates."""
    check_shapes(operators=(operators, "M d d"))
    operators = np.asarray(operators, float)
    norms = np.sqrt(np.einsum("mij,mij->m", operators, operators))
    values = np.linalg.eigvals(operators).astype(complex)
    order = np.argsort(-values.imag, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    dominant = int(np.argmax(norms))
    first = values[dominant, 0]
    purity = abs(first.real) / abs(first.imag) if first.imag else np.inf
    share = norms[dominant] / np.sum(norms) if norms[dominant] > 0 else np.nan
    return Spectrum(norms, values, dominant, float(share), float(purity))


def rank_correlation(
    first: Float[Array | np.ndarray, " n"], second: Float[Array | np.ndarray, " n"]
) -> float:
    """Return the modulus of Spearman's rank correlation (an orbit has no direction)."""
    return abs(spearman(first, second))


def relative_residuals(
    targets: Points, reached: Float[Array | np.ndarray, "n N x"]
) -> Float[np.ndarray, " n"]:
    """Return each target's distance to the nearest of the points that reach for it.

    Args:
        targets: Encoded points.
        reached: Ends of the best paths to each, one from each anchor.

    Returns:
        Distances over the targets' own norms.
    """
    check_shapes(targets=(targets, "n d"), reached=(reached, "n N d"))
    targets, reached = np.asarray(targets, float), np.asarray(reached, float)
    distances = np.linalg.norm(reached - targets[:, None, :], axis=-1)
    return distances.min(axis=1) / np.linalg.norm(targets, axis=-1)


def locate(points: Points, curves: Curves) -> CurvePlace:
    """Find the nearest point of a manifold for each point.

    Args:
        points: In the space of the data.
        curves: Points in order along each curve, close enough together for the chords
            between them to be the curve. A closed curve ends where it starts.
    """
    check_shapes(points=(points, "n x"), curves=(curves, "C K x"))
    points, curves = np.asarray(points, float), np.asarray(curves, float)
    places = [_locate_on_curve(points, curve) for curve in curves]
    distance, position = (np.stack(column) for column in zip(*places, strict=True))
    label = np.argmin(distance, axis=0)
    each = np.arange(len(points))
    return CurvePlace(distance[label, each], label, position[label, each])


def path_score(
    starts: Points,
    ends: Points,
    labels: Int[Array | np.ndarray, " n"],
    *,
    encode: BatchFunction,
    decode: BatchFunction,
    path: PathFunction,
    curves: Curves,
    num_points: int = 50,
) -> PathScore:
    """Measure how well decoded paths between data points keep to the manifold.

    Args:
        starts: Data points where the paths start.
        ends: Data points of the same classes where they end.
        labels: Their classes.
        encode: From data to latents.
        decode: From latents to data.
        path: From pairs of latents to paths between them.
        curves: The manifold (see `locate`).
        num_points: Points of each path.
    """
    check_callable(encode=encode, decode=decode, path=path)
    check_shapes(starts=(starts, "n x"), ends=(ends, "n x"), labels=(labels, "n"))
    check_shapes(starts=(starts, "n x"), curves=(curves, "C K x"))
    check_classes("labels", labels, len(curves))
    num_points = as_count("num_points", num_points, 2)
    starts, ends, labels = (np.asarray(x) for x in (starts, ends, labels))
    times = np.linspace(0.0, 1.0, num_points)
    first, last = np.asarray(encode(starts)), np.asarray(encode(ends))
    paths = np.asarray(path(first, last, times))
    points = np.asarray(decode(paths.reshape(-1, paths.shape[-1])), float)
    curves = np.asarray(curves, float)
    owner = np.repeat(labels, num_points)
    own = np.empty(len(points))
    for label in np.unique(labels):
        chosen = owner == label
        own[chosen] = _locate_on_curve(points[chosen], curves[label])[0]
    kept = (locate(points, curves).label == owner).reshape(-1, num_points)
    error = _rms(own) / _rms(np.linalg.norm(starts, axis=-1))
    return PathScore(float(error), float(np.mean(np.all(kept, axis=1))))


def straight_line(
    starts: Float[Array | np.ndarray, "P d"],
    ends: Float[Array | np.ndarray, "P d"],
    times: Float[Array | np.ndarray, " T"],
) -> Float[Array | np.ndarray, "P T d"]:
    """Join pairs of latents by straight lines, the path of a Euclidean space."""
    return starts[:, None] + times[None, :, None] * (ends - starts)[:, None]


def prior_score(
    samples: Points, curves: Curves, *, tolerance: float, arcs: int = 100
) -> PriorScore:
    """Measure how well decoded samples of the prior match the manifold.

    Args:
        samples: Decoded samples.
        curves: The manifold (see `locate`).
        tolerance: The largest distance of a sample that counts, in units of the data.
        arcs: Parts of equal length that the curves are cut into, all together.
    """
    check_shapes(samples=(samples, "n x"), curves=(curves, "C K x"))
    check_number("tolerance", tolerance)
    arcs = as_count("arcs", arcs)
    curves = np.asarray(curves, float)
    place = locate(samples, curves)
    close = place.distance <= tolerance
    lengths = np.array([_arc_lengths(curve)[-1] for curve in curves])
    first = np.concatenate([[0.0], np.cumsum(lengths)])
    along = first[place.label] + place.position * lengths[place.label]
    bins = np.minimum((along / first[-1] * arcs).astype(int), arcs - 1)
    return PriorScore(float(np.mean(close)), float(len(np.unique(bins[close])) / arcs))


def class_separation(
    train: Points,
    train_labels: Int[Array | np.ndarray, " n"],
    test: Float[Array | np.ndarray, "k x"],
    test_labels: Int[Array | np.ndarray, " k"],
) -> float:
    """Return the share of test latents labelled like their nearest training latent."""
    check_shapes(train=(train, "n d"), train_labels=(train_labels, "n"))
    check_shapes(train=(train, "n d"), test=(test, "k d"))
    check_shapes(test=(test, "k d"), test_labels=(test_labels, "k"))
    nearest = _nearest(np.asarray(test, float), np.asarray(train, float))
    return float(np.mean(np.asarray(train_labels)[nearest] == np.asarray(test_labels)))


def radius_spread(latents: Float[Array | np.ndarray, "n 2"]) -> float:
    """Return std / mean of the radius, about the centre and in the map that fit best.

    The ellipse `z^T Q z + b^T z = 1` is fitted by least squares; about its centre and
    in the coordinates `Q^(1/2) z` it is a circle. Infinite where the fit is no ellipse.
    """
    check_shapes(latents=(latents, "n 2"))
    z = np.asarray(latents, float)
    middle, size = z.mean(axis=0), z.std()
    x, y = ((z - middle) / size).T
    design = np.stack([x * x, 2 * x * y, y * y, x, y], axis=1)
    a, b, c, d, e = np.linalg.lstsq(design, np.ones(len(z)), rcond=None)[0]
    form = np.array([[a, b], [b, c]])
    values, vectors = np.linalg.eigh(form)
    if values[0] <= 0:
        return np.inf
    centre = -0.5 * np.linalg.solve(form, [d, e])
    rounded = (np.stack([x, y], axis=1) - centre) @ vectors * np.sqrt(values)
    radii = np.linalg.norm(rounded, axis=1)
    return float(radii.std() / radii.mean())


def _locate_on_curve(points, curve):
    """Return distances to a polygon and the places of the nearest points, 0 to 1."""
    nearest = np.concatenate(
        [_nearest(points[i : i + _CHUNK], curve) for i in range(0, len(points), _CHUNK)]
    )
    lengths = _arc_lengths(curve)
    candidates = []
    for first in (nearest - 1, nearest):
        first = first % (len(curve) - 1)  # a closed curve continues at its start
        chord = curve[first + 1] - curve[first]
        offset = points - curve[first]
        share = np.sum(offset * chord, axis=1) / np.sum(chord**2, axis=1)
        share = np.clip(share, 0.0, 1.0)
        distance = np.linalg.norm(offset - share[:, None] * chord, axis=1)
        along = lengths[first] + share * (lengths[first + 1] - lengths[first])
        candidates.append((distance, along / lengths[-1]))
    (before, at_before), (after, at_after) = candidates
    return np.minimum(before, after), np.where(before < after, at_before, at_after)


def _nearest(points, vertices):
    """Return the index of each point's nearest vertex."""
    squared = np.sum(vertices**2, axis=1)[None, :] - 2.0 * points @ vertices.T
    return np.argmin(squared, axis=1)


def _arc_lengths(curve):
    """Return the length of a polygon up to each vertex."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _rms(values):
    return np.sqrt(np.mean(np.asarray(values) ** 2))
