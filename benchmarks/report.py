"""Tables and plots of benchmark rows."""

import math
from pathlib import Path

import numpy as np

from vaells_jax.evaluation.figures.canvas import (
    BLUE,
    LABEL_SIZE,
    new_figure,
    plain_axes,
    save_figure,
)

COLUMNS = (
    ("solver", "{:<20}"),
    ("family", "{:<18}"),
    ("batch", "{:>8}"),
    ("pairs_per_second", "{:>11.0f}"),
    ("pairs_per_cpu_second", "{:>9.0f}"),
    ("peak_kflop_per_pair", "{:>8.0f}"),
    ("ratio", "{:>8.0f}"),
    ("within_authors", "{:>8.4f}"),
    ("mean_objective", "{:>9.5f}"),
    ("authors_mean_objective", "{:>9.5f}"),
    ("mean_l1", "{:>8.1f}"),
    ("compile_seconds", "{:>8.1f}"),
    ("process_peak_mib", "{:>8.0f}"),
)
TITLES = {
    "pairs_per_second": "pairs/s",
    "peak_kflop_per_pair": "kFLOP",
    "ratio": "x auth.",
    "pairs_per_cpu_second": "/cpu-s",
    "within_authors": "share ok",
    "mean_objective": "mean E",
    "authors_mean_objective": "authors E",
    "mean_l1": "mean L1",
    "compile_seconds": "compile",
    "process_peak_mib": "MiB",
}


def print_table(rows: list[dict], header: bool = True):
    """Print rows as aligned columns; what a row lacks is left blank."""
    if header:
        print("  ".join(_cell(TITLES.get(n, n), n) for n, _ in COLUMNS))
    for row in rows:
        cells = []
        for name, form in COLUMNS:
            value = row.get(name)
            text = "" if value is None else form.format(value)
            cells.append(_cell(text, name))
        print("  ".join(cells), flush=True)


def _cell(text: str, name: str) -> str:
    form = dict(COLUMNS)[name]
    align, width = form[2], int(form[3:-1].split(".")[0])
    return f"{text:{align}{width}}"


def print_against(rows: list[dict], earlier: list[dict]):
    """Print the speed of every row relative to the same row of an earlier report."""
    identity = ("solver", "family", "axis", "batch", "place")
    name = lambda row: tuple(row.get(k) for k in identity)
    before = {name(row): row for row in earlier}
    for row in rows:
        if name(row) in before:
            old = before[name(row)]
            speed = row["pairs_per_second"] / old["pairs_per_second"]
            label = " ".join(str(part) for part in name(row) if part is not None)
            quality = ""
            if row.get("within_authors") is not None:
                share = row["within_authors"] - old["within_authors"]
                quality = f", share ok {share:+.4f}"
            print(f"{label}: speed x{speed:.2f}{quality}")


def batch_exponent(rows: list[dict]) -> float:
    """Fit the power of the batch by which the seconds grow, from 1,024 pairs on."""
    found = [r for r in rows if r.get("axis") == "batch" and r["batch"] >= 1024]
    batches = np.log([r["batch"] for r in found])
    seconds = np.log([r["batch"] / r["pairs_per_second"] for r in found])
    return float(np.polyfit(batches, seconds, 1)[0]) if len(found) > 1 else math.nan


def plot_axes(rows: list[dict], path: Path):
    """Plot microseconds a pair against every axis that was measured."""
    measured: dict[str, list[dict]] = {}
    for row in rows:
        if row.get("place") is not None:
            measured.setdefault(row["axis"], []).append(row)
    if not measured:
        return
    figure = new_figure(
        2.4 * len(measured),
        3.4,
        "Cost of the local coefficient search; one thing changed at a time from "
        "M = 4, d = 6, 1,024 pairs, all devices (devices: 16,384 pairs)",
    )
    panels = figure.subplots(1, len(measured), squeeze=False, sharey=True)[0]
    for panel, (axis, found) in zip(panels, measured.items(), strict=True):
        places = [row["place"] for row in found]
        costs = [1e6 / row["pairs_per_second"] for row in found]
        panel.loglog(places, costs, "o-", color=BLUE)
        plain_axes(panel)
        labels = [f"{place:,}" for place in places]
        panel.set_xticks(places, labels, rotation=45, ha="right")
        panel.minorticks_off()
        panel.set_xlabel(axis, fontsize=LABEL_SIZE)
    panels[0].set_ylabel("microseconds a pair", fontsize=LABEL_SIZE)
    ticks = [t * 10**k for k in range(-1, 4) for t in (1, 2, 5)]
    low, high = panels[0].get_ylim()
    panels[0].set_yticks(ticks, [f"{t:g}" for t in ticks])
    panels[0].set_ylim(low, high)
    save_figure(figure, path)
