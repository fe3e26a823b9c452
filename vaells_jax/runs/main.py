"""The driver of every command: models, seeds and parts."""

import dataclasses
import hashlib
import logging
import pathlib
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

import jax

from vaells_jax.evaluation.figures import save_figure
from vaells_jax.runs.command import PARTS, Flags, configure, parse
from vaells_jax.runs.config import RunConfig, VaellsConfig
from vaells_jax.runs.devices import Resources, claim_devices
from vaells_jax.runs.experiment import Experiment, Merits
from vaells_jax.runs.folder import claim, make_record, writing
from vaells_jax.runs.models import BASELINES, vaells
from vaells_jax.runs.report import write_report
from vaells_jax.runs.results import report, summarise
from vaells_jax.runs.run import Run, resolved, run_keys
from vaells_jax.runs.train import own_folder, train_or_restore
from vaells_jax.trained.vaells import TrainedVaells
from vaells_jax.training.failure import NonFiniteLossError
from vaells_jax.training.step import TrainState


def main(experiment: Experiment, argv: list[str] | None = None) -> int:
    """Run an experiment from the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:  # a library may have added its own
        handler.setFormatter(logging.Formatter("%(message)s"))
    command = experiment.command or f"python -m experiments.{experiment.name}"
    try:
        flags, rest = parse(experiment, argv, command)
        run_command(experiment, flags, rest, command)
    except (ValueError, ImportError, OSError, NonFiniteLossError) as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 2
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0]
        print(
            f"{experiment.name}: the run failed: {reason}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Run the same command to resume from the last checkpoint.")
        return 130
    return 0


def run_command(
    experiment: Experiment, flags: Flags, rest: list[str], command: str
) -> None:
    """Do what the flags ask for.

    Raises:
        ValueError: If flags do not go together.
    """
    resources = claim_devices(flags)
    preset = _named(experiment.presets[flags.preset], flags)
    name = f"{experiment.name}-{flags.preset}"
    if flags.published is not None:
        _check_alone(flags, "--published")
        config = configure(preset, rest, command)
        root = flags.workdir or pathlib.Path("runs", f"{experiment.name}-published")
        parts = flags.parts() or ("evaluate", "figures")
        run_published(experiment, config, root, parts, flags.published, resources)
        return
    parts = flags.parts() or PARTS
    if flags.table and experiment.table is not None:
        _check_alone(flags, "--table")
        config = configure(preset, rest, command)
        root = flags.workdir or pathlib.Path("runs", f"{name}-table")
        experiment.table(experiment, config, root, parts, resources)
        return
    if flags.model != "vaells":  # its results.json is not that of a run of VAELLS
        name += "-compared"
    root = flags.workdir or pathlib.Path("runs", name)
    models = [flags.model]
    if flags.model == "all":
        models = [model for model in BASELINES if model not in experiment.without]
        models += ["vaells"] if experiment.has_vaells else []
    elif flags.model in experiment.without:
        raise ValueError(f"--model {flags.model}: {experiment.without[flags.model]}")
    seeds = flags.seeds
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds: wanted at least 1; got {seeds}.")
    found: dict[str, list[Merits]] = {model: [] for model in models}
    for seed in range(preset.seed, preset.seed + (seeds or 1)):
        folder = root if seeds is None else root / f"seed-{seed}"
        seeded = dataclasses.replace(preset, seed=seed)
        configs = {  # all before the first training: a wrong field fails at once
            model: configure(_settings(experiment, model, seeded), rest, command)
            for model in models
        }
        runs = []
        for model, config in configs.items():
            own = folder if models == ["vaells"] else folder / model
            run, merits = run_model(experiment, config, own, parts, resources)
            runs.append(run)
            found[model].append(merits)
        if "figures" in parts and len(runs) > 1 and resources.host == 0:
            save_figures(experiment.compare(runs), folder / "figures")
    if "evaluate" in parts and resources.host == 0 and (seeds or len(models) > 1):
        summarise(root, found)


def run_model(
    experiment: Experiment,
    config: RunConfig,
    workdir: pathlib.Path,
    parts: Sequence[str],
    resources: Resources = Resources(),  # noqa: B008, frozen
    start: Callable[[TrainState], TrainState] | None = None,
) -> tuple[Run, Merits]:
    """Do parts of an experiment for one model and one seed.

    Args:
        experiment: The experiment.
        config: The model and its configuration.
        workdir: The run's folder.
        parts: Which of train, evaluate and figures to do.
        resources: The devices.
        start: Changes the first state, if given.

    Returns:
        The run and its figures of merit, if they were asked for.
    """
    data = experiment.prepare(config)
    run = train_or_restore(
        config, data, workdir, train="train" in parts, resources=resources,
        watch=experiment.watch, start=start, networks=experiment.networks,
    )  # fmt: skip
    return run, look(experiment, run, parts)


def run_published(
    experiment: Experiment,
    config: RunConfig,
    workdir: pathlib.Path,
    parts: Sequence[str],
    path: pathlib.Path,
    resources: Resources = Resources(),  # noqa: B008, frozen
) -> Merits:
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
    assert isinstance(config, VaellsConfig)
    config, params = experiment.published(path, config)
    config = dataclasses.replace(config, preset="published")
    data = experiment.prepare(config)
    config = resolved(config, data)
    folder = own_folder(workdir, resources)
    record = make_record(config, data)
    with writing(folder):
        claim(folder, record)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{experiment.name}: weights of {path}; results in {folder}/")
    trained = TrainedVaells(
        vaells(config, data.facts), params, config.weights, record=record
    )
    run = Run(
        config, data, trained, run_keys(config.seed).evaluation, folder, step=None,
        weights=f"published weights, sha256 {digest[:8]}", mesh=resources.mesh,
    )  # fmt: skip
    return look(experiment, run, parts)


def look(experiment: Experiment, run: Run, parts: Sequence[str]) -> Merits:
    """Evaluate and draw a run, as asked; returns its figures of merit, if any."""
    merits: Merits = {}
    if "evaluate" in parts:
        merits = experiment.measure(run)
        report(run, merits)
    if "figures" in parts:
        save_figures(experiment.draw(run), run.workdir / "figures")
    if "evaluate" in parts or "figures" in parts:
        _try_report(run)
    return merits


def _try_report(run):
    """Write a run's report, or warn: its results are written, and others may follow."""
    try:
        print(f"  {write_report(run)}")
    except Exception as error:  # whatever it is, the run itself is whole
        place = traceback.extract_tb(error.__traceback__)[-1]
        warnings.warn(
            f"{run.workdir / 'report.html'} could not be written: {error!r} in "
            f"{place.filename}, line {place.lineno}. Results and figures are whole.",
            stacklevel=2,
        )


def save_figures(figures: dict, folder: pathlib.Path) -> None:
    """Write figures as PNG files of their names."""
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
        print(f"  {folder / name}.png")


def _named(preset, flags):
    """Put the data set and the seed that flags name into a preset."""
    if flags.dataset is not None:
        data = dataclasses.replace(preset.data, dataset=flags.dataset)
        preset = dataclasses.replace(preset, data=data)
    if flags.seed is not None:
        preset = dataclasses.replace(preset, seed=flags.seed)
    return preset


def _settings(experiment, model, preset):
    """Return the configuration of a model under a preset."""
    return preset if model == "vaells" else experiment.baselines(model, preset)


def _check_alone(flags, name):
    """Raise a ValueError if a flag is combined with one that excludes it."""
    others = {
        "--seeds": flags.seeds is not None,
        "--model": flags.model != "vaells",
        "--table": flags.table and name != "--table",
    }
    clash = [other for other, given in others.items() if given]
    if clash:
        raise ValueError(f"{name} cannot be combined with {' and '.join(clash)}.")
