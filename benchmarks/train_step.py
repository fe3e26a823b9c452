"""Measure the train step of each experiment, and how its time is spent.

    python -m benchmarks.train_step --output results/train_step.json

For each phase: steps a second, and the milliseconds of a step in the coefficient
searches (both calls of `infer_coefficients`, on the step's own paths), in the networks
(one warm-up step: encoder, decoder, their gradients and Adam) and in the rest, which is
what remains. Medians after a warm-up call; compile time is apart.
"""

import argparse
import dataclasses
import functools
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.measure import describe_machine
from vaells_jax import infer_coefficients
from vaells_jax.model.paths import Model, Paths, infer_paths
from vaells_jax.runs.config import VaellsConfig
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.models import recipe
from vaells_jax.runs.run import run_keys
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import make_train_step

EXPERIMENTS = ("natural_mnist", "rotated_mnist", "swiss_roll", "concentric_circles")


def median_seconds(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return the first call's seconds, and the median of `repeats` calls after it."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return seconds[0], float(np.median(seconds[1:]))


@functools.partial(jax.jit, static_argnames="model")
def search_again(key: jax.Array, operators: jax.Array, paths: Paths, *, model: Model):
    """Search all of a step's paths once more: the same two calls, the same points."""
    own_key, prior_key = jax.random.split(key)
    own = infer_coefficients(
        own_key,
        operators,
        paths.latent_means[:, None, :],
        paths.latents,
        options=model.posterior_search,
    )
    prior = infer_coefficients(
        prior_key,
        operators,
        paths.anchor_means,
        paths.latents[:, :, None, :],
        options=model.prior_search,
    )
    return own, prior


def measure_experiment(experiment: Experiment, repeats: int) -> list[dict]:
    """Time every phase of an experiment's default preset at its first step."""
    config = next(iter(experiment.presets.values()))
    assert isinstance(config, VaellsConfig)
    if config.experiment.endswith("mnist"):  # times do not depend on the digits
        data = dataclasses.replace(config.data, dataset="mnist_5k")
        config = dataclasses.replace(config, data=data)
    run_data, keys = experiment.prepare(config), run_keys(config.seed)
    plan = recipe(config, run_data)
    model, key = plan.model, keys.steps
    batch = run_data.next_batch(config.schedule.warm_up_steps)  # with its anchors

    every = dataclasses.replace(model, closest_anchor=False)
    infer = jax.jit(functools.partial(infer_paths, model=every, weights=config.weights))
    params = plan.start(keys.start).params
    paths = infer(params, key, batch)
    searches = paths.posterior_coefficients.size + paths.prior_coefficients.size
    searches //= params.operators.shape[0]
    _, search = median_seconds(
        lambda: search_again(key, params.operators, paths, model=model), repeats
    )
    alternating = config.schedule.network_steps > 0
    phases: tuple[Phase, ...] = ("network", "operators") if alternating else ("joint",)
    times = {}
    for phase in ("warm_up", *phases):
        step = make_train_step(
            model=model,
            weights=config.weights,
            schedule=config.schedule,
            optimizer=config.optimizer,
            phase=phase,
        )
        state = plan.start(jax.random.clone(keys.start))

        def call(step=step):
            nonlocal state
            state, metrics = step(state, key, batch)
            return metrics

        times[phase] = median_seconds(call, repeats)
    rows = []
    for phase, (first, seconds) in times.items():
        row = {
            "experiment": experiment.name,
            "phase": phase,
            "steps_per_second": 1 / seconds,
            "step_ms": 1e3 * seconds,
            "compile_seconds": first - seconds,
        }
        if phase != "warm_up":
            row |= {
                "searches": int(searches),
                "search_ms": 1e3 * search,
                "networks_ms": 1e3 * times["warm_up"][1],
                "rest_ms": 1e3 * (seconds - search - times["warm_up"][1]),
            }
        rows.append(row)
    return rows


def print_rows(rows: list[dict]) -> None:
    """Print one line for each phase."""
    for row in rows:
        parts = "".join(
            f"  {name} {row[f'{name}_ms']:7.2f}"
            for name in ("search", "networks", "rest")
            if f"{name}_ms" in row
        )
        print(
            f"{row['experiment']:<20} {row['phase']:<10} "
            f"{row['steps_per_second']:8.1f} steps/s  {row['step_ms']:7.2f} ms{parts}",
            flush=True,
        )


def main() -> None:
    """Measure, print and write what was asked for."""
    parser = argparse.ArgumentParser(
        description="Time the train step of each experiment, split into searches, "
        "networks and the rest (which a phase without network gradients can make "
        "negative: it is what a full network step would leave).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS,
        help="which experiments to time",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=20, help="timed steps a phase")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    arguments = parser.parse_args()
    rows: list[dict] = []
    for name in arguments.experiments:
        module = importlib.import_module(f"experiments.{name}")
        found = measure_experiment(module.EXPERIMENT, arguments.repeats)
        print_rows(found)
        rows += found
    if arguments.output is not None:
        report = {"machine": describe_machine(), "rows": rows}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
