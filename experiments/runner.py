"""The command line of every experiment: train, evaluate, draw, resume.

An experiment is values and a few functions (`Experiment`); everything that is the same
for all of them is here.
"""

import argparse
import dataclasses
import hashlib
import logging
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array
from tqdm import tqdm

from experiments.config import ExperimentConfig, claim_workdir, override
from experiments.records import MetricsLog, write_json
from vaells_jax.data.batches import batch_indices
from vaells_jax.model.networks import Networks
from vaells_jax.model.paths import Model
from vaells_jax.model.starts import linear_start, skew
from vaells_jax.model.types import Batch, Params
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.fit import NonFiniteLossError, fit, with_scale
from vaells_jax.training.step import TrainState, init_state

PARTS = ("train", "evaluate", "figures")


@dataclasses.dataclass(frozen=True)
class Problem:
    """An experiment's data, ready to train on.

    Attributes:
        config: The configuration with the data set's name filled in.
        networks: Encoder and decoder.
        example_inputs: Any batch of the data's shape; with `model.linear_start` all
            training data.
        anchors: `[C, N_a, *x]`, or None where examples bring their own.
        next_batch: The batch of a step, a pure function of its number.
        data: Whatever evaluation and figures need.
    """

    config: ExperimentConfig
    networks: Networks
    example_inputs: Array
    anchors: Array | None
    next_batch: Callable[[int], Batch]
    data: Any


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with what it came from; what evaluation and figures take.

    Attributes:
        problem: The data and the configuration.
        model: The static part, with the latent scale that the run settled on.
        state: The trained state.
        key: Random key of evaluation and figures.
        workdir: The run's folder.
        source: Where the weights are from, if they were not trained here.
    """

    problem: Problem
    model: Model
    state: TrainState
    key: Array
    workdir: pathlib.Path
    source: str | None = None

    @property
    def label(self) -> str:
        """Name data set, seed and step, for titles; or whose weights they are."""
        config = self.problem.config
        if self.source is not None:
            return f"{config.data.dataset}, {self.source}"
        step = int(self.state.step)
        return f"{config.data.dataset}, seed {config.seed}, step {step:,}"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments.

    Attributes:
        name: As in `python -m experiments.NAME`.
        summary: One sentence for `--help`.
        presets: Configurations by name; the first is the default.
        prepare: Loads the data that a configuration names.
        evaluate: Measures a run: figures of merit by name, each a dictionary with
            `value`, `paper` (or None) and `meaning`.
        draw: Writes a run's figures into a folder and names them.
        table: Does the parts asked for of each row of the paper's table, in folders of
            a working folder; or None where the paper has no table.
        published: Reads the authors' weights and puts their sizes into the
            configuration; or None where they published none.
    """

    name: str
    summary: str
    presets: dict[str, ExperimentConfig]
    prepare: Callable[[ExperimentConfig], Problem]
    evaluate: Callable[[Run], dict[str, Any]]
    draw: Callable[[Run, pathlib.Path], list[pathlib.Path]]
    table: (
        Callable[["Experiment", ExperimentConfig, pathlib.Path, tuple[str, ...]], None]
        | None
    ) = None
    published: (
        Callable[[pathlib.Path, ExperimentConfig], tuple[ExperimentConfig, Params]]
        | None
    ) = None


