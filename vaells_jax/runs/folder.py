"""A run's folder: it belongs to one configuration and has one writer at a time.

`config.json` holds the record of the run, and every checkpoint a copy of it: the
model's name, its configuration, facts of the data, and the environment that the
trajectory depends on. Readers change nothing.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import filelock
import jax
import jax.numpy as jnp
import pydantic

from vaells_jax.runs.config import BaselineConfig, RunConfig, VaellsConfig, model_name
from vaells_jax.runs.records import write_json
from vaells_jax.runs.run import RunData
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.version import __version__

Record = dict[str, Any]

CHECKPOINTS, BEST = "checkpoints", "best"
"""Where checkpoints lie in a run's folder: the newest, and the best by validation."""

_FREE = ("evaluation", "log", "schedule.steps")
"""Parts of a configuration that change no step already taken."""


def make_record(config: RunConfig, data: RunData) -> Record:
    """Describe a run, as JSON knows it."""
    return {
        "model": model_name(config),
        "config": json.loads(pydantic.TypeAdapter(type(config)).dump_json(config)),
        "data": data.facts,
        "environment": {
            "vaells_jax": __version__,
            "jax": jax.__version__,
            "precision": str(jnp.zeros(()).dtype),
            "random_numbers": str(jax.random.key_impl(jax.random.key(0))),
        },
    }


def read_config(record: Mapping[str, Any], where: str | pathlib.Path) -> RunConfig:
    """Return the configuration in a record; fields that it lacks take their defaults.

    Raises:
        ValueError: If a field has no meaning; names it.
    """
    kind = VaellsConfig if record["model"] == "vaells" else BaselineConfig
    try:
        return pydantic.TypeAdapter(kind).validate_python(record["config"])
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {name}: {first['msg']}.") from error


def read_record(workdir: pathlib.Path) -> Record | None:
    """Return the record of a run, from `config.json` or its newest checkpoint.

    Raises:
        ValueError: If there is one that cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        return Checkpoints(workdir / CHECKPOINTS, writer=False).record()
    return parse_record(path)


def parse_record(path: pathlib.Path) -> Record:
    """Read the record in a file.

    Raises:
        ValueError: If it holds none.
    """
    try:
        record = json.loads(path.read_text())
        record["model"], record["config"], record["data"], record["environment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a run's record: {error!r}.") from error
    return record


def trained_checkpoints(workdir: pathlib.Path) -> Checkpoints | None:
    """Open, to read, the best checkpoint by validation, or else the newest; or None."""
    for name in (BEST, CHECKPOINTS):
        checkpoints = Checkpoints(workdir / name, writer=False)
        if checkpoints.latest_step() is not None:
            return checkpoints
        checkpoints.close()
    return None


def claim(workdir: pathlib.Path, record: Record) -> None:
    """Write a run's record into its folder, or compare it with the one there.

    Length, logging and evaluation of a run may change; what changes is printed, and
    the record written anew.

    Raises:
        ValueError: If the folder holds another run; names what differs.
    """
    found = read_record(workdir)
    if found is not None:
        changes = list(_differences(_comparable(found, workdir), _comparable(record)))
        other = [text for name, text in changes if not name.startswith(_FREE)]
        if other:
            raise ValueError(
                f"{workdir} holds another run: {'; '.join(other)}. Choose another "
                "--workdir."
            )
        for name, text in changes:
            if not name.startswith("evaluation"):
                print(f"  changed: {text}")
        if not changes and (workdir / "config.json").exists():
            return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "config.json", record)


@contextlib.contextmanager
def writing(workdir: pathlib.Path) -> Iterator[None]:
    """Hold a folder's lock, which dies with its process.

    Raises:
        ValueError: If another process holds it, which it names, or there is a file in
            its place.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(
            f"--workdir: wanted a folder; {workdir} is, or is in, a file."
        ) from None
    lock, holder = filelock.FileLock(workdir / ".lock"), workdir / ".writer"
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        name = holder.read_text() if holder.exists() else "another process"
        raise ValueError(
            f"{workdir} is being written by {name}. Wait for it, or choose another "
            "--workdir."
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        lock.release()


def _comparable(record, where="this run"):
    """Return what two records must agree in, with all defaults filled in."""
    config = dataclasses.asdict(read_config(record, where))
    environment = record["environment"]
    return {
        "model": record["model"],
        **json.loads(json.dumps(config)),
        "data.shape": list(record["data"]["shape"]),
        **{name: environment[name] for name in ("precision", "random_numbers")},
    }


def _differences(found, wanted, prefix=""):
    """Yield name and description of each field in which two JSON trees differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**wanted, **found}:
            name = f"{prefix}.{key}" if prefix else key
            yield from _differences(found.get(key), wanted.get(key), name)
    elif found != wanted:
        was, now = json.dumps(found), json.dumps(wanted)
        yield prefix, f"{prefix} is {was} there, {now} here"
