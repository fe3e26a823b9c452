"""Progress bars, and lines if the output is not a terminal."""

import io
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

LINES_EVERY = 30.0
"""Seconds between two lines of progress in a file."""


class _Lines(io.TextIOBase):
    """A stream that ends lines where a terminal would return to their start."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        # tqdm clears a line by blanks, which mean nothing in a file.
        for line in text.split("\r"):
            if line.strip():
                self._stream.write(line.strip() + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class _Bar(tqdm):
    """A bar whose time left may be known better than from the pace so far."""

    seconds_left: Callable[[], float | None] | None = None

    @property
    def format_dict(self) -> dict[str, Any]:
        found = super().format_dict
        left = self.seconds_left() if self.seconds_left is not None else None
        if left:
            found["rate"] = (found["total"] - found["n"]) / left
        return found


def progress_bar(
    total: int,
    *,
    unit: str,
    desc: str = "",
    seconds_left: Callable[[], float | None] | None = None,
    **others: Any,
) -> tqdm:
    """Return a bar with the time left; without a terminal, a line every half minute.

    Args:
        total: How many units there are.
        unit: Unit of the count, "step" or "example".
        desc: Description of the work.
        seconds_left: Returns the time left, where units take unequal time; None as
            long as it is unknown.
        others: Other arguments of `tqdm.tqdm`: `initial`, `delay`, `disable`.
    """
    if sys.stderr.isatty():
        bar = _Bar(
            total=total, unit=unit, desc=desc or None, dynamic_ncols=True, **others
        )
    else:
        bar = _lines(total, unit, desc, others)
    bar.seconds_left = seconds_left
    return bar


def _lines(total, unit, desc, others):
    """Return a bar that writes lines."""
    return _Bar(
        total=total,
        unit=unit,
        desc=f"{desc}: " if desc else None,
        file=_Lines(sys.stderr),
        mininterval=LINES_EVERY,
        maxinterval=LINES_EVERY,
        bar_format="{desc}{n_fmt} of {total_fmt} {unit}s, {elapsed}, {remaining} left"
        "{postfix}",
        **others,
    )
