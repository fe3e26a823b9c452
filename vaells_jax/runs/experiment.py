"""The record of an experiment: everything in which it differs from the others."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from vaells_jax.model.types import Params
from vaells_jax.networks.contract import Networks
from vaells_jax.runs.config import BaselineConfig, RunConfig, VaellsConfig
from vaells_jax.runs.run import Run, RunData

Merits = dict[str, dict[str, Any]]
"""Figures of merit by name, each a `records.merit`."""


def no_figures(runs: Any) -> dict[str, Any]:
    """Draw nothing."""
    del runs
    return {}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment: data, presets, measures and figures.

    Attributes:
        name: Its name.
        summary: A sentence about it.
        presets: Configurations by name, the default first. VAELLS takes part where
            they are of VAELLS.
        prepare: Loads the data of a configuration.
        measure: Measures a trained run of any model.
        draw: Draws a trained run of any model: figures by name.
        baselines: The settings of a baseline under a preset; None where there are none.
        without: Baselines that are excluded, and why.
        compare: Draws trained runs of several models side by side.
        watch: Measures a run at each checkpoint, for `watched.jsonl`; or None.
        table: Does the rows of the paper's table; or None.
        published: Reads published weights and the configuration that fits them; or
            None.
        networks: The program's own, where the presets say so.
        command: The command that a user types to run it.
    """

    name: str
    summary: str
    presets: Mapping[str, RunConfig]
    prepare: Callable[[RunConfig], RunData]
    measure: Callable[[Run], Merits]
    draw: Callable[[Run], dict[str, Any]] = no_figures
    baselines: Callable[[str, RunConfig], BaselineConfig] | None = None
    without: Mapping[str, str] = dataclasses.field(default_factory=dict)
    compare: Callable[[list[Run]], dict[str, Any]] = no_figures
    watch: Callable[[Run], dict[str, float]] | None = None
    table: Callable[..., None] | None = None
    published: (
        Callable[[pathlib.Path, VaellsConfig], tuple[VaellsConfig, Params]] | None
    ) = None
    networks: Networks | None = None
    command: str = ""

    @property
    def has_vaells(self) -> bool:
        """Return whether VAELLS takes part."""
        return isinstance(next(iter(self.presets.values())), VaellsConfig)
