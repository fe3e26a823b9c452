"""The report of a run: one page that needs neither a server nor a network.

`report/` holds the page's parts; what a run puts into them is written here. All text
that comes from a run is escaped: a configuration may hold anything.
"""

import html
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vaells_jax.evaluation.algebra import OperatorDescription
from vaells_jax.evaluation.figures.latent_map import CLASS_COLOURS
from vaells_jax.runs.curves import (
    BASELINE_CURVES,
    OPERATOR_CURVES,
    description,
    operators_of,
)
from vaells_jax.runs.explore import explorer, packed
from vaells_jax.runs.folder import make_record
from vaells_jax.runs.records import MetricsLog, as_json, write_whole
from vaells_jax.runs.run import Run
from vaells_jax.version import __version__

MOST_BYTES = 10_000_000
"""Of the page."""

CURVE_POINTS, MOST_LINES = 300, 12
"""Points of a curve, each the mean of those logged about it; lines of a panel."""

_PARTS = pathlib.Path(__file__).with_name("report")


def write_report(run: Run) -> pathlib.Path:
    """Write `report.html` into a run's folder.

    Args:
        run: A trained run; its `results.json` and logs are read from its folder.

    Returns:
        The file.

    Raises:
        ValueError: If the page would be larger than `MOST_BYTES`.
    """
    path = run.workdir / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    text = page(run, results)
    size = len(text.encode())
    if size > MOST_BYTES:
        raise ValueError(
            f"report.html must have at most {MOST_BYTES:,} bytes; got {size:,}."
        )
    path = run.workdir / "report.html"
    write_whole(path, text)
    return path


def page(run: Run, results: Mapping[str, Any]) -> str:
    """Return the report as HTML.

    Args:
        run: A trained run.
        results: The record in its `results.json`, or an empty one.
    """
    merits = results.get("results", {})
    data: dict[str, Any] = {"palette": CLASS_COLOURS, "curves": curve_panels(run)}
    data["warm_up"] = run.config.schedule.warm_up_steps
    data |= explorer(run)
    described = "<p>This model has no operators.</p>"
    if len(operators_of(run.trained)):
        described = operator_tables(description(run))
    return fill(
        (_PARTS / "report.html").read_text(encoding="utf-8"),
        {
            "title": escape(f"{run.title}: {run.setting}"),
            "facts": definitions(facts(run, results)),
            "merits": merit_table(merits),
            "operators": described,
            "configuration": configuration(make_record(run.config, run.data)),
            "version": escape(__version__),
            "style": (_PARTS / "report.css").read_text(encoding="utf-8"),
            "script": (_PARTS / "report.js").read_text(encoding="utf-8"),
            "data": as_json(data).replace("<", "\\u003c"),
        },
    )


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Put parts where a template names them, `{{name}}`; parts are not searched."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def escape(value: Any) -> str:
    """Return text as HTML shows it."""
    return html.escape(str(value))


def facts(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be known of a run at once, by name."""
    config = run.config
    found = {
        "model": run.title,
        "data set": run.data.title or run.data.name,
        "experiment": f"{config.experiment}, preset {config.preset}",
        "seed": config.seed,
        "weights": run.weights or f"step {run.step:,}",
    }
    if run.latent_scale is not None:
        found["latent scale"] = f"{run.latent_scale:.4g}"
    seconds = results.get("training_seconds")
    if seconds is not None:
        found["training"] = duration(seconds)
    if "device" in results:
        found["device"] = results["device"]
    return found


def duration(seconds: int | float) -> str:
    """Return a length of time in words."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def definitions(entries: Mapping[str, Any]) -> str:
    """Lay names and values out as a list."""
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in entries.items()
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Lay cells out as a table; cells are HTML, the first of a row names it."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td>{cell}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def shown(value: Any) -> str:
    """Return a value as HTML: numbers to four digits, long lists folded."""
    if isinstance(value, bool) or value is None:
        return "&ndash;" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, list | dict):
        if not value:
            return "&ndash;"
        text = escape(_listed(value))
        if len(text) <= 60:
            return text
        return f"<details><summary>{_size(value)}</summary>{text}</details>"
    return escape(value)


def _listed(value):
    """Write lists and records of numbers in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_listed(item)}" for name, item in value.items())
    if isinstance(value, list):
        inner = any(isinstance(item, list | dict) for item in value)
        return ("; " if inner else ", ").join(map(_listed, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(value):
    sizes = []
    while isinstance(value, list | dict) and len(value):
        sizes.append(str(len(value)))
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return f"{' &times; '.join(sizes)} values"


def merit_table(merits: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay figures of merit out beside the paper's, where it has some."""
    if not merits:
        return "<p>This run has not been evaluated.</p>"
    beside = any(found.get("paper") is not None for found in merits.values())
    single = lambda found: not isinstance(found["value"], list | dict)
    rows = []
    # One number each first, then what has many.
    for name, found in sorted(merits.items(), key=lambda item: not single(item[1])):
        value = shown(found["value"])
        if found.get("standard_error") is not None:
            value += f" &plusmn; {found['standard_error']:.1g}"
        known = ("value", "paper", "meaning", "standard_error")
        more = "".join(
            f"<div>{escape(key.replace('_', ' '))}: {shown(item)}</div>"
            for key, item in found.items()
            if key not in known and item is not None
        )
        paper = [shown(found.get("paper"))] if beside else []
        about = f"{escape(found.get('meaning', ''))}{more}"
        rows.append([escape(name.replace("_", " ")), value, *paper, about])
    heads = ["figure of merit", "here", *(["the paper"] if beside else []), "meaning"]
    return table(heads, rows, "Figures of merit")


