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
from experiments.compared_run import ComparedRun, train_compared
from experiments.comparison_table import write_table
from experiments.config import RunConfig, override
from experiments.devices import Resources
from experiments.likelihoods import progress
from experiments.models import MODELS, ComparedConfig
from experiments.problem import Experiment, Problem
from experiments.records import MetricsLog, merit, write_json
from vaells_jax.training.step import TrainState


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
    vaells: (
        Callable[[Any, pathlib.Path, tuple[str, ...], Resources], ComparedRun] | None
    ) = None
    watch: Callable[[ComparedRun, TrainState], dict[str, float]] | None = None

    def names(self) -> tuple[str, ...]:
        """Name the models, in the figures' order."""
        return (*MODELS, "vaells") if self.vaells is not None else (*MODELS,)


def compare(
    comparison: Comparison,
    experiment: Experiment,
    arguments: argparse.Namespace,
    resources: Resources,
) -> None:
    """Do the parts of a comparison that the arguments ask for, for each seed.

    Raises:
        ValueError: If the arguments do not go with `--model`.
    """
    if arguments.table or arguments.published is not None:
        raise ValueError("--model goes with neither --table nor --published.")
    if jax.process_count() > 1:
        raise ValueError("--model: models are compared on one host only.")
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
        configs = {  # all before the first training: a wrong --set is told at once
            name: _configure(comparison, name, seeded, arguments.set) for name in names
        }
        runs = [
            _run(comparison, config, seeded, folder / name, parts, resources)
            for name, config in configs.items()
        ]
        if "evaluate" in parts:
            found.append({run.name: _evaluate(comparison, run) for run in runs})
            write_table(folder, found[-1:])
        if "figures" in parts and len(runs) > 1:
            for path in comparison.draw(runs, folder / "figures"):
                print(f"  {path}")
    if arguments.seeds is not None and found:
        write_table(workdir, found)


def _configure(comparison, name, preset, assignments):
    """Resolve one model's configuration."""
    if name != "vaells":
        preset = comparison.settings(name, preset)
    return override(preset, assignments)


def _run(comparison, config, preset, folder, parts, resources):
    """Train or restore one model."""
    if not isinstance(config, ComparedConfig):
        return comparison.vaells(config, folder, parts, resources)
    return train_compared(
        comparison.problem(config, preset), config, folder, train="train" in parts,
        resources=resources, watch=comparison.watch,
    )  # fmt: skip


def likelihood_merits(run: ComparedRun, inputs: np.ndarray) -> dict[str, Any]:
    """Estimate log p(x) of the first test points in the model's own convention."""
    if run.evaluation.points == 0:
        return {}
    samples = run.evaluation.samples
    key = jax.random.fold_in(run.key, 5)
    points = jnp.asarray(inputs[: run.evaluation.points])
    with progress(f"log p(x), {run.name}", len(points)) as on_done:
        estimate = run.trained.log_likelihood(key, points, samples, on_done)
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
