import json
import pathlib
import re

import jax
import numpy as np
import pytest

from experiments import binarised_mnist, natural_mnist, rotated_mnist, swiss_roll
from experiments.compared_run import binarised
from experiments.comparison_table import write_table
from experiments.models import MODELS, ComparedConfig, build_model
from experiments.records import merit
from experiments.runner import main
from vaells_jax import Batch
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.training.schedule import Schedule

DOCS = pathlib.Path(__file__).parents[2] / "docs"
TINY = ["--set=schedule.steps=6", "--set=log.log_every=1", "--set=data.batch_size=8"]


def test_the_contributors_example_runs_as_it_stands(tmp_path, monkeypatch, unchecked):
    text = (DOCS / "adding_a_model.md").read_text()
    monkeypatch.setattr(
        "experiments.models.MODELS", dict(MODELS)
    )  # what the page adds goes with the test
    names: dict = {"__name__": "adding_a_model"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    added = names["MODELS"]
    for module in ("comparison", "command"):
        monkeypatch.setattr(f"experiments.{module}.MODELS", added)
    arguments = [
        "--preset", "quick", "--model", "laplace", "--workdir", str(tmp_path),
        "--set=evaluation.points=4", "--set=evaluation.samples=20",
        '--set=options={"rate": 2.0}', *TINY,
    ]  # fmt: skip
    assert main(swiss_roll.EXPERIMENT, arguments) == 0
    found = json.loads((tmp_path / "laplace" / "compared.json").read_text())
    assert found["model"] == "laplace"
    assert np.isfinite(found["results"]["log_likelihood"]["value"])
    config = json.loads((tmp_path / "laplace" / "config.json").read_text())
    assert config["options"] == {"rate": 2.0}


def test_what_does_not_go_together(tmp_path, capsys):
    command = lambda *more: main(
        swiss_roll.EXPERIMENT, ["--workdir", str(tmp_path), *more]
    )
    assert command("--model", "vae", "--dataset", "mnist") == 2
    assert "draws its own data" in capsys.readouterr().err
    assert command("--model", "vae", "--set", "model.num_operators=3") == 2
    assert "no field" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("--model", "vea")
    with pytest.raises(SystemExit):  # its likelihood is of grey values
        main(binarised_mnist.EXPERIMENT, ["--model", "vaells"])


def test_models_are_their_authors(dtype):
    images = (28, 28)
    spherical = binarised_mnist.settings(
        "hyperspherical", binarised_mnist.PRESETS["paper"]
    )
    assert spherical.networks == "plain"
    assert (spherical.latent_size, spherical.optimizer.rate) == (11, 1e-3)
    assert isinstance(build_model(spherical, images), Hyperspherical)
    vamp = build_model(
        binarised_mnist.settings("vampprior", binarised_mnist.PRESETS["paper"]), images
    )
    assert (vamp.num_components, vamp.latent_size) == (500, 40)
    for module in (natural_mnist, rotated_mnist):
        for name in MODELS:
            config = module.COMPARISON.settings(name, module.PAPER)
            assert config.binarise == (name != "vae")
            build_model(config, images)


def test_options_of_another_model_are_named():
    config = ComparedConfig("x", "y", Schedule(1), options={"num_components": 3})
    with pytest.raises(ValueError, match=r"options.*num_components.*Vae"):
        build_model(config, (20,))
    with pytest.raises(ValueError, match="model: got 'veil'"):
        build_model(ComparedConfig("x", "y", Schedule(1), model="veil"), (20,))


def test_binary_batches_are_functions_of_the_step():
    grey = Batch(np.full((200, 4, 4), 0.3, np.float32), np.zeros(200, np.int32))
    batch = binarised(lambda step: grey, jax.random.key(0))
    first, again, second = batch(1), batch(1), batch(2)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert np.any(first.inputs != second.inputs)
    assert set(np.unique(first.inputs)) == {0.0, 1.0}
    error = np.sqrt(0.3 * 0.7 / first.inputs.size)
    assert abs(float(np.mean(first.inputs)) - 0.3) < 4 * error


def test_table_over_seeds(tmp_path, capsys):
    result = lambda value: {"error": merit(value, "an error")}
    found = [{"vae": result(v), "vaells": result(v / 10)} for v in (1.0, 3.0, 2.0)]
    table = write_table(tmp_path, found)
    assert table["error"]["vae"]["median"] == 2.0
    text = (tmp_path / "comparison.md").read_text()
    assert "| error | 2 (1 to 3) | 0.2 (0.1 to 0.3) |" in text
    saved = json.loads((tmp_path / "comparison.json").read_text())
    assert saved["results"]["error"]["vaells"]["values"] == [0.1, 0.3, 0.2]
    capsys.readouterr()
