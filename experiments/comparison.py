"""Trains, measures and draws the compared models side by side."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.command import PARTS
from experiments.comparison_table import write_table
from experiments.config import ExperimentConfig, RunConfig, override
from experiments.models import (
    MODELS,
    ComparedConfig,
    LikelihoodEvaluation,
    build_model,
)
from experiments.problem import Experiment, Problem, Run
from experiments.records import MetricsLog, merit, write_json
from experiments.training import advance, train_or_restore
from experiments.workdir import claim_workdir
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.protocol import LatentModel
from vaells_jax.baselines.trained import TrainedBaseline
from vaells_jax.baselines.training import init_state, make_step
from vaells_jax.data.batches import binarise
from vaells_jax.model.types import Batch
from vaells_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """A trained model of any kind with what it came from.

    Attributes:
        name: The model's name.
        trained: The model as functions.
        config: Its own configuration.
        data: The experiment's data.
        key: Random key of evaluation and figures.
        workdir: The run's folder.
        convention: What its likelihood is a density of.
        evaluation: Of the likelihood.
        binarise: Whether it takes binary pixels.
    """

    name: str
    trained: LatentModel
    config: RunConfig
    data: Any
    key: jax.Array
    workdir: pathlib.Path
    convention: str
    evaluation: LikelihoodEvaluation
    binarise: bool = False

    @property
    def label(self) -> str:
        """Name data set and seed, for titles."""
        return f"{self.config.data.dataset}, seed {self.config.seed}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What an experiment must say to have other models beside VAELLS.

    Attributes:
        settings: The configuration of a model under a preset's configuration.
        problem: Data and batches for a configuration.
        measure: Figures of merit of any model, by name.
        draw: Writes the side-by-side figures of several runs into a folder.
        vaells: Trains or restores VAELLS in a folder and does the parts asked for; or
            None where it has no part.
        watch: Measures a compared model at every checkpoint of its training, for
            `watched.jsonl`; or None.
    """

    settings: Callable[[str, RunConfig], ComparedConfig]
    problem: Callable[[ComparedConfig, RunConfig], Problem]
    measure: Callable[[ComparedRun], dict[str, Any]]
    draw: Callable[[list[ComparedRun], pathlib.Path], list[pathlib.Path]]
    vaells: Callable[[Any, pathlib.Path, tuple[str, ...]], ComparedRun] | None = None
    watch: Callable[[ComparedRun, TrainState], dict[str, float]] | None = None

    def names(self) -> tuple[str, ...]:
        """Name the models, in the figures' order."""
        return (*MODELS, "vaells") if self.vaells is not None else (*MODELS,)


def compare(
    comparison: Comparison, experiment: Experiment, arguments: argparse.Namespace
) -> None:
    """Do the parts of a comparison that the arguments ask for, for each seed.

    Raises:
        ValueError: If the arguments do not go with `--model`.
    """
    if arguments.table or arguments.published is not None:
        raise ValueError("--model goes with neither --table nor --published.")
    preset = experiment.presets[arguments.preset]
    named = {"data.dataset": arguments.dataset, "seed": arguments.seed}
    assigned = [f"{key}={v}" for key, v in named.items() if v is not None]
    preset = override(preset, assigned)
    names = comparison.names() if arguments.model == "all" else (arguments.model,)
    parts = arguments.only or PARTS
    workdir = arguments.workdir or pathlib.Path(
        "runs", f"{experiment.name}-{arguments.preset}-compared"
    )
    found = []
    for seed in range(preset.seed, preset.seed + (arguments.seeds or 1)):
        folder = workdir if arguments.seeds is None else workdir / f"seed-{seed}"
        seeded = dataclasses.replace(preset, seed=seed)
        runs = [
            _one(comparison, model, seeded, folder / model, parts, arguments.set)
            for model in names
        ]
        if "evaluate" in parts:
            found.append({run.name: _evaluate(comparison, run) for run in runs})
            write_table(folder, found[-1:])
        if "figures" in parts and len(runs) > 1:
            for path in comparison.draw(runs, folder / "figures"):
                print(f"  {path}")
    if arguments.seeds is not None and found:
        write_table(workdir, found)


def _one(comparison, model, preset, folder, parts, assignments):
    """Train or restore one model."""
    if model == "vaells":
        config = override(preset, assignments)
        return comparison.vaells(config, folder, parts)
    config = override(comparison.settings(model, preset), assignments)
    return train_compared(comparison, config, preset, folder, train="train" in parts)


