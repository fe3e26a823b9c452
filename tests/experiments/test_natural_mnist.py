import dataclasses
import json

import numpy as np
import pytest

from experiments import digits
from experiments.identity import Judge
from experiments.natural_mnist import EXPERIMENT
from experiments.records import MetricsLog, merit
from experiments.runner import main
from tests.conftest import REFERENCE
from vaells_jax.data.images import load_images

TINY = {
    "schedule.steps": 12, "schedule.warm_up_steps": 4, "schedule.network_steps": 0,
    "schedule.operator_steps": 0, "log.log_every": 1, "log.save_every": 5,
    "data.batch_size": 8, "data.anchors_per_class": 2, "model.num_operators": 2,
    "evaluation.digits": 4, "evaluation.samples": 3,
    "evaluation.consistent_digits": 2, "evaluation.consistent_samples": 50,
}  # fmt: skip
FIGURES = {
    "operator_eigenvalues.png", "operator_magnitudes.png", "operator_paths.png",
    "posterior_samples.png", "reconstruction_curve.png", "reconstructions.png",
    "transport_curves.png",
}  # fmt: skip


def command(workdir, *more, **changes):
    sets = [f"--set={name}={value}" for name, value in {**TINY, **changes}.items()]
    arguments = ["--preset", "quick", "--dataset", "digits", "--workdir", str(workdir)]
    return main(EXPERIMENT, [*arguments, *sets, *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("natural_mnist")
    judge = Judge(lambda images: np.zeros(len(images), int), np.asarray, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "digit_judge", lambda *args, **kwargs: judge)
        patch.setattr(digits, "NUM_DIGITS", 10)
        assert command(workdir) == 0
    return workdir


def test_whole_job_from_an_empty_folder(trained):
    assert {path.name for path in (trained / "figures").iterdir()} == FIGURES
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "digits"
    assert results["step"] == 12
    assert 0 < results["results"]["mse"]["value"] < 1
    assert results["results"]["mse"]["paper"] is None  # the paper's is MNIST's
    assert results["weights"] == "trained here"
    for name in (
        "log_likelihood", "log_likelihood_density_search", "log_likelihood_consistent",
        "elbo",
    ):  # fmt: skip
        merit = results["results"][name]
        assert -2000 < merit["value"] < -720
        assert merit["constant"] == pytest.approx(-720.45, abs=0.01)
        assert merit["settings"]["digits"] == (2 if "consistent" in name else 4)
    settings = results["results"]["log_likelihood_density_search"]["settings"]
    assert settings["prior_search"]["l1_weight"] == 1.0
    assert settings["samples"] == 3
    assert settings["labels_used"] is True
    # The judge takes everything for a zero.
    zeros = np.mean(load_images("digits").test.labels[:10] == 0)
    preserved = results["results"]["identity_preservation"]["value"]
    along = results["results"]["identity_preservation_along_operators"]["value"]
    assert [preserved, *along] == pytest.approx([zeros] * 3)
    assert results["results"]["sample_diversity"]["value"] > 0
    lines = MetricsLog.read(trained / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert {line["phase"] for line in lines} == {"warm_up", "joint"}


def test_run_again_it_is_done_and_redraws(trained, capsys):
    (trained / "figures" / "reconstructions.png").unlink()
    assert command(trained, "--only", "figures") == 0
    assert (trained / "figures" / "reconstructions.png").exists()
    assert "mse" not in capsys.readouterr().out


def test_evaluations_may_change_their_settings(trained):
    before = json.loads((trained / "config.json").read_text())
    changed = {"evaluation.digits": 5}
    assert command(trained, "--only", "train", **changed) == 0
    after = json.loads((trained / "config.json").read_text())
    assert after["evaluation"]["digits"] == 5
    assert {**after, "evaluation": None} == {**before, "evaluation": None}


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"seed": 1}, (), "another configuration: seed"),
        ({"model.latnt_size": 1}, (), "model.latent_size"),
        ({"data.anchors_per_class": 0}, (), "anchors"),
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
        EXPERIMENT, evaluate=lambda run: {"name": merit(run.label, "its name")}
    )
    arguments = ["--published", str(weights_file()), "--dataset", "digits"]
    assert main(measured, [*arguments, "--workdir", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["step"] is None
    assert "published weights, sha256" in results["weights"]
    assert results["results"]["name"]["value"].startswith("digits, published weights")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["preset"] == "published"
    assert config["model"]["num_operators"] == 4
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {
        "operator_eigenvalues.png", "operator_paths.png", "posterior_samples.png",
        "reconstructions.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--only", "train"), "not trained"),
        (("--table",), "neither --table nor --seeds"),
        (("--published", "nowhere.pt"), "no checkpoint file at nowhere.pt"),
    ],
)
def test_published_weights_that_cannot_be(more, words, tmp_path, capsys):
    arguments = ["--published", str(weights_file()), "--workdir", str(tmp_path)]
    assert main(EXPERIMENT, [*arguments, *more]) == 2
    assert words in capsys.readouterr().err


def test_nothing_to_restore(tmp_path, capsys):
    assert command(tmp_path / "new", "--only", "evaluate") == 2
    assert "train first" in capsys.readouterr().err


def test_unknown_part(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command(tmp_path, "--only", "dance")
    assert "train, evaluate, figures" in capsys.readouterr().err


def test_help_explains(capsys):
    with pytest.raises(SystemExit):
        main(EXPERIMENT, ["--help"])
    text = capsys.readouterr().out
    for word in (
        "--preset", "--set", "--workdir", "--only", "--dataset", "--seed", "--table",
        "--published",
    ):  # fmt: skip
        assert word in text
