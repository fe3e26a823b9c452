"""Runs of the swiss roll that the tests of this folder share, and where they lie."""

import pathlib
import shutil

import pytest

from experiments import swiss_roll
from vaells_jax.runs.main import main

TINY = {
    "schedule.steps": 8, "schedule.network_steps": 0, "schedule.operator_steps": 0,
    "log.log_every": 1, "log.save_every": 4, "data.batch_size": 8,
}  # fmt: skip


def flags(settings):
    """Write settings of a configuration as flags."""
    return [f"--{name}={value}" for name, value in settings.items()]


def command(workdir, *more, experiment=swiss_roll.EXPERIMENT, **changes):
    """Run the swiss roll's tuned preset for a few steps; returns the exit status."""
    settings = flags({**TINY, **changes})
    return main(
        experiment, [f"--workdir={workdir}", "--preset=tuned", *settings, *more]
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> pathlib.Path:
    """Return the folder of a finished training of VAELLS; leave it as it is."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert command(folder, "--only=train") == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> pathlib.Path:
    """Return a copy of it."""
    return shutil.copytree(finished, tmp_path / "copy")


def contents(folder):
    """Return every file's name, bytes and time, and every folder's time."""
    return {
        path.relative_to(folder): (
            path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None
        )
        for path in sorted([folder, *folder.rglob("*")])
    }  # fmt: skip
