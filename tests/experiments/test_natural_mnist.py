import json

import pytest

from experiments.natural_mnist import EXPERIMENT
from experiments.records import MetricsLog
from experiments.runner import main

TINY = {
    "schedule.steps": 12, "schedule.warm_up_steps": 4, "schedule.network_steps": 2,
    "schedule.operator_steps": 2, "log.log_every": 1, "log.save_every": 5,
    "data.batch_size": 8, "data.anchors_per_class": 2, "model.num_operators": 2,
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
    assert command(workdir) == 0
    return workdir


def test_whole_job_from_an_empty_folder(trained):
    assert {path.name for path in (trained / "figures").iterdir()} == FIGURES
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "digits"
    assert results["step"] == 12
    assert 0 < results["results"]["mse"]["value"] < 1
    assert results["results"]["mse"]["paper"] is None  # the paper's is MNIST's
    assert -2000 < results["results"]["log_likelihood"]["value"] < -720
    lines = MetricsLog.read(trained / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert {line["phase"] for line in lines} == {"warm_up", "network", "operators"}


def test_run_again_it_is_done_and_redraws(trained, capsys):
    (trained / "figures" / "reconstructions.png").unlink()
    assert command(trained, "--only", "figures") == 0
    assert (trained / "figures" / "reconstructions.png").exists()
    assert "mse" not in capsys.readouterr().out


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
    for word in ("--preset", "--set", "--workdir", "--only", "--dataset", "--seed"):
        assert word in text
