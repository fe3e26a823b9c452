import dataclasses

import jax
import numpy as np
import pytest

from experiments import binarised_mnist
from vaells_jax.runs.models import BASELINES
from vaells_jax.runs.records import MetricsLog


@pytest.fixture
def run(copying_run):
    found = copying_run(0.0)
    preset = binarised_mnist.EXPERIMENT.presets["paper"]
    config = dataclasses.replace(
        binarised_mnist.settings("vae", preset), evaluation=found.config.evaluation
    )
    log = MetricsLog(found.workdir / "watched.jsonl")
    for step in (1, 2):
        log.write(step, "joint", 0.0, {"bound": -100.0 / step})
    log.close()
    return dataclasses.replace(found, config=config)


def test_likelihood_and_bound_stand_beside_published_ones(run):
    found = binarised_mnist.measure(run)
    assert found["bound"]["value"] == -50.0
    assert found["log_marginal_likelihood"]["value"] == -1.5
    assert found["log_marginal_likelihood"]["published"] == -89.8
    assert "7 of each of 3 test points" in found["log_marginal_likelihood"]["meaning"]


def test_a_run_without_checkpoints_has_no_bound(run):
    (run.workdir / "watched.jsonl").unlink()
    assert np.isnan(binarised_mnist.measure(run)["bound"]["value"])


def test_bounds_and_prior_samples_are_drawn(run):
    drawn = binarised_mnist.compare([run])
    assert set(drawn) == {"test_bound", "prior_samples"}


def test_schedules_are_the_authors_cut_to_the_presets():
    assert not binarised_mnist.EXPERIMENT.has_vaells
    for name, preset in binarised_mnist.EXPERIMENT.presets.items():
        steps = binarised_mnist.STEPS[name]
        for model, kind in BASELINES.items():
            if model in binarised_mnist.EXPERIMENT.without:
                continue
            assert kind.has_density
            config = binarised_mnist.settings(model, preset)
            assert config.schedule.steps == steps
            assert config.binarise
            assert config.likelihood.kind == "bernoulli"
            assert config.optimizer.warm_up_steps <= 50_000
    paper = binarised_mnist.settings("vae", binarised_mnist.EXPERIMENT.presets["paper"])
    # 100 epochs of 50,000 digits in batches of 100.
    assert paper.optimizer.warm_up_steps == 50_000


def test_the_bound_of_test_digits_is_watched(run, monkeypatch):
    from vaells_jax.baselines import elbo
    from vaells_jax.runs.models import baseline
    from vaells_jax.trained.baseline import TrainedBaseline

    monkeypatch.setattr(binarised_mnist, "WATCHED", 4)
    model = baseline(run.config, run.data.facts)
    pixels = run.data.source.test.inputs[:4]
    params = jax.jit(elbo.init_params, static_argnames="model")(
        jax.random.key(0), pixels, model=model
    )
    run = dataclasses.replace(run, trained=TrainedBaseline(model, params))
    found = binarised_mnist.watch(run)
    assert -900 < found["bound"] < -400  # about 784 log 2, untrained
    assert found["divergence"] > 0
