"""All models on the swiss roll and the concentric circles: Figs. 2 and 4."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.compared_run import ComparedRun, train_vaells
from experiments.comparison import Comparison, likelihood_merits
from experiments.config import ExperimentConfig, RunConfig
from experiments.models import ComparedConfig, LikelihoodEvaluation, configure
from experiments.plane_measures import class_merits, model_merits
from experiments.problem import Problem
from experiments.two_dimensional import widened
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.data.synthetic import ManifoldDataset
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.planes import embeddings

STEPS = {"paper": 10_000, "tuned": 10_000, "quick": 4_000}

LIKELIHOOD_STD = 0.1
"""sigma of the compared models. VAELLS's zeta_1 = 0.01 means sigma = 10, at which a
plain VAE's posterior is its prior: the data would be worth less than 0.02 nats."""

LIKELIHOODS = LikelihoodEvaluation(points=200, samples=1_000)


def settings(model: str, preset: RunConfig) -> ComparedConfig:
    """Return a model's settings: the networks of Table 2, latents in the plane."""
    steps = STEPS.get(preset.preset, preset.schedule.steps)
    return configure(
        model,
        preset,
        steps,
        latent_size=2,
        likelihood=Likelihood("gaussian", LIKELIHOOD_STD),
        options={"num_components": 100} if model == "vampprior" else {},
        optimizer=BaselineOptions(
            rate=1e-3,
            warm_up_steps=steps // 5,
            decay_from=steps - steps // 3,
            decay_steps=steps // 3,
        ),
        evaluation=LIKELIHOODS,
    )


def plane_comparison(
    prepare: Callable[[ExperimentConfig], Problem],
    manifold: Callable[[ManifoldDataset], np.ndarray],
    *,
    figure: str,
    value_name: str,
) -> Comparison:
    """Describe the comparison of one of the two experiments.

    Args:
        prepare: Draws the data.
        manifold: Its noiseless curves.
        figure: The paper's name of the side-by-side figure.
        value_name: What colours the points: their class if it is "circle", else their
            place along the curve.
    """
    return Comparison(
        settings=settings,
        problem=lambda config, preset: prepare(preset),  # type: ignore[arg-type]
        measure=functools.partial(measure, manifold),
        draw=functools.partial(draw, figure, value_name),
        vaells=functools.partial(train_vaells, prepare, widened, LIKELIHOODS),
    )


def measure(
    manifold: Callable[[ManifoldDataset], np.ndarray], run: ComparedRun
) -> dict[str, Any]:
    """Measure paths, prior, latents and likelihood of any model."""
    data: ManifoldDataset = run.data
    found = model_merits(run.trained, data, manifold(data), run.key)
    if len(data.anchors) > 1:
        found |= class_merits(run.trained, data)
    found |= likelihood_merits(run, np.asarray(data.test.inputs))
    return found


def draw(
    figure: str, value_name: str, runs: list[ComparedRun], folder: pathlib.Path
) -> list[pathlib.Path]:
    """Draw the test points' latents of all models beside the truth."""
    test = runs[0].data.test
    values = np.asarray(test.labels if value_name == "circle" else test.positions)
    panels = {"ground truth": np.asarray(test.latents)}
    for run in runs:
        panels[run.title] = np.asarray(run.trained.encode(test.inputs))
    path = folder / "embeddings.png"
    title = f"{figure}: test points ({runs[0].label})"
    save_figure(embeddings(panels, values, title=title, value_name=value_name), path)
    return [path]
