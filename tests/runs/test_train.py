"""Training to the end: longer runs, the best checkpoint, numbers that fail."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import swiss_roll
from tests.runs.conftest import TINY, command, contents
from tests.runs.test_resume import last_state
from vaells_jax.runs.config import baseline_config, with_settings
from vaells_jax.runs.folder import BEST, CHECKPOINTS
from vaells_jax.runs.load import load_run
from vaells_jax.runs.records import MetricsLog
from vaells_jax.runs.run import RunData
from vaells_jax.runs.train import Pace, train_or_restore
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.schedule import Schedule, phase_at


def steps(workdir, name="metrics.jsonl"):
    return [line["step"] for line in MetricsLog.read(workdir / name)]


def test_a_run_made_longer_is_the_long_run_to_the_bit(finished, tmp_path, capsys):
    half = {"schedule.steps": 4}
    assert command(tmp_path, "--only=train", **half) == 0
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert command(tmp_path, "--only=train") == 0
    said = capsys.readouterr().out
    assert "changed: schedule.steps is 4 there, 8 here" in said
    assert "resuming from step 4 of 8" in said
    assert steps(tmp_path) == list(range(1, 9))
    for one, other in zip(last_state(tmp_path), last_state(finished), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_finished_run_is_not_trained_again(copied, capsys):
    kept = lambda: {
        name: found
        for name, found in contents(copied).items()
        if name.parts and name.parts[0] in ("checkpoints", "metrics.jsonl")
    }
    before = {name: data for name, (_, data) in kept().items()}
    assert command(copied, "--only=train") == 0
    assert "resuming" not in capsys.readouterr().out
    assert {name: data for name, (_, data) in kept().items()} == before


def test_nothing_to_restore(tmp_path, capsys):
    assert command(tmp_path / "new", "--only=evaluate") == 2
    assert "train first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def settings():
    config = with_settings(swiss_roll.TUNED, {"schedule.steps": 6, "log.save_every": 2})
    config = with_settings(config, {"data.batch_size": TINY["data.batch_size"]})
    return baseline_config("vae", config, 6)


@pytest.fixture(scope="module")
def validated(settings):
    """Return data of which a part is held back."""
    data = swiss_roll.EXPERIMENT.prepare(settings)
    held = data.next_batch(1_000)
    return dataclasses.replace(data, validation=held)


def fake(losses):
    """Return recipes whose validation is a list's, by step."""
    from vaells_jax.runs import train

    def recipe(*args, **kwargs):
        plan = train_recipe(*args, **kwargs)
        found = lambda state, batch: losses[int(state.step)]
        return dataclasses.replace(plan, validation=found)

    train_recipe = train.recipe
    return recipe


@pytest.mark.parametrize(("losses", "best"), [((3, 1, 2), 4), ((3, 2, 1), 6)])
def test_the_best_by_validation_is_kept(
    losses, best, settings, validated, tmp_path, monkeypatch
):
    by_step = dict(zip((2, 4, 6), map(float, losses), strict=True))
    monkeypatch.setattr("vaells_jax.runs.train.recipe", fake(by_step))
    run = train_or_restore(settings, validated, tmp_path)
    assert run.step == best
    assert [path.name for path in (tmp_path / BEST).iterdir()] == [str(best)]
    lines = MetricsLog.read(tmp_path / "watched.jsonl")
    assert {line["step"]: line["validation"] for line in lines} == by_step
    again = train_or_restore(settings, validated, tmp_path, train=False)
    assert again.step == best
    loaded = load_run(tmp_path).params
    reader = Checkpoints(tmp_path / BEST, writer=False)
    wanted = reader.restore(None)["params"]["encoder"]
    reader.close()
    for found in (run.trained.params, again.trained.params, loaded):
        jax.tree.map(np.testing.assert_array_equal, found.encoder, wanted)


def test_validation_is_the_objective_of_what_is_held_back(
    settings, validated, tmp_path
):
    from vaells_jax.baselines.elbo import negative_elbo

    run = train_or_restore(settings, validated, tmp_path)
    lines = MetricsLog.read(tmp_path / "watched.jsonl")
    losses = [line["validation"] for line in lines]
    assert [line["step"] for line in lines] == [2, 4, 6]
    wanted, _ = jax.jit(negative_elbo, static_argnames="model")(
        run.trained.params, jax.random.key(0), validated.validation.inputs,
        model=run.trained.model,
    )  # fmt: skip
    np.testing.assert_allclose(min(losses), wanted, rtol=1e-5)


