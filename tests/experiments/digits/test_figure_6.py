import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from experiments.natural_mnist import EXPERIMENT, FIGURE_6
from experiments.problem import first_state
from experiments.records import write_json
from experiments.runner import main
from experiments.table import folder_of, row_config, run_table, write_table
from tests.experiments.test_natural_mnist import TINY
from vaells_jax.training.checkpoints import Checkpoints

ROWS = {row: {"log_likelihood": -744.0, "mse": 0.02} for row in ((2, 2), (1, 3))}
TABLE = dataclasses.replace(EXPERIMENT, table=functools.partial(run_table, paper=ROWS))


def command(workdir, *more):
    sets = [f"--set={name}={value}" for name, value in TINY.items()]
    arguments = ["--preset", "quick", "--dataset", "digits", "--workdir", str(workdir)]
    return main(TABLE, [*arguments, *sets, *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("table")
    assert command(workdir, "--table", "--only", "train") == 0
    return workdir


def final_state(folder):
    """Read a run's last state."""
    config = json.loads((folder / "config.json").read_text())
    base = EXPERIMENT.presets["quick"]
    base = dataclasses.replace(base, data=dataclasses.replace(
        base.data, dataset="digits", batch_size=config["data"]["batch_size"]
    ))  # fmt: skip
    row = config["model"]["num_operators"], config["data"]["anchors_per_class"]
    problem = EXPERIMENT.prepare(row_config(base, row))
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.restore(first_state(problem))
    checkpoints.close()
    return state


def test_a_row_equals_a_run_of_its_own(trained, tmp_path):
    assert command(tmp_path, "--only", "train") == 0  # M = 2, N_a = 2 from step 0
    own, row = final_state(tmp_path), final_state(trained / "M2-Na2")
    for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(row), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_have_their_sizes_and_share_the_warm_up(trained):
    state = final_state(trained / "M1-Na3")
    assert state.params.operators.shape == (1, 6, 6)
    assert state.params.anchors.shape == (10, 3, 28, 28)
    assert int(state.step) == 12
    assert not (trained / "M1-Na3" / "checkpoints" / "5").exists()
    logged = (trained / "M1-Na3" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(logged[0])["step"] == 5  # the warm-up's four are elsewhere


def test_run_again_only_what_lacks_is_done(trained, capsys):
    assert command(trained, "--table", "--only", "train") == 0
    assert "going on" not in capsys.readouterr().out


def test_the_table_stands_beside_the_papers(tmp_path, capsys):
    merits = {
        "mse": {"value": 0.02341, "standard_error": 0.00012, "paper": 0.0286},
        "log_likelihood": {"value": -745.26, "standard_error": 0.91, "paper": -744.9},
        "log_likelihood_consistent": {
            "value": -750.0, "standard_error": 2.0, "paper": None,
        },
    }  # fmt: skip
    record = {"dataset": "mnist", "preset": "paper", "seed": 0, "step": 35_000}
    folder = tmp_path / folder_of((2, 8))
    folder.mkdir()
    write_json(folder / "results.json", {**record, "results": merits})
    write_table(tmp_path, FIGURE_6)
    text = (tmp_path / "table.md").read_text()
    assert text in capsys.readouterr().out
    row = "| 2 | 8 | -745.3 +- 0.9 | -744.9 | -750.0 +- 2.0 | - |"
    assert f"{row} 0.0234 +- 0.0001 | 0.0286 |" in text
    table = json.loads((tmp_path / "table.json").read_text())
    assert [row["folder"] for row in table["rows"]] == ["M2-Na8"]


def test_rows_not_trained_to_their_end_are_left_out(tmp_path, capsys):
    assert command(tmp_path, "--table", "--only", "evaluate") == 0
    assert capsys.readouterr().out.count("not trained to its end") == len(ROWS)
    assert not (tmp_path / "table.json").exists()


def test_no_table_of_seeds(tmp_path, capsys):
    assert command(tmp_path, "--table", "--seeds", "2") == 2
    assert "leave --seeds out" in capsys.readouterr().err
