"""Every model by its name."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

from experiments import binarised_mnist, natural_mnist, rotated_mnist
from tests.runs.conftest import command
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.runs.config import BaselineConfig, baseline_config, with_settings
from vaells_jax.runs.models import BASELINES, baseline, recipe, vaells
from vaells_jax.runs.run import RunData
from vaells_jax.training.schedule import Schedule

DOCS = pathlib.Path(__file__).parents[2] / "docs"
FACTS = {"shape": [28, 28]}


def test_the_contributors_example_runs_as_it_stands(tmp_path, monkeypatch, unchecked):
    text = (DOCS / "tutorials" / "own_model.md").read_text()
    monkeypatch.setitem(BASELINES, "laplace", None)  # goes with the test
    names: dict = {"__name__": "own_model"}
    # The class alone: the site's build runs the other cells.
    _, block, *_ = re.findall(r"```\{code-cell\} ipython3\n(.*?)```", text, re.DOTALL)
    exec(block, names)
    assert names["BASELINES"]["laplace"] is names["LaplaceVae"]
    changes = {"evaluation.points": 4, "evaluation.samples": 20}
    more = ("--model", "laplace", "--options", "rate", "2.0")
    assert command(tmp_path, *more, **changes) == 0
    record = json.loads((tmp_path / "laplace" / "results.json").read_text())
    assert record["model"] == "laplace"
    assert np.isfinite(record["results"]["log_marginal_likelihood"]["value"])
    config = json.loads((tmp_path / "laplace" / "config.json").read_text())["config"]
    assert config["options"] == {"rate": 2.0}


def test_models_are_their_authors():
    paper = binarised_mnist.EXPERIMENT.presets["paper"]
    spherical = binarised_mnist.settings("hyperspherical", paper)
    assert spherical.networks == "plain"
    assert (spherical.latent_size, spherical.optimizer.rate) == (11, 1e-3)
    assert isinstance(baseline(spherical, FACTS), Hyperspherical)
    vamp = baseline(binarised_mnist.settings("vampprior", paper), FACTS)
    assert (vamp.num_components, vamp.latent_size) == (500, 40)
    for module in (natural_mnist, rotated_mnist):
        for name in BASELINES:
            config = module.EXPERIMENT.baselines(name, module.PAPER)
            assert config.binarise == (name in ("hyperspherical", "delta", "vampprior"))
            baseline(config, FACTS)


def test_options_of_another_model_are_named():
    config = BaselineConfig("x", "y", Schedule(1), options={"num_components": 3})
    with pytest.raises(ValueError, match=r"options.*num_components.*Vae"):
        baseline(config, {"shape": [20]})
    with pytest.raises(ValueError, match="model must be one of vae, .*got 'veil'"):
        baseline(BaselineConfig("x", "y", Schedule(1), model="veil"), FACTS)


def test_the_static_part_is_the_configurations():
    config = with_settings(natural_mnist.PAPER, {"model.num_samples": 3})
    model = vaells(config, FACTS)
    assert (model.noise_std, model.num_samples) == (1e-3, 3)
    assert model.prior_search == config.prior_search
    assert model.posterior_search == config.posterior_search


def test_networks_that_do_not_go_with_the_configuration(tiny_model):
    own = with_settings(natural_mnist.PAPER, {"model.networks": "own"})
    with pytest.raises(ValueError, match="names 'own'; pass the run's own networks"):
        vaells(own, FACTS)
    assert vaells(own, FACTS, tiny_model.networks).networks is tiny_model.networks
    with pytest.raises(ValueError, match="names 'convolutional'; pass no networks"):
        vaells(natural_mnist.PAPER, FACTS, tiny_model.networks)


def test_starts_are_those_that_the_configuration_asks_for():
    inputs = jax.random.normal(jax.random.key(0), (8, 5))
    data = RunData("made", inputs, inputs[None, :2], lambda step: None, None)
    config = with_settings(
        natural_mnist.PAPER,
        {"model.networks": "dense", "model.latent_size": 2, "model.num_operators": 3,
         "model.skew_start": True, "model.linear_start": 0.5,
         "model.latent_scale": 1.0},
    )  # fmt: skip
    plan = recipe(config, data)
    state = plan.start(jax.random.key(1))
    operators = np.asarray(state.params.operators)
    assert operators.shape == (3, 2, 2)
    np.testing.assert_array_equal(operators, -operators.transpose(0, 2, 1))
    latents = plan.trained(state).encode(inputs)
    np.testing.assert_allclose(np.sqrt(np.mean(latents**2, axis=0)), 0.5, rtol=1e-3)
    assert plan.after_warm_up is None
    assert float(state.params.latent_scale) == 1.0
    chosen = with_settings(config, {"model.latent_scale": None})
    assert recipe(chosen, data).after_warm_up is not None
    vae = recipe(baseline_config("vae", config, 9), data)
    assert vae.after_warm_up is None
