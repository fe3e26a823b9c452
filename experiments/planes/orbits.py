"""Measures of how closely the operators' orbits follow the manifold."""

import numpy as np

from experiments.planes.data import anchor_pairs
from vaells_jax.evaluation import structure
from vaells_jax.runs.curves import operator_merits
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run
from vaells_jax.trained.vaells import TrainedVaells


def orbit_merits(run: Run, trained: TrainedVaells) -> Merits:
    """Measure how far the operators' orbits are the manifold.

    Args:
        run: A trained run.
        trained: Its model, with a prior as wide as the manifold.
    """
    data = run.data.source
    latents = np.asarray(trained.encode(data.test.inputs))
    spectrum = structure.spectrum(trained.params.operators)
    correlations, residual = _orbits(data, trained, latents, spectrum)
    return {
        "orbit_rank_correlation": merit(
            float(np.min(correlations)),
            "Spearman of position and coefficient from one anchor of a class along the "
            "dominant operator's orbit, test points (on circles one turn from the "
            "anchor on, 1/40 left out at its ends); the least of the classes",
            per_class=correlations,
        ),
        "transport_residual": merit(
            residual,
            "median distance of encoded test points to the closest anchor's orbit of "
            "the dominant operator, over their norms",
        ),
        "prior_coefficient_scale": merit(
            np.asarray(trained.coefficient_scale).tolist(),
            "Laplace scale of each operator's coefficients in prior samples",
        ),
        "rotation_purity": merit(
            spectrum.rotation_purity, "|Re| / |Im| of the dominant operator"
        ),
        "dominant_operator_share": merit(
            spectrum.dominant_share, "of the sum of the operators' norms"
        ),
        **operator_merits(run),
    }


def _orbits(data, trained, latents, spectrum):
    """Return each class's rank correlation and the median transport residual."""
    turning = abs(spectrum.eigenvalues[spectrum.dominant, 0].imag)
    starts, ends = anchor_pairs(data, trained, latents)
    found, reached = (
        np.asarray(x) for x in trained.search(starts, ends, operator=spectrum.dominant)
    )
    count = data.anchors.shape[1]
    residuals = structure.relative_residuals(latents, reached.reshape(-1, count, 2))
    middle = count // 2
    coefficients = found.reshape(-1, count)[:, middle]
    labels, positions = np.asarray(data.test.labels), np.asarray(data.test.positions)
    closed = data.anchors.shape[0] > 1
    if closed and turning:
        # Whole turns lead to the same point: count from the anchor on, one way round.
        coefficients = coefficients % (2 * np.pi / turning)
    correlations = []
    for label in np.unique(labels):
        chosen = labels == label
        offset = positions[chosen] - float(data.anchor_positions[label, middle])
        kept = np.full(offset.shape, True)
        if closed:
            offset = offset % (2 * np.pi)
            # Beside the anchor, noise decides whether a point comes first or last.
            kept = np.abs(offset - np.pi) < 0.95 * np.pi
        correlations.append(
            structure.rank_correlation(offset[kept], coefficients[chosen][kept])
        )
    return correlations, float(np.median(residuals))
