"""What a run found, written to `results.json` and printed beside the paper's values."""

import dataclasses
import pathlib
import platform
from typing import Any

import jax
import numpy as np

from experiments.problem import Run
from experiments.records import MetricsLog, write_json


def report(run: Run, results: dict[str, Any]) -> None:
    """Write `results.json` and print it beside the paper's values."""
    config = run.problem.config
    last = MetricsLog.last(run.workdir / "metrics.jsonl")
    record = {
        "experiment": config.experiment,
        "preset": config.preset,
        "dataset": config.data.dataset,
        "seed": config.seed,
        "weights": run.source or "trained here",
        "step": None if run.state.step is None else int(run.state.step),
        "latent_scale": float(run.state.params.latent_scale),
        "training_seconds": last["elapsed"] if last else None,
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
