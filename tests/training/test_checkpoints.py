import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.runs.conftest import contents
from vaells_jax.training.checkpoints import Checkpoints, _digest
from vaells_jax.training.step import TrainState


def make_state(step):
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params={"weights": jnp.linspace(0.0, step, 20), "none": None},
        opt_state=(jnp.ones((2, 3)),),
    )


def bits(state):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def restore(folder, *template, writer=True):
    checkpoints = Checkpoints(folder, writer=writer)
    try:
        return checkpoints.restore(*(template or [make_state(0)]))
    finally:
        checkpoints.close()


def save(folder, *states):
    checkpoints = Checkpoints(folder)
    for state in states:
        checkpoints.save(state)
    checkpoints.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "two"
    save(folder, *map(make_state, (3, 5)))
    return folder


def test_the_newest_two_are_kept(tmp_path):
    save(tmp_path, *map(make_state, (1, 2, 7, 11)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["11", "7"]
    assert bits(restore(tmp_path)) == bits(make_state(11))


@pytest.mark.parametrize("keep", [1, 3, 4])
def test_as_many_are_kept_as_are_asked_for(keep, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=keep)
    for count, step in enumerate((2, 3, 5, 7, 11), start=1):
        checkpoints.save(make_state(step))
        kept = sorted(int(path.name) for path in tmp_path.iterdir())
        assert kept == [2, 3, 5, 7, 11][:count][-keep:]
    checkpoints.close()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, pathlib.Path.unlink])
def test_damage_to_any_file_is_noticed_and_the_one_before_used(
    damage, two, tmp_path, caplog
):
    names = [path.relative_to(two) for path in (two / "5").rglob("*") if path.is_file()]
    assert len(names) > 10
    for i, name in enumerate(names):
        folder = tmp_path / str(i)
        shutil.copytree(two, folder)
        damage(folder / name)
        caplog.clear()
        assert bits(restore(folder)) == bits(make_state(3)), name
        assert f"{folder / '5'} " in caplog.text
        assert (folder / "damaged-5").is_dir()


def test_a_run_goes_on_past_a_damaged_checkpoint(two, tmp_path):
    shutil.copytree(two, tmp_path / "run")
    for _ in range(2):
        flip(tmp_path / "run" / "5" / "_METADATA")
        assert int(restore(tmp_path / "run").step) == 3
        save(tmp_path / "run", make_state(5))
    assert bits(restore(tmp_path / "run")) == bits(make_state(5))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"3", "5", "damaged-5", "damaged-5-2"}


def test_where_none_is_whole_all_are_named(two, tmp_path):
    shutil.copytree(two, tmp_path / "run")
    for step in ("3", "5"):
        flip(tmp_path / "run" / step / "_METADATA")
    with pytest.raises(ValueError, match=r"/5 cannot be read.*/3 cannot be read"):
        restore(tmp_path / "run")


def test_what_a_killed_run_left_is_absent(two, tmp_path, caplog):
    run = tmp_path / "run"
    shutil.copytree(two, run)
    shutil.copytree(two / "5", run / "7.orbax-checkpoint-tmp-17")  # while writing
    shutil.copytree(two / "5", run / "6")  # before its digest was written
    (run / "6" / "digest.json").unlink()
    (run / "removed-2" / "d").mkdir(parents=True)  # while removing an old one
    checkpoints = Checkpoints(run)
    assert checkpoints.latest_step() == 5
    checkpoints.close()
    assert "6 was never finished" in caplog.text
    assert {path.name for path in run.iterdir()} == {"3", "5", "damaged-6"}


def test_another_configuration_is_no_damage(two):
    other = make_state(0).replace(params={"weights": jnp.ones(21), "none": None})
    with pytest.raises(ValueError, match=r"another configuration.*\[20\].*\[21\]"):
        restore(two, other)
    more = make_state(0).replace(opt_state=())
    with pytest.raises(ValueError, match=r"holds 3 arrays, wanted 2"):
        restore(two, more)
    assert (two / "5").is_dir()


def test_fields_that_are_empty_may_be_new(tmp_path):
    saved = make_state(4)
    older = saved.replace(params={"weights": saved.params["weights"]})
    with_checkpoints = Checkpoints(tmp_path)
    with_checkpoints.save(older)
    found = with_checkpoints.restore(make_state(0))
    assert jax.tree.structure(found) == jax.tree.structure(saved)
    assert bits(found) == bits(saved)
    # Of the same shapes, but other names, it is not.
    renamed = saved.replace(params={"others": saved.params["weights"]})
    with pytest.raises(ValueError, match="another configuration"):
        with_checkpoints.restore(renamed)
    with_checkpoints.close()


def test_readers_pass_damage_over_and_rename_nothing(two, tmp_path, caplog):
    run = tmp_path / "run"
    shutil.copytree(two, run)
    flip(run / "5" / "_METADATA")
    (run / "removed-2" / "d").mkdir(parents=True)
    for unfinished in ("6", "7.orbax-checkpoint-tmp-17"):
        shutil.copytree(two / "3", run / unfinished)
        (run / unfinished / "digest.json").unlink()
    before = contents(run)
    assert bits(restore(run, writer=False)) == bits(make_state(3))
    assert f"{run / '5'} cannot be read; its file _METADATA" in caplog.text
    assert "Using that of step 3" in caplog.text
    reader = Checkpoints(run, writer=False)
    assert reader.latest_step() == 5
    reader.close()
    assert contents(run) == before
    with pytest.raises(ValueError, match="no checkpoint"):
        restore(tmp_path / "none", writer=False)
    assert not (tmp_path / "none").exists()


