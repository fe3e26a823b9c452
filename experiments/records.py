"""Files that a run leaves behind, each whole or absent."""

import json
import math
import pathlib
from typing import Any

import numpy as np


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, one line for each logged step.

    Args:
        path: The file.
        resume_step: Lines after this step are dropped: a run that goes on from a
            checkpoint writes them again.
    """

    def __init__(self, path: pathlib.Path, *, resume_step: int = 0) -> None:
        kept = [line for line in self.read(path) if line["step"] <= resume_step]
        self.elapsed: float = kept[-1]["elapsed"] if kept else 0.0
        text = "".join(_dumps(line) + "\n" for line in kept)
        _write_whole(path, text)
        self._file = path.open("a")

    @staticmethod
    def read(path: pathlib.Path) -> list[dict[str, Any]]:
        """Return the lines of a log; a last line that was cut short is left out.

        A number that was not finite comes back as NaN.
        """
        if not path.exists():
            return []
        *lines, _ = path.read_text().split("\n")
        return [
            {k: math.nan if v is None else v for k, v in json.loads(line).items()}
            for line in lines
        ]

    def write(
        self, step: int, phase: str, elapsed: float, metrics: dict[str, Any]
    ) -> None:
        """Append a step's metrics and the training seconds so far."""
        line = {"step": step, "phase": phase, "elapsed": round(elapsed, 3)}
        line |= {name: _plain(value) for name, value in metrics.items()}
        self._file.write(_dumps(line) + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def merit(value: Any, meaning: str, **more: Any) -> dict[str, Any]:
    """Describe a figure of merit of which the paper prints no value."""
    return {"value": value, "paper": None, "meaning": meaning, **more}


def write_json(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all.

    JSON knows no infinity: numbers that are not finite become null, and where a
    record has a `meaning`, this says what they were.
    """
    _write_whole(path, _dumps(record, indent=2) + "\n")


def _dumps(record, indent=None):
    """Write strict JSON, which any reader takes."""
    return json.dumps(_strict(record), indent=indent, allow_nan=False)


def _strict(value):
    """Return a tree of what JSON knows; see `write_json`."""
    if isinstance(value, dict):
        plain = {key: _strict(item) for key, item in value.items()}
        lost = sorted({name for item in value.values() for name in _not_finite(item)})
        if lost and isinstance(value.get("meaning"), str):
            plain["meaning"] += f" (null stands for: {', '.join(lost)})"
        return plain
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _strict(_plain(value))


def _not_finite(value):
    """Name the numbers in a value or a list that are not finite."""
    if isinstance(value, list | tuple):
        return [name for item in value for name in _not_finite(item)]
    if isinstance(value, float) and not math.isfinite(value):
        return [str(value)]
    return []


def _write_whole(path, text):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _plain(value):
    """Turn arrays into numbers and lists; seven digits tell all that float32 does."""
    array = np.asarray(value)
    if array.dtype == bool:
        return array.tolist()
    if array.ndim:
        return [_plain(item) for item in array]
    return float(f"{float(array):.7g}")