def main(experiment: Experiment, argv: list[str] | None = None) -> int:
    """Run an experiment from the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = _parser(experiment).parse_args(argv)
    try:
        run_experiment(experiment, arguments)
    except (ValueError, ImportError, NonFiniteLossError) as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last checkpoint.")
        return 130
    return 0


def run_experiment(experiment: Experiment, arguments: argparse.Namespace) -> None:
    """Do the parts of an experiment that the arguments ask for, for each seed."""
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
        run_published(experiment, config, workdir, parts, arguments.published)
        return
    only = arguments.only or PARTS
    if arguments.table and experiment.table is not None:
        if arguments.seeds is not None:
            raise ValueError("--table trains one seed a row: leave --seeds out.")
        workdir = arguments.workdir or pathlib.Path("runs", f"{name}-table")
        experiment.table(experiment, config, workdir, only)
        return
    workdir = arguments.workdir or pathlib.Path("runs", name)
    if arguments.seeds is None:
        run_seed(experiment, config, workdir, only)
        return
    found = []
    for seed in range(config.seed, config.seed + arguments.seeds):
        seeded = dataclasses.replace(config, seed=seed)
        folder = workdir / f"seed-{seed}"
        found.append(run_seed(experiment, seeded, folder, only))
    if "evaluate" in only:
        report_seeds(workdir, found)


def run_seed(
    experiment: Experiment,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
) -> dict[str, Any]:
    """Do parts of an experiment for one seed; returns its figures of merit, if any."""
    problem = experiment.prepare(config)
    claim_workdir(workdir, problem.config)
    print(f"{experiment.name}: {_describe(problem.config)}; results in {workdir}/")
    run = train_or_restore(problem, workdir, train="train" in parts)
    return _look(experiment, run, parts)


def run_published(
    experiment: Experiment,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    path: pathlib.Path,
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
    claim_workdir(workdir, problem.config)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{experiment.name}: weights of {path}; results in {workdir}/")
    model = make_model(problem)
    state = TrainState(
        step=None,
        params=params,
        opt_state=None,
        latent_scale=jnp.asarray(model.latent_scale),
    )
    key = jax.random.split(jax.random.key(config.seed), 3)[2]
    source = f"published weights, sha256 {digest[:8]}"
    run = Run(problem, model, state, key, workdir, source)
    return _look(experiment, run, parts)


def _look(experiment, run, parts):
    """Evaluate and draw a run, as asked; returns its figures of merit, if any."""
    results: dict[str, Any] = {}
    if "evaluate" in parts:
        results = experiment.evaluate(run)
        report(run, results)
    if "figures" in parts:
        for path in experiment.draw(run, run.workdir / "figures"):
            print(f"  {path}")
    return results


def train_or_restore(problem: Problem, workdir: pathlib.Path, *, train: bool) -> Run:
    """Train from the newest checkpoint, or from the start, to the schedule's end.

    Raises:
        ValueError: If `train` is False and there is no checkpoint.
    """
    config = problem.config
    key, _, view_key = jax.random.split(jax.random.key(config.seed), 3)
    model, state = make_model(problem), first_state(problem)
    checkpoints = Checkpoints(workdir / "checkpoints")
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
    elif not train:
        raise ValueError(f"nothing to restore in {workdir}: train first.")
    if train and int(state.step) < config.schedule.steps:
        state = _train(problem, model, key, state, checkpoints, workdir)
    checkpoints.close()
    return Run(problem, with_scale(model, state), state, view_key, workdir)


def first_state(problem: Problem) -> TrainState:
    """Draw the state that a run of the configuration's seed starts from."""
    config = problem.config
    state = init_state(
        jax.random.split(jax.random.key(config.seed), 3)[1],
        model=make_model(problem),
        num_operators=config.model.num_operators,
        inputs=problem.example_inputs,
        anchors=problem.anchors,
        optimizer=config.optimizer,
        operator_std=config.model.operator_std,
    )
    started = _start(state.params, problem)
    return state.replace(params=started)  # type: ignore[attr-defined]


def _start(params, problem):
    """Change the drawn parameters as the configuration asks."""
    model = problem.config.model
    if model.linear_start is not None:
        params = linear_start(params, problem.example_inputs, spread=model.linear_start)
    if model.skew_start:
        params = params._replace(operators=skew(params.operators))
    return params


def _train(problem, model, key, state, checkpoints, workdir):
    """Call `fit` with a progress bar and a log."""
    config = problem.config
    first = int(state.step)
    if first:
        print(f"  going on from step {first:,} of {config.schedule.steps:,}")
    log = MetricsLog(workdir / "metrics.jsonl", resume_step=first)
    started = time.monotonic() - log.elapsed
    bar = tqdm(
        total=config.schedule.steps, initial=first, unit="step", smoothing=0.05,
        dynamic_ncols=True, mininterval=0.5,
    )  # fmt: skip

    def on_step(step, phase, metrics):
        bar.update()
        if step % config.log.log_every == 0 or step == config.schedule.steps:
            bar.set_postfix(phase=phase, loss=f"{metrics['loss']:.4g}", refresh=False)
            log.write(step, phase, time.monotonic() - started, metrics)

    def save(state):
        log.flush()
        checkpoints.save(state)

    try:
        return fit(
            key, state, problem.next_batch, model=model, weights=config.weights,
            schedule=config.schedule, optimizer=config.optimizer,
            choose_scale=config.model.latent_scale is None, on_step=on_step,
            save=save, save_every=config.log.save_every,
        )  # fmt: skip
    finally:
        bar.close()
        log.close()


def make_model(problem: Problem) -> Model:
    """Build the model that a configuration describes."""
    config = problem.config
    return Model(
        networks=problem.networks,
        latent_scale=config.model.latent_scale or 1.0,
        num_samples=config.model.num_samples,
        noise_std=config.model.noise_std,
        coefficient_rate=config.weights.posterior_l1,
        closest_anchor=config.model.closest_anchor,
        posterior_search=config.posterior_search,
        prior_search=config.prior_search,
    )


