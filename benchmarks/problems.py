"""Search problems for the benchmarks, generated from a seed or read from a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.linalg import expm


class PairProblems(NamedTuple):
    """Operators [M d d] and pairs of points, start and end [B d], in float64."""

    operators: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class ProblemFamily:
    """How to draw problems that resemble a trained model's.

    Attributes:
        name: What the family is called in the tables.
        dim: Latent size d.
        count: Number of operators M.
        operator_norm: Frobenius norm of an operator.
        path_length: Median `||A(c)||_F` of the transports behind the pairs.
        point_scale: Standard deviation of a latent coordinate.
        residual_std: Standard deviation of what no transport reaches.
        rotation: Share of the antisymmetric part in an operator, 0 to 1.
    """

    name: str
    dim: int
    count: int
    operator_norm: float = 0.07
    path_length: float = 2.0
    point_scale: float = 1.0
    residual_std: float = 0.45
    rotation: float = 0.6


# After the trained models' figures: operators of norm 0.07 (natural MNIST), 0.04 (swiss
# roll: a spiral), 0.03 (circles), 0.26 (rotated MNIST: nearly a rotation).
NATURAL = ProblemFamily("natural", dim=6, count=4)
SWISS_ROLL = ProblemFamily(
    "swiss_roll", 2, 1, operator_norm=0.04, residual_std=0.02, rotation=0.995
)
ROTATED = ProblemFamily(
    "rotated", 10, 1, operator_norm=0.26, residual_std=0.3, rotation=0.98
)
CIRCLES = ProblemFamily(
    "circles", 2, 4, operator_norm=0.03, residual_std=0.005, point_scale=0.6
)
FAMILIES = {f.name: f for f in (NATURAL, SWISS_ROLL, ROTATED, CIRCLES)}


def draw_operators(family: ProblemFamily, rng: np.random.Generator) -> np.ndarray:
    """Draw operators [M d d]: mostly rotations, as trained ones are."""
    raw = rng.normal(size=(family.count, family.dim, family.dim))
    turned = np.swapaxes(raw, 1, 2)
    parts = [(raw - turned) / 2, (raw + turned) / 2]
    parts = [p / np.linalg.norm(p, axis=(1, 2), keepdims=True) for p in parts]
    mixed = family.rotation * parts[0] + (1 - family.rotation**2) ** 0.5 * parts[1]
    return family.operator_norm * mixed


def draw_problems(family: ProblemFamily, pairs: int, seed: int) -> PairProblems:
    """Draw operators, anchors, and end points that lie near the anchors' orbits.

    The operators depend on the seed; so do the ten clusters of eight anchors. An end
    point is an anchor transported by Laplace coefficients, plus what no transport
    reaches.
    """
    rng = np.random.default_rng(seed)
    operators = draw_operators(family, rng)
    centres = rng.normal(size=(10, 1, family.dim)) * family.point_scale
    spread = 0.4 * family.point_scale * rng.normal(size=(10, 8, family.dim))
    anchors = (centres + spread).reshape(-1, family.dim)
    # A few thousand transports are enough variety; larger batches repeat the anchors
    # and coefficients with fresh residuals.
    distinct = min(pairs, 4096)
    start = anchors[rng.integers(len(anchors), size=distinct)]
    rate = family.path_length / family.operator_norm / family.count**0.5
    coefficients = rng.laplace(size=(distinct, family.count)) * rate / 2**0.5
    generators = np.einsum("bm,mij->bij", coefficients, operators)
    norms = np.linalg.norm(generators, axis=(1, 2), keepdims=True)
    generators *= np.minimum(1.0, 4 * family.path_length / norms)
    reached = np.einsum("bij,bj->bi", expm(generators), start)
    chosen = np.arange(pairs) % distinct
    noise = family.residual_std * rng.normal(size=(pairs, family.dim))
    return PairProblems(operators, start[chosen], reached[chosen] + noise)


def load_reference(path: Path) -> tuple[PairProblems, np.ndarray]:
    """Read recorded pairs and the objectives that the authors' search reached."""
    with np.load(path) as stored:
        problems = PairProblems(
            stored["operators"], stored["pairs_start"], stored["pairs_end"]
        )
        return problems, stored["pairs_objective"]
