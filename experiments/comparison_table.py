"""The table of all models' figures of merit, over seeds."""

import pathlib
from typing import Any

import numpy as np

from experiments.records import write_json


def write_table(
    workdir: pathlib.Path, found: list[dict[str, dict[str, Any]]]
) -> dict[str, Any]:
    """Write and print figures of merit, a column a model, over all seeds.

    Args:
        workdir: Where `comparison.json` and `comparison.md` go.
        found: For each seed, the figures of merit of each model.

    Returns:
        For each figure and each model, `median`, `values` and `meaning`.
    """
    table: dict[str, Any] = {}
    for model, results in found[0].items():
        for name, first in results.items():
            if not isinstance(first["value"], int | float):
                continue
            values = [seed[model][name]["value"] for seed in found]
            table.setdefault(name, {})[model] = {
                "median": float(np.median(values)),
                "values": values,
                "meaning": first["meaning"],
            }
    write_json(workdir / "comparison.json", {"seeds": len(found), "results": table})
    models = list(found[0])
    lines = [f"| | {' | '.join(models)} |", "| --- " * (len(models) + 1) + "|"]
    for name, row in table.items():
        cells = [_cell(row.get(model)) for model in models]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (workdir / "comparison.md").write_text(text)
    print(f"{len(found)} seed(s), median (least to most)\n{text}")
    return table


def _cell(entry):
    """Show a median, and how far the seeds are apart."""
    if entry is None:
        return ""
    values, median = entry["values"], entry["median"]
    if len(values) == 1:
        return f"{median:.4g}"
    return f"{median:.4g} ({min(values):.4g} to {max(values):.4g})"
