"""Dynamically binarised MNIST, on which the baselines' authors report.

python -m experiments.binarised_mnist

VAELLS has no part in it: its likelihood is Gaussian, of grey values.
"""

from typing import Any

import jax
import numpy as np

from experiments.digits.data import natural
from experiments.digits.measures import inputs_of
from vaells_jax.baselines.elbo import negative_elbo
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.evaluation.figures import compared_curves, image_rows
from vaells_jax.runs.config import (
    BaselineConfig,
    DataConfig,
    LikelihoodEvaluation,
    LogConfig,
    RunConfig,
    baseline_config,
)
from vaells_jax.runs.curves import training_figures
from vaells_jax.runs.experiment import Experiment, Merits
from vaells_jax.runs.likelihood import marginal_likelihood
from vaells_jax.runs.main import main
from vaells_jax.runs.models import BASELINES
from vaells_jax.runs.records import MetricsLog, merit
from vaells_jax.runs.run import Run
from vaells_jax.training.schedule import Schedule

WATCHED = 2_000
"""Test digits whose bound is estimated at every checkpoint."""

PUBLISHED = {"vae": -89.8, "hyperspherical": -93.1, "vampprior": -85.8}
"""log p(x) in nats that a public comparison of trained models reports (pythae's)."""

STEPS = {"paper": 500_000, "short": 45_000, "quick": 2_000}
"""Of each preset, in batches of 100: 1,000 epochs, 90, and 4."""


def settings(model: str, preset: RunConfig) -> BaselineConfig:
    """Return the authors' settings of a model, its schedule cut to the preset's.

    VAE and VampPrior: Tomczak and Welling's gated 300-300 networks, 40 latents, rate
    5e-4 after normalised gradients, the divergence warmed up over 100 epochs of theirs
    (a fifth of a shortened run). On manifolds: Davidson et al.'s 256-128 ReLU
    networks, a 10-sphere, rate 1e-3.
    """
    steps = preset.schedule.steps
    spherical = BASELINES[model].extra_entries > 0
    return baseline_config(
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


def watch(run: Run) -> dict[str, float]:
    """Estimate the bound on log p(x) of test digits while training goes on."""
    pixels = inputs_of(run, run.data.source.test.inputs[:WATCHED])
    params, model = run.trained.params, run.trained.model
    loss, terms = _bound(params, jax.random.key(1), pixels, model=model)
    return {"bound": -float(loss), "divergence": float(terms.divergence)}


_bound = jax.jit(negative_elbo, static_argnames="model")


def measure(run: Run) -> Merits:
    """Estimate the likelihood of test digits."""
    images = run.data.source.test.inputs[: run.config.evaluation.points]
    found = marginal_likelihood(run, inputs_of(run, images))
    for row in found.values():
        row["published"] = PUBLISHED.get(run.model)
    lines = MetricsLog.read(run.workdir / "watched.jsonl")
    bound = merit(
        lines[-1]["bound"] if lines else np.nan,
        f"one-sample bound of {WATCHED:,} test digits at the last checkpoint",
    )
    return {**found, "bound": bound}


def compare(runs: list[Run]) -> dict[str, Any]:
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
    return {
        "test_bound": compared_curves(
            curves, title="Binarised test digits", quantity="bound on log p(x) [nats]"
        ),
        "prior_samples": image_rows(rows, title="Mean pixels of prior samples"),
    }


def _preset(name: str) -> RunConfig:
    return RunConfig(
        experiment="binarised_mnist",
        preset=name,
        schedule=Schedule(steps=STEPS[name], network_steps=0, operator_steps=0),
        data=DataConfig(anchors_per_class=1, batch_size=100),
        log=LogConfig(log_every=100, save_every=max(STEPS[name] // 30, 500)),
    )


EXPERIMENT = Experiment(
    name="binarised_mnist",
    summary="Train the baselines on dynamically binarised MNIST; estimate log p(x).",
    presets={name: _preset(name) for name in STEPS},
    prepare=natural,
    measure=measure,
    draw=training_figures,
    baselines=settings,
    without={
        **dict.fromkeys(("manifold_autoencoder", "data_operators"), "no log p(x)."),
        "vdae": "it walks among examples, whose pixels are drawn anew in every step.",
        "r": "its likelihood is a Gaussian whose deviation it learns.",
    },
    compare=compare,
    watch=watch,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
