"""The course of a run, drawn from its `metrics.jsonl`, and its operators."""

from typing import Any

import numpy as np
from jaxtyping import Float

from vaells_jax.baselines.base import BaselineParams
from vaells_jax.evaluation.algebra import (
    OperatorDescription,
    as_record,
    describe_operators,
)
from vaells_jax.evaluation.figures import (
    operator_algebra,
    operator_eigenvalues,
    operator_magnitudes,
    training_curves,
)
from vaells_jax.evaluation.structure import spectrum
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import MetricsLog, merit
from vaells_jax.runs.run import Run
from vaells_jax.trained.base import TrainedModel

OPERATOR_CURVES = {
    "transport objective [nats]": "transport_objective_before",
    "-log p(z) [nats]": "prior",
    "operator rate": "operator_rate",
    "accepted steps [share]": "operator_step_accepted",
    "prior path length |c|": "prior_path_length",
    "converged searches [share]": "converged_searches",
}
"""Quantities that operator steps log, by their titles."""


BASELINE_CURVES = {
    "reconstruction [nats]": "reconstruction",
    "divergence [nats]": "divergence",
    "transport objective": "transport",
}
"""Quantities that a baseline's steps may log, by their titles."""


DESCRIBED = 500
"""Training examples whose latents measure the energy of a plane."""

DESCRIPTIONS = {
    "planes": (
        "operator_planes",
        "of each operator: growth and frequency (radians) of its planes per unit of c, "
        "and their share of the latents' energy",
    ),
    "frequency_ratios": (
        "operator_frequency_ratios",
        "frequencies of planes with a hundredth of the energy or more, over that of "
        "the plane with most of it",
    ),
    "commutators": (
        "operator_commutators",
        "|[A, B]| / (2 |A| |B|) of each pair: 0 if they commute",
    ),
    "closure": (
        "operator_closure",
        "share of each bracket outside the operators' span: 0 of a Lie algebra",
    ),
    "order_swap": (
        "operator_order_swap",
        "RMS between two orders of two transports by half a radian, over the latents'",
    ),
}
"""Parts of the operators' description in `results.json`: name and meaning."""


def training_figures(run: Run) -> dict[str, Any]:
    """Draw operators and curves, each over the steps that it was logged at.

    Returns:
        Figures by name; of published weights, which come without a log, only the
        operators' eigenvalues.
    """
    lines = MetricsLog.read(run.workdir / "metrics.jsonl")
    column = lambda rows, name: np.array([row[name] for row in rows])
    watched = MetricsLog.read(run.workdir / "watched.jsonl")
    watched = [line for line in watched if "validation" in line]
    held = [column(watched, name) for name in ("step", "validation")]
    validation = {"objective [nats]": held} if watched else {}
    if not run.is_vaells:
        curves = {
            title: column(lines, key)
            for title, key in BASELINE_CURVES.items()
            if lines and key in lines[0]
        }
        name = "Bound on log p(x)" if run.trained.has_density else "Objective"
        title = f"{name} ({run.label})"
        return {
            "loss": training_curves(
                column(lines, "step"), curves, title=title, validation=validation
            )
        }
    figures = {
        "operator_eigenvalues": operator_eigenvalues(
            run.trained.params.operators, title=f"Operator eigenvalues ({run.label})"
        ),
        "operator_algebra": operator_algebra(
            description(run), title=f"Planes of the operators ({run.label})"
        ),
    }
    if not lines:
        return figures
    figures["operator_magnitudes"] = operator_magnitudes(
        column(lines, "step"), column(lines, "operator_norms"),
        title=f"Operator norms ({run.label})",
    )  # fmt: skip
    figures["reconstruction_curve"] = training_curves(
        column(lines, "step"),
        {"reconstruction [nats]": column(lines, "reconstruction")},
        warm_up_steps=run.config.schedule.warm_up_steps,
        validation=validation,
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


def operator_merits(run: Run) -> Merits:
    """Describe the operators of a VAELLS: norms, eigenvalues, planes and brackets."""
    found = spectrum(run.trained.params.operators)
    record = as_record(description(run))
    return {
        "operator_norms": merit(found.norms.tolist(), "Frobenius norms"),
        "operator_eigenvalues": merit(
            [
                [[float(value.real), float(value.imag)] for value in values]
                for values in found.eigenvalues
            ],
            "of each operator, real and imaginary parts",
        ),
        **{
            name: merit(record[key], meaning)
            for key, (name, meaning) in DESCRIPTIONS.items()
        },
    }


def description(run: Run) -> OperatorDescription:
    """Describe the operators by what they do to the first data points' latents."""
    latents = run.trained.encode(run.data.inputs[:DESCRIBED])
    return describe_operators(operators_of(run.trained), latents)


def operators_of(trained: TrainedModel) -> Float[np.ndarray, "M d d"]:
    """Return a model's operators; none of a baseline without them."""
    params = trained.params
    if isinstance(params, BaselineParams):
        learned = params.prior if isinstance(params.prior, dict) else {}
        return np.asarray(learned.get("operators", np.empty((0, 0, 0))))
    return np.asarray(params.operators)
