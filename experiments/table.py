"""The table of Fig. 6: models of several sizes that share one warm-up.

The warm-up trains the networks alone, by reconstruction; operators and anchors keep the
numbers that they were drawn with. So its end serves every row, whatever the row's
number of operators (M) and of anchors a class (N_a).
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax

from experiments.config import ExperimentConfig
from experiments.devices import Resources
from experiments.problem import Experiment, first_state
from experiments.records import write_json
from experiments.runner import run_seed
from experiments.training import train_or_restore
from experiments.workdir import claim_workdir
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.step import TrainState

Row = tuple[int, int]  # M, N_a
Paper = Mapping[Row, Mapping[str, float]]


def run_table(
    experiment: Experiment,
    config: ExperimentConfig,
    workdir: pathlib.Path,
    parts: tuple[str, ...],
    resources: Resources,
    paper: Paper,
) -> None:
    """Train, evaluate and draw each row of the table; go on where it stopped.

    Args:
        experiment: Whose table it is.
        config: The configuration; M and N_a are the rows'.
        workdir: Gets the folder `warm_up`, one folder a row, and the table.
        parts: Which of train, evaluate and figures to do.
        resources: The devices, of one host.
        paper: The paper's values of each row.

    Raises:
        ValueError: If a folder holds another configuration, or there are several
            hosts.

    Note:
        Without training, rows that are not trained to their end are left out.
    """
    if jax.process_count() > 1:
        raise ValueError("--table wants a single host.")
    warm = _warm_up(
        experiment, config, workdir / "warm_up", "train" in parts, resources
    )
    for row in paper:
        folder = workdir / folder_of(row)
        resolved = row_config(config, row)
        if warm is not None:
            _start_from(warm, experiment, resolved, folder)
        elif "train" not in parts and not _is_trained(resolved, folder):
            print(f"{experiment.name}: {folder}/ is not trained to its end; left out.")
            continue
        _share_judge(workdir, folder)
        left = parts
        if "evaluate" in parts and _is_evaluated(resolved, folder):
            left = tuple(part for part in parts if part != "evaluate")
        run_seed(experiment, resolved, folder, left, resources)
        if "evaluate" in parts:
            write_table(workdir, paper)


def folder_of(row: Row) -> str:
    """Name a row's folder."""
    return f"M{row[0]}-Na{row[1]}"


def row_config(config: ExperimentConfig, row: Row) -> ExperimentConfig:
    """Return the configuration with a row's M and N_a."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, num_operators=row[0]),
        data=dataclasses.replace(config.data, anchors_per_class=row[1]),
    )


def _warm_up(experiment, config, folder, train, resources) -> TrainState | None:
    """Train the warm-up that the rows share, or restore its end."""
    steps = config.schedule.warm_up_steps
    if not train or steps == 0:
        return None
    schedule = dataclasses.replace(config.schedule, steps=steps)
    problem = experiment.prepare(dataclasses.replace(config, schedule=schedule))
    claim_workdir(folder, problem.config)
    print(f"{experiment.name}: the warm-up that all rows share, in {folder}/")
    return train_or_restore(problem, folder, train=True, resources=resources).state


def _start_from(warm, experiment, config, folder):
    """Make the warm-up's end a row's first checkpoint, unless the row has begun."""
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.latest_step() is None:
        problem = experiment.prepare(config)
        claim_workdir(folder, problem.config)
        checkpoints.save(with_networks(first_state(problem), warm))
    checkpoints.close()


def _is_evaluated(config, folder):
    """Say whether a row's results are those of its last step and these settings."""
    path = folder / "results.json"
    if not path.exists():
        return False
    record = json.loads(path.read_text())
    wanted = config.schedule.steps, dataclasses.asdict(config.evaluation)
    return (record["step"], record.get("evaluation")) == wanted


def _share_judge(workdir, folder):
    """Copy the classifier that another row has trained: it knows the digits alone."""
    found = sorted(workdir.glob("*/classifier.npz"))
    if found and not (folder / "classifier.npz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(found[0], folder / "classifier.npz")


def _is_trained(config, folder):
    """Say whether a row's newest checkpoint is its schedule's last."""
    if not (folder / "checkpoints").exists():
        return False
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.latest_step()
    checkpoints.close()
    return step == config.schedule.steps


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
    "log_likelihood_consistent": "log p(x), lower bound [nats]",
    "mse": "MSE",
}
"""Figures of merit that the table shows, with their headings."""


def write_table(workdir: pathlib.Path, paper: Paper) -> None:
    """Write and print `table.json` and `table.md` of the rows evaluated so far."""
    rows = {}
    for row in paper:
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
    text = markdown(records, head)
    (workdir / "table.md").write_text(text)
    print(f"\n{text}\n  {workdir}/table.json, table.md")


def markdown(records: list[dict[str, Any]], head: dict[str, Any]) -> str:
    """Lay the rows out as Markdown: ours with standard errors, the paper's beside."""
    names = [name for name in COLUMNS if name in records[0]["results"]]
    heads, rule = ["M", "N_a"], ["---", "---"]
    for name in names:
        heads += [COLUMNS[name], "paper"]
        rule += ["---", "---"]
    lines = [_line(heads), _line(rule)]
    for record in records:
        cells = [str(record["num_operators"]), str(record["anchors_per_class"])]
        for name in names:
            cells += _cells(name, record["results"][name])
        lines.append(_line(cells))
    title = f"Data set {head['dataset']}, preset {head['preset']}, seed {head['seed']}."
    return "\n".join([title, "", *lines, ""])


def _cells(name, result):
    """Format a value with its standard error, and the paper's or a dash."""
    digits = 4 if name == "mse" else 1
    value = f"{result['value']:.{digits}f}"
    error = result.get("standard_error")
    # An error's first digits count, a value's those that its error leaves.
    own = value if error is None else f"{value} +- {error:.{digits}{'f'}}"
    paper = result.get("paper")
    return own, "-" if paper is None else f"{paper:.{digits}f}"


def _line(cells):
    return "| " + " | ".join(cells) + " |"
