import dataclasses
import json

import numpy as np
import pytest

from experiments.digits import measures
from experiments.digits.classifier import Classifier
from experiments.natural_mnist import EXPERIMENT, PAPER, QUICK, TUNED
from tests.conftest import REFERENCE
from tests.runs.conftest import flags
from vaells_jax.data.images import load_images
from vaells_jax.runs.main import main
from vaells_jax.runs.records import MetricsLog, merit

# Of a few samples no estimate is tight.

TINY = {
    "schedule.steps": 12, "schedule.warm_up_steps": 4, "schedule.network_steps": 0,
    "schedule.operator_steps": 0, "log.log_every": 1, "log.save_every": 5,
    "data.batch_size": 8, "data.anchors_per_class": 2, "model.num_operators": 2,
    "evaluation.surrogate_points": 4, "evaluation.surrogate_samples": 3,
    "evaluation.points": 2, "evaluation.samples": 50,
}  # fmt: skip
FIGURES = {
    "operator_algebra.png",
    "operator_eigenvalues.png", "operator_magnitudes.png", "operator_paths.png",
    "posterior_samples.png", "reconstruction_curve.png", "reconstructions.png",
    "transport_curves.png",
}  # fmt: skip


def command(workdir, *more, experiment=EXPERIMENT, **changes):
    arguments = ["--preset=quick", "--dataset=mnist_5k", f"--workdir={workdir}"]
    return main(experiment, [*arguments, *flags({**TINY, **changes}), *more])


ZEROS = Classifier(lambda images: np.zeros(np.shape(images)[:-2], int), np.asarray, 0.5)
"""Takes everything for a zero."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("natural_mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "digit_classifier", lambda run, rotated: ZEROS)
        patch.setattr(measures, "NUM_DIGITS", 10)
        assert command(workdir) == 0
    return workdir


@pytest.mark.slow
def test_whole_job_from_an_empty_folder(trained):
    assert {path.name for path in (trained / "figures").iterdir()} == FIGURES
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "mnist_5k"
    assert results["step"] == 12
    assert 0 < results["results"]["mse"]["value"] < 1
    assert results["results"]["mse"]["paper"] is None  # the paper's is MNIST's
    assert results["weights"] == "trained here"
    for name in (
        "log_likelihood", "log_likelihood_density_search", "log_marginal_likelihood",
        "elbo",
    ):  # fmt: skip
        merit = results["results"][name]
        assert -2000 < merit["value"] < -720
        assert merit["constant"] == pytest.approx(-720.45, abs=0.01)
        if name != "log_marginal_likelihood":
            assert merit["settings"]["digits"] == 4
    marginal = results["results"]["log_marginal_likelihood"]
    assert "50 of each of 2 test points" in marginal["meaning"]
    assert marginal["settings"]["num_samples"] == 50
    settings = results["results"]["log_likelihood_density_search"]["settings"]
    assert settings["prior_search"]["l1_weight"] == 1.0
    assert settings["samples"] == 3
    assert settings["labels_used"] is True
    zeros = np.mean(load_images("mnist_5k").test.labels[:10] == 0)
    preserved = results["results"]["identity_of_samples"]["value"]
    along = results["results"]["identity_along_operators"]["value"]
    assert [preserved, *along] == pytest.approx([zeros] * 3)
    assert results["results"]["sample_diversity"]["value"] > 0
    lines = MetricsLog.read(trained / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert {line["phase"] for line in lines} == {"warm_up", "joint"}


@pytest.mark.slow
def test_run_again_it_is_done_and_redraws(trained, capsys):
    (trained / "figures" / "reconstructions.png").unlink()
    assert command(trained, "--only", "figures") == 0
    assert (trained / "figures" / "reconstructions.png").exists()
    assert "mse" not in capsys.readouterr().out


@pytest.mark.slow
def test_evaluations_may_change_their_settings(trained):
    before = json.loads((trained / "config.json").read_text())
    changed = {"evaluation.surrogate_points": 5}
    assert command(trained, "--only", "train", **changed) == 0
    after = json.loads((trained / "config.json").read_text())
    assert after["config"]["evaluation"].pop("surrogate_points") == 5
    assert before["config"]["evaluation"].pop("surrogate_points") == 4
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"seed": 1}, (), "holds another run: seed"),
        ({"data.anchors_per_class": 5000}, (), "5000"),
        ({}, ("--dataset", "mnits"), "mnist"),
    ],
)
def test_bad_commands_end_with_a_sentence(changes, more, words, trained, capsys):
    assert command(trained, *more, **changes) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def weights_file():
    path = REFERENCE / "natural_mnist_published.pt"
    if not path.exists():
        pytest.skip(f"no published weights at {path}")
    pytest.importorskip("torch", reason="reads PyTorch files, an extra")
    return path


def test_published_weights_are_evaluated_and_drawn(tmp_path, capsys):
    measured = dataclasses.replace(
        EXPERIMENT, measure=lambda run: {"name": merit(run.label, "its name")}
    )
    arguments = ["--published", str(weights_file()), "--dataset", "mnist_5k"]
    assert main(measured, [*arguments, "--workdir", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["step"] is None
    assert "published weights, sha256" in results["weights"]
    assert results["results"]["name"]["value"].startswith("digits, published weights")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["config"]["preset"] == "published"
    assert config["config"]["model"]["num_operators"] == 4
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {
        "operator_algebra.png",
        "operator_eigenvalues.png", "operator_paths.png", "posterior_samples.png",
        "reconstructions.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--only", "train"), "not trained"),
        (("--table",), "--published goes without --table"),
        (("--published", "nowhere.pt"), "no checkpoint file at nowhere.pt"),
    ],
)
def test_published_weights_that_cannot_be(more, words, tmp_path, capsys):
    arguments = ["--published", str(weights_file()), "--workdir", str(tmp_path)]
    assert main(EXPERIMENT, [*arguments, *more]) == 2
    assert words in capsys.readouterr().err


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


SHORTER = {
    "schedule.steps", "schedule.warm_up_steps", "model.latent_scale",
    "optimizer.network_rate", "optimizer.ramp_steps", "optimizer.operator_rate",
}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        (QUICK, {"log.log_every", "log.save_every", "evaluation.points",
                 "evaluation.surrogate_points"}),
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
