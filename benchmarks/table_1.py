"""Table 1 with numbers: every model on the swiss roll, the circles and rotated digits.

python -m benchmarks.table_1 --seeds 5
"""

import json
import pathlib
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.figure import Figure

from experiments import concentric_circles, rotated_mnist, swiss_roll
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.canvas import (
    BLUE,
    LABEL_SIZE,
    PAGE_WIDTH,
    new_figure,
    plain_axes,
)
from vaells_jax.runs.main import main as run_experiment
from vaells_jax.runs.records import write_json
from vaells_jax.runs.results import markdown, spread
from vaells_jax.runs.run import TITLES

EXPERIMENTS = {
    "swiss_roll": swiss_roll.EXPERIMENT,
    "concentric_circles": concentric_circles.EXPERIMENT,
    "rotated_mnist": rotated_mnist.EXPERIMENT,
}

WORDS = {
    "vae": ("no", "linear", "no"),
    "hyperspherical": ("no", "geodesic", "no"),
    "delta": ("no", "no", "no"),
    "lie": ("no", "nonlinear", "no"),
    "vampprior": ("yes", "no", "no"),
    "vdae": ("yes", "linear", "no"),
    "r": ("yes", "nonlinear", "no"),
    "vaells": ("yes", "nonlinear", "yes"),
}
"""Adaptive prior, paths and class separation in the paper's Table 1."""

COLUMNS = {
    "prior_precision": "prior: precision",
    "prior_coverage": "prior: coverage",
    "path_error": "own paths: error",
    "path_mse": "own paths: error",
    "linear_path_error": "linear paths: error",
    "class_separation": "classes apart: latents",
    "path_class_preservation": "classes apart: own paths",
    "identity_along_paths": "classes apart: own paths",
    "log_marginal_likelihood": "own log p(x) [nats]",
    "training_seconds": "training [s]",
}
"""What stands in the paper's places, by the names of `results.json`."""

Values = dict[str, dict[str, list[float]]]
"""A figure for each seed, by its name and the model's."""


def main(
    workdir: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/table_1"
    ),
    seeds: int = 5,
    preset: Literal["tuned", "quick", "paper"] = "tuned",
    experiments: tuple[str, ...] = tuple(EXPERIMENTS),
) -> int:
    """Train, measure and draw every model; resume where it stopped.

    Args:
        workdir: Gets a folder for each experiment, table_1.md, table_1.json and a
            figure for each experiment.
        seeds: Seeds of each model.
        preset: Which of each experiment's presets.
        experiments: Which of them.
    """
    record, text = {}, ""
    for name in experiments:
        folder = workdir / name
        line = ["--preset", preset, "--model", "all", "--seeds", str(seeds)]
        status = run_experiment(EXPERIMENTS[name], [*line, "--workdir", str(folder)])
        if status:
            return status
        record[name] = gather(folder)
        text += f"## {_title(name)}\n\n{table(record[name])}\n"
        save_figure(figure(record[name], name), workdir / f"{name}.png")
    write_json(workdir / "table_1.json", record)
    (workdir / "table_1.md").write_text(text)
    print(text)
    return 0


def gather(folder: pathlib.Path) -> Values:
    """Collect the table's figures from the `results.json` of each seed and model."""
    found: Values = {}
    for model in TITLES:
        for path in sorted(folder.glob(f"seed-*/{model}/results.json")):
            record = json.loads(path.read_text())
            results = {name: m["value"] for name, m in record["results"].items()}
            results["training_seconds"] = record["training_seconds"]
            for name in COLUMNS:
                if results.get(name) is not None:
                    row = found.setdefault(name, {}).setdefault(model, [])
                    row.append(float(results[name]))
    return found


def table(values: Values) -> str:
    """Lay the figures out as Markdown: median (least to most), a row a model."""
    heads = ["", "the paper: prior, paths, classes"]
    rows = []
    for model in _models(values):
        words = ", ".join(WORDS.get(model, ("not included",)))
        cells = (spread(row[model]) if model in row else "" for row in values.values())
        rows.append([TITLES[model], words, *cells])
    return markdown([*heads, *(COLUMNS[name] for name in values)], rows)


def figure(values: Values, name: str) -> Figure:
    """Draw every figure as a panel: each seed a dot, their median a bar."""
    models = _models(values)
    columns = 3  # panels in a row
    rows = -(-len(values) // columns)
    height = 0.7 + rows * (0.5 + 0.2 * len(models))
    drawn = new_figure(PAGE_WIDTH, height, f"Table 1 with numbers: {_title(name)}")
    grid = drawn.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[len(values) :]:
        axes.set_visible(False)
    for axes, (column, row) in zip(grid, values.items(), strict=False):
        for place, model in enumerate(models):
            found = row.get(model, [])
            axes.plot(found, [place] * len(found), "o", color=BLUE, ms=3, alpha=0.6)
            if found:
                axes.plot(np.median(found), place, "|", color="black", ms=11, mew=2)
        axes.set_title(COLUMNS[column], fontsize=LABEL_SIZE)
        axes.set_yticks(range(len(models)), [TITLES[m] for m in models])
        plain_axes(axes)
    grid[0].invert_yaxis()
    return drawn


def _title(name: str) -> str:
    """Return an experiment's name as it is written in text."""
    return name.replace("_", " ").replace("mnist", "MNIST")


def _models(values: Values) -> list[str]:
    """Return the models that have a figure, in the order of the figures."""
    return [m for m in TITLES if any(m in row for row in values.values())]


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main, prog="python -m benchmarks.table_1"))
