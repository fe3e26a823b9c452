"""Many devices and many hosts train as one device does; joint steps, in float64."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.runs.conftest import flags as as_flags
from tests.runs.test_resume import Runs, logged
from vaells_jax.runs import devices
from vaells_jax.runs.devices import keep_compiled

SETTINGS = {
    "data.batch_size": 32, "schedule.steps": 24, "schedule.warm_up_steps": 0,
    "schedule.network_steps": 0, "schedule.operator_steps": 0,
}  # fmt: skip
SIZE = tuple(as_flags(SETTINGS))
PRECISE = {"JAX_ENABLE_X64": "1"}


def assert_same_to_rounding(one, other):
    """Compare the logs of two runs in double precision.

    In single precision rounding lets one search in some thousand stop a step sooner.
    """
    assert len(one) == len(other) == SETTINGS["schedule.steps"]
    for a, b in zip(one, other, strict=True):
        assert (a["step"], a["phase"]) == (b["step"], b["phase"])
        assert a["operator_step_accepted"] == b["operator_step_accepted"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
        np.testing.assert_allclose(a["operator_norms"], b["operator_norms"], rtol=1e-5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with Runs(tmp_path_factory.mktemp("precise"), **PRECISE) as runs:
        yield runs


@pytest.fixture(scope="module")
def one(runs, tmp_path_factory):
    """Return the log of a run on one device."""
    folder = tmp_path_factory.mktemp("one")
    runs.finish(folder, *SIZE)
    return logged(folder)


@pytest.mark.slow
def test_begun_on_one_device_it_ends_on_four(runs, one, tmp_path):
    runs.kill(tmp_path, 40, 0.0, *SIZE)
    assert "resuming from step" in runs.finish(tmp_path, *SIZE, "--devices=4")
    assert_same_to_rounding(one, logged(tmp_path))


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_two_hosts_of_two_devices_are_one_device(runs, one, tmp_path):
    where = f"--coordinator=localhost:{free_port()}"
    flags = (*SIZE, where, "--hosts=2", "--devices=2")
    with Runs(tmp_path, **PRECISE) as other:
        for i, host in enumerate((runs, other)):
            host.begin(tmp_path / "two", *flags, f"--host-index={i}")
        runs.end()
        other.end()
    # One device reads their checkpoint, which is the last: nothing is left to do.
    assert "event save" not in runs.finish(tmp_path / "two", *SIZE)
    shared = [logged(tmp_path / "two" / folder) for folder in ("", "host-1")]
    assert shared[0] == shared[1]
    assert_same_to_rounding(one, shared[0])


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """Put the user's cache folder into a new place; nothing is kept afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ("dir", "max_size")
    kept = {n: getattr(jax.config, f"jax_compilation_cache_{n}") for n in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache"
    for name, value in kept.items():
        jax.config.update(f"jax_compilation_cache_{name}", value)


def test_compiled_programs_are_kept_in_the_users_cache(no_cache):
    keep_compiled()
    folder = no_cache / "vaells_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert jax.config.jax_compilation_cache_max_size == -1
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"  # the user's choice


def test_the_oldest_programs_go_first(no_cache, monkeypatch):
    monkeypatch.setattr(devices, "CACHE_BYTES", 250)
    folder = no_cache / "vaells_jax" / "compiled"
    folder.mkdir(parents=True)
    for age, name in enumerate("abcd"):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    keep_compiled()
    assert {path.name for path in folder.iterdir()} == {"a", "b"}


def test_a_cache_that_cannot_be_written_is_done_without(no_cache, capsys):
    no_cache.write_text("a file")
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None
    assert "cannot be cached" in capsys.readouterr().out


def test_a_platform_that_is_not_there_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.swiss_roll"], capture_output=True,
        text=True, env={**os.environ, "JAX_PLATFORMS": "cuda"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "JAX cannot start (JAX_PLATFORMS=cuda)" in done.stderr
