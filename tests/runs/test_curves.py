"""The course of a run, as it was logged, and its operators."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import LossWeights
from vaells_jax.runs.config import VaellsConfig
from vaells_jax.runs.curves import OPERATOR_CURVES, operator_merits, training_figures
from vaells_jax.runs.records import MetricsLog
from vaells_jax.runs.run import Run, RunData
from vaells_jax.trained.vaells import TrainedVaells
from vaells_jax.training.schedule import Schedule


@pytest.fixture
def run(tiny_model, tiny_params, tmp_path):
    data = RunData("made", jnp.zeros((4, 5)), None, lambda step: None, None)
    config = VaellsConfig("made", "paper", Schedule(steps=4, warm_up_steps=2))
    trained = TrainedVaells(tiny_model, tiny_params, LossWeights())
    return Run(config, data, trained, jax.random.key(0), tmp_path, 4)


def log(folder, phases):
    written = MetricsLog(folder / "metrics.jsonl")
    for step, phase in enumerate(phases, start=1):
        values = {"operator_norms": np.ones(2), "reconstruction": 1.0 / step}
        if phase != "warm_up":
            values |= dict.fromkeys(OPERATOR_CURVES.values(), 0.5)
        written.write(step, phase, 0.0, values)
    written.close()


def test_what_was_not_logged_is_not_drawn(run):
    assert set(training_figures(run)) == {"operator_algebra", "operator_eigenvalues"}
    log(run.workdir, ["warm_up", "warm_up"])
    warm = {
        "operator_algebra",
        "operator_eigenvalues",
        "operator_magnitudes",
        "reconstruction_curve",
    }
    assert set(training_figures(run)) == warm
    for phase in ("joint", "operators"):
        log(run.workdir, ["warm_up", "warm_up", phase, phase])
        assert set(training_figures(run)) == {*warm, "transport_curves"}


def test_operators_are_described_by_norms_and_eigenvalues(run):
    turn = np.array([[0.1, -2.0], [2.0, 0.1]])
    operators = jnp.asarray([turn, np.diag([3.0, 4.0])])
    params = run.trained.params._replace(operators=operators)
    trained = dataclasses.replace(run.trained, params=params)
    found = operator_merits(dataclasses.replace(run, trained=trained))
    norms = [np.linalg.norm(turn), 5.0]
    np.testing.assert_allclose(found["operator_norms"]["value"], norms, rtol=1e-6)
    first, second = np.asarray(found["operator_eigenvalues"]["value"])
    np.testing.assert_allclose(first, [[0.1, 2.0], [0.1, -2.0]], rtol=1e-5)
    np.testing.assert_allclose(np.sort(second[:, 0]), [3.0, 4.0], rtol=1e-5)
