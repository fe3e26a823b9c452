"""Files that a run leaves behind, each whole or absent."""

import json
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
        text = "".join(json.dumps(line) + "\n" for line in kept)
        _write_whole(path, text)
        self._file = path.open("a")

    @staticmethod
    def read(path: pathlib.Path) -> list[dict[str, Any]]:
        """Return the lines of a log; a last line that was cut short is left out."""
        if not path.exists():
            return []
        *lines, _ = path.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def write(
        self, step: int, phase: str, elapsed: float, metrics: dict[str, Any]
    ) -> None:
        """Append a step's metrics and the training seconds so far."""
        line = {"step": step, "phase": phase, "elapsed": round(elapsed, 3)}
        line |= {name: _plain(value) for name, value in metrics.items()}
        self._file.write(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_json(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    _write_whole(path, json.dumps(record, indent=2, default=_plain) + "\n")


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
