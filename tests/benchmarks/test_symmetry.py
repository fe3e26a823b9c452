import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from benchmarks import symmetry
from vaells_jax.data.symmetries import SYMMETRIES


@pytest.mark.parametrize("name", ["so2", "c4", "so2_lifted", "so2_so2"])
def test_the_true_generators_have_the_best_scores(name):
    truth = SYMMETRIES[name]
    pairs = truth.pairs(jax.random.key(0), 30)
    operators = np.concatenate([-2.0 * truth.generators, 0.0 * truth.generators[:1]])
    operators = jnp.asarray(operators, pairs.start.dtype)
    cell = symmetry.score(jax.random.key(1), truth, pairs, operators)
    assert cell["found"] == len(truth.generators)
    assert cell["angle"] == pytest.approx(0.0, abs=1e-4)
    assert cell["closure"] == cell["commutator"] == 0.0
    assert cell["pair_error"] < 1e-3
    assert cell["extrapolation"] < 3e-3
    assert ("wasserstein" in cell) == (len(truth.generators) == 1)
    assert cell.get("wasserstein", 0.0) < 1e-3


def test_angles_are_read_in_the_plane_of_the_lift():
    truth = SYMMETRIES["so2_lifted"]
    amounts = np.array([[0.3], [-2.0], [3.0]])
    found = symmetry.inferred_angles(truth, truth.generators, amounts)
    np.testing.assert_allclose(found, amounts[:, 0], atol=1e-12)


def test_generators_lead_where_a_turn_by_hand_does():
    generators = SYMMETRIES["so2"].generators
    turned = symmetry.moved(generators, np.array([[np.pi / 2]]), np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(turned, [[-2.0, 1.0]], atol=1e-12)
    assert scipy.linalg.norm(turned) == pytest.approx(np.sqrt(5))


def cell(angle, found, **more):
    null = {"angle": 60.0, "found": 2, "extrapolation": 9.0, "seconds": None}
    return {"angle": angle, "found": found, "extrapolation": 0.1, "null": null, **more}


def test_rows_count_the_seeds_with_the_right_number():
    chosen = {
        "so2": [cell(0.1, 1, wasserstein=0.01), cell(0.3, 2, wasserstein=0.03)],
        "so3": [cell(0.5, 3)],
    }
    _, _, *rows = symmetry.table(chosen).splitlines()
    assert rows[0].startswith("| SO(2) | 0.2 (0.1 to 0.3) | 1 in 1 of 2 |")
    assert rows[0].endswith("| 0.02 (0.01 to 0.03) |  |")
    assert rows[1].startswith("| random operators | 60 (60 to 60) |  |")
    assert rows[2].startswith("| SO(3) | 0.5 | 3 in 1 of 1 |")
    axes = symmetry.figure(chosen).axes
    assert [a.get_xlabel() for a in axes] == [
        "largest angle [degrees]", "3 times as far: error",
    ]  # fmt: skip
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["SO(2)", "SO(3)"]


@pytest.mark.parametrize(("sets", "seeds"), [(("so7",), 1), ((), 1), (("so2",), 0)])
def test_a_command_that_cannot_be_meant_writes_nothing(tmp_path, capsys, sets, seeds):
    assert symmetry.main(tmp_path / "out", seeds, sets=sets) == 2
    assert "so2_so2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_finished_cells_are_read_and_other_settings_refused(
    tmp_path, capsys, monkeypatch
):
    asked = []
    measure = lambda truth, seed, settings: (
        asked.append((truth.name, seed)) or cell(float(seed), 1)
    )
    monkeypatch.setattr(symmetry, "measure", measure)
    call = lambda seeds, **more: symmetry.main(tmp_path, seeds, sets=("so2",), **more)
    assert call(2) == 0
    assert call(3) == 0
    assert asked == [("SO(2)", 0), ("SO(2)", 1), ("SO(2)", 2)]
    record = json.loads((tmp_path / "symmetry.json").read_text())
    assert [c["angle"] for c in record["cells"]["so2"].values()] == [0.0, 1.0, 2.0]
    assert "| SO(2) | 1 (0 to 2) |" in (tmp_path / "symmetry.md").read_text()
    assert call(3, quick=True) == 2
    assert "other settings" in capsys.readouterr().err
    assert len(asked) == 3


@pytest.mark.slow
def test_the_quick_run_finds_turns(tmp_path):
    assert symmetry.main(tmp_path, 1, quick=True) == 0
    cells = json.loads((tmp_path / "symmetry.json").read_text())["cells"]
    assert list(cells) == list(symmetry.QUICK_NAMES)
    for name in ("so2", "c4"):
        found = cells[name]["0"]
        assert found["angle"] < 5.0 < found["null"]["angle"]
        assert found["wasserstein"] < 0.054 < found["null"]["wasserstein"]
        assert found["extrapolation"] < 0.1 * found["null"]["extrapolation"]
    assert (tmp_path / "symmetry.png").stat().st_size > 10_000
