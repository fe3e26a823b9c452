"""The table of Fig. 6: models of several sizes that share one warm-up.

The warm-up trains the networks alone, by reconstruction; operators and anchors keep the
numbers that they were drawn with. So its end serves every row, whatever the row's
number of operators (M) and of anchors a class (N_a).
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax

from experiments.digits.likelihoods import FIGURE_6
from vaells_jax.model.published import load_published
from vaells_jax.model.types import Params
from vaells_jax.runs.config import VaellsConfig
from vaells_jax.runs.devices import Resources
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.folder import CHECKPOINTS
from vaells_jax.runs.main import run_model
from vaells_jax.runs.models import recipe
from vaells_jax.runs.records import write_json
from vaells_jax.runs.results import markdown
from vaells_jax.runs.run import run_keys
from vaells_jax.runs.train import train_or_restore
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.step import TrainState

Row = tuple[int, int]  # M, N_a


def published(path: pathlib.Path, config: VaellsConfig) -> tuple[VaellsConfig, Params]:
    """Read published weights; their sizes go into the configuration.

    Raises:
        ValueError: If they are not those of a convolutional pair for ten digits.
    """
    params = load_published(path)
    anchors = params.anchors
    if anchors is None or anchors.shape[2:] != (28, 28):
        raise ValueError(f"{path} holds no model of images, with anchors of 28x28.")
    num_operators, latent_size, _ = params.operators.shape
    model = dataclasses.replace(
        config.model, num_operators=num_operators, latent_size=latent_size
    )
    data = dataclasses.replace(config.data, anchors_per_class=anchors.shape[1])
    return dataclasses.replace(config, model=model, data=data), params


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
        raise ValueError("--table wants a single host.")
    warm = None
    if "train" in parts and config.schedule.warm_up_steps:
        warm = _warm_up(experiment, config, workdir / "warm_up", resources)
    for row in FIGURE_6:
        folder = workdir / folder_of(row)
        resolved = row_config(config, row)
        if "train" not in parts and not _is_trained(resolved, folder):
            print(f"{experiment.name}: {folder}/ is not trained to its end; left out.")
            continue
        left = parts
        if "evaluate" in parts and _is_evaluated(resolved, folder):
            left = tuple(part for part in parts if part != "evaluate")
        start = None
        if warm is not None:
            start = functools.partial(with_networks, warm=warm)
        run_model(experiment, resolved, folder, left, resources, workdir, start)
        if "evaluate" in parts:
            write_table(workdir)


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


def _is_evaluated(config, folder):
    """Say whether a row's results are those of its last step and these settings."""
    path = folder / "results.json"
    if not path.exists():
        return False
    record = json.loads(path.read_text())
    wanted = config.schedule.steps, dataclasses.asdict(config.evaluation)
    return (record["step"], record.get("evaluation")) == wanted


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


COLUMNS = {
    "log_likelihood": "LL, paper's estimator [nats]",
    "log_marginal_likelihood": "log p(x), lower bound [nats]",
    "mse": "MSE",
}
"""Figures of merit that the table shows, with their headings."""


def write_table(workdir: pathlib.Path) -> None:
    """Write and print `table.json` and `table.md` of the rows evaluated so far."""
    rows = {}
    for row in FIGURE_6:
        path = workdir / folder_of(row) / "results.json"
        if path.exists():
            rows[row] = json.loads(path.read_text())
    records = [
        {
            "num_operators": row[0],
            "anchors_per_class": row[1],
            "folder": folder_of(row),
            "step": record["step"],
            "results": record["results"],
        }
        for row, record in rows.items()
    ]
    any_row: dict[str, Any] = next(iter(rows.values()))
    head = {name: any_row[name] for name in ("dataset", "preset", "seed")}
    write_json(workdir / "table.json", {**head, "rows": records})
    text = table_text(records, head)
    (workdir / "table.md").write_text(text)
    print(f"\n{text}\n  {workdir}/table.json, table.md")


def table_text(records: list[dict[str, Any]], head: dict[str, Any]) -> str:
    """Lay the rows out as Markdown: ours with standard errors, the paper's beside."""
    names = [name for name in COLUMNS if name in records[0]["results"]]
    heads = ["M", "N_a"]
    for name in names:
        heads += [COLUMNS[name], "paper"]
    rows = []
    for record in records:
        cells = [str(record["num_operators"]), str(record["anchors_per_class"])]
        for name in names:
            cells += _cells(name, record["results"][name])
        rows.append(cells)
    title = f"Data set {head['dataset']}, preset {head['preset']}, seed {head['seed']}."
    return f"{title}\n\n{markdown(heads, rows)}"


def _cells(name, result):
    """Format a value with its standard error, and the paper's or a dash."""
    digits = 4 if name == "mse" else 1
    value = f"{result['value']:.{digits}f}"
    error = result.get("standard_error")
    # An error's first digits count, a value's those that its error leaves.
    own = value if error is None else f"{value} +- {error:.{digits}{'f'}}"
    paper = result.get("paper")
    return own, "-" if paper is None else f"{paper:.{digits}f}"
