"""Two hosts of two devices train as one device does."""

import socket

import pytest

from tests.experiments.test_resume import Runs, assert_same_to_rounding, logged

SIZE = ("--set=data.batch_size=32", "--set=schedule.steps=24")


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_two_hosts_of_two_devices_are_one_device(tmp_path):
    where = f"--coordinator=localhost:{free_port()}"
    flags = (*SIZE, where, "--hosts=2", "--devices=2")
    precise = {"JAX_ENABLE_X64": "1"}
    with Runs(tmp_path, **precise) as first, Runs(tmp_path, **precise) as second:
        for i, host in enumerate((first, second)):
            host.begin(tmp_path / "two", *flags, f"--host-index={i}")
        first.end()
        second.end()
        first.finish(tmp_path / "one", *SIZE)
        # One device reads their checkpoint, which is the last: nothing is left to do.
        assert "event save" not in first.finish(tmp_path / "two", *SIZE)
    shared = [logged(tmp_path / "two" / folder) for folder in ("", "host-1")]
    assert shared[0] == shared[1]
    assert len(shared[0]) == 24
    assert_same_to_rounding(logged(tmp_path / "one"), shared[0])