def train_compared(
    comparison: Comparison,
    config: ComparedConfig,
    preset: RunConfig,
    workdir: pathlib.Path,
    *,
    train: bool,
) -> ComparedRun:
    """Train a compared model from its newest checkpoint, or restore it."""
    problem = comparison.problem(config, preset)
    dataset = problem.config.data.dataset
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, dataset=dataset)
    )
    claim_workdir(workdir, config)
    steps = config.schedule.steps
    print(
        f"{config.model} on {dataset}, seed {config.seed}, {steps:,} steps; {workdir}/"
    )
    model = build_model(config, problem.example_inputs.shape[1:])
    _, start_key, view_key = jax.random.split(jax.random.key(config.seed), 3)
    state = init_state(
        start_key, problem.example_inputs, model=model, options=config.optimizer
    )
    next_batch = problem.next_batch
    if config.binarise:
        next_batch = binarised(next_batch, jax.random.key(config.seed + 2))
    trained = TrainedBaseline(model, state.params)
    run = ComparedRun(
        config.model, trained, config, problem.data, view_key, workdir,
        config.likelihood.describe(), config.evaluation, config.binarise,
    )  # fmt: skip
    state = advance(
        config, state, next_batch, workdir, train=train,
        make_step=lambda phase, state: make_step(model, config.optimizer),
        on_save=None if comparison.watch is None else _watcher(comparison.watch, run),
    )  # fmt: skip
    return dataclasses.replace(run, trained=TrainedBaseline(model, state.params))


def train_vaells(
    prepare: Callable[[ExperimentConfig], Problem],
    functions: Callable[[Run], LatentModel],
    evaluation: LikelihoodEvaluation,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
) -> ComparedRun:
    """Train VAELLS from its newest checkpoint, or restore it.

    Args:
        prepare: Loads an experiment's data.
        functions: Makes a trained run functions of batches.
        evaluation: Of the likelihood.
        config: VAELLS's configuration.
        workdir: The run's folder.
        parts: Parts asked for.
    """
    problem = prepare(config)
    claim_workdir(workdir, problem.config)
    print(f"vaells, seed {config.seed}, {config.schedule.steps:,} steps; {workdir}/")
    run = train_or_restore(problem, workdir, train="train" in parts)
    pixels = Likelihood("gaussian", config.weights.reconstruction**-0.5)
    return ComparedRun(
        "vaells", functions(run), problem.config, problem.data, run.key, workdir,
        pixels.describe(), evaluation,
    )  # fmt: skip


def _watcher(watch, run):
    """Return what measures a state that is saved, a line of `watched.jsonl` each."""

    def on_save(state):
        step = int(state.step)
        log = MetricsLog(run.workdir / "watched.jsonl", resume_step=step - 1)
        log.write(step, "joint", 0.0, watch(run, state))
        log.close()

    return on_save


def binarised(
    next_batch: Callable[[int], Batch], key: jax.Array
) -> Callable[[int], Batch]:
    """Draw the binary pixels of every step's batch: a function of the step alone."""
    draw = jax.jit(lambda step, x: binarise(jax.random.fold_in(key, step), x))

    def binary_batch(step: int) -> Batch:
        batch = next_batch(step)
        return batch._replace(inputs=draw(step, batch.inputs))

    return binary_batch


def likelihood_merits(run: ComparedRun, inputs: np.ndarray) -> dict[str, Any]:
    """Estimate log p(x) of the first test points in the model's own convention."""
    if run.evaluation.points == 0:
        return {}
    samples = run.evaluation.samples
    key = jax.random.fold_in(run.key, 5)
    points = jnp.asarray(inputs[: run.evaluation.points])
    estimate = run.trained.log_likelihood(key, points, samples)
    values = estimate.log_likelihood
    return {
        "log_likelihood": merit(
            float(np.mean(values)),
            f"importance-weighted estimate of log p(x) [nats], {samples:,} samples, "
            f"{len(values):,} test points; {run.convention}",
            standard_error=float(np.std(values) / np.sqrt(len(values))),
            median_effective_samples=float(np.median(estimate.effective_samples)),
        )
    }


def _evaluate(comparison: Comparison, run: ComparedRun) -> dict[str, Any]:
    """Measure a run and write what was found into its folder."""
    results = comparison.measure(run)
    log = MetricsLog.read(run.workdir / "metrics.jsonl")
    record = {
        "experiment": run.config.experiment,
        "model": run.name,
        "preset": run.config.preset,
        "seed": run.config.seed,
        "training_seconds": log[-1]["elapsed"] if log else None,
        "results": results,
    }
    write_json(run.workdir / "compared.json", record)
    return results
