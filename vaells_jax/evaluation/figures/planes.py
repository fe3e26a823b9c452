"""Figures of two-dimensional latent spaces: points, orbits, prior samples, paths."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vaells_jax.evaluation.figures.canvas import (
    GREY,
    LABEL_SIZE,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    new_figure,
    plain_axes,
)

_MARKERS = "os^Dv<>P"
_PATH_COLOURS = (
    "cividis"  # for colour-blind readers, and with distinct ends in grey print
)
_MARGIN = 0.08

Plane = Float[Array | np.ndarray, "n 2"]


def embeddings(
    panels: Mapping[str, Plane],
    values: Shaped[Array | np.ndarray, " n"],
    *,
    title: str,
    value_name: str,
    class_names: Sequence[str] = (),
) -> Figure:
    """Show the same points in several planes: Figs. 2 and 4.

    Args:
        panels: A name for each plane, and where the points lie in it.
        values: What colours the points: integers are classes, and get markers too,
            real numbers a scale.
        title: The figure's title.
        value_name: Name of the values.
        class_names: Of the classes; numbers them from 1 by default.

    Returns:
        The figure, one axes for each plane (and one for the scale, if there is one),
        four in a row, or up to five in one.

    Raises:
        ValueError: If shapes disagree.
    """
    values = np.asarray(values)
    for name, points in panels.items():
        if np.shape(points) != (*values.shape, 2) or not values.size:
            raise ValueError(
                "panels must have shape [n, 2] for values [n]; got "
                f"{list(np.shape(points))} in {name!r} for {list(values.shape)}."
            )
    rows = 1 if len(panels) <= 5 else -(-len(panels) // 4)
    columns = -(-len(panels) // rows)
    figure = new_figure(PAGE_WIDTH, rows * PAGE_WIDTH / columns + 0.6, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    all_axes = grid[: len(panels)]
    for axes in grid[len(panels) :]:
        axes.remove()
    shown = None
    for axes, (name, points) in zip(all_axes, panels.items(), strict=True):
        points = np.asarray(points)
        shown = _draw_points(axes, points, values, value_name, class_names)
        _frame(axes, points, name)
    if shown is None and np.ptp(values):
        # Below: on small panels it would hide points.
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(labels),
            fontsize=TICK_SIZE,
        )  # fmt: skip
    elif shown is not None:
        bar = figure.colorbar(shown, ax=list(all_axes), shrink=0.8 / rows)
        bar.set_label(value_name, fontsize=LABEL_SIZE)
        bar.ax.tick_params(labelsize=TICK_SIZE)
    return figure


def operator_orbits(
    latents: Plane,
    orbits: Float[Array | np.ndarray, "m s t 2"],
    *,
    title: str,
    names: list[str] | None = None,
) -> Figure:
    """Show the orbit of each operator over the encoded points: Figs. 3a and 7.

    Args:
        latents: Encoded points.
        orbits: Of each operator from each starting point, in order of time.
        title: The figure's title.
        names: Of the panels; numbers the operators by default.

    Returns:
        The figure, one axes for each operator.

    Raises:
        ValueError: If shapes disagree.
    """
    latents, orbits = np.asarray(latents), np.asarray(orbits)
    if orbits.ndim != 4 or orbits.shape[-1] != 2 or not orbits.size:
        raise ValueError(
            f"orbits must have shape [M, S, T, 2]; got {list(orbits.shape)}."
        )
    names = names or [f"Operator {m + 1}" for m in range(len(orbits))]
    figure, all_axes = _panels(len(orbits), title)
    for axes, name, curves in zip(all_axes, names, orbits, strict=True):
        axes.scatter(
            latents[:, 0], latents[:, 1], s=5, color=GREY, alpha=0.45, linewidths=0
        )
        for curve in curves:
            _draw_path(axes, curve)
        # An orbit may leave the picture: the points decide its limits.
        _frame(axes, latents, name)
    return figure


def anchor_samples(
    samples: Float[Array | np.ndarray, "a s 2"], anchors: Plane, *, title: str
) -> Figure:
    """Show latents sampled from the prior around each anchor: Figs. 3b and 9a.

    Args:
        samples: Of each anchor.
        anchors: Encoded anchors, drawn large in their samples' colours.
        title: The figure's title.

    Returns:
        The figure with one axes.

    Raises:
        ValueError: If shapes disagree.
    """
    samples, anchors = np.asarray(samples), np.asarray(anchors)
    if samples.ndim != 3 or anchors.shape != (len(samples), 2) or not samples.size:
        raise ValueError(
            "samples and anchors must have shapes [A, S, 2] and [A, 2]; got "
            f"{list(samples.shape)} and {list(anchors.shape)}."
        )
    figure = new_figure(4.6, 4.8, title)
    axes = figure.subplots()
    for index, (points, anchor) in enumerate(zip(samples, anchors, strict=True)):
        colour = PALETTE[index % len(PALETTE)]
        marker = _MARKERS[index % len(_MARKERS)]
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=7,
            marker=marker,
            color=colour,
            alpha=0.5,
            linewidths=0,
        )
        axes.scatter(
            anchor[0], anchor[1], s=75, marker=marker, color=colour, zorder=3,
            edgecolors="black", label=f"{index + 1}",
        )  # fmt: skip
    axes.legend(title="anchor", fontsize=TICK_SIZE, title_fontsize=TICK_SIZE)
    _frame(axes, samples.reshape(-1, 2), "")
    return figure


def inferred_paths(
    latents: Plane, paths: Float[Array | np.ndarray, "p t 2"], *, title: str
) -> Figure:
    """Show paths between pairs of encoded points: Figs. 3c-d and 9b-c.

    Args:
        latents: Encoded points.
        paths: In order of time, from its start (a disc) to its end (a square).
        title: The figure's title.

    Returns:
        The figure, one axes for each path.

    Raises:
        ValueError: If shapes disagree.
    """
    latents, paths = np.asarray(latents), np.asarray(paths)
    if paths.ndim != 3 or paths.shape[-1] != 2 or not paths.size:
        raise ValueError(f"paths must have shape [P, T, 2]; got {list(paths.shape)}.")
    figure, all_axes = _panels(len(paths), title)
    for axes, path in zip(all_axes, paths, strict=True):
        axes.scatter(
            latents[:, 0], latents[:, 1], s=5, color=GREY, alpha=0.45, linewidths=0
        )
        _draw_path(axes, path)
        for place, marker, colour, name in (
            (path[0], "o", PALETTE[0], "start"),
            (path[-1], "s", PALETTE[1], "end"),
        ):
            axes.scatter(
                place[0], place[1], s=45, marker=marker, color=colour, zorder=3,
                edgecolors="black", label=name,
            )  # fmt: skip
        _frame(axes, latents, "")
    all_axes[0].legend(fontsize=TICK_SIZE)
    return figure


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure of square panels, two in a row."""
    columns = min(count, 2)
    rows = math.ceil(count / columns)
    side = PAGE_WIDTH / 2
    figure = new_figure(max(side * columns, 4.6), side * rows + 0.5, title)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _draw_points(axes, points, values, value_name, class_names):
    """Draw points by class or by a scale of colours; return what a scale belongs to."""
    if not np.issubdtype(values.dtype, np.integer):
        return axes.scatter(*points.T, c=values, s=8, cmap="viridis", linewidths=0)
    for label in np.unique(values):
        named = label < len(class_names)
        name = class_names[label] if named else f"{value_name} {label + 1}"
        axes.scatter(
            *points[values == label].T, s=9, linewidths=0,
            marker=_MARKERS[label % len(_MARKERS)],
            color=PALETTE[label % len(PALETTE)], label=name,
        )  # fmt: skip
    return None


def _draw_path(axes: Axes, path: np.ndarray) -> None:
    """Draw a curve whose colour goes with time."""
    pieces = np.stack([path[:-1], path[1:]], axis=1)
    line = LineCollection(list(pieces), cmap=_PATH_COLOURS, linewidths=2.2, zorder=2)
    line.set_array(np.arange(len(pieces)))
    line.set_capstyle("round")
    axes.add_collection(line)


def _frame(axes: Axes, points: np.ndarray, name: str) -> None:
    """Give both axes one scale, show all points, and mark the origin."""
    plain_axes(axes)
    low, high = points.min(axis=0), points.max(axis=0)
    half = (0.5 + _MARGIN) * max(float(np.max(high - low)), 1e-6)
    x, y = (low + high) / 2
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y - half, y + half)
    axes.plot(0.0, 0.0, "+", color="black", ms=8, mew=1.0)
    axes.set_aspect("equal")
    axes.set_title(name, fontsize=LABEL_SIZE, loc="left", parse_math=False)
