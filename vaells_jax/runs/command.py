"""The command line: a few flags, and the fields of the configuration."""

import dataclasses
import pathlib
import re
import sys
from typing import Annotated, Any, Literal, TypeVar

import tyro

from vaells_jax.runs.config import RunConfig
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.models import BASELINES

PARTS = ("train", "evaluate", "figures")
FIELDS = "--help-fields"
_Config = TypeVar("_Config", bound=RunConfig)


def _arg(metavar: str, words: str | None = None) -> Any:
    return tyro.conf.arg(metavar=metavar, help=words, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Flags:
    """The flags of every command.

    Attributes:
        workdir: Folder of the run (default: runs/NAME-PRESET, with --model
            runs/NAME-PRESET-compared).
        seed: Random seed.
        seeds: Run N seeds, from --seed on, and report their spread.
        only: Do only these parts: train,evaluate,figures.
        dataset: Name of the data set.
        devices: Share each batch among N devices or CPU cores (default: 1, or on
            several hosts all of them).
        coordinator: Address of the first of several hosts, which share the workdir.
        hosts: Number of hosts.
        host_index: Index of this host, from 0.
        debug_nans: If a number is not finite, report the line that produced it.
        compile_cache: Do not cache compiled programs for the next start.
    """

    # An experiment's own flags show some of the first four.
    preset: tyro.conf.Suppress[str] = ""
    model: tyro.conf.Suppress[str] = "vaells"
    table: tyro.conf.Suppress[bool] = False
    published: tyro.conf.Suppress[pathlib.Path | None] = None
    workdir: Annotated[pathlib.Path | None, _arg("DIR")] = None
    seed: Annotated[int | None, _arg("N")] = None
    seeds: Annotated[int | None, _arg("N")] = None
    only: Annotated[str | None, _arg("PARTS")] = None
    dataset: Annotated[str | None, _arg("NAME")] = None
    devices: Annotated[int | None, _arg("N")] = None
    coordinator: Annotated[str | None, _arg("HOST:PORT")] = None
    hosts: Annotated[int | None, _arg("N")] = None
    host_index: Annotated[int | None, _arg("I")] = None
    debug_nans: Annotated[tyro.conf.FlagCreatePairsOff[bool], _arg("")] = False
    compile_cache: Annotated[tyro.conf.FlagCreatePairsOff[bool], _arg("")] = True

    def parts(self) -> tuple[str, ...] | None:
        """Return the parts that `only` names, or None without it.

        Raises:
            ValueError: If a part is unknown.
        """
        if self.only is None:
            return None
        parts = tuple(part.strip() for part in self.only.split(","))
        for part in parts:
            if part not in PARTS:
                raise ValueError(
                    f"--only: unknown part {part!r}; choose from {', '.join(PARTS)}."
                )
        return parts


def parse(
    experiment: Experiment, argv: list[str] | None, command: str
) -> tuple[Flags, list[str]]:
    """Read the flags; returns them and what is left for the configuration's fields.

    Raises:
        ValueError: If a flag is given twice, for one of its values would be lost.
    """
    rest = list(sys.argv[1:] if argv is None else argv)
    names = [word.partition("=")[0].replace("_", "-") for word in rest]
    names = [re.sub("^--no-", "--", name) for name in names if name.startswith("--")]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given more than once; give it one value.")
    fields = FIELDS in rest
    if fields:
        rest = [word for word in rest if word not in (FIELDS, "-h", "--help")]
    flags, rest = tyro.cli(
        _own_flags(experiment),
        args=rest,
        return_unknown_args=True,
        prog=command,
        description=f"{experiment.summary} If interrupted, the same command "
        "resumes it.\n\n"
        f"Any field of the configuration is a flag as well; {FIELDS} lists them:\n"
        f"  {command} --data.batch-size 64 --workdir runs/large-batches",
    )
    return flags, ["--help"] if fields else rest


def configure(config: _Config, rest: list[str], command: str) -> _Config:
    """Change the fields of a configuration that the command line names."""
    if not rest:
        return config
    prog = f"{command} {FIELDS}"
    return tyro.cli(type(config), default=config, args=rest, prog=prog)


def _own_flags(experiment: Experiment) -> type[Flags]:
    """Add the choices that an experiment has to the flags."""
    own: list[tuple[str, Any, Any]] = []

    def add(name: str, kind: Any, default: Any, metavar: str, words: str) -> None:
        own.append((name, Annotated[kind, _arg(metavar, words)], default))

    presets = tuple(experiment.presets)
    words = (
        f"Configuration to start from: {', '.join(presets)} (default: {presets[0]})."
    )
    add("preset", Literal[presets], presets[0], "NAME", words)
    if experiment.baselines is not None:
        models = (*(["vaells"] if experiment.has_vaells else []), *BASELINES, "all")
        default = models[0] if experiment.has_vaells else "all"
        words = f"{', '.join(models[:-1])}, or all side by side (default: {default})."
        add("model", Literal[models], default, "NAME", words)
    flag = tyro.conf.FlagCreatePairsOff[bool]
    if experiment.table is not None:
        words = "Train every row of the paper's table, all from one warm-up."
        add("table", flag, False, "", words)
    if experiment.published is not None:
        words = "Evaluate and draw weights that the paper's authors published."
        add("published", pathlib.Path | None, None, "FILE", words)
    return dataclasses.make_dataclass("Flags", own, bases=(Flags,), frozen=True)
