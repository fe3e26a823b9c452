"""Measure the coefficient search against its peers: table, JSON and plot.

    python -m benchmarks.inference_throughput --output results/inference

The authors' algorithm runs in the same process on the same problems, and every quality
is a share of pairs against it. Speeds are medians of repeated calls after a warm-up;
compile time is apart. Other work on the machine moves absolute speeds: compare ratios,
or the speeds per second of processor time. Between machines compare "kFLOP": what one
pair costs in operations at the rate of this machine's matrix products.
"""

import argparse
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from benchmarks.measure import describe_machine, measure, repeat
from benchmarks.peers import conjugate_gradients, lbfgs_of_optax
from benchmarks.problems import (
    FAMILIES,
    NATURAL,
    PairProblems,
    draw_problems,
    load_reference,
)
from benchmarks.report import (
    batch_exponent,
    plot_axes,
    print_against,
    print_table,
)

# Seeds 0 and 1 chose the search's constants; reports use the others.
HELD_OUT_SEED = 10


def our_search(**settings):
    """Return our search as a function of operators, start and end."""
    from vaells_jax.inference import InferenceOptions, infer_coefficients

    options = InferenceOptions(**settings)
    key = jax.random.key(HELD_OUT_SEED)
    return lambda *problem: (
        infer_coefficients(key, *problem, options=options).coefficients
    )


SOLVERS: dict[str, Callable[[], Callable]] = {
    "local": lambda: our_search(),
    **{
        f"local, {count} restarts": functools.partial(our_search, restarts=count)
        for count in (1, 2, 4, 8)
    },
    "global": lambda: our_search(search="global"),
    "jaxopt L-BFGS": lambda: our_search(solver="lbfgs"),
    "optax L-BFGS": lambda: lbfgs_of_optax(jax.random.key(HELD_OUT_SEED)),
}


class Session:
    """The rows measured so far, written out after each so that none is lost."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.rows: list[dict] = []
        self.authors: dict[str, float] = {}

    def judge(self, name, problems, pairs) -> tuple[PairProblems, np.ndarray]:
        """Run the authors' algorithm on the first pairs, on one core."""
        first = repeat(problems, min(pairs, len(problems.start)))
        began, began_cpu = time.perf_counter(), time.process_time()
        found, reached = conjugate_gradients(first, np.random.default_rng(1))
        speed = len(reached) / (time.perf_counter() - began)
        cpu_speed = len(reached) / (time.process_time() - began_cpu)
        self.add(
            {
                "solver": "authors' (SciPy CG)",
                "family": name,
                "batch": len(reached),
                "pairs_per_second": speed,
                "pairs_per_cpu_second": cpu_speed,
                "within_authors": 1.0,
                "mean_objective": float(reached.mean()),
                "authors_mean_objective": float(reached.mean()),
                "mean_l1": float(np.abs(found).sum(axis=1).mean()),
            }
        )
        self.authors[name] = speed
        return first, reached

    def run(
        self, solver, name, problems, judged, batch, axis="families", *,
        place=None, devices=None,
    ):  # fmt: skip
        """Measure one solver on one batch, at one place of an axis."""
        batched = repeat(problems, batch)
        if judged is not None:
            judged = judged[np.arange(batch) % len(judged)]
        row = {"solver": solver, "family": name, "axis": axis, "batch": batch}
        measured = measure(
            SOLVERS[solver](), batched, judged, self.arguments.repeats, devices
        )
        ratio = self.ratio(name, measured)
        self.add(row | {"place": place} | measured | {"ratio": ratio})

    def ratio(self, name, measured) -> float | None:
        """Return the speed in units of the authors' algorithm on these problems."""
        authors = self.authors.get(name)
        return measured["pairs_per_second"] / authors if authors else None

    def add(self, row: dict):
        """Record a row: on the screen and in the file."""
        self.rows.append(row)
        print_table([row], header=len(self.rows) == 1)
        output = self.arguments.output
        output.mkdir(parents=True, exist_ok=True)
        report = {"machine": describe_machine(), "rows": self.rows}
        (output / "inference.json").write_text(json.dumps(report, indent=1))