def operator_tables(found: OperatorDescription) -> str:
    """Lay out what operators are: their planes, and how each pair composes."""
    rows = []
    for m, planes in enumerate(found.planes):
        parts = [
            f"{plane.growth:+.3g} &plusmn; {plane.frequency:.3g}i "
            f"<small>({plane.energy:.0%})</small>"
            if plane.frequency
            else f"{plane.growth:+.3g} <small>({plane.energy:.0%})</small>"
            for plane in planes
        ]
        ratios = ", ".join(f"{ratio:.3g}" for ratio in found.frequency_ratios[m])
        planes_cell = " &emsp;".join(parts)
        rows.append([str(m + 1), f"{found.norms[m]:.4g}", planes_cell, ratios])
    heads = [
        "operator",
        "norm",
        "growth &plusmn; frequency of each plane, per unit of c (share of the latents' "
        "energy)",
        "frequencies over the first",
    ]
    alone = table(heads, rows, "Norms and planes")
    if len(found.norms) < 2:
        return alone
    pairs = {
        "Of each pair, |[A, B]| / (2 |A| |B|): 0 where they commute": found.commutators,
        "Share of [A, B] outside their span: 0 of a Lie algebra": found.closure,
        "RMS between the orders of two moves by half a radian, over the latents'": (
            found.order_swap
        ),
    }
    tables = "".join(_pair_table(matrix, text) for text, matrix in pairs.items())
    return f'{alone}<div class="pairs">{tables}</div>'


def _pair_table(matrix, caption):
    """Lay out a number of each pair of operators."""
    names = [str(m + 1) for m in range(len(matrix))]
    cells = [["&ndash;" if np.isnan(x) else f"{x:.2g}" for x in row] for row in matrix]
    rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    return table(["", *names], rows, caption)


def configuration(record: Mapping[str, Any]) -> str:
    """Lay a run's record out, a table for each of its groups."""
    config = dict(record["config"])
    groups = {name: config.pop(name) for name in list(config) if _group(config[name])}
    groups = {"run": config, **groups}
    groups |= {"the data": record["data"], "environment": record["environment"]}
    parts = [
        f"<section><h3>{escape(name.replace('_', ' '))}</h3><dl>"
        + "".join(
            f"<div><dt>{escape(key)}</dt><dd>{shown(value)}</dd></div>"
            for key, value in group.items()
        )
        + "</dl></section>"
        for name, group in groups.items()
    ]
    return "".join(parts)


def _group(value):
    return isinstance(value, dict) and bool(value)


def curve_panels(run: Run) -> list[dict[str, Any]]:
    """Collect the course of the training, a panel for each quantity.

    Returns:
        Panels of a title and lines; each has a name, steps and values.
    """
    lines = MetricsLog.read(run.workdir / "metrics.jsonl")
    moving = [line for line in lines if line["phase"] in ("operators", "joint")]
    watched = MetricsLog.read(run.workdir / "watched.jsonl")
    if run.is_vaells:
        columns = [("reconstruction [nats]", "reconstruction", lines)]
        columns += [(title, key, moving) for title, key in OPERATOR_CURVES.items()]
        columns.insert(1, ("operators' norms", "operator_norms", lines))
    else:
        columns = [(title, key, lines) for title, key in BASELINE_CURVES.items()]
    columns.append(("objective of validation data [nats]", "validation", watched))
    found = [(title, key, _holding(rows, key)) for title, key, rows in columns]
    return [_panel(title, key, rows) for title, key, rows in found if rows]


def _holding(rows, key):
    """Return the lines of a log that hold a quantity."""
    return [row for row in rows if key in row]


def _panel(title, key, rows):
    steps = np.array([row["step"] for row in rows], float)
    values = np.array([row[key] for row in rows], float).reshape(len(rows), -1)
    names = [str(m + 1) for m in range(values.shape[1])]
    largest = np.sort(np.argsort(-np.abs(values[-1]), kind="stable")[:MOST_LINES])
    lines = [
        {"name": names[m] if len(names) > 1 else "", **_thinned(steps, values[:, m])}
        for m in largest
    ]
    return {"title": title, "lines": lines}


def _thinned(steps, values):
    """Return a curve of few points, each the mean of those about it."""
    kept = np.isfinite(values)
    parts = np.array_split(np.flatnonzero(kept), min(CURVE_POINTS, max(kept.sum(), 1)))
    means = [(steps[part].mean(), values[part].mean()) for part in parts if len(part)]
    found = np.array(means).reshape(-1, 2)
    return {"steps": packed(found[:, 0]), "values": packed(found[:, 1])}
