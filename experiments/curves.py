"""The course of a run of VAELLS, drawn from its `metrics.jsonl`."""

from typing import Any

import numpy as np

from experiments.problem import Run
from experiments.records import MetricsLog
from vaells_jax.evaluation.figures import (
    operator_eigenvalues,
    operator_magnitudes,
    training_curves,
)

OPERATOR_CURVES = {
    "transport objective [nats]": "transport_objective_before",
    "-log p(z) [nats]": "prior",
    "operator rate": "operator_rate",
    "accepted steps": "operator_step_accepted",
    "prior path length |c|": "prior_path_length",
    "converged searches": "converged_searches",
}
"""What operator steps log, by its title."""


def training_figures(run: Run) -> dict[str, Any]:
    """Draw operators and curves, each over the steps that it was logged at.

    Returns:
        Figures by name; of published weights, which come without a log, only the
        operators' eigenvalues.
    """
    figures = {
        "operator_eigenvalues": operator_eigenvalues(
            run.state.params.operators, title=f"Operator eigenvalues ({run.label})"
        )
    }
    lines = MetricsLog.read(run.workdir / "metrics.jsonl")
    if not lines:
        return figures
    column = lambda rows, name: np.array([row[name] for row in rows])
    figures["operator_magnitudes"] = operator_magnitudes(
        column(lines, "step"), column(lines, "operator_norms"),
        title=f"Operator norms ({run.label})",
    )  # fmt: skip
    figures["reconstruction_curve"] = training_curves(
        column(lines, "step"),
        {"reconstruction [nats]": column(lines, "reconstruction")},
        warm_up_steps=run.problem.config.schedule.warm_up_steps,
        title=f"Reconstruction ({run.label})",
    )
    moving = [line for line in lines if line["phase"] in ("operators", "joint")]
    if moving:
        figures["transport_curves"] = training_curves(
            column(moving, "step"),
            {title: column(moving, name) for title, name in OPERATOR_CURVES.items()},
            title=f"Operator steps ({run.label})",
        )
    return figures
