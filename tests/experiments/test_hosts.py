"""Two hosts of two devices train as one device does."""

import socket

import numpy as np
import pytest

from tests.experiments.test_resume import Runs, last_state, logged

SIZE = ("--set=data.batch_size=32", "--set=schedule.steps=24")


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_two_hosts_of_two_devices_are_one_device(tmp_path, x64):
    where = f"--coordinator=localhost:{free_port()}"
    flags = (*SIZE, where, "--hosts=2", "--devices=2")
    with Runs(tmp_path) as first, Runs(tmp_path) as second:
        for i, host in enumerate((first, second)):
            host.begin(tmp_path / "two", *flags, f"--host-index={i}")
        first.end()
        second.end()
        first.finish(tmp_path / "one", *SIZE)
    alone = logged(tmp_path / "one")
    shared = [logged(tmp_path / "two" / folder) for folder in ("", "host-1")]
    assert shared[0] == shared[1]
    assert len(alone) == len(shared[0]) == 24
    for one, two in zip(alone, shared[0], strict=True):
        np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-5)
        assert one["phase"] == two["phase"]
        assert one.get("operator_step_accepted") == two.get("operator_step_accepted")
    # One device reads their checkpoint.
    tolerance = {"rtol": 1e-7, "atol": 1e-9} if x64 else {"rtol": 1e-3, "atol": 1e-5}
    ends = [last_state(tmp_path / name) for name in ("one", "two")]
    for one, two in zip(*ends, strict=True):
        np.testing.assert_allclose(two, one, **tolerance)
