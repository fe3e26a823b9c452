"""Which models, which seeds, which parts."""

import dataclasses
import json
import pathlib

import jax
import matplotlib.figure
import numpy as np
import pytest

from experiments import natural_mnist, swiss_roll
from tests.runs.conftest import command
from vaells_jax.baselines import manifold_autoencoder, r_vae
from vaells_jax.runs.main import main
from vaells_jax.runs.models import BASELINES
from vaells_jax.runs.records import merit


def picture(*_):
    return {"picture": matplotlib.figure.Figure()}


def measure(run):
    return {
        "step": merit(float(run.step), "steps"),
        "seed": merit(run.config.seed, "its seed"),
        "folder": merit(str(run.workdir), "no number"),
        "data": merit(float(np.sum(run.data.inputs)), "depends on the seed alone"),
    }


PLAIN = dataclasses.replace(
    swiss_roll.EXPERIMENT, measure=measure, draw=picture, compare=picture
)
SHORT = {"schedule.steps": 2, "schedule.warm_up_steps": 1, "log.save_every": 2}


def read(folder):
    return json.loads((folder / "results.json").read_text())


def names(folder):
    return {p.name for p in folder.iterdir() if not p.name.startswith(".")}


@pytest.fixture
def few_pairs(monkeypatch):
    monkeypatch.setattr(manifold_autoencoder, "DRAWS", 1)
    monkeypatch.setattr(manifold_autoencoder, "STEPS", 2)
    monkeypatch.setattr(r_vae, "CODES", 100)


def test_models_that_make_no_sense_are_refused_by_name(tmp_path, capsys):
    asked = ("--model=data_operators",)
    assert command(tmp_path, *asked, experiment=natural_mnist.EXPERIMENT) == 2
    assert "--model data_operators: it is for vectors" in capsys.readouterr().err


def test_a_model_whose_networks_come_first_wants_a_warm_up(tmp_path, capsys):
    none = SHORT | {"schedule.warm_up_steps": 0}
    assert command(tmp_path, "--model=r", experiment=PLAIN, **none) == 2
    said = capsys.readouterr().err
    assert "schedule.warm_up_steps must be at least 1 for 'r'" in said


@pytest.mark.slow
def test_all_models_of_two_seeds_side_by_side(tmp_path, capsys, few_pairs):
    seeds = ("--seed=3", "--seeds=2", "--model=all")
    assert command(tmp_path, *seeds, experiment=PLAIN, **SHORT) == 0
    models = {*BASELINES, "vaells"}
    assert names(tmp_path) == {"seed-3", "seed-4", "results.json", "results.md"}
    for seed in (3, 4):
        folder = tmp_path / f"seed-{seed}"
        assert names(folder) == {*models, "figures"}
        assert names(folder / "figures") == {"picture.png"}
        for model in models:
            record = read(folder / model)
            assert (record["model"], record["seed"]) == (model, seed)
            assert names(folder / model / "figures") == {"picture.png"}
            assert record["results"]["folder"]["value"] == str(folder / model)
    summary = read(tmp_path)
    assert summary["seeds"] == 2
    assert set(summary["results"]) == {"step", "seed", "data"}
    for model in models:
        row = summary["results"]["seed"][model]
        assert (row["values"], row["median"]) == ([3, 4], 3.5)
    data = summary["results"]["data"]
    assert data["vae"]["values"] == data["vaells"]["values"]
    assert data["vae"]["values"][0] != data["vae"]["values"][1]
    said = capsys.readouterr().out
    assert (tmp_path / "results.md").read_text() in said


def test_one_model_has_a_folder_of_its_own_but_vaells(tmp_path, capsys):
    parts = ("--only=train,evaluate",)
    assert command(tmp_path, *parts, experiment=PLAIN, **SHORT) == 0
    assert read(tmp_path)["model"] == "vaells"
    assert not (tmp_path / "results.md").exists()
    assert command(tmp_path, "--model=vae", *parts, experiment=PLAIN, **SHORT) == 0
    assert read(tmp_path / "vae")["model"] == "vae"
    assert not (tmp_path / "vae" / "figures").exists()
    capsys.readouterr()
    drawn = command(
        tmp_path, "--model=vae", "--only=figures", experiment=PLAIN, **SHORT
    )
    assert drawn == 0
    assert names(tmp_path / "vae" / "figures") == {"picture.png"}
    assert "step =" not in capsys.readouterr().out


def test_the_default_folder_is_named_for_experiment_and_preset(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(PLAIN, ["--preset=quick", "--only=evaluate"]) == 2
    wanted = pathlib.Path("runs", "swiss_roll-quick")
    assert f"nothing to restore in {wanted}: train first" in capsys.readouterr().err
    assert main(PLAIN, ["--preset=quick", "--model=vae", "--only=evaluate"]) == 2
    wanted = pathlib.Path("runs", "swiss_roll-quick-compared", "vae")
    assert f"nothing to restore in {wanted}: train first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--model=vae", "--dataset=mnist"], "draws its own data"),
        (["--dataset=mnist"], "draws its own data"),
        (["--seeds=0"], "--seeds: wanted at least 1; got 0"),
    ],
)
def test_what_does_not_go_together(line, words, tmp_path, capsys):
    assert command(tmp_path / "run", *line) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_field_that_one_of_the_models_lacks_stops_before_any_training(
    tmp_path, capsys
):
    changes = {"model.num_operators": 3}
    with pytest.raises(SystemExit) as stopped:
        command(tmp_path / "run", "--model=all", **changes)
    assert stopped.value.code == 2
    assert "model.num_operators" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--table", "--seeds=2"], "--table cannot be combined with --seeds"),
        (["--published=x.pt", "--table", "--model=vae"],
         "--published cannot be combined with --model and --table"),
        (["--published=x.pt", "--only=train"], "not trained"),
    ],
)  # fmt: skip
def test_flags_that_leave_no_room_for_others(line, words, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert main(natural_mnist.EXPERIMENT, [f"--workdir={workdir}", *line]) == 2
    assert words in capsys.readouterr().err
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), 2, "the run failed: out of memory"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: of it\nmore"), 2,
         "the run failed: RESOURCE_EXHAUSTED: of it\n"),
        (OSError("disk full"), 2, "swiss_roll: disk full"),
        (KeyboardInterrupt(), 130, "resume from the last checkpoint"),
    ],
)  # fmt: skip
def test_how_a_run_may_end(error, status, words, tmp_path, capsys):
    def prepare(config):
        raise error

    stopped = dataclasses.replace(PLAIN, prepare=prepare)
    assert command(tmp_path, experiment=stopped) == status
    said = capsys.readouterr()
    assert words in said.err + said.out
    assert "Traceback" not in said.err


def test_errors_that_are_nobodys_fault_are_shown_whole(tmp_path):
    def prepare(config):
        raise ZeroDivisionError

    broken = dataclasses.replace(PLAIN, prepare=prepare)
    with pytest.raises(ZeroDivisionError):
        command(tmp_path, experiment=broken)
