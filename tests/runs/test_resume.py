"""A run that is killed at any moment goes on as if nothing had happened."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from tests.runs.resumable import KILLS, SOAK
from vaells_jax.runs.records import MetricsLog
from vaells_jax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]


class Runs:
    """Starts runs, one after another, and kills them."""

    def __init__(self, folder, **more):
        folder.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **more,
        }
        self.errors = folder / f"errors-{os.urandom(4).hex()}.txt"
        with self.errors.open("w") as errors:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "tests.runs.resumable"],
                cwd=ROOT, env=environment, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.kill()
        self.server.communicate()

    def begin(self, workdir, *flags):
        print(json.dumps([f"--workdir={workdir}", *flags]), file=self.server.stdin)

    def lines(self):
        """Yield what a run says, up to its end."""
        for line in self.server.stdout:
            yield line
            if line.startswith("event exited"):
                return

    def end(self):
        """Wait for a run; returns what it said."""
        said = list(self.lines())
        assert said[-1] == "event exited 0\n", self.errors.read_text()
        return "".join(said)

    def finish(self, workdir, *flags):
        self.begin(workdir, *flags)
        return self.end()

    def kill(self, workdir, events, delay, *flags):
        """Kill a run so many events after it began; returns the last."""
        self.begin(workdir, *flags)
        lines, said = self.lines(), []
        while sum(line.startswith("event") for line in said) <= events:
            said.append(next(lines))
            assert "exited" not in said[-1], self.errors.read_text()
        (pid,) = (int(line.split()[2]) for line in said if "event pid" in line)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        *_, last = lines
        assert last == "event exited -9\n"
        return said[-1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with Runs(tmp_path_factory.mktemp("runs")) as runs:
        yield runs


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """Return the folder of the run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    runs.finish(folder)
    return folder


def last_state(workdir):
    checkpoints = Checkpoints(workdir / "checkpoints", writer=False)
    state = checkpoints.restore(None)
    checkpoints.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def logged(workdir):
    lines = MetricsLog.read(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k != "elapsed"} for line in lines]


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(runs, whole, tmp_path):
    moments = random.Random(0)
    last = [
        # Every other run dies in its second save, which follows nineteen events.
        runs.kill(
            tmp_path,
            19 if i % 2 else moments.randint(1, 12),
            moments.uniform(0.0, 0.02),
        )
        for i in range(KILLS)
    ]
    assert {line.split()[1] for line in last} == {"step", "save"}
    said = runs.finish(tmp_path)
    assert "resuming from step" in said
    for one, other in zip(last_state(tmp_path), last_state(whole), strict=True):
        assert one.tobytes() == other.tobytes()
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines == logged(whole)


def disturb(runs, command, until, moments, ended):
    """Begin a process again and again, and kill some."""
    while time.monotonic() < until:
        print(json.dumps(command), file=runs.server.stdin, flush=True)
        killer = None
        for line in runs.lines():
            if line.startswith("event pid") and moments.random() < 0.5:
                pid, delay = int(line.split()[2]), moments.uniform(0.0, 6.0)
                killer = threading.Timer(delay, kill_if_there, (pid,))
                killer.start()
        if killer is not None:
            killer.cancel()
        ended.append((command[0], line.split()[-1]))


def kill_if_there(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="wants SOAK=300, its seconds")
def test_two_trainings_and_readers_that_are_killed_at_random(tmp_path):
    long = f"--schedule.steps={100 + 20 * SOAK}"
    train, read = (
        [f"--workdir={tmp_path / 'run'}", long],
        ["read", str(tmp_path / "run")],
    )
    commands = [train, train] + [read] * (10 if SOAK >= 60 else 2)
    servers = [Runs(tmp_path / "servers") for _ in commands]
    until, ended = time.monotonic() + SOAK, []
    threads = [
        threading.Thread(
            target=disturb, args=(server, command, until, random.Random(i), ended)
        )
        for i, (server, command) in enumerate(zip(servers, commands, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = servers[0].finish(tmp_path / "run", long)
    servers[0].finish(tmp_path / "whole", long)
    errors = [server.errors.read_text() for server in servers]
    for server in servers:
        server.__exit__()
    assert "Traceback" not in "".join(errors)
    refused = [line for text in errors for line in text.splitlines() if ": " in line]
    refused = [line for line in refused if "written by" in line or "refused" in line]
    assert len(refused) >= sum(status == "2" for _, status in ended)
    assert all(status in ("0", "2", "-9") for _, status in ended), ended
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {
        "checkpoints", "best", "config.json", "metrics.jsonl", ".lock", ".writer",
    }  # fmt: skip
    assert not list((tmp_path / "run").rglob("damaged*")), said
    both = [last_state(tmp_path / name) for name in ("run", "whole")]
    for one, other in zip(*both, strict=True):
        assert one.tobytes() == other.tobytes()
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")
