"""A number that fails stops the run and leaves what there is to see."""

import json
import re

import numpy as np

from experiments import swiss_roll
from experiments.config import override
from experiments.records import MetricsLog
from experiments.runner import main

SETTINGS = (
    "schedule.network_steps=3", "schedule.operator_steps=1", "data.batch_size=8",
    "schedule.steps=9", "log.log_every=1",
)  # fmt: skip


def test_networks_that_run_away(tmp_path, capsys, unchecked, x64):
    # Weights that are numbers still, of which a product of some is none.
    settings = (*SETTINGS, f"optimizer.network_rate={1e38 if x64 else 1e25}")
    command = ["--preset=tuned", f"--workdir={tmp_path}", "--debug-nans",
               *(f"--set={setting}" for setting in settings)]  # fmt: skip
    assert main(swiss_roll.EXPERIMENT, command) == 2
    said = capsys.readouterr().err
    assert "swiss_roll: step 2 (network):" in said
    folder = tmp_path / "failed"
    assert f"{folder}/" in said
    assert "The first NaN: " in said
    # A line of the model, or the one that differentiates it: jax's versions differ.
    assert re.search(r"vaells_jax/(model|training)/\w+\.py:\d+", said)
    report = json.loads((folder / "report.json").read_text())
    assert (report["step"], report["phase"]) == (2, "network")
    assert "loss" in report["terms"]
    problem = swiss_roll.prepare(override(swiss_roll.TUNED, list(settings)))
    inputs = np.asarray(problem.data.train.inputs)[report["examples"]]
    with np.load(folder / "batch.npz") as batch:
        np.testing.assert_array_equal(batch["inputs"], inputs)
        np.testing.assert_array_equal(batch["labels"], np.zeros(8))
    with np.load(folder / "state.npz") as state:
        assert state["step"] == 1
        assert state["params.operators"].shape == (1, 2, 2)
        assert all(np.isfinite(array).all() for array in state.values())
    # The log holds the steps before it.
    assert [line["step"] for line in MetricsLog.read(tmp_path / "metrics.jsonl")] == [1]
