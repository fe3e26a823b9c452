"""Memory and speed of the circles' run, as long as one likes.

python -m tests.long_run --steps 50000
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import jax

from experiments import concentric_circles
from experiments.records import MetricsLog
from experiments.runner import main

PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident() -> float:
    """Return this process's resident memory in MiB (Linux)."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * PAGE


def follow(steps: int, every: int, workdir: str) -> list[dict]:
    """Train the circles and note memory, arrays and time every so many steps."""
    noted: list[dict] = []
    write = MetricsLog.write

    def noting(self, step, phase, elapsed, metrics):
        write(self, step, phase, elapsed, metrics)
        if step % every == 0 or step == steps:
            now = {"step": step, "MiB": round(resident(), 1)}
            now |= {"arrays": len(jax.live_arrays()), "s": round(time.monotonic(), 1)}
            noted.append(now)
            print(json.dumps(now), flush=True)

    MetricsLog.write = noting
    try:
        settings = {"schedule.steps": steps, "log.log_every": 10}
        main(
            concentric_circles.EXPERIMENT,
            ["--preset=tuned", "--only=train", f"--workdir={workdir}",
             *(f"--set={name}={value}" for name, value in settings.items())],
        )  # fmt: skip
    finally:
        MetricsLog.write = write
    return noted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noted = follow(arguments.steps, arguments.every, folder)
    first, last = noted[0], noted[-1]
    print(f"{last['MiB'] / first['MiB'] - 1:+.2%} from step {first['step']} on")
