"""Time and quality of a search."""

import functools
import os
import platform
import resource
import time
from pathlib import Path

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
        run: A search of whole batches.
        problems: The batch.
        judged: Objectives of the authors' algorithm for the batch's first pairs, or
            None to compare with nothing.
        repeats: Timed calls after the first one.
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
        "peak_kflop_per_pair": 1e6 * peak_gflops() * middle / len(problems.start),
        "pairs_per_cpu_second": len(problems.start) / float(np.median(cpu_seconds)),
        "seconds": seconds,
        **compared,
        "mean_objective": float(reached.mean()),
        "mean_l1": float(np.abs(coefficients).sum(axis=1).mean()),
        "compile_seconds": max(first - middle, 0.0),
        "process_peak_mib": peak,
    }


@functools.cache
def peak_gflops() -> float:
    """Return the rate of large matrix products on all cores, 10^9 operations a second.

    It is the machine's measured peak, so that speeds of two machines compare: what a
    pair costs in operations at that rate depends little on how fast the machine is.
    """
    size, calls = 2048, 10
    dtype = np.float64 if jax.config.read("jax_enable_x64") else np.float32
    draw = np.random.default_rng(0).standard_normal
    a, b = (jax.numpy.asarray(draw((size, size)), dtype) for _ in range(2))
    product = jax.jit(jax.numpy.matmul)
    jax.block_until_ready(product(a, b))
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        jax.block_until_ready(product(a, b))
        seconds.append(time.perf_counter() - began)
    return 2e-9 * size**3 / min(seconds)


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    known = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    name = known.get("model name", platform.processor() or platform.machine()).strip()
    family = [f"{word} {known[word].strip()}" for word in ("cpu family", "model")
              if word in known]  # fmt: skip
    wide = ["AVX-512"] if "avx512f" in known.get("flags", "") else []
    return ", ".join([name, *family, *wide])


def describe_machine() -> dict:
    """Return the versions and devices that the numbers belong to."""
    return {
        "processor": processor(),
        "peak_gflops": peak_gflops(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "devices": [str(d) for d in jax.devices()],
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "float64": bool(jax.config.read("jax_enable_x64")),
    }
