"""Scores of learned operators against the generators that they should span."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import as_number, check_finite, check_shapes
from vaells_jax.evaluation.algebra import describe_operators
from vaells_jax.operators.transport import transport


class AlgebraScore(NamedTuple):
    """Whether operators are an algebra, in a number each.

    Attributes:
        commutator: Mean of `|[A, B]| / (2 |A| |B|)` over pairs: 0 where all commute.
        closure: Largest part of `[A, B] / (2 |A| |B|)` outside the operators' span: 0
            of an algebra.
    """

    commutator: float
    closure: float


def span_angles(
    operators: Float[Array | np.ndarray, "M d d"],
    generators: Float[Array | np.ndarray, "G d d"],
) -> Float[np.ndarray, " G"]:
    """Return the angles between the span of operators and that of generators.

    Operators from pairs are determined up to scale and mixture, spans are not. The
    learned span is that of the operators' first G principal directions as vectors of
    `R^{d x d}`, so that operators that shrank have no say; `count_generators` has. The
    angles are those of Bjorck and Golub (1973), `scipy.linalg.subspace_angles`.

    Args:
        operators: Learned ones, at least as many as there are generators.
        generators: True ones, linearly independent.

    Returns:
        Principal angles [degrees], the largest first: 0 if the spans are equal, 90 of
        what is missed. Operators that are random have large ones: of one normal
        operator of the plane the squared cosine is distributed as Beta(1/2, 3/2), 66
        degrees in the median.

    Raises:
        ValueError: If shapes disagree, numbers are not finite, there are fewer
            operators, or generators depend on each other.
    """
    from scipy.linalg import subspace_angles

    check_finite("operators", operators)
    check_finite("generators", generators)
    check_shapes(operators=(operators, "M d d"), generators=(generators, "G d d"))
    count = len(generators)
    true = np.asarray(generators, float).reshape(count, -1)
    found = np.asarray(operators, float).reshape(len(operators), -1)
    if np.linalg.matrix_rank(true) < count:
        raise ValueError(
            "generators must be linearly independent; got rank "
            f"{np.linalg.matrix_rank(true)} of {count}."
        )
    if len(found) < count:
        raise ValueError(
            f"operators must be at least as many as generators, {count}; got "
            f"{len(found)}."
        )
    _, sizes, directions = np.linalg.svd(found, full_matrices=False)
    angles = np.full(count, 90.0)
    real = sizes[:count] > len(found) * np.finfo(np.float32).eps * sizes[0]
    if not real.any():
        return angles
    between = np.degrees(subspace_angles(directions[:count][real].T, true.T))
    angles[count - len(between) :] = between
    return angles


def count_generators(
    operators: Float[Array | np.ndarray, "M d d"], *, share: float = 0.1
) -> int:
    """Count operators whose Frobenius norm exceeds a share of the largest one's.

    Args:
        operators: The dictionary Psi.
        share: What counts as left, in (0, 1).

    Returns:
        The number, 0 of a dictionary of zeros.

    Raises:
        ValueError: If an argument is not of its kind.
    """
    check_finite("operators", operators)
    check_shapes(operators=(operators, "M d d"))
    share = as_number("share", share, strict=True)
    if share >= 1.0:
        raise ValueError(f"share must be less than 1; got {share:g}.")
    norms = np.linalg.norm(np.asarray(operators, float), axis=(1, 2))
    return int(np.sum(norms > share * norms.max()))


def algebra_score(
    operators: Float[Array | np.ndarray, "M d d"],
    latents: Float[Array | np.ndarray, "n d"],
    *,
    share: float = 0.1,
) -> AlgebraScore:
    """Sum up the brackets of the operators that are left, see `describe_operators`.

    Args:
        operators: The dictionary Psi.
        latents: Points that they act on.
        share: As in `count_generators`.

    Returns:
        The score; of a single operator, zeros.

    Raises:
        ValueError: If an argument is not of its kind.
    """
    if not count_generators(operators, share=share):
        raise ValueError("operators must not all be zero.")
    Psi = np.asarray(operators, float)
    norms = np.linalg.norm(Psi, axis=(1, 2))
    found = describe_operators(Psi[norms > share * norms.max()], latents)
    pairs = np.triu_indices(len(found.norms), 1)
    if not len(pairs[0]):
        return AlgebraScore(0.0, 0.0)
    sizes = found.commutators[pairs]
    outside = sizes * np.nan_to_num(found.closure[pairs])  # NaN where two commute
    return AlgebraScore(float(sizes.mean()), float(outside.max()))


def circular_wasserstein(
    first: Float[Array | np.ndarray, " n"], second: Float[Array | np.ndarray, " m"]
) -> float:
    """Return the Wasserstein-1 distance of two distributions of angles [radians].

    On a circle it is the integral of `|F - G - median(F - G)|`, F and G being the
    distribution functions from any origin (Rabin, Delon and Gousseau 2011, eq. 6).
    Exact: between the sorted angles `F - G` is constant.

    Args:
        first: Angles [radians], of any turn.
        second: Angles [radians]; their number may differ.

    Returns:
        The distance [radians], 0 to pi; from a point to the uniform circle, pi/2.

    Raises:
        ValueError: If an argument is not a row of finite numbers.
    """
    for name, angles in (("first", first), ("second", second)):
        check_finite(name, angles)
        check_shapes(**{name: (angles, "n")})
    a, b = (np.mod(np.asarray(x, float), 2.0 * np.pi) for x in (first, second))
    places = np.concatenate([a, b])
    steps = np.concatenate(
        [np.full(len(a), 1.0 / len(a)), np.full(len(b), -1.0 / len(b))]
    )
    order = np.argsort(places, kind="stable")
    places, height = places[order], np.cumsum(steps[order])
    lengths = np.diff(places, append=places[0] + 2.0 * np.pi)
    rank = np.argsort(height)
    middle = int(np.searchsorted(np.cumsum(lengths[rank]), np.pi))
    median = height[rank][middle]
    return float(np.sum(lengths * np.abs(height - median)))


def turned_angles(
    moves: Float[Array | np.ndarray, "n 2 2"],
) -> Float[np.ndarray, " n"]:
    """Return the angle [radians] of the rotation that is closest to each matrix.

    It is the `t` that minimises `|A - R(t)|_F`: `atan2(A_21 - A_12, A_11 + A_22)`.

    Raises:
        ValueError: If there are no matrices of the plane, or they are not finite.
    """
    check_finite("moves", moves)
    check_shapes(moves=(moves, "n 2 2"))
    A = np.asarray(moves, float)
    return np.arctan2(A[:, 1, 0] - A[:, 0, 1], A[:, 0, 0] + A[:, 1, 1])


def extrapolation_error(
    operators: Float[Array | np.ndarray, "M d d"],
    coefficients: Float[Array | np.ndarray, "n M"],
    start: Float[Array | np.ndarray, "n d"],
    truth: Float[Array | np.ndarray, "n d"],
    *,
    stretch: float = 3.0,
) -> float:
    """Return how far paths that are followed beyond their pairs end from the truth.

    Args:
        operators: The dictionary Psi.
        coefficients: Those that were inferred of each pair.
        start: Where each pair starts.
        truth: Where `stretch` times the pair's true transformation leads.
        stretch: Where the paths end; at 1 they should be at the pairs' ends.

    Returns:
        RMS distance over the RMS of the truth: 0 at best.

    Raises:
        ValueError: If shapes disagree, numbers are not finite, or the truth is zero.
    """
    arrays = {
        "operators": (operators, "M d d"), "coefficients": (coefficients, "n M"),
        "start": (start, "n d"), "truth": (truth, "n d"),
    }  # fmt: skip
    for name, (value, _) in arrays.items():
        check_finite(name, value)
    check_shapes(**arrays)
    stretch = as_number("stretch", stretch, strict=True)
    true = np.asarray(truth, float)
    if not true.any():
        raise ValueError("truth must not be zero everywhere.")
    dtype = jnp.result_type(float)
    Psi, c, z = (jnp.asarray(x, dtype) for x in (operators, coefficients, start))
    reached = jax.vmap(transport, (None, 0, 0))(Psi, stretch * c, z)
    apart = np.asarray(reached, float) - true
    return float(np.linalg.norm(apart) / np.linalg.norm(true))