def test_files_of_others_are_not_looked_at(two, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(two, run)
    for stray in (".DS_Store", "5/.DS_Store", "5/d/.nfs0001", "notes.txt"):
        (run / stray).write_text("not a checkpoint's")
    for writer in (False, True):
        assert bits(restore(run, writer=writer)) == bits(make_state(5))
    save(run, make_state(7))
    assert {"5", "7", ".DS_Store", "notes.txt"} == {p.name for p in run.iterdir()}


@pytest.mark.parametrize(
    ("damage", "words"),
    [(pathlib.Path.unlink, "is missing"), (cut, "is not what was written: the digest")],
)
def test_the_file_that_is_missing_or_damaged_is_named(damage, words, two, tmp_path):
    shutil.copytree(two / "5", tmp_path / "5")
    name = "_METADATA"
    damage(tmp_path / "5" / name)
    with pytest.raises(ValueError, match=f"/5 cannot be read; its file {name} {words}"):
        restore(tmp_path)


def test_without_a_template_dictionaries_are_read(two):
    found = restore(two, None, writer=False)
    assert isinstance(found, dict)
    wanted = make_state(5)
    np.testing.assert_array_equal(found["params"]["weights"], wanted.params["weights"])
    assert found["params"]["none"] is None
    np.testing.assert_array_equal(found["opt_state"][0], wanted.opt_state[0])
    assert int(found["step"]) == 5


def test_the_record_of_the_newest_is_read(tmp_path):
    for step, record in ((3, {"seed": 1}), (5, {"seed": 2})):
        checkpoints = Checkpoints(tmp_path, record=record)
        checkpoints.save(make_state(step))
        checkpoints.close()
    reader = Checkpoints(tmp_path, writer=False)
    assert reader.record() == {"seed": 2}
    (tmp_path / "5" / "digest.json").write_text("{")
    assert reader.record() == {"seed": 1}
    reader.close()


def read_on(folder):
    """Read a folder again and again, up to step 12; return the steps that were seen."""
    reader, seen = Checkpoints(folder, writer=False), [0]
    while seen[-1] < 12:
        if reader.latest_step() is not None:
            seen.append(int(reader.restore(None)["step"]))
    return seen


def test_a_run_that_is_read_while_it_writes_stays_whole(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as other:
        reading = other.submit(read_on, tmp_path)
        writer = Checkpoints(tmp_path)
        for step in range(1, 13):
            writer.save(make_state(step))
        writer.close()
        seen = reading.result()
    assert seen == sorted(seen)
    assert {path.name for path in tmp_path.iterdir()} == {"11", "12"}
    assert bits(restore(tmp_path)) == bits(make_state(12))


def test_a_checkpoint_without_digests_was_never_finished(tmp_path, caplog):
    manager = ocp.CheckpointManager(tmp_path)  # Orbax's own, which writes none
    manager.save(4, args=ocp.args.StandardSave(make_state(4)))
    manager.wait_until_finished()
    manager.close()
    with pytest.raises(ValueError, match="no checkpoint"):
        restore(tmp_path, writer=False)
    with pytest.raises(ValueError, match="no checkpoint"):
        restore(tmp_path)
    assert f"{tmp_path / '4'} was never finished" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["damaged-4"]


HOSTILE = b"cos\nsystem\n(S'touch CALLED'\ntR."
"""A pickle that runs a command when it is read."""


def read_outcome(folder: pathlib.Path) -> bool:
    """Say whether a checkpoint is refused, or read as if nothing had changed."""
    os.chdir(folder)
    try:
        return bits(restore(folder)) == bits(make_state(5))
    except ValueError as error:
        return "cannot be read" in str(error)


def test_no_code_of_a_strangers_checkpoint_runs(two, tmp_path):
    folders = []
    for name in [path.relative_to(two) for path in (two / "5").rglob("*")]:
        if not (two / name).is_file():
            continue
        folder = tmp_path / str(len(folders))
        shutil.copytree(two / "5", folder / "5")
        (folder / name).write_bytes(HOSTILE)
        about = folder / "5" / "digest.json"
        if name.name != about.name:  # a stranger's digest fits his files
            record = json.loads(about.read_text())
            record["sha256"][name.relative_to("5").as_posix()] = _digest(folder / name)
            about.write_text(json.dumps(record))
        folders.append(folder)
    # In a process of its own: Orbax leaves reads unfinished when one of them fails.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as other:
        assert all(other.map(read_outcome, folders))
    assert len(folders) > 5
    assert not list(tmp_path.rglob("CALLED"))


def test_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest_step() is None
    with pytest.raises(ValueError, match="no checkpoint"):
        checkpoints.restore(make_state(0))
    checkpoints.close()
    with pytest.raises(ValueError, match=r"keep.*0"):
        Checkpoints(tmp_path, keep=0)
