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


def restore(folder, template=None):
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.restore(make_state(0) if template is None else template)
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


def test_checkpoints_without_a_digest_are_read_with_a_notice(tmp_path, caplog):
    manager = ocp.CheckpointManager(tmp_path)  # as before there were digests
    manager.save(4, args=ocp.args.StandardSave(make_state(4)))
    manager.wait_until_finished()
    manager.close()
    assert bits(restore(tmp_path)) == bits(make_state(4))
    assert "no digest" in caplog.text


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
            record["sha256"] = _digest(folder / "5")
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
