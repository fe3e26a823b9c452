"""Does the parts of an experiment that its command line asks for.

An experiment is values and a few functions (`Experiment`); everything that is the same
for all of them is here and in the modules that are imported here.
"""

import argparse
import dataclasses
import hashlib
import logging
import pathlib
import sys
from typing import Any

import jax

from experiments.command import PARTS, make_parser
from experiments.config import ExperimentConfig, override
from experiments.devices import Resources, claim
from experiments.problem import Experiment, Run, make_model
from experiments.reports import report, report_seeds
from experiments.training import own_folder, train_or_restore
from experiments.workdir import claim_workdir
from vaells_jax.training.failure import NonFiniteLossError
from vaells_jax.training.step import TrainState


def main(experiment: Experiment, argv: list[str] | None = None) -> int:
    """Run an experiment from the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = make_parser(experiment).parse_args(argv)
    try:
        run_experiment(experiment, arguments)
    except (ValueError, ImportError, OSError, NonFiniteLossError) as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 2
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0]
        print(f"{experiment.name}: the run did not fit: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last checkpoint.")
        return 130
    return 0


def run_experiment(experiment: Experiment, arguments: argparse.Namespace) -> None:
    """Do the parts of an experiment that the arguments ask for, for each seed."""
    resources = claim(arguments)
    if experiment.compare is not None and arguments.model != "vaells":
        experiment.compare(experiment, arguments, resources)
        return
    config = experiment.presets[arguments.preset]
    named = {"data.dataset": arguments.dataset, "seed": arguments.seed}
    assignments = [f"{name}={v}" for name, v in named.items() if v is not None]
    config = override(config, assignments + arguments.set)
    name = f"{experiment.name}-{arguments.preset}"
    if arguments.published is not None:
        if arguments.table or arguments.seeds is not None:
            raise ValueError("--published goes with neither --table nor --seeds.")
        workdir = arguments.workdir or pathlib.Path(
            "runs", f"{experiment.name}-published"
        )
        parts = arguments.only or ("evaluate", "figures")
        run_published(
            experiment, config, workdir, parts, arguments.published, resources
        )
        return
    only = arguments.only or PARTS
    if arguments.table and experiment.table is not None:
        if arguments.seeds is not None:
            raise ValueError("--table trains one seed a row: leave --seeds out.")
        workdir = arguments.workdir or pathlib.Path("runs", f"{name}-table")
        experiment.table(experiment, config, workdir, only, resources)
        return
    workdir = arguments.workdir or pathlib.Path("runs", name)
    if arguments.seeds is None:
        run_seed(experiment, config, workdir, only, resources)
        return
    found = []
    for seed in range(config.seed, config.seed + arguments.seeds):
        seeded = dataclasses.replace(config, seed=seed)
        folder = workdir / f"seed-{seed}"
        found.append(run_seed(experiment, seeded, folder, only, resources))
    if "evaluate" in only and resources.host == 0:
        report_seeds(workdir, found)


def run_seed(
    experiment: Experiment,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    resources: Resources = Resources(),  # noqa: B008, frozen
) -> dict[str, Any]:
    """Do parts of an experiment for one seed; returns its figures of merit, if any."""
    problem = experiment.prepare(config)
    make_model(problem)  # refuses a setting before the folder is claimed
    own = own_folder(workdir, resources)
    claim_workdir(own, problem.config)
    print(f"{experiment.name}: {_describe(problem.config)}; results in {own}/")
    run = train_or_restore(
        problem, workdir, train="train" in parts, resources=resources
    )
    return _look(experiment, run, parts)


def run_published(
    experiment: Experiment,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    path: pathlib.Path,
    resources: Resources = Resources(),  # noqa: B008, frozen
) -> dict[str, Any]:
    """Evaluate and draw weights that the authors published.

    Raises:
        ValueError: If the file cannot be read as such, training is asked for, or the
            working folder holds another run.
    """
    if experiment.published is None:
        raise ValueError("--published: there are no published weights to read.")
    if "train" in parts:
        raise ValueError(
            "--published: weights from a file are evaluated and drawn, not trained; "
            "leave --only out, or choose from evaluate,figures."
        )
    config, params = experiment.published(path, config)
    config = dataclasses.replace(config, preset="published")
    problem = experiment.prepare(config)
    workdir = own_folder(workdir, resources)
    claim_workdir(workdir, problem.config)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{experiment.name}: weights of {path}; results in {workdir}/")
    state = TrainState(step=None, params=params, opt_state=None)
    key = jax.random.split(jax.random.key(config.seed), 3)[2]
    source = f"published weights, sha256 {digest[:8]}"
    run = Run(problem, make_model(problem), state, key, workdir, source, resources.mesh)
    return _look(experiment, run, parts)


def _look(experiment, run, parts):
    """Evaluate and draw a run, as asked; returns its figures of merit, if any."""
    results: dict[str, Any] = {}
    if "evaluate" in parts and experiment.evaluate is not None:
        results = experiment.evaluate(run)
        report(run, results)
    if "figures" in parts and experiment.draw is not None:
        for path in experiment.draw(run, run.workdir / "figures"):
            print(f"  {path}")
    return results


def _describe(config):
    schedule = config.schedule
    return (
        f"preset {config.preset}, data set {config.data.dataset}, seed {config.seed}, "
        f"{schedule.steps:,} steps ({schedule.warm_up_steps:,} of them warm-up)"
    )
