import dataclasses

import pytest

from vaells_jax.runs.config import (
    BaselineConfig,
    DataConfig,
    EvaluationConfig,
    LikelihoodEvaluation,
    LogConfig,
    ModelConfig,
    VaellsConfig,
    baseline_config,
    model_name,
    with_settings,
)
from vaells_jax.training.schedule import Schedule

CONFIG = VaellsConfig("made", "paper", Schedule(steps=100), seed=4)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (DataConfig, {"anchors_per_class": 0, "batch_size": -1}),
        (ModelConfig, {"latent_size": 0, "num_operators": 1.5, "num_samples": 0,
                       "latent_scale": 0.0, "linear_start": -1.0, "noise_std": -1.0,
                       "operator_std": float("nan")}),
        (LogConfig, {"log_every": 0, "save_every": 0}),
        (LikelihoodEvaluation, {"points": -1, "samples": 0}),
        (EvaluationConfig, {"points": -1, "samples": 0, "surrogate_points": 0,
                            "surrogate_samples": 0, "noise_std": 0.0,
                            "coefficient_rate": -1.0}),
        (lambda **k: dataclasses.replace(CONFIG, **k), {"seed": 2**31}),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(make, fields, unchecked):
    for name, value in fields.items():
        with pytest.raises(ValueError, match=name):
            make(**{name: value})


def test_settings_apply_together():
    changed = with_settings(
        CONFIG,
        {"schedule.warm_up_steps": 150, "schedule.steps": 200, "seed": 3,
         "model.latent_scale": 2.0, "prior_search.initial_range": (-1.0, 1.0)},
    )  # fmt: skip
    assert changed.schedule == Schedule(steps=200, warm_up_steps=150)
    assert (changed.model.latent_scale, changed.seed) == (2.0, 3)
    assert changed.prior_search.initial_range == (-1.0, 1.0)
    assert with_settings(CONFIG, {}) == CONFIG


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("modle.latent_size", 3, "no field 'modle.latent_size'; there are .*model"),
        ("latent_size", 3, "no field 'latent_size'"),
        ("model.latnt_size", 3, "no field 'latnt_size'; there are .*latent_size"),
        ("weights.prior_l1", -1.0, "prior_l1.*-1"),
        ("schedule.warm_up_steps", 101, "warm_up_steps.*100.*101"),
    ],
)
def test_bad_settings_are_named(name, value, match):
    with pytest.raises(ValueError, match=match):
        with_settings(CONFIG, {name: value})


def test_a_baseline_shares_seed_data_and_logging_with_its_preset():
    log = LogConfig(log_every=7)
    preset = dataclasses.replace(CONFIG, log=log, data=DataConfig(batch_size=5))
    config = baseline_config("vampprior", preset, 30, options={"num_components": 3})
    assert isinstance(config, BaselineConfig)
    assert (config.experiment, config.preset, config.seed) == ("made", "paper", 4)
    assert (config.log, config.data) == (log, preset.data)
    assert config.schedule == Schedule(steps=30, network_steps=0, operator_steps=0)
    assert config.evaluation == LikelihoodEvaluation()
    assert (model_name(config), model_name(preset)) == ("vampprior", "vaells")
