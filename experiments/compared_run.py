"""Trains a compared model, or VAELLS, for a comparison."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from experiments.config import ExperimentConfig, RunConfig
from experiments.devices import Resources
from experiments.models import (
    TITLES,
    ComparedConfig,
    LikelihoodEvaluation,
    build_model,
)
from experiments.problem import Problem, Run
from experiments.records import MetricsLog
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
        problem: The experiment's data.
        key: Random key of evaluation and figures.
        workdir: The run's folder.
        convention: What its likelihood is a density of.
        evaluation: Of the likelihood.
        binarise: Whether it takes binary pixels.
    """

    name: str
    trained: LatentModel
    config: RunConfig
    problem: Problem
    key: jax.Array
    workdir: pathlib.Path
    convention: str
    evaluation: LikelihoodEvaluation
    binarise: bool = False

    @property
    def data(self) -> Any:
        """Return the experiment's data."""
        return self.problem.data

    @property
    def title(self) -> str:
        """Name the model, for titles."""
        return TITLES.get(self.name, self.name)

    @property
    def label(self) -> str:
        """Name data set and seed, for titles."""
        return f"{self.problem.name}, seed {self.config.seed}"


def train_compared(
    problem: Problem,
    config: ComparedConfig,
    workdir: pathlib.Path,
    *,
    train: bool,
    resources: Resources = Resources(),  # noqa: B008, frozen
    watch: Callable[[ComparedRun, TrainState], dict[str, float]] | None = None,
) -> ComparedRun:
    """Train a compared model from its newest checkpoint, or restore it.

    Args:
        problem: The data and its batches.
        config: The model's configuration.
        workdir: The run's folder.
        train: Whether to train, or to take what is there.
        resources: The devices.
        watch: Measures the model at every checkpoint, for `watched.jsonl`.
    """
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
        config.model, trained, config, problem, view_key, workdir,
        config.likelihood.describe(), config.evaluation, config.binarise,
    )  # fmt: skip
    state = advance(
        config, state, next_batch, workdir, train=train, resources=resources,
        example_indices=problem.example_indices,
        make_step=lambda phase, state: make_step(model, config.optimizer),
        on_save=None if watch is None else _watcher(watch, run),
    )  # fmt: skip
    return dataclasses.replace(run, trained=TrainedBaseline(model, state.params))


def train_vaells(
    prepare: Callable[[ExperimentConfig], Problem],
    functions: Callable[[Run], LatentModel],
    evaluation: LikelihoodEvaluation,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    resources: Resources,
) -> ComparedRun:
    """Train VAELLS from its newest checkpoint, or restore it.

    Args:
        prepare: Loads an experiment's data.
        functions: Makes a trained run functions of batches.
        evaluation: Of the likelihood.
        config: VAELLS's configuration.
        workdir: The run's folder.
        parts: Parts asked for.
        resources: The devices.
    """
    problem = prepare(config)
    claim_workdir(workdir, problem.config)
    print(f"vaells, seed {config.seed}, {config.schedule.steps:,} steps; {workdir}/")
    run = train_or_restore(
        problem, workdir, train="train" in parts, resources=resources
    )
    pixels = Likelihood("gaussian", config.weights.reconstruction**-0.5)
    return ComparedRun(
        "vaells", functions(run), problem.config, problem, run.key, workdir,
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
