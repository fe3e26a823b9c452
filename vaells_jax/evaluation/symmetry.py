"""Measures of how well latents and coefficients represent a group's action."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from vaells_jax.checks import as_count, check_callable, check_finite, check_shapes


class SymmetryScore(NamedTuple):
    """How far codes are from turning linearly, each factor in a plane of its own.

    Attributes:
        dispersion: D_LSBD, from 0 (perfect) to 1: the mean of the next.
        per_factor: That of each factor.
        frequencies: Turns of the code in its plane, for a turn of each factor, up to
            sign.
    """

    dispersion: float
    per_factor: Float[np.ndarray, " K"]
    frequencies: Int[np.ndarray, " K"]


def coefficient_disagreement(
    starts: Float[Array | np.ndarray, "n d"],
    ends: Float[Array | np.ndarray, "n T d"],
    operators: Float[Array | np.ndarray, "M d d"],
    *,
    search: Callable[..., tuple],
) -> float:
    """Return how far equal transformations of different points get other coefficients.

    Coefficients are searched from each start to each of its ends, which the same T
    transformations made of every start. Each counts in units of its operator's
    Frobenius norm, so that an operator that does nothing has no say.

    Args:
        starts: Latents of n points, at least two.
        ends: Latents of the same points transformed, at least two transformations.
        operators: The dictionary Psi.
        search: From starts and ends of pairs, `[P d]`, to coefficients `[P M]` and
            where they lead, as `TrainedVaells.search`.

    Returns:
        The share of the coefficients' variance that the transformation does not
        explain: 0 if they are a function of it, 1 if they have nothing to do with it.
        NaN if all coefficients are equal.

    Raises:
        ValueError: If arrays do not fit together or are not finite, or there are too
            few points or transformations.
    """
    for name, x in (("starts", starts), ("ends", ends), ("operators", operators)):
        check_finite(name, x)
    check_shapes(
        starts=(starts, "n d"), ends=(ends, "n T d"), operators=(operators, "M d d")
    )
    check_callable(search=search)
    count, turns, size = ends.shape
    if count < 2 or turns < 2:
        raise ValueError(
            "ends must hold at least 2 points and 2 transformations; got shape "
            f"{list(ends.shape)}."
        )
    firsts = np.repeat(np.asarray(starts), turns, axis=0)
    found, _ = search(firsts, np.asarray(ends).reshape(-1, size))
    norms = np.linalg.norm(np.asarray(operators, float), axis=(1, 2))
    found = np.asarray(found, float).reshape(count, turns, -1) * norms
    total = found.var(axis=(0, 1)).sum()
    return float(found.var(axis=0).mean(axis=0).sum() / total) if total else np.nan


def lsbd(
    codes: Float[Array | np.ndarray, "N d"],
    angles: Float[Array | np.ndarray, "N K"],
    *,
    max_frequency: int = 10,
) -> SymmetryScore:
    """Return D_LSBD of SO(2), or of the torus SO(2)^K.

    Tonnaer, Perez Rey, Menkovski, Holenderski and Portegies, "Quantifying and Learning
    Linear Symmetry-Based Disentanglement", 2022, Section 4: the practical upper bound.
    For each factor k:

    1. The mean over factor k, all other factors being fixed, is taken off the codes;
       what is left varies with k, and with others only if they are entangled with it.
    2. It is projected on its two first principal components, and each of them is
       scaled to variance 1/2, so that the mean of |z'|^2 is 1. An ellipse thus counts
       as a circle, for it too turns linearly.
    3. For each whole number w up to `max_frequency`, of either sign, z' is turned back
       by w times the angle. If the code turns at w, all examples now have one value;
       their dispersion about their mean M_w is `mean |R(-w angle) z' - M_w|^2`, which
       is `1 - |M_w|^2`. The least of these is the factor's value.

    D_LSBD is the mean over factors.

    Args:
        codes: In any order of the examples.
        angles: Of each factor [radians], a whole grid: each combination of the factors'
            values equally often, and values equally spaced around the circle. A single
            factor may have any angles; where they are drawn at random instead of
            equally spaced, perfect codes have a dispersion of about 1/N.
        max_frequency: The greatest w. A factor needs more than twice as many values:
            frequencies that differ by the number of values cannot be told apart.

    Raises:
        ValueError: If arrays do not fit together or are not finite, if angles are no
            such grid, or if a factor has fewer than 3 values.

    Note:
        Components without variance count as the limit of small independent noise, so
        that a constant code has the value 1, and a code on a line, cos(angle), 3/4. The
        paper's definition leaves the first at 0, the trivial representation.
    """
    check_finite("codes", codes)
    check_finite("angles", angles)
    check_shapes(codes=(codes, "N d"), angles=(angles, "N K"))
    max_frequency = as_count("max_frequency", max_frequency)
    codes, angles = np.asarray(codes, float), np.asarray(angles, float)
    indices = _grid_indices(angles)
    values, turns = [], []
    for k, angle in enumerate(angles.T):
        others = np.delete(indices, k, axis=1)
        _, orbit = np.unique(others, axis=0, return_inverse=True)
        value, turn = _least_dispersion(
            _plane(_without_means(codes, orbit.reshape(-1))), angle, max_frequency
        )
        values.append(value)
        turns.append(turn)
    return SymmetryScore(float(np.mean(values)), np.array(values), np.array(turns))


def _grid_indices(angles):
    """Number each factor's values, which have to be a whole grid."""
    columns = [np.unique(a, return_inverse=True)[1] for a in angles.T]
    indices = np.stack(columns, axis=1)
    sizes = indices.max(axis=0) + 1
    if sizes.min() < 3:
        raise ValueError(
            f"angles must take at least 3 values each; got {sizes.tolist()}."
        )
    _, counts = np.unique(indices, axis=0, return_counts=True)
    if len(counts) != np.prod(sizes, dtype=float) or counts.min() != counts.max():
        raise ValueError(
            "angles must have each combination of the factors' values equally often; "
            f"got {len(counts)} combinations, {counts.min()} to {counts.max()} times, "
            f"of {sizes.tolist()} values."
        )
    return indices


def _without_means(codes, orbit):
    """Take off each orbit's mean; what is left of rounding becomes zero."""
    sums = np.zeros((orbit.max() + 1, codes.shape[1]))
    np.add.at(sums, orbit, codes)
    left = codes - (sums / np.bincount(orbit)[:, None])[orbit]
    rounding = len(codes) * np.finfo(float).eps * np.linalg.norm(codes)
    return left if np.linalg.norm(left) > rounding else np.zeros_like(left)


def _plane(centred):
    """Return the whitened two first components as complex numbers, of mean square 1."""
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    real = sizes[:2] > len(centred) * np.finfo(float).eps * max(sizes[0], 1e-300)
    parts = np.sqrt(len(centred) / 2) * left[:, :2] * real
    return parts @ np.array([1.0, 1.0j])[: parts.shape[1]]


def _least_dispersion(z, angle, max_frequency):
    """Return the least dispersion over frequencies, and the frequency's size."""
    frequencies = np.arange(-max_frequency, max_frequency + 1)
    means = [np.mean(z * np.exp(-1j * w * angle)) for w in frequencies]
    values = 1.0 - np.abs(means) ** 2
    best = int(np.argmin(values))
    return max(float(values[best]), 0.0), abs(int(frequencies[best]))
