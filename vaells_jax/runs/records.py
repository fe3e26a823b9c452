"""Files that a run writes, each whole or absent."""

import json
import math
import pathlib
from typing import Any

import numpy as np

_BLOCK = 1 << 16
"""Bytes that are read at once from a log's end."""


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, one line for each logged step.

    Going on costs what the lines cost that are dropped, however long the log is.

    Args:
        path: The file.
        resume_step: Lines after this step are dropped: a run that goes on from a
            checkpoint writes them again.
    """

    def __init__(self, path: pathlib.Path, *, resume_step: int = 0) -> None:
        kept, size = _last_line(path, resume_step)
        self.elapsed: float = kept["elapsed"] if kept else 0.0
        self._file = path.open("ab")
        self._file.truncate(size)

    @staticmethod
    def read(path: pathlib.Path) -> list[dict[str, Any]]:
        """Return the lines of a log; a last line that was cut short is left out.

        A number that was not finite comes back as NaN.

        Raises:
            ValueError: If a line is not what a run writes; names it.
        """
        if not path.exists():
            return []
        *lines, _ = path.read_bytes().split(b"\n")
        return [
            {k: math.nan if v is None else v for k, v in _parse(path, line).items()}
            for line in lines
        ]

    @staticmethod
    def last(path: pathlib.Path) -> dict[str, Any] | None:
        """Return the last whole line of a log, or None, without reading the others."""
        return _last_line(path, None)[0]

    def write(
        self, step: int, phase: str, elapsed: float, metrics: dict[str, Any]
    ) -> None:
        """Append a step's metrics and the training seconds so far."""
        line = {"step": step, "phase": phase, "elapsed": round(elapsed, 3)}
        line |= {name: _plain(value) for name, value in metrics.items()}
        self._file.write(f"{as_json(line)}\n".encode())

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _last_line(path, step):
    """Return the last whole line up to a step, or None, and where it ends."""
    if path.exists():
        with path.open("rb") as file:
            for text, end in _backward(file):
                line = _parse(path, text)
                if step is None or line["step"] <= step:
                    return line, end
    return None, 0


def _backward(file):
    """Yield a file's whole lines from the last on, each with where it ends."""
    position, rest = file.seek(0, 2), b""
    while position:
        block = min(_BLOCK, position)
        position -= block
        file.seek(position)
        rest = file.read(block) + rest
        while (stop := rest.rfind(b"\n")) >= 0:
            start = rest.rfind(b"\n", 0, stop)
            if start < 0 and position:
                break  # it began before this block
            yield rest[start + 1 : stop], position + stop + 1
            rest = rest[: start + 1]


def _parse(path, line):
    """Read one line of a log."""
    try:
        found = json.loads(line)
        found["step"], found["elapsed"]
    except (ValueError, KeyError, TypeError) as error:
        shown = line[:60].decode(errors="replace")
        raise ValueError(
            f"{path} holds a line that no run wrote: {shown!r}."
        ) from error
    return found


def merit(
    value: Any, meaning: str, *, paper: float | None = None, **more: Any
) -> dict[str, Any]:
    """Describe a figure of merit beside the paper's value, where it prints one."""
    return {"value": value, "paper": paper, "meaning": meaning, **more}


def write_json(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all.

    JSON knows no infinity: numbers that are not finite become null, and where a
    record has a `meaning`, this says what they were.
    """
    write_whole(path, as_json(record, indent=2) + "\n")


def as_json(record: Any, indent: int | None = None) -> str:
    """Return strict JSON, which any reader takes; see `write_json`."""
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


def write_whole(path: pathlib.Path, text: str) -> None:
    """Write a text file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _plain(value):
    """Turn arrays into numbers and lists; seven digits tell all that float32 does."""
    array = np.asarray(value)
    if array.dtype == bool:
        return array.tolist()
    if array.ndim:
        return [_plain(item) for item in array]
    return float(f"{float(array):.7g}")
