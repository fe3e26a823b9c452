import dataclasses
import json

import pytest

from experiments.config import ExperimentConfig, override
from experiments.natural_mnist import PAPER, QUICK, TUNED
from experiments.workdir import claim_workdir
from vaells_jax.training.schedule import Schedule

CONFIG = ExperimentConfig("natural_mnist", "paper", Schedule(steps=100))


def test_paper_preset_is_table_7():
    table = {
        "data.batch_size": 32, "schedule.steps": 35_000, "model.latent_size": 6,
        "model.num_samples": 1, "optimizer.network_rate": 1e-4,
        "optimizer.anchor_rate": 1e-4, "optimizer.operator_rate": 1e-5,
        "weights.reconstruction": 1, "weights.posterior_residual": 1,
        "weights.posterior_l1": 1, "weights.prior_residual": 1,
        "weights.prior_l1": 0.01, "posterior_search.l1_weight": 1e-6,
        "prior_search.l1_weight": 1e-6, "weights.operator_norm": 0.01,
        "schedule.network_steps": 20, "schedule.network_prior_factor": 1e-4,
        "schedule.operator_steps": 60, "schedule.operator_reconstruction_factor": 1e-4,
        "model.noise_std": 1e-3, "schedule.warm_up_steps": 30_000,
        "prior_search.restarts": 1, "model.num_operators": 4,
        "data.anchors_per_class": 8, "model.latent_scale": 10,
    }  # fmt: skip
    for name, wanted in table.items():
        group, field = name.split(".")
        assert getattr(getattr(PAPER, group), field) == wanted, name


def test_overrides_apply_together():
    changed = override(
        CONFIG,
        ["schedule.warm_up_steps=150", "schedule.steps=200", "model.latent_scale=none",
         "prior_search.initial_range=[-1, 1]", "seed=3", "data.dataset=kmnist"],
    )  # fmt: skip
    assert changed.schedule == Schedule(steps=200, warm_up_steps=150)
    assert changed.model.latent_scale is None
    assert changed.prior_search.initial_range == (-1.0, 1.0)
    assert (changed.seed, changed.data.dataset) == (3, "kmnist")
    assert override(CONFIG, []) == CONFIG


@pytest.mark.parametrize(
    ("assignment", "match"),
    [
        ("model.latnt_size=3", "latnt_size.*model.latent_size"),
        ("modle.latent_size=3", "model.latent_size"),
        ("latent_size=3", "model.latent_size"),
        ("model=3", "model.latent_size"),
        ("model.latent_size", "group.field=value.*'model.latent_size'"),
        ("model.latent_size=x", "model.latent_size.*'x'"),
        ("prior_search.solver=newton", "prior_search.solver.*newton"),
        ("weights.prior_l1=-1", "prior_l1.*-1"),
        ("prior_search.restarts=0", "restarts"),
        ("schedule.warm_up_steps=101", "warm_up_steps.*100.*101"),
        ("optimizer.network_rate=nan", "network_rate"),
    ],
)
def test_bad_overrides(assignment, match):
    with pytest.raises(ValueError, match=match):
        override(CONFIG, [assignment])


def test_workdir_belongs_to_one_configuration(tmp_path):
    claim_workdir(tmp_path / "run", CONFIG)
    claim_workdir(tmp_path / "run", CONFIG)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 0
    with pytest.raises(ValueError, match=r"another configuration: seed is 0 there, 1"):
        claim_workdir(tmp_path / "run", dataclasses.replace(CONFIG, seed=1))
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not JSON"):
        claim_workdir(tmp_path / "run", CONFIG)


SHORTER = {
    "schedule.steps", "schedule.warm_up_steps", "model.latent_scale",
    "optimizer.network_rate", "optimizer.ramp_steps", "optimizer.operator_rate",
}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        (QUICK, {"log.log_every", "log.save_every", "evaluation.digits",
                 "evaluation.consistent_digits"}),
        (TUNED, {"model.latent_size", "model.operator_std", "schedule.operator_steps",
                 "schedule.network_prior_factor"}),
    ],
)  # fmt: skip
def test_presets_differ_from_paper_in_what_their_comments_say(preset, more):
    changed = {
        f"{group.name}.{field.name}"
        for group in dataclasses.fields(PAPER)
        if dataclasses.is_dataclass(getattr(PAPER, group.name))
        for field in dataclasses.fields(getattr(PAPER, group.name))
        if getattr(getattr(PAPER, group.name), field.name)
        != getattr(getattr(preset, group.name), field.name)
    }
    assert changed == SHORTER | more
