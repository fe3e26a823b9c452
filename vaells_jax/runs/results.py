"""Figures of merit, written to `results.json` and printed beside the paper's values."""

import dataclasses
import pathlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import MetricsLog, write_json
from vaells_jax.runs.run import Run

SHOWN = 8
"""Numbers of a list that are printed."""


def report(run: Run, merits: Merits) -> None:
    """Write a run's `results.json`, and print it beside the paper's values."""
    config = run.config
    last = MetricsLog.last(run.workdir / "metrics.jsonl")
    record = {
        "experiment": config.experiment,
        "preset": config.preset,
        "model": run.model,
        "dataset": run.data.name,
        "seed": config.seed,
        "weights": run.weights or "trained here",
        "step": run.step,
        "latent_scale": run.latent_scale,
        "training_seconds": last["elapsed"] if last else None,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "evaluation": dataclasses.asdict(config.evaluation),
        "results": merits,
    }
    write_json(run.workdir / "results.json", record)
    for name, found in merits.items():
        paper = found.get("paper")
        beside = "" if paper is None else f"   (paper: {paper:.4g})"
        print(f"  {name} = {shown(found['value'])}{beside}")


def summarise(folder: pathlib.Path, found: Mapping[str, Sequence[Merits]]) -> None:
    """Write and print each figure of merit of several models or seeds.

    Args:
        folder: Where `results.json` and `results.md` go.
        found: The figures of merit of each seed, by model.
    """
    results: dict[str, Any] = {}
    for model, seeds in found.items():
        for name, values in _numbers(seeds):
            first = seeds[0][name]
            results.setdefault(name, {})[model] = {
                "median": float(np.median(values)),
                "mean": float(np.mean(values)),
                "std": float(np.std(values)) if np.isfinite(sum(values)) else np.nan,
                "values": values,
                "standard_error": first.get("standard_error"),
                "paper": first.get("paper"),
                "meaning": first["meaning"],
            }
    count = len(next(iter(found.values())))
    write_json(folder / "results.json", {"seeds": count, "results": results})
    rows = [
        [name.replace("_", " "), *(_cell(row.get(model)) for model in found)]
        for name, row in results.items()
    ]
    text = markdown(["", *found], rows)
    (folder / "results.md").write_text(text)
    print(f"{count} seed(s), median (least to most); {folder}/results.json\n{text}")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out as a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def spread(values: Sequence[int | float]) -> str:
    """Show a median and, of several values, how far they are apart."""
    median = f"{np.median(values):.4g}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.4g} to {max(values):.4g})"


def _numbers(seeds: Sequence[Merits]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each figure that is one number, with its values over the seeds."""
    for name, first in seeds[0].items():
        if isinstance(first["value"], int | float):
            yield name, [merits[name]["value"] for merits in seeds]


def _cell(entry: Mapping[str, Any] | None) -> str:
    """Show a median, how far the seeds are apart, and the paper's value."""
    if entry is None:
        return ""
    values, paper = entry["values"], entry["paper"]
    cell = spread(values)
    if len(values) == 1 and entry["standard_error"] is not None:
        cell += f" ± {entry['standard_error']:.1g}"
    return cell if paper is None else f"{cell}; paper {paper:.4g}"


def shown(value: Any) -> str:
    """Show a figure of merit in a few words; long lists are left to the file."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, list | tuple):
        return str(value)
    if len(value) > SHOWN or any(isinstance(x, list | tuple | dict) for x in value):
        return f"{len(value)} entries, in results.json"
    return f"[{', '.join(map(shown, value))}]"
