import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from vaells_jax import load_run, train
from vaells_jax.__main__ import main
from vaells_jax.networks.contract import Networks
from vaells_jax.networks.stock import dense_networks
from vaells_jax.runs.own import default_config

SHORT = {
    "schedule.steps": 12, "schedule.warm_up_steps": 4, "schedule.network_steps": 2,
    "schedule.operator_steps": 2, "log.log_every": 1, "log.save_every": 4,
    "model.num_operators": 1, "model.latent_size": 2, "data.anchors_per_class": 2,
    "evaluation.points": 4, "evaluation.samples": 50,
}  # fmt: skip
FLAGS = [f"--{name}={value}" for name, value in SHORT.items()]


def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(60, 6)) * 3 + 5, generator.integers(0, 3, 60)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a trained model and its folder."""
    folder = tmp_path_factory.mktemp("own")
    return train(*data(), workdir=folder, settings=SHORT), folder


@pytest.mark.slow
def test_another_process_draws_the_same_samples(trained):
    model, folder = trained
    code = (
        "import jax, numpy as np; from vaells_jax import load_run;"
        f"m = load_run({str(folder)!r});"
        "print(np.asarray(m.sample_prior(jax.random.key(0), 3, 1)).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    wanted = np.asarray(model.sample_prior(jax.random.key(0), 3, 1)).tobytes().hex()
    assert done.stdout.strip() == wanted


@pytest.mark.slow
def test_results_and_figures_are_of_the_model(trained):
    model, folder = trained
    inputs, _ = data()
    results = json.loads((folder / "results.json").read_text())["results"]
    errors = np.asarray(model.reconstruct(inputs)) - inputs
    assert results["reconstruction_mse"]["value"] == pytest.approx(
        np.mean(errors**2), rel=0.9
    )
    norms = np.linalg.norm(np.asarray(model.params.operators), axis=(1, 2))
    np.testing.assert_allclose(results["operator_norms"]["value"], norms, rtol=1e-5)
    assert len(results["operator_planes"]["value"]) == len(norms)
    assert np.isfinite(results["log_marginal_likelihood"]["value"])
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert {"prior_samples", "operator_paths", "latent_map"} <= names


@pytest.mark.slow
def test_the_best_checkpoint_by_validation_is_returned(trained):
    model, folder = trained
    text = (folder / "watched.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    best = min(lines, key=lambda line: line["validation"])
    (kept,) = (path.name for path in (folder / "best").iterdir())
    assert int(kept) == best["step"]
    np.testing.assert_array_equal(
        load_run(folder).encode(data()[0]), model.encode(data()[0])
    )


def test_own_networks_and_anchors(tmp_path):
    inputs, labels = data()
    networks = Networks(*dense_networks(2, 6, hidden=8))
    anchors = inputs[:6].reshape(3, 2, 6)
    changes = {"schedule.steps": 4, "evaluation.points": 0}  # the warm-up alone
    settings = {k: v for k, v in SHORT.items() if k != "data.anchors_per_class"}
    model = train(
        inputs, labels, workdir=tmp_path / "own", networks=networks, anchors=anchors,
        settings=settings | changes,
    )  # fmt: skip
    np.testing.assert_allclose(model.params.anchors, anchors, rtol=1e-6)
    again = load_run(tmp_path / "own", networks=networks)
    np.testing.assert_array_equal(again.encode(inputs), model.encode(inputs))
    with pytest.raises(ValueError, match="anchors must have shape"):
        train(inputs, labels, workdir=tmp_path / "bad", anchors=anchors[:2])


def test_a_baseline_trains_on_the_same_data(tmp_path):
    settings = {"schedule.steps": 6, "latent_size": 2, "evaluation.points": 0}
    vae = train(data()[0], workdir=tmp_path, model="vae", settings=settings)
    assert vae.encode(data()[0]).shape == (60, 2)


@pytest.mark.slow
def test_the_command_trains_and_opens_a_run(tmp_path, capsys):
    inputs, labels = data()
    file, folder = tmp_path / "mine.npz", tmp_path / "run"
    np.savez(file, inputs=inputs, labels=labels)
    flags = [name.replace("_", "-") for name in FLAGS]
    assert main(["train", str(file), "--workdir", str(folder), *flags]) == 0
    assert main(["show", str(folder), "--export", str(tmp_path / "model")]) == 0
    assert (folder / "samples.png").exists()
    assert (tmp_path / "model.npz").exists()
    capsys.readouterr()
    assert main(["train"]) == 2
    assert "give the file first" in capsys.readouterr().err
    assert main(["show", str(tmp_path)]) == 2
    assert "no trained run" in capsys.readouterr().err
    assert main(["tain"]) == 2
    assert main(["--help"]) == 0


def test_defaults_follow_the_datas_size():
    few = default_config(np.zeros((100, 50)) + np.arange(50.0) % 2, 1)
    many = default_config(np.random.default_rng(0).uniform(size=(4000, 28, 28, 1)), 3)
    assert (few.schedule.steps, many.schedule.steps) == (600, 6000)
    assert few.model.networks == "dense"
    assert many.model.networks == "convolutional"
    with pytest.raises(ValueError, match="no field 'model.layers'|no field 'layers'"):
        train(data()[0], workdir="nowhere", settings={"model.layers": 3})
