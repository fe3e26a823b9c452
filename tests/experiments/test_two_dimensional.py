import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import concentric_circles, swiss_roll
from experiments.problem import Run, make_model
from experiments.runner import main
from vaells_jax.data.synthetic import CIRCLE_RADII
from vaells_jax.model.starts import linear_start
from vaells_jax.training.step import init_state

TINY = {
    "schedule.steps": 8, "schedule.network_steps": 0, "schedule.operator_steps": 0,
    "log.log_every": 1, "data.batch_size": 8,
}  # fmt: skip
FIGURES = {
    "embedding.png", "inferred_paths.png", "operator_eigenvalues.png",
    "operator_magnitudes.png", "operator_orbits.png", "prior_samples.png",
    "reconstruction_curve.png", "transport_curves.png",
}  # fmt: skip


def command(workdir, *more):
    sets = [f"--set={name}={value}" for name, value in TINY.items()]
    arguments = ["--preset", "tuned", "--workdir", str(workdir)]
    return main(swiss_roll.EXPERIMENT, [*arguments, *sets, *more])


@pytest.mark.slow
def test_two_seeds_of_the_swiss_roll_from_an_empty_folder(tmp_path, unchecked):
    parts = ("--only", "train,evaluate")
    assert command(tmp_path, "--seed", "3", "--seeds", "2", *parts) == 0
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
    error = summary["results"]["path_error"]
    last = single["results"]["path_error"]["value"]
    assert error["values"][1] == last
    assert error["median"] == pytest.approx(np.mean(error["values"]))


def test_no_other_data_set_and_no_empty_seeds(tmp_path, capsys):
    assert command(tmp_path, "--dataset", "mnist") == 2
    assert "draws its own data" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(tmp_path, "--seeds", "0")
    assert "wanted at least 1" in capsys.readouterr().err


def perfect_circles(workdir):
    """Make a run whose networks are linear and whose first operator is the rotation."""
    config = dataclasses.replace(
        concentric_circles.TUNED,
        model=dataclasses.replace(concentric_circles.TUNED.model, num_operators=2),
    )
    problem = concentric_circles.prepare(config)
    model = make_model(problem)
    state = init_state(
        jax.random.key(0), model=model, num_operators=2, anchors=problem.anchors,
        inputs=problem.example_inputs[:2],
    )  # fmt: skip
    params = linear_start(state.params, problem.example_inputs, spread=0.7)
    # Latents are a linear picture z = G y of the plane; there J rotates by 90 degrees.
    plane = np.asarray(problem.data.train.latents, float)
    encode = Run(
        problem, model, state.replace(params=params), jax.random.key(1), workdir
    ).functions.encode
    picture = np.linalg.lstsq(plane, np.asarray(encode(problem.example_inputs)))[0].T
    turn = picture @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ np.linalg.inv(picture)
    operators = jnp.asarray([0.05 * turn, np.diag([1e-3, -1e-3])], jnp.float32)
    params = params._replace(operators=operators.astype(params.operators.dtype))
    state = state.replace(params=params)
    return Run(problem, model, state, jax.random.key(1), workdir)


@pytest.mark.slow
def test_a_perfect_model_of_the_circles_measures_perfect(tmp_path):
    run = perfect_circles(pathlib.Path(tmp_path))
    curves = concentric_circles.manifold(run.problem.data)
    lift = np.linalg.pinv(np.asarray(run.problem.data.lift, float))
    radii = np.linalg.norm(curves @ lift.T, axis=-1)
    np.testing.assert_allclose(radii, np.outer(CIRCLE_RADII, np.ones(2001)), rtol=1e-5)
    found = {
        name: result["value"]
        for name, result in concentric_circles.evaluate(run).items()
    }
    assert found["orbit_rank_correlation"] > 0.999
    assert found["transport_residual"] < 0.005
    assert found["path_error"] < 0.005
    assert found["linear_path_error"] > 0.1
    assert found["class_separation"] == 1.0
    assert found["path_class_preservation"] == 1.0
    assert found["linear_path_class_preservation"] < 1.0
    assert found["radius_spread"] < 0.01
    assert found["rotation_purity"] < 1e-3
    assert found["dominant_operator_share"] > 0.95
    assert found["prior_precision"] > 0.9
    assert found["prior_coverage"] > 0.9
    paths = concentric_circles.draw(run, tmp_path / "figures")
    drawn = {path.name for path in paths}
    assert drawn == FIGURES - {
        "operator_magnitudes.png", "reconstruction_curve.png", "transport_curves.png"
    }  # fmt: skip


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
