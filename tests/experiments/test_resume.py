"""A run that is killed at any moment goes on as if nothing had happened."""

import os
import pathlib
import random
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments import swiss_roll
from experiments.config import override
from experiments.problem import first_state
from experiments.records import MetricsLog
from tests.experiments.resumable import TINY
from vaells_jax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 20


class Runs:
    """Starts the same run again and again."""

    def __init__(self, folder, **environment):
        self.environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **environment,
        }

    def start(self, workdir, *flags):
        return subprocess.Popen(
            [
                sys.executable, "-m", "tests.experiments.resumable",
                "--only=train", f"--workdir={workdir}", *flags,
            ],
            cwd=ROOT, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, workdir, *flags):
        process = self.start(workdir, *flags)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def kill(self, workdir, events, delay):
        """Kill a run so many events after its first step began; returns the last."""
        process = self.start(workdir)
        seen, said = [], ""
        for line in process.stdout:
            said += line
            if line.startswith("event"):
                seen.append(line)
            if len(seen) == events:
                break
        else:
            raise AssertionError(f"it ended too early: {said}")
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert process.returncode == -9
        return seen[-1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """Return the folder of the run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    runs.finish(folder)
    return folder


def last_state(workdir):
    settings = [f"{name}={value}" for name, value in TINY.items()]
    problem = swiss_roll.prepare(override(swiss_roll.TUNED, settings))
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = checkpoints.restore(first_state(problem))
    checkpoints.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def logged(workdir):
    lines = MetricsLog.read(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k != "elapsed"} for line in lines]


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(runs, whole, tmp_path):
    moments = random.Random(0)
    last = [
        runs.kill(tmp_path, moments.randint(1, 12), moments.uniform(0.0, 0.02))
        for _ in range(KILLS)
    ]
    assert {line.split()[1] for line in last} == {"step", "save"}
    said = runs.finish(tmp_path)
    assert "going on from step" in said
    for one, other in zip(last_state(tmp_path), last_state(whole), strict=True):
        assert one.tobytes() == other.tobytes()
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines == logged(whole)
