"""A folder belongs to one run, has one writer, and readers leave it alone."""

import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from tests.runs.conftest import command, contents
from tests.training.test_checkpoints import make_state
from vaells_jax.runs.config import VaellsConfig, baseline_config, with_settings
from vaells_jax.runs.folder import (
    CHECKPOINTS,
    claim,
    make_record,
    read_config,
    read_record,
    writing,
)
from vaells_jax.runs.load import load_run
from vaells_jax.runs.run import RunData
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.schedule import Schedule

CONFIG = VaellsConfig("made", "paper", Schedule(steps=100))


@pytest.fixture(scope="module")
def data():
    return RunData("made", jnp.zeros((4, 3)), None, lambda step: None, None)


@pytest.fixture
def record(data):
    return lambda **changes: make_record(with_settings(CONFIG, changes), data)


def test_a_folder_belongs_to_one_configuration(tmp_path, record, capsys):
    for _ in range(2):
        claim(tmp_path / "run", record())
    path = tmp_path / "run" / "config.json"
    assert json.loads(path.read_text()) == record()
    before = path.stat().st_mtime_ns
    claim(tmp_path / "run", record())
    assert path.stat().st_mtime_ns == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", 1, "seed is 0 there, 1 here"),
        ("preset", "tuned", 'preset is "paper" there, "tuned" here'),
        ("schedule.warm_up_steps", 7, "schedule.warm_up_steps is 0 there, 7 here"),
        ("model.latent_scale", 2.0, "model.latent_scale is null there, 2.0 here"),
        ("weights.prior_l1", 0.5, r"weights.prior_l1 is 0.01 there, 0.5 here"),
        ("prior_search.initial_range", (0.0, 2.0), r"prior_search.initial_range is \["),
        ("data.batch_size", 9, "data.batch_size is 32 there, 9 here"),
    ],
)
def test_another_configuration_is_refused_by_its_field(
    name, value, words, tmp_path, record
):
    claim(tmp_path, record())
    with pytest.raises(ValueError, match=f"{tmp_path} holds another run: {words}"):
        claim(tmp_path, record(**{name: value}))
    assert read_record(tmp_path) == record()


def test_other_models_data_and_numbers_are_refused(tmp_path, record, data):
    claim(tmp_path, record())
    vae = make_record(baseline_config("vae", CONFIG, 100), data)
    with pytest.raises(ValueError, match=r"model is .* there, \"vae\" here"):
        claim(tmp_path, vae)
    wide = RunData("made", jnp.zeros((4, 5)), None, lambda step: None, None)
    with pytest.raises(ValueError, match=r"data.shape is \[3\] there, \[5\] here"):
        claim(tmp_path, make_record(CONFIG, wide))
    for name in ("precision", "random_numbers"):
        other = record()
        other["environment"][name] = "other"
        with pytest.raises(ValueError, match=f'{name} is .* there, "other" here'):
            claim(tmp_path, other)
    newer = record()
    newer["environment"] |= {"jax": "99.0", "vaells_jax": "99.0"}
    claim(tmp_path, newer)  # versions are written down, and may change


@pytest.mark.parametrize(
    ("name", "value"),
    [("schedule.steps", 200), ("log.save_every", 7), ("log.log_every", 3)],
)
def test_length_and_logging_may_change_and_are_told(
    name, value, tmp_path, record, capsys
):
    claim(tmp_path, record())
    claim(tmp_path, record(**{name: value}))
    assert f"changed: {name} is " in capsys.readouterr().out
    assert read_record(tmp_path) == record(**{name: value})


def test_the_evaluation_may_change(tmp_path, record):
    changed = record(**{"evaluation.points": 3, "evaluation.noise_std": 0.5})
    claim(tmp_path, record())
    claim(tmp_path, changed)
    assert read_record(tmp_path) == changed


def test_checkpoints_claim_a_folder_that_lost_its_config(tmp_path, record):
    checkpoints = Checkpoints(tmp_path / CHECKPOINTS, record=record())
    checkpoints.save(make_state(3))
    checkpoints.close()
    assert read_record(tmp_path) == record()
    with pytest.raises(ValueError, match="holds another run: seed is 0 there, 1 here"):
        claim(tmp_path, record(seed=1))
    assert not (tmp_path / "config.json").exists()
    claim(tmp_path, record())
    assert json.loads((tmp_path / "config.json").read_text()) == record()


def test_fields_that_an_older_record_lacks_take_their_defaults(tmp_path, record):
    claim(tmp_path, record())
    old = record()
    del old["config"]["weights"]["prior_factor"], old["config"]["log"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert read_config(read_record(tmp_path), tmp_path) == CONFIG
    claim(tmp_path, record())


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        (None, "zeta", 1), ("weights", "zeta_9", 1), ("model", "latent_size", "x"),
        ("schedule", "steps", -1),
    ],
)  # fmt: skip
def test_fields_without_meaning_are_named(group, field, value, tmp_path, record):
    strange = record()
    fields = strange["config"] if group is None else strange["config"][group]
    fields[field] = value
    with pytest.raises(ValueError, match=rf"(?s)^{tmp_path}: .*{field}"):
        read_config(strange, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "vaells"}', '"run"'])
def test_what_is_no_record_is_named(text, tmp_path, record):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json is not a run's record"):
        claim(tmp_path, record())


HOLD = """
import pathlib, sys
from vaells_jax.runs.folder import writing
with writing(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(copied):
    """Start a process that holds the lock of a copied run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(copied)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_until_the_first_is_dead(holder, copied, capsys):
    named = f"{copied} is being written by process {holder.pid} on "
    with pytest.raises(ValueError, match=named), writing(copied):
        pass
    assert command(copied, "--only=train") == 2
    assert named in capsys.readouterr().err
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with writing(copied):
        assert f"process {os.getpid()} on" in (copied / ".writer").read_text()
    with writing(copied):  # and it was given back
        pass


def test_readers_of_a_folder_in_use_leave_it_as_it_is(holder, copied):
    newest = copied / CHECKPOINTS / "8"
    (newest / "_METADATA").write_text("damaged")
    for name in ("9", "9.orbax-checkpoint-tmp-17", "removed-2"):  # being written
        (newest.parent / name / "d").mkdir(parents=True)
    before = contents(copied)
    trained = load_run(copied)
    trained.sample_prior(jax.random.key(0), 3)
    read_record(copied)
    reader = Checkpoints(newest.parent, writer=False)
    assert int(reader.restore(None)["step"]) == 4
    reader.close()
    assert contents(copied) == before


@pytest.mark.parametrize("below", ["", "runs"])
def test_a_file_is_no_folder(below, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with (
        pytest.raises(ValueError, match=r"--workdir: wanted a folder; .*file"),
        writing(file / below),
    ):
        pass
    assert file.is_file()
