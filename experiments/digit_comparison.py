"""All models on natural and on rotated digits: Figs. 5, 6 (R), 10 and 11."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compared_run import ComparedRun, train_vaells
from experiments.comparison import Comparison, likelihood_merits
from experiments.config import ExperimentConfig, RunConfig
from experiments.digits import variety_merits
from experiments.identity import Judge, digit_judge
from experiments.models import ComparedConfig, LikelihoodEvaluation, configure
from experiments.problem import Problem
from experiments.records import merit
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.data.batches import binarise
from vaells_jax.data.images import NUM_CLASSES, ImageDataset
from vaells_jax.evaluation.classifier import ClassifierOptions
from vaells_jax.evaluation.figures import compared_sample_grids, save_figure
from vaells_jax.evaluation.images import identity_preservation
from vaells_jax.training.schedule import Schedule

STEPS = {"paper": 5_000, "tuned": 3_000, "quick": 1_500}

NUM_DIGITS, SAMPLES = 200, 24
"""Test digits that are measured, and samples of each."""

NUM_POINTS = 11
"""Points of each path."""


def settings(model: str, preset: ExperimentConfig) -> ComparedConfig:
    """Return a model's settings for digits, latents as large as VAELLS's.

    As in the paper: the VAE has Table 5's networks and grey values, VampPrior the same
    with a dense layer before the sigmoid, the hyperspherical VAE its authors' networks,
    both on binary pixels drawn anew in every step. VampPrior has 50 pseudo-inputs, not
    500: each is a pass through the convolutional encoder in every step.
    """
    steps = STEPS.get(preset.preset, preset.schedule.steps)
    latent_size = preset.model.latent_size
    config = configure(
        model,
        preset,
        steps,
        latent_size=latent_size,
        networks="convolutional",
        likelihood=Likelihood("gaussian", preset.weights.reconstruction**-0.5),
        optimizer=BaselineOptions(
            rate=1e-3,
            # From the first step on this rate is the end of Table 5's sigmoid.
            ramp_steps=100 if model == "vae" else 0,
            warm_up_steps=steps // 5,
        ),
        evaluation=LikelihoodEvaluation(points=200, samples=500),
    )
    binary = dataclasses.replace(
        config, likelihood=Likelihood("bernoulli"), binarise=True
    )
    if model == "hyperspherical":
        return dataclasses.replace(
            binary, networks="plain", latent_size=latent_size + 1
        )
    if model == "vampprior":
        options = {"num_components": 50, "pseudo_inputs": "images"}
        return dataclasses.replace(binary, networks="logits_dense", options=options)
    return config


def digit_comparison(
    prepare: Callable[[ExperimentConfig], Problem], *, rotated: bool
) -> Comparison:
    """Describe the comparison of one of the two experiments on digits.

    Args:
        prepare: Loads the digits.
        rotated: Whether they are turned.
    """
    # Turned digits bring their own anchors, so that VAELLS has no p(x) of one alone.
    evaluation = LikelihoodEvaluation(points=0 if rotated else 100, samples=500)
    return Comparison(
        settings=settings,  # type: ignore[arg-type]
        problem=functools.partial(problem, prepare),
        measure=functools.partial(measure, rotated),
        draw=functools.partial(draw, rotated),
        vaells=functools.partial(
            train_vaells, prepare, lambda run: run.functions, evaluation
        ),
    )


def problem(
    prepare: Callable[[ExperimentConfig], Problem],
    config: ComparedConfig,
    preset: RunConfig,
) -> Problem:
    """Load the digits; no batch needs anchors."""
    steps = config.schedule.steps
    schedule = Schedule(steps=steps, warm_up_steps=steps)
    data = dataclasses.replace(config.data, anchors_per_class=1)
    preset = dataclasses.replace(preset, schedule=schedule, data=data)
    return prepare(preset)  # type: ignore[arg-type]


def inputs_of(run: ComparedRun, images: np.ndarray) -> jax.Array:
    """Return digits as the model takes them: grey, or one draw of their pixels."""
    if run.binarise:
        return binarise(jax.random.key(0), jnp.asarray(images))
    return jnp.asarray(images)


def measure(rotated: bool, run: ComparedRun) -> dict[str, Any]:
    """Measure samples, paths, reconstruction and likelihood of any model."""
    test = run.data.test
    images, labels = test.images[:NUM_DIGITS], test.labels[:NUM_DIGITS]
    quick = run.config.preset == "quick"
    judge = digit_judge(
        run.workdir.parent, run.data, rotated=rotated,
        options=ClassifierOptions(steps=1000) if quick and rotated else None,
    )  # fmt: skip
    inputs, trained = inputs_of(run, images), run.trained
    means = trained.encode(inputs)
    still = np.asarray(trained.decode(means))
    found = {
        "reconstruction_mse": merit(
            float(np.mean((still - images) ** 2)),
            f"squared error of decoded latent means, a pixel, {NUM_DIGITS} test "
            "digits, against their grey values",
        ),
        **_sample_merits(run, inputs, labels, judge),
        **_path_merits(run, np.asarray(means), labels, judge),
    }
    found |= likelihood_merits(run, np.asarray(inputs))
    return found


def _sample_merits(run, inputs, labels, judge: Judge):
    """Say whether widened posterior samples keep their digit, and how they vary."""
    wide, key = run.trained.widened(), jax.random.fold_in(run.key, 2)
    outputs = wide.decode(wide.sample_posterior(key, inputs, SAMPLES))
    return variety_merits(outputs, judge.name(labels), judge)


def _path_merits(run, means, labels, judge: Judge):
    """Say whether paths between digits of one class stay in it."""
    generator = np.random.default_rng(0)
    partner = np.array(
        [generator.choice(np.flatnonzero(labels == label)) for label in labels]
    )
    times = np.linspace(0.0, 1.0, NUM_POINTS)
    paths = run.trained.path(means, means[partner], times)
    kept = identity_preservation(
        run.trained.decode(paths), judge.name(labels), classify=judge.classify
    )
    return {
        "identity_along_paths": merit(
            kept.share,
            f"share of {NUM_POINTS} points of the model's paths between test digits of "
            "one class that a classifier takes for that class",
            whole_paths=kept.whole,
        )
    }


def draw(
    rotated: bool, runs: list[ComparedRun], folder: pathlib.Path
) -> list[pathlib.Path]:
    """Draw posterior samples of all models: two digits, then one of each class."""
    data: ImageDataset = runs[0].data
    first = np.stack(
        [data.test.images[np.argmax(data.test.labels == c)] for c in range(NUM_CLASSES)]
    )
    names = ("Fig. 5", "Fig. 10") if rotated else ("Fig. 6 (R)", "Fig. 11")
    paths = []
    for name, digits, stem in (
        (names[0], first[[2, 4]], "samples_of_two"),
        (names[1], first, "samples_of_each"),
    ):
        grids = {run.title: _samples(run, digits) for run in runs}
        title = f"{name}: widened posterior samples ({runs[0].label})"
        paths.append(folder / f"{stem}.png")
        save_figure(compared_sample_grids(grids, title=title), paths[-1])
    return paths


def _samples(run, digits):
    """Decode a model's latent means and widened samples of digits."""
    wide, inputs = run.trained.widened(), inputs_of(run, digits)
    samples = wide.sample_posterior(jax.random.fold_in(run.key, 2), inputs, SAMPLES)
    return np.asarray(wide.decode(wide.encode(inputs))), np.asarray(
        wide.decode(samples)
    )
