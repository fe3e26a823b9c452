"""The table of Fig. 6: models of several sizes that share one warm-up.

The warm-up trains the networks alone, by reconstruction; operators and anchors keep the
numbers that they were drawn with. So its end serves every row, whatever the row's
number of operators (M) and of anchors a class (N_a).
"""

import dataclasses
import functools
import json
import pathlib

import jax

from experiments.digits.likelihoods import FIGURE_6
from vaells_jax.runs.config import VaellsConfig
from vaells_jax.runs.devices import Resources
from vaells_jax.runs.experiment import Experiment, Merits
from vaells_jax.runs.folder import CHECKPOINTS
from vaells_jax.runs.main import run_model
from vaells_jax.runs.models import recipe
from vaells_jax.runs.results import summarise
from vaells_jax.runs.run import run_keys
from vaells_jax.runs.train import train_or_restore
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.step import TrainState

Row = tuple[int, int]  # M, N_a


def run_table(
    experiment: Experiment,
    config: VaellsConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    resources: Resources,
) -> None:
    """Train, evaluate and draw each row of the table; go on where it stopped.

    Args:
        experiment: Whose table it is.
        config: The configuration; M and N_a are the rows'.
        workdir: Gets the folder `warm_up`, one folder a row, and the table.
        parts: Which of train, evaluate and figures to do.
        resources: The devices, of one host.

    Raises:
        ValueError: If a folder holds another configuration, or there are several
            hosts.

    Note:
        Without training, rows that are not trained to their end are left out.
    """
    if jax.process_count() > 1:
        raise ValueError("--table needs a single host.")
    warm = None
    if "train" in parts and config.schedule.warm_up_steps:
        warm = _warm_up(experiment, config, workdir / "warm_up", resources)
    found = {}
    for row in FIGURE_6:
        folder = workdir / folder_of(row)
        resolved = row_config(config, row)
        if "train" not in parts and not _is_trained(resolved, folder):
            print(f"{experiment.name}: {folder}/ is not fully trained; left out.")
            continue
        merits, left = None, parts
        if "evaluate" in parts:
            merits = _evaluated(resolved, folder)
        if merits is not None:
            left = tuple(part for part in parts if part != "evaluate")
        start = None
        if warm is not None:
            start = functools.partial(with_networks, warm=warm)
        _, new = run_model(experiment, resolved, folder, left, resources, start=start)
        if "evaluate" in parts:
            found[folder.name] = [merits or new]
            summarise(workdir, found)


def folder_of(row: Row) -> str:
    """Name a row's folder."""
    return f"M{row[0]}-Na{row[1]}"


def row_config(config: VaellsConfig, row: Row) -> VaellsConfig:
    """Return the configuration with a row's M and N_a."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, num_operators=row[0]),
        data=dataclasses.replace(config.data, anchors_per_class=row[1]),
    )


def _warm_up(experiment, config, folder, resources) -> TrainState:
    """Train the warm-up that the rows share, or restore its end."""
    print(f"{experiment.name}: the warm-up that all rows share, in {folder}/")
    steps = config.schedule.warm_up_steps
    schedule = dataclasses.replace(config.schedule, steps=steps)
    config = dataclasses.replace(config, schedule=schedule)
    data = experiment.prepare(config)
    train_or_restore(config, data, folder, resources=resources)
    template = recipe(config, data).start(run_keys(config.seed).start)
    return Checkpoints(folder / CHECKPOINTS, writer=False).restore(template)


def _evaluated(config, folder) -> Merits | None:
    """Return a row's results, if they are of its last step and these settings."""
    path = folder / "results.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    wanted = config.schedule.steps, dataclasses.asdict(config.evaluation)
    found = record["step"], record.get("evaluation")
    return record["results"] if found == wanted else None


def _is_trained(config, folder):
    """Say whether a row's newest checkpoint is its schedule's last."""
    checkpoints = Checkpoints(folder / CHECKPOINTS, writer=False)
    return checkpoints.latest_step() == config.schedule.steps


def with_networks(state: TrainState, warm: TrainState) -> TrainState:
    """Return a state whose networks, their optimiser and the step are another's."""
    groups = {
        **state.opt_state.inner_states,
        "networks": warm.opt_state.inner_states["networks"],
    }
    return state.replace(  # type: ignore[attr-defined]
        step=warm.step,
        params=state.params._replace(
            encoder=warm.params.encoder, decoder=warm.params.decoder
        ),
        opt_state=state.opt_state._replace(inner_states=groups),
    )
