"""Memory and speed of the circles' run, as long as one likes.

python -m tests.long_run --steps 50000

Steps leave nothing behind: without checkpoints 6,000 of them add 0.1 %. What grows is
what writing a checkpoint leaves: TensorStore 0.1.86, below Orbax, loses about 0.26 kB
in each `KvStore.Spec.to_json()` and more in its metrics, and the malloc of the threads
that write splits memory (with `MALLOC_ARENA_MAX=2` fifty checkpoints add 4 MiB instead
of 12). Fifty thousand steps with fifty checkpoints added 0.8 % to the memory after the
first checkpoint, 1.4 % to that before it.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import jax

from experiments import concentric_circles
from tests.runs.conftest import flags
from vaells_jax.runs.main import main
from vaells_jax.training.checkpoints import Checkpoints

PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident() -> float:
    """Return this process's resident memory in MiB (Linux)."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * PAGE


def follow(steps: int, every: int, workdir: str) -> list[dict]:
    """Train the circles and note memory, arrays and time at every checkpoint.

    The first checkpoint wakes Orbax's threads, so that each is measured before and
    after it is written, and compared with its like.
    """
    noted: list[dict] = []
    save = Checkpoints.save

    def noting(self, state):
        before = resident()
        save(self, state)
        now = {"step": int(state.step), "MiB": round(resident(), 1)}
        now |= {"before saving": round(before, 1), "arrays": len(jax.live_arrays())}
        noted.append(now | {"s": round(time.monotonic(), 1)})
        print(json.dumps(noted[-1]), flush=True)

    Checkpoints.save = noting
    try:
        settings = {"schedule.steps": steps, "log.save_every": every}
        main(
            concentric_circles.EXPERIMENT,
            ["--preset=tuned", "--only=train", f"--workdir={workdir}",
             *flags(settings)],
        )  # fmt: skip
    finally:
        Checkpoints.save = save
    return noted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noted = follow(arguments.steps, arguments.every, folder)
    first, last = noted[0], noted[-1]
    for when in ("MiB", "before saving"):
        print(f"{when}: {last[when] / first[when] - 1:+.2%} from {first['step']} on")
