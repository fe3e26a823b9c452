"""The command line: a few flags, and every field of the configuration after them."""

import dataclasses
import pathlib
import sys
from typing import Annotated, Any, Literal, TypeVar

import tyro

from vaells_jax.runs.config import RunConfig
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.models import BASELINES

PARTS = ("train", "evaluate", "figures")
FIELDS = "--help-fields"
_Config = TypeVar("_Config", bound=RunConfig)


@dataclasses.dataclass(frozen=True)
class Flags:
    """The flags that every command has.

    Attributes:
        workdir: Folder of configuration, checkpoints, metrics, results and figures
            (default: runs/NAME-PRESET).
        seed: Random seed (default: the preset's, 0).
        seeds: Run this many seeds, from --seed on, each in a folder of its own, and
            report their median and spread.
        only: Do only these parts: train, evaluate, figures, separated by commas.
        dataset: Name of the data set.
        devices: Share each batch among this many devices of this host (default: 1, or
            on several hosts all there are); CPU cores count as devices.
        coordinator: ADDRESS:PORT where the first of several hosts listens; all of them
            share the workdir.
        hosts: How many hosts there are.
        host_index: Which of them this one is, from 0 on.
        debug_nans: Where a loss or a gradient is not a number, name the line that made
            it.
    """

    workdir: pathlib.Path | None = None
    seed: int | None = None
    seeds: int | None = None
    only: str | None = None
    dataset: str | None = None
    devices: int | None = None
    coordinator: str | None = None
    hosts: int | None = None
    host_index: int | None = None
    debug_nans: tyro.conf.FlagCreatePairsOff[bool] = False
    # Fields that an experiment's own flags put in place of these.
    preset: tyro.conf.Suppress[str] = ""
    model: tyro.conf.Suppress[str] = "vaells"
    table: tyro.conf.Suppress[bool] = False
    published: tyro.conf.Suppress[pathlib.Path | None] = None

    def parts(self) -> tuple[str, ...] | None:
        """Return the parts that `only` names, or None without it.

        Raises:
            ValueError: If one is no part.
        """
        if self.only is None:
            return None
        parts = tuple(part.strip() for part in self.only.split(","))
        for part in parts:
            if part not in PARTS:
                raise ValueError(
                    f"--only: {part!r} is no part; choose from {', '.join(PARTS)}."
                )
        return parts


def parse(
    experiment: Experiment, argv: list[str] | None, command: str
) -> tuple[Flags, list[str]]:
    """Read the flags; returns them and what is left for the configuration's fields."""
    rest = list(sys.argv[1:] if argv is None else argv)
    fields = FIELDS in rest
    if fields:
        rest = [word for word in rest if word not in (FIELDS, "-h", "--help")]
    name = next(iter(experiment.presets))
    flags, rest = tyro.cli(
        _own_flags(experiment),
        args=rest,
        return_unknown_args=True,
        prog=command,
        description=f"{experiment.summary} Run again, it goes on where it stopped.\n\n"
        f"Any field of the configuration is a flag as well; {FIELDS} lists them:\n"
        f"  {command} --preset {name} --schedule.steps 500 --workdir runs/short",
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

    def add(name: str, kind: Any, default: Any, words: str) -> None:
        own.append((name, Annotated[kind, tyro.conf.arg(help=words)], default))

    presets = tuple(experiment.presets)
    add("preset", Literal[presets], presets[0], "Configuration to start from.")
    models = (*(["vaells"] if experiment.has_vaells else []), *BASELINES, "all")
    if experiment.baselines is not None:
        words = "Train another model instead, or all side by side."
        add("model", Literal[models], models[0] if experiment.has_vaells else "all", words)
    if experiment.table is not None:
        words = "Do every row of the paper's table, all from one warm-up."
        add("table", tyro.conf.FlagCreatePairsOff[bool], False, words)
    if experiment.published is not None:
        words = "Evaluate and draw weights that the paper's authors published."
        add("published", pathlib.Path | None, None, words)
    return dataclasses.make_dataclass("Flags", own, bases=(Flags,), frozen=True)
