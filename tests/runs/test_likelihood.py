"""Log p(x) as a figure of merit, of models known by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.evaluation.importance import ImportanceEstimate, ImportanceOptions
from vaells_jax.runs.config import VaellsConfig, baseline_config, with_settings
from vaells_jax.runs.likelihood import importance_options, marginal_likelihood
from vaells_jax.runs.run import Run, RunData
from vaells_jax.training.schedule import Schedule

CONFIG = with_settings(
    VaellsConfig("made", "paper", Schedule(steps=9)),
    {"evaluation.points": 3, "evaluation.samples": 7, "weights.prior_residual": 4.0,
     "weights.prior_l1": 0.3, "weights.reconstruction": 25.0},
)  # fmt: skip
VALUES = np.array([-1.0, -2.0, -6.0])


class Known:
    """Gives the values above, and remembers what it was asked for."""

    has_density = True

    def log_marginal_likelihood(self, inputs, labels=None, **asked):
        self.inputs, self.labels, self.asked = inputs, labels, asked
        return ImportanceEstimate(VALUES, np.full(3, 0.1), np.array([5.0, 6.0, 90.0]))


@pytest.fixture
def run(tmp_path, unchecked):
    data = RunData("made", jnp.zeros((4, 5)), None, lambda step: None, None)
    return Run(CONFIG, data, Known(), jax.random.key(0), tmp_path, 9)


def measured(run):
    labels = np.arange(8)
    return marginal_likelihood(run, jnp.zeros((8, 5)), labels)


def test_a_baseline_is_measured_by_its_own_likelihood(run):
    config = baseline_config(
        "vae", CONFIG, 9, evaluation=CONFIG.evaluation,
        likelihood=Likelihood("gaussian", 0.2),
    )  # fmt: skip
    run = dataclasses.replace(run, config=config)
    (found,) = measured(run).values()
    assert found["value"] == -3.0
    assert found["standard_error"] == pytest.approx(np.std(VALUES) / math.sqrt(3))
    assert found["median_effective_samples"] == 6.0
    assert found["median_sampling_error"] == pytest.approx(0.1)
    density = -5 * math.log(0.2 * math.sqrt(2 * math.pi))
    assert found["constant"] == pytest.approx(density)
    assert "7 of each of 3 test points" in found["meaning"]
    assert run.trained.asked["num_samples"] == 7
    assert (len(run.trained.inputs), run.trained.labels) == (3, None)
    none = dataclasses.replace(CONFIG.evaluation, points=0)
    config = dataclasses.replace(config, evaluation=none)
    assert measured(dataclasses.replace(run, config=config)) == {}


def test_examples_that_bring_their_own_anchors_have_no_density(
    run, tiny_model, tiny_params
):
    from vaells_jax import LossWeights
    from vaells_jax.trained.vaells import TrainedVaells

    trained = TrainedVaells(tiny_model, tiny_params, LossWeights())
    assert measured(dataclasses.replace(run, trained=trained)) == {}


def test_generative_densities_are_the_objectives_unless_asked_otherwise():
    assert importance_options(CONFIG) == ImportanceOptions(
        0.5, 0.3, pixel_std=0.2, label="marginal", num_samples=7
    )
    asked = with_settings(
        CONFIG,
        {"evaluation.noise_std": 0.7, "evaluation.coefficient_rate": 2.0,
         "evaluation.label": "given"},
    )  # fmt: skip
    wanted = ImportanceOptions(0.7, 2.0, pixel_std=0.2, label="given", num_samples=7)
    assert importance_options(asked) == wanted


def test_vaells_is_measured_with_its_classes(run, tiny_model, tiny_params, dtype):
    from vaells_jax.trained.vaells import TrainedVaells

    config = with_settings(CONFIG, {"evaluation.label": "given"})
    trained = TrainedVaells(tiny_model, tiny_params, config.weights)
    data = dataclasses.replace(run.data, anchors=tiny_params.anchors)
    run = dataclasses.replace(run, config=config, trained=trained, data=data)
    inputs, labels = jnp.ones((4, 5), dtype), np.array([0, 1, 1, 0])
    (found,) = marginal_likelihood(run, inputs, labels).values()
    assert found["meaning"].startswith("log p(x | label)")
    assert found["settings"]["label"] == "given"
    assert found["settings"]["noise_std"] == 0.5
    with pytest.warns(UserWarning, match="3 of 3 data points have fewer"):
        wanted = trained.log_marginal_likelihood(
            inputs[:3], labels[:3], options=importance_options(config),
            key=jax.random.fold_in(jax.random.key(0), 3),
        )  # fmt: skip
    assert found["value"] == pytest.approx(np.mean(wanted.log_likelihood))