def test_what_is_watched_is_written_at_each_checkpoint(settings, validated, tmp_path):
    data = dataclasses.replace(validated, validation=None)
    watch = lambda run: {"seen": float(run.step)}
    train_or_restore(settings, data, tmp_path, watch=watch)
    lines = MetricsLog.read(tmp_path / "watched.jsonl")
    assert [(line["step"], line["seen"]) for line in lines] == [(2, 2), (4, 4), (6, 6)]
    assert not any((tmp_path / BEST).glob("*"))
    # Killed after the checkpoint and before the line, it writes the line.
    path = tmp_path / "watched.jsonl"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(True)[:2]))
    train_or_restore(settings, data, tmp_path, watch=watch)
    assert path.read_text() == whole


def test_a_batch_that_the_data_do_not_have_is_refused(tmp_path, settings):
    data = RunData("made", jnp.zeros((4, 20)), None, lambda step: None, None)
    wide = with_settings(settings, {"networks": "own"})
    with pytest.raises(ValueError, match="networks: .*'own'; pass the run's own"):
        train_or_restore(wide, data, tmp_path / "run")
    assert not (tmp_path / "run" / CHECKPOINTS).exists()


FAILING = {
    "schedule.network_steps": 3, "schedule.operator_steps": 1, "schedule.steps": 9,
}  # fmt: skip


def test_networks_that_run_away(tmp_path, capsys, unchecked, x64):
    # Weights that are numbers still, of which a product of some is none.
    changes = {**FAILING, "optimizer.network_rate": 1e38 if x64 else 1e25}
    assert command(tmp_path, "--debug-nans", **changes) == 2
    said = capsys.readouterr().err
    assert "swiss_roll: step 2 (network):" in said
    folder = tmp_path / "failed"
    assert f"{folder}/" in said
    assert "The first NaN: " in said
    # A line of the model, or the one that differentiates it: jax's versions differ.
    assert re.search(r"vaells_jax/(model|networks|training)/\w+\.py:\d+", said)
    report = json.loads((folder / "report.json").read_text())
    assert (report["step"], report["phase"]) == (2, "network")
    assert "loss" in report["terms"]
    config = with_settings(swiss_roll.TUNED, {**TINY, **changes})
    data = swiss_roll.EXPERIMENT.prepare(config)
    inputs = np.asarray(data.inputs)[report["examples"]]
    with np.load(folder / "batch.npz") as batch:
        np.testing.assert_array_equal(batch["inputs"], inputs)
        np.testing.assert_array_equal(batch["labels"], np.zeros(8))
    with np.load(folder / "state.npz") as state:
        assert state["step"] == 1
        assert state["params.operators"].shape == (1, 2, 2)
        assert all(np.isfinite(array).all() for array in state.values())
    # The log holds the steps before it.
    assert steps(tmp_path) == [1]
    # And the folder is free for another attempt.
    assert command(tmp_path, **changes) == 2
    assert (
        "With --debug-nans the same command names the line" in capsys.readouterr().err
    )


def test_the_time_left_counts_each_phase_at_its_own_pace():
    schedule = Schedule(20, warm_up_steps=4, network_steps=2, operator_steps=6)
    seconds = {"warm_up": 1.0, "network": 3.0, "operators": 2.0}
    pace, now = Pace(schedule, 0), 0.0
    assert pace.seconds_left() is None
    for step in range(20):
        phase = phase_at(step, schedule)
        first = step == 0 or phase_at(step - 1, schedule) != phase
        now += 50.0 if first else seconds[phase]  # these compile
        pace.took_step(phase, now)
        to_come = [phase_at(later, schedule) for later in range(step + 1, 20)]
        if step in (1, 3):  # only the warm-up is known
            assert pace.seconds_left() == len(to_come) * 1.0
        if step > 8:
            assert pace.seconds_left() == sum(seconds[phase] for phase in to_come)
    assert pace.seconds_left() == 0.0
