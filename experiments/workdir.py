"""A working folder belongs to one configuration."""

import json
import pathlib

import pydantic

from experiments.config import RunConfig
from experiments.records import write_json


def claim_workdir(workdir: pathlib.Path, config: RunConfig) -> None:
    """Write `config.json` into a working folder, or check the one that is there.

    The evaluation's settings may differ, and are then written anew.

    Raises:
        ValueError: If the folder holds another configuration; names what differs.
    """
    path = workdir / "config.json"
    resolved = json.loads(pydantic.TypeAdapter(type(config)).dump_json(config))
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error
        changes = list(_differences(found, resolved))
        own = [change for change in changes if not change.startswith("evaluation")]
        if own:
            raise ValueError(
                f"{workdir} holds a run of another configuration: "
                f"{'; '.join(own)}. Choose another --workdir, or remove this one."
            )
        if not changes:
            return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, resolved)


def _differences(found, wanted, prefix=""):
    """Describe each field in which two JSON trees differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**wanted, **found}:
            yield from _differences(
                found.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key
            )
    elif found != wanted:
        yield f"{prefix} is {json.dumps(found)} there, {json.dumps(wanted)} here"
