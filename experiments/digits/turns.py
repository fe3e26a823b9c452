"""Figures of merit of rotations: along paths, and of inferred coefficients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from vaells_jax.evaluation.symmetry import coefficient_disagreement
from vaells_jax.evaluation.turning import TurnScore
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import merit
from vaells_jax.trained.vaells import TrainedVaells

TURNS = (-60, -40, -20, 20, 40, 60)
"""Rotations, in degrees."""


def disagreement(
    trained: TrainedVaells, images: ArrayLike, turn: Callable
) -> dict[str, Any]:
    """Measure how far equal rotations get other coefficients.

    Args:
        trained: The model.
        images: Upright digits.
        turn: From images and angles in radians to rotated images, `[n, T, 28, 28]`.
    """
    images = np.asarray(images)
    views = np.asarray(turn(images, np.deg2rad(TURNS)))
    ends = np.asarray(trained.encode(views.reshape(-1, *views.shape[2:])))
    value = coefficient_disagreement(
        trained.encode(images),
        ends.reshape(len(images), len(TURNS), -1),
        trained.params.operators,
        search=trained.search,
    )
    return merit(
        value,
        f"share of the variance of coefficients inferred for rotations of {TURNS} "
        f"degrees, {len(images)} test digits, that the rotation does not explain (0: "
        "equal rotations get equal coefficients)",
    )


def turn_merits(score: TurnScore, which: str) -> Merits:
    """Describe how paths compare with true rotations.

    Args:
        score: The comparison.
        which: In words, what was compared.
    """
    path, again = score.path_errors.mean(), score.reconstruction_errors.mean()
    return {
        "angle_monotonicity": merit(
            float(score.monotonicity.mean()),
            "Spearman of the coefficient and the angle of the best-matching true "
            f"rotation along the path, mean over {which}",
            median=float(np.median(score.monotonicity)),
            tenth_percentile=float(np.quantile(score.monotonicity, 0.1)),
        ),
        "path_mse": merit(
            float(path),
            "mean squared pixel error of decoded paths against the true rotation that "
            f"matches best, {which}",
        ),
        "path_mse_at_nominal_angle": merit(
            float(score.nominal_errors.mean()),
            "the same against the rotation in proportion to the coefficient",
        ),
        "rotation_reconstruction_mse": merit(
            float(again), "the same of these rotations' own reconstructions"
        ),
        "path_to_reconstruction": merit(
            float(path / again), "path_mse over rotation_reconstruction_mse"
        ),
    }
