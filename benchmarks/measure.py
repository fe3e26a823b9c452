"""Time a search and judge what it finds."""

import os
import platform
import resource
import time

import jax
import numpy as np

from benchmarks.peers import objective
from benchmarks.problems import PairProblems

# A pair is as good as the authors' if its objective is no more than this above theirs.
TOLERANCE = 1e-4


def repeat(problems: PairProblems, pairs: int) -> PairProblems:
    """Repeat the problems up to a number of pairs."""
    index = np.arange(pairs) % len(problems.start)
    return problems._replace(start=problems.start[index], end=problems.end[index])


def measure(
    run, problems: PairProblems, judged: np.ndarray | None, repeats: int, devices=None
) -> dict:
    """Time `run(operators, start, end) -> coefficients`, and judge what it found.

    Args:
        run: a search of whole batches.
        problems: the batch.
        judged: objectives of the authors' algorithm for the batch's first pairs, or
            None to compare with nothing.
        repeats: timed calls after the first one.
        devices: 1 keeps the arrays, and so the search, on one device; otherwise the
            search spreads itself over all of them.
    """
    dtype = np.float64 if jax.config.read("jax_enable_x64") else np.float32
    arrays = [jax.numpy.asarray(np.asarray(x, dtype)) for x in problems]
    if devices == 1:
        arrays = jax.device_put(arrays, jax.devices()[0])
    began = time.perf_counter()
    jax.block_until_ready(run(*arrays))
    first = time.perf_counter() - began
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        began, began_cpu = time.perf_counter(), time.process_time()
        found = jax.block_until_ready(run(*arrays))
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - began_cpu)
    middle = float(np.median(seconds))
    n = len(problems.start) if judged is None else min(len(judged), len(problems.start))
    coefficients = np.asarray(found)[:n]
    reached = objective(
        problems.operators, problems.start[:n], problems.end[:n], coefficients
    )
    compared = {}
    if judged is not None:
        compared = {
            "within_authors": float(np.mean(reached <= judged[:n] + TOLERANCE)),
            "authors_mean_objective": float(judged[:n].mean()),
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "pairs_per_second": len(problems.start) / middle,
        "pairs_per_cpu_second": len(problems.start) / float(np.median(cpu_seconds)),
        "seconds": seconds,
        **compared,
        "mean_objective": float(reached.mean()),
        "mean_l1": float(np.abs(coefficients).sum(axis=1).mean()),
        "compile_seconds": max(first - middle, 0.0),
        "process_peak_mib": peak,
    }


def describe_machine() -> dict:
    """Return the versions and devices that the numbers belong to."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "devices": [str(d) for d in jax.devices()],
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "float64": bool(jax.config.read("jax_enable_x64")),
    }
