"""The swiss roll and the concentric circles: their presets and a whole job."""

import json

import numpy as np
import pytest

from experiments import concentric_circles, swiss_roll
from tests.runs.conftest import command

FIGURES = {
    "embedding.png", "inferred_paths.png", "operator_algebra.png",
    "operator_eigenvalues.png",
    "operator_magnitudes.png", "operator_orbits.png", "prior_samples.png",
    "reconstruction_curve.png", "transport_curves.png",
}  # fmt: skip


@pytest.mark.slow
def test_two_seeds_of_the_swiss_roll_from_an_empty_folder(tmp_path, unchecked):
    parts = ("--only", "train,evaluate")
    short = {"evaluation.points": 4, "evaluation.samples": 20}
    assert command(tmp_path, "--seed", "3", "--seeds", "2", *parts, **short) == 0
    assert command(tmp_path / "seed-3", "--seed", "3", "--only", "figures") == 0
    drawn = {path.name for path in (tmp_path / "seed-3" / "figures").iterdir()}
    assert drawn == FIGURES
    for seed in (3, 4):
        folder = tmp_path / f"seed-{seed}"
        single = json.loads((folder / "results.json").read_text())
        assert single["seed"] == seed
        assert single["step"] == 8
    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["seeds"] == 2
    error = summary["results"]["path_error"]["vaells"]
    last = single["results"]["path_error"]["value"]
    assert error["values"][1] == last
    assert error["median"] == pytest.approx(np.mean(error["values"]))


@pytest.mark.parametrize("module", [swiss_roll, concentric_circles])
def test_the_paper_preset_is_the_papers_table(module):
    paper = module.PAPER
    assert paper.model.linear_start is None
    assert paper.model.skew_start is None
    assert (paper.model.latent_size, paper.data.batch_size) == (2, 30)
    weights = paper.weights
    assert (weights.reconstruction, weights.prior_l1) == (0.01, 0.01)
    assert weights.posterior_residual == weights.posterior_l1 == 1.0
    assert (weights.prior_residual, weights.operator_norm) == (1.0, 0.01)
    assert paper.model.noise_std == 0.001
    assert paper.optimizer.anchor_rate == 1e-4
    assert paper.posterior_search.l1_weight == 1e-6
    own = (
        paper.schedule.steps, paper.model.num_operators, paper.data.anchors_per_class,
        paper.optimizer.network_rate, paper.optimizer.operator_rate,
        paper.prior_search.l1_weight, paper.prior_search.restarts,
    )  # fmt: skip
    if module is swiss_roll:
        assert own == (3000, 1, 4, 1e-4, 5e-5, 5e-5, 2)
    else:
        assert own == (4000, 4, 3, 5e-3, 4e-4, 5e-6, 1)
