"""Dynamically binarised MNIST, on which the compared models' authors report.

python -m experiments.binarised_mnist

VAELLS has no part in it: its likelihood is Gaussian, of grey values.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import natural_mnist
from experiments.compared_run import ComparedRun
from experiments.comparison import Comparison, compare, likelihood_merits
from experiments.config import DataConfig, ExperimentConfig, LogConfig, RunConfig
from experiments.models import ComparedConfig, LikelihoodEvaluation, configure
from experiments.problem import Experiment, Problem
from experiments.records import MetricsLog, merit
from experiments.runner import main
from vaells_jax.baselines.elbo import negative_elbo
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.data.batches import binarise
from vaells_jax.data.images import ImageDataset
from vaells_jax.evaluation.figures import compared_curves, image_rows, save_figure
from vaells_jax.training.schedule import Schedule
from vaells_jax.training.step import TrainState

WATCHED = 2_000
"""Test digits whose bound is estimated at every checkpoint."""

PUBLISHED = {"vae": -89.8, "hyperspherical": -93.1, "vampprior": -85.8}
"""log p(x) in nats that a public comparison of trained models reports (pythae's)."""

STEPS = {"paper": 500_000, "short": 45_000, "quick": 2_000}
"""Of each preset, in batches of 100: 1,000 epochs, 90, and 4."""


def settings(model: str, preset: RunConfig) -> ComparedConfig:
    """Return the authors' settings of a model, its schedule cut to the preset's.

    VAE and VampPrior: Tomczak and Welling's gated 300-300 networks, 40 latents, rate
    5e-4 after normalised gradients, the divergence warmed up over 100 epochs of theirs
    (a fifth of a shortened run). Hyperspherical: Davidson et al.'s 256-128 ReLU
    networks, a 10-sphere, rate 1e-3.
    """
    steps = preset.schedule.steps
    spherical = model == "hyperspherical"
    return configure(
        model,
        preset,
        steps,
        latent_size=11 if spherical else 40,
        networks="plain" if spherical else "gated",
        likelihood=Likelihood("bernoulli"),
        binarise=True,
        options={"num_components": 500, "pseudo_inputs": "images"}
        if model == "vampprior"
        else {},
        optimizer=BaselineOptions(
            rate=1e-3 if spherical else 5e-4,
            normalise_gradients=not spherical,
            warm_up_steps=min(steps // 5, 50_000),
            decay_from=steps - steps // 3,
            decay_steps=steps // 3,
        ),
        evaluation=LikelihoodEvaluation(points=1_000, samples=1_000),
    )


def problem(config: ComparedConfig, preset: RunConfig) -> Problem:
    """Load the digits; batches are grey, `binarise` makes them binary."""
    del config
    return natural_mnist.prepare(preset)  # type: ignore[arg-type]


def test_pixels(data: ImageDataset, count: int) -> np.ndarray:
    """Return the first test digits under one draw of their pixels."""
    images = jnp.asarray(data.test.images[:count])
    return np.asarray(binarise(jax.random.key(0), images))


def watch(run: ComparedRun, state: TrainState) -> dict[str, float]:
    """Estimate the bound on log p(x) of test digits while training goes on."""
    model = run.trained.model  # type: ignore[attr-defined]
    pixels = jnp.asarray(test_pixels(run.data, WATCHED))
    loss, terms = _bound(state.params, jax.random.key(1), pixels, model=model)
    return {"bound": -float(loss), "divergence": float(terms.divergence)}


_bound = jax.jit(negative_elbo, static_argnames="model")


def measure(run: ComparedRun) -> dict[str, Any]:
    """Estimate the likelihood of test digits."""
    found = likelihood_merits(run, test_pixels(run.data, run.evaluation.points))
    for row in found.values():
        row["published"] = PUBLISHED.get(run.name)
    lines = MetricsLog.read(run.workdir / "watched.jsonl")
    bound = merit(
        lines[-1]["bound"] if lines else np.nan,
        f"one-sample bound of {WATCHED:,} test digits at the last checkpoint",
    )
    return {**found, "bound": bound}


def draw(runs: list[ComparedRun], folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw the test bound over training, and digits decoded from the prior."""
    curves, rows = {}, {}
    for run in runs:
        lines = MetricsLog.read(run.workdir / "watched.jsonl")
        curves[run.title] = (
            np.array([line["step"] for line in lines]),
            np.array([line["bound"] for line in lines]),
        )
        latents = run.trained.sample_prior(jax.random.fold_in(run.key, 6), 12)
        rows[run.title] = np.asarray(run.trained.decode(latents))
    figures = {
        "test_bound": compared_curves(
            curves, title="Bound on log p(x) of binarised test digits [nats]"
        ),
        "prior_samples": image_rows(rows, title="Mean pixels of prior samples"),
    }
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def _preset(name: str) -> ExperimentConfig:
    return ExperimentConfig(
        experiment="binarised_mnist",
        preset=name,
        schedule=Schedule(steps=STEPS[name], network_steps=0, operator_steps=0),
        data=DataConfig(anchors_per_class=1, batch_size=100),
        log=LogConfig(log_every=100, save_every=max(STEPS[name] // 30, 500)),
    )


PRESETS = {name: _preset(name) for name in STEPS}
COMPARISON = Comparison(settings, problem, measure, draw, watch=watch)
EXPERIMENT = Experiment(
    name="binarised_mnist",
    summary="Train the compared models on dynamically binarised MNIST and estimate "
    "their likelihoods.",
    presets=PRESETS,
    prepare=natural_mnist.prepare,
    compare=functools.partial(compare, COMPARISON),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
