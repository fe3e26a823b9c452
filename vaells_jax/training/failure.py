"""Diagnostics of training steps with a loss or gradient that is not finite.

A run is a function of its key, its first state and its batches, so that the state
before the step that failed is found by going there again from the last one kept.
"""

import pathlib
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vaells_jax.model.types import Batch
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import TrainState

_PACKAGE = pathlib.Path(__file__).parents[1]


class Failure(NamedTuple):
    """A step that failed, and how to see it again.

    Attributes:
        step: The step, counted from 1 as in the log.
        phase: Its phase.
        terms: The metrics that are not finite.
        state: The state before it, NumPy arrays.
        batch: Its batch, NumPy arrays.
        parameters: Names of the parameters that it would have made non-finite.
        line: The first operation that gave NaN, if it was looked for and found.
    """

    step: int
    phase: Phase
    terms: dict[str, Any]
    state: TrainState
    batch: Batch
    parameters: list[str]
    line: str | None


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is not a number; names the step and the terms.

    Attributes:
        failure: The failed step, or None where none is to blame.
    """

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure


def not_finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics that are not finite."""
    return {
        name: value
        for name, value in metrics.items()
        # An operator step that leads to infinity is rejected, not an error.
        if not np.all(np.isfinite(value)) and not name.startswith("transport_objective")
    }


def bad_parameters(state: TrainState) -> list[str]:
    """Name the parameters that are not finite."""
    return [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
        if not np.all(np.isfinite(leaf))
    ]


def first_nan(step: Callable, *arguments: Any) -> str | None:
    """Run a step operation by operation and say where the first NaN appears.

    Args:
        step: A compiled function.
        arguments: What it failed on.

    Returns:
        File, line and function of this library, and what JAX says; None where each
        operation by itself gives numbers.
    """
    try:
        with jax.debug_nans(True):
            step.__wrapped__(*arguments)  # type: ignore[attr-defined]
    except FloatingPointError as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if pathlib.Path(f.filename).is_relative_to(_PACKAGE)]
        at = own[-1]
        what = (str(error).splitlines() or ["NaN"])[0]
        return f"{at.filename}:{at.lineno} in {at.name}: {at.line} ({what})"
    return None
