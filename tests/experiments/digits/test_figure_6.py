import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments.digits import figure_6
from experiments.digits.figure_6 import folder_of
from experiments.natural_mnist import EXPERIMENT
from tests.experiments.test_natural_mnist import command as whole_command
from vaells_jax.runs.records import merit
from vaells_jax.training.checkpoints import Checkpoints

ROWS = {row: {"log_likelihood": -744.0, "mse": 0.02} for row in ((2, 2), (1, 3))}


@pytest.fixture(autouse=True, scope="module")
def small_table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_6, "FIGURE_6", ROWS)
        yield


def measure(run):
    measured.append(run.workdir.name)
    value = 0.02341 + run.config.model.num_operators
    return {"mse": merit(value, "error", paper=0.0286, standard_error=0.00012)}


measured: list[str] = []
TABLE = dataclasses.replace(EXPERIMENT, measure=measure)


def command(workdir, *more, **changes):
    return whole_command(workdir, *more, experiment=TABLE, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("table")
    assert command(workdir, "--table", "--only", "train") == 0
    return workdir


def final_state(folder):
    """Read a run's last state."""
    checkpoints = Checkpoints(folder / "checkpoints", writer=False)
    state = checkpoints.restore(None)
    checkpoints.close()
    return state


@pytest.mark.slow
def test_a_row_equals_a_run_of_its_own(trained, tmp_path):
    assert command(tmp_path, "--only", "train") == 0  # M = 2, N_a = 2 from step 0
    own, row = final_state(tmp_path), final_state(trained / "M2-Na2")
    for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(row), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_rows_have_their_sizes_and_share_the_warm_up(trained):
    state = final_state(trained / "M1-Na3")
    assert state["params"]["operators"].shape == (1, 6, 6)
    assert state["params"]["anchors"].shape == (10, 3, 28, 28)
    assert int(state["step"]) == 12
    assert not (trained / "M1-Na3" / "checkpoints" / "5").exists()
    logged = (trained / "M1-Na3" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(logged[0])["step"] == 5  # the warm-up's four are elsewhere


@pytest.mark.slow
def test_run_again_only_what_lacks_is_done(trained, capsys):
    assert command(trained, "--table", "--only", "train") == 0
    assert "resuming" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_table_stands_beside_the_papers(trained, capsys):
    assert command(trained, "--table", "--only", "evaluate") == 0
    assert measured == ["M2-Na2", "M1-Na3"]
    results = json.loads((trained / "results.json").read_text())["results"]
    assert list(results["mse"]) == ["M2-Na2", "M1-Na3"]
    assert results["mse"]["M2-Na2"]["median"] == pytest.approx(2.02341)
    assert results["mse"]["M2-Na2"]["standard_error"] == 0.00012
    text = (trained / "results.md").read_text()
    assert text in capsys.readouterr().out
    assert text.splitlines()[0] == "|  | M2-Na2 | M1-Na3 |"
    assert "2.023 ± 0.0001; paper 0.0286 | 1.023 ± 0.0001; paper 0.0286" in text
    # Rows whose results are there are not measured again, unless settings changed.
    assert command(trained, "--table", "--only", "evaluate") == 0
    assert len(measured) == 2
    assert json.loads((trained / "results.json").read_text())["results"] == results
    changed = {"evaluation.surrogate_samples": 4}
    assert command(trained, "--table", "--only", "evaluate", **changed) == 0
    assert len(measured) == 4


def test_rows_not_trained_to_their_end_are_left_out(tmp_path, capsys):
    assert command(tmp_path, "--table", "--only", "evaluate") == 0
    assert capsys.readouterr().out.count("is not fully trained") == len(ROWS)
    assert not (tmp_path / "results.json").exists()


def test_rows_are_named_for_their_sizes():
    assert folder_of((2, 8)) == "M2-Na8"