def report(run: Run, results: dict[str, Any]) -> None:
    """Write `results.json` and print it beside the paper's values."""
    config = run.problem.config
    log = MetricsLog.read(run.workdir / "metrics.jsonl")
    record = {
        "experiment": config.experiment,
        "preset": config.preset,
        "dataset": config.data.dataset,
        "seed": config.seed,
        "weights": run.source or "trained here",
        "step": None if run.state.step is None else int(run.state.step),
        "latent_scale": float(run.state.latent_scale),
        "training_seconds": log[-1]["elapsed"] if log else None,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "evaluation": dataclasses.asdict(config.evaluation),
        "results": results,
    }
    write_json(run.workdir / "results.json", record)
    for name, result in results.items():
        paper = result.get("paper")
        beside = "" if paper is None else f"   (paper: {paper:.4g})"
        value = result["value"]
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"  {name} = {shown}{beside}")


def report_seeds(workdir: pathlib.Path, found: list[dict[str, Any]]) -> None:
    """Write and print the spread of each scalar figure of merit over the seeds."""
    summary = {}
    print(f"{len(found)} seeds: median (least to most)")
    for name, first in found[0].items():
        if not isinstance(first["value"], int | float):
            continue
        values = [results[name]["value"] for results in found]
        summary[name] = {
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "values": values,
            "paper": first.get("paper"),
            "meaning": first.get("meaning"),
        }
        median = summary[name]["median"]
        print(f"  {name} = {median:.4g} ({min(values):.4g} to {max(values):.4g})")
    write_json(workdir / "results.json", {"seeds": len(found), "results": summary})


def _describe(config):
    schedule = config.schedule
    return (
        f"preset {config.preset}, data set {config.data.dataset}, seed {config.seed}, "
        f"{schedule.steps:,} steps ({schedule.warm_up_steps:,} of them warm-up)"
    )


def _parts(text):
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(
                f"{part!r} is no part; choose from {', '.join(PARTS)}"
            )
    return parts


def _count(text):
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"wanted at least 1; got {count}")
    return count


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        description=f"{experiment.summary} Run again, it goes on where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--preset", choices=list(experiment.presets),
        default=next(iter(experiment.presets)),
        help="'paper' is the paper's table to the letter, 'quick' a first picture",
    )  # fmt: skip
    parser.add_argument(
        "--workdir", type=pathlib.Path, default=None,
        help="folder of config, checkpoints, metrics, results and figures "
        f"(default: runs/{experiment.name}-PRESET)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="GROUP.FIELD=VALUE",
        help="change one field of the configuration, e.g. model.num_operators=8; "
        "may be given several times; config.json in a workdir lists all fields",
    )  # fmt: skip
    parser.add_argument("--dataset", default=None, help="name of the data set")
    parser.add_argument("--seed", type=int, default=None, help="random seed")
    parser.add_argument(
        "--seeds", type=_count, default=None, metavar="N",
        help="run N seeds, from --seed on, each in a folder of its own in the workdir, "
        "and report their median and spread",
    )  # fmt: skip
    parser.set_defaults(table=False, published=None, only=None)
    if experiment.published is not None:
        parser.add_argument(
            "--published", type=pathlib.Path, default=argparse.SUPPRESS, metavar="FILE",
            help="evaluate and draw weights that the paper's authors published instead "
            "of training (default workdir: runs/NAME-published)",
        )  # fmt: skip
    if experiment.table is not None:
        parser.add_argument(
            "--table", action="store_true",
            help="do every row of the paper's table instead, all from one warm-up, in "
            "a working folder of its own (default: runs/NAME-PRESET-table)",
        )  # fmt: skip
    parser.add_argument(
        "--only", type=_parts, default=argparse.SUPPRESS, metavar="PART[,PART]",
        help="do only these parts: train, evaluate, figures (default: all)",
    )  # fmt: skip
    return parser


def gather(
    inputs: ArrayLike, labels: ArrayLike, key: Array, batch_size: int
) -> Callable[[int], Batch]:
    """Return `next_batch` over arrays that lie on the device.

    Args:
        inputs: All training examples.
        labels: The class of each.
        key: Key of the order.
        batch_size: Examples of a step.

    Returns:
        A function from a step's number to its batch.
    """
    inputs, labels = jnp.asarray(inputs), jnp.asarray(labels)

    @jax.jit
    def next_batch(step):
        index = batch_indices(
            key, step, num_examples=len(labels), batch_size=batch_size
        )
        return Batch(inputs[index], labels[index])

    return next_batch