def run_families(session, arguments):
    """Compare the solvers on every family of problems, on held-out seeds."""
    for name in arguments.family or FAMILIES:
        family = FAMILIES[name]
        for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + arguments.seeds):
            drawn = draw_problems(family, arguments.judged, seed)
            label = f"{name}/{seed}"
            problems, judged = session.judge(label, drawn, arguments.judged)
            for solver in ("local", "global"):
                session.run(solver, label, problems, judged, arguments.batch)
            if seed == HELD_OUT_SEED:
                session.run("local", label, problems, judged, 288, axis="training step")


def run_peers(session, arguments):
    """Compare with general solvers, on batches that they finish in seconds."""
    drawn = draw_problems(NATURAL, arguments.judged, HELD_OUT_SEED)
    problems, judged = session.judge("natural/peers", drawn, arguments.judged)
    for solver in ("local", "local, 4 restarts", "jaxopt L-BFGS", "optax L-BFGS"):
        session.run(solver, "natural/peers", problems, judged, 512, axis="peers")


def run_reference(session, arguments):
    """Compare on the recorded pairs, against the objectives recorded with them."""
    path = arguments.reference / "natural_mnist.npz"
    if path.exists():
        problems, judged = load_reference(path)
        for solver in ("local", "global", "jaxopt L-BFGS"):
            session.run(solver, "reference", problems, judged, len(judged), "reference")
        # The first half served to tune the search.
        problems = problems._replace(start=problems.start[100:], end=problems.end[100:])
        for solver in ("local", "global"):
            session.run(
                solver, "reference/held out", problems, judged[100:], 100, "reference"
            )


def run_axes(session, arguments):
    """Measure the local search's cost against batch, M, d, restarts and devices."""

    def run(axis, place, family=NATURAL, batch=1024, solver="local", **settings):
        drawn = draw_problems(family, min(batch, 4096), HELD_OUT_SEED)
        session.run(
            solver, "natural", drawn, None, batch, axis, place=place, **settings
        )

    for batch in arguments.batches:
        run("batch", batch, batch=batch)
    for count in (1, 2, 4, 8, 16):
        run("operators M", count, dataclasses.replace(NATURAL, count=count))
    for dim in (2, 4, 6, 10, 16):
        run("latent size d", dim, dataclasses.replace(NATURAL, dim=dim))
    for restarts in (1, 2, 4, 8):
        run("restarts", restarts, solver=f"local, {restarts} restarts")
    for devices in range(1, len(jax.devices()) + 1):
        run("devices", devices, batch=arguments.batch, devices=devices)
    print(f"cost grows as batch^{batch_exponent(session.rows):.3f} from 1,024 pairs on")


PARTS = {
    "families": run_families,
    "reference": run_reference,
    "axes": run_axes,
    "peers": run_peers,
}


def parse_arguments(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("results/inference"))
    parser.add_argument("--against", type=Path, help="an earlier JSON to compare with")
    parser.add_argument("--only", choices=PARTS, action="append", help="some parts")
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--batch", type=int, default=16384)
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[288] + [4**n for n in range(5, 11)],
        help="places of the batch axis",
    )
    parser.add_argument(
        "--judged", type=int, default=200, help="pairs for the authors'"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--devices", type=int, default=os.cpu_count())
    parser.add_argument("--reference", type=Path, default=Path("../shared/reference"))
    parser.add_argument("--float64", action="store_true")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Measure, print, write."""
    arguments = parse_arguments(arguments)
    # Shows the CPU's cores to JAX as devices, over which large batches are spread.
    jax.config.update("jax_num_cpu_devices", arguments.devices)
    if arguments.float64:
        jax.config.update("jax_enable_x64", True)
    machine = describe_machine()
    print(
        f"{machine['processor']}; {len(machine['devices'])} of {machine['cores']} "
        f"cores; jax {machine['jax']}; matrix products {machine['peak_gflops']:.0f} "
        "GFLOP/s"
    )
    session = Session(arguments)
    for part in arguments.only or PARTS:
        PARTS[part](session, arguments)
    plot_axes(session.rows, arguments.output / "inference.png")
    if arguments.against:
        print_against(session.rows, json.loads(arguments.against.read_text())["rows"])


if __name__ == "__main__":
    main()
