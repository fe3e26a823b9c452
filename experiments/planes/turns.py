"""Whether equal turns of a circle's points get equal coefficients."""

import numpy as np

from vaells_jax.evaluation.symmetry import coefficient_disagreement
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import merit
from vaells_jax.trained.vaells import TrainedVaells

NUM_TURNED = 40
"""Points of each circle that are turned."""

TURNS = (-60, -40, -20, 20, 40, 60)
"""By how many degrees."""


def turn_merits(trained: TrainedVaells, circles: np.ndarray) -> Merits:
    """Measure how far equal turns get other coefficients.

    Args:
        trained: The model.
        circles: Points equally spaced on each, `[C, n + 1, *x]`, the last the first.
    """
    per_turn = circles.shape[1] - 1
    first = np.arange(0, per_turn, per_turn // NUM_TURNED)
    turns = np.round(per_turn * np.array(TURNS) / 360).astype(int)
    index = (first[:, None] + turns) % per_turn
    encode = lambda points: np.asarray(
        trained.encode(points.reshape(-1, points.shape[-1]))
    )
    operators = trained.params.operators
    values = []
    for circle in circles:
        starts, ends = encode(circle[first]), encode(circle[index])
        ends = ends.reshape(*index.shape, -1)
        values.append(
            coefficient_disagreement(starts, ends, operators, search=trained.search)
        )
    return {
        "coefficient_disagreement": merit(
            max(values),
            f"share of the variance of coefficients inferred for turns of {TURNS} "
            f"degrees, {NUM_TURNED} points, that the turn does not explain (0: equal "
            "turns get equal coefficients); the larger of the circles",
            per_class=values,
        )
    }
