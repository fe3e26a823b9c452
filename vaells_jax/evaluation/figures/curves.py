"""Figures of numbers: training curves, the operators' norms and eigenvalues."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaells_jax.evaluation.figures.canvas import (
    BLUE,
    GREY,
    LABEL_SIZE,
    MARKERS,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    VERMILION,
    new_figure,
    operator_mark,
    plain_axes,
)

_DASHES = ("-", "--", ":", "-.")


def training_curves(
    steps: Shaped[Array | np.ndarray, " t"],
    series: Mapping[str, Shaped[Array | np.ndarray, " t"]],
    *,
    title: str,
    warm_up_steps: int | None = None,
    validation: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Figure:
    """Show how quantities went through training, raw and smoothed.

    A quantity that is positive throughout and spans two decades gets a log scale;
    values that are not finite are left out.

    Args:
        steps: The logged steps.
        series: The name of each quantity, with its unit, and its values.
        title: The figure's title.
        warm_up_steps: The end of the warm-up, which is shaded.
        validation: Quantities of validation data, each with its own steps and values:
            beside the series of the same name, or in an axes of its own.

    Returns:
        The figure, one axes for each quantity.

    Raises:
        ValueError: For no quantities, and for lengths that disagree.
    """
    steps = np.asarray(steps)
    if not series:
        raise ValueError("series must hold at least one quantity; got none.")
    for name, values in series.items():
        if steps.ndim != 1 or np.shape(values) != steps.shape:
            raise ValueError(
                f"series must have a value for each step; got {np.shape(values)} "
                f"values of {name!r} for {steps.shape} steps."
            )
    validation = validation or {}
    names = [*series, *(name for name in validation if name not in series)]
    columns = 1 if len(names) == 1 else 2 if len(names) <= 6 else 3
    rows = math.ceil(len(names) / columns)
    figure = new_figure(PAGE_WIDTH, 1.75 * rows + 0.7, title)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        curves = [(steps, series[name], BLUE)] if name in series else []
        if name in validation:
            at, values = validation[name]
            curves.append((at, values, VERMILION))
        _draw_curves(axes, curves)
        axes.set_title(name, fontsize=LABEL_SIZE, loc="left", parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if name in validation:
            axes.set_title(
                "validation", fontsize=TICK_SIZE, color=VERMILION, loc="right"
            )
        if warm_up_steps:
            axes.axvspan(0, warm_up_steps, color=GREY, alpha=0.12, lw=0)
    if warm_up_steps:
        panels[0].text(
            0.02, 0.03, "shaded: warm-up", fontsize=TICK_SIZE, color=GREY,
            transform=panels[0].transAxes,
        )  # fmt: skip
    for axes in panels[len(names) :]:
        axes.remove()
    for axes in panels[max(0, len(names) - columns) : len(names)]:
        axes.set_xlabel("training step", fontsize=LABEL_SIZE)
        axes.tick_params(labelbottom=True)
    return figure


def compared_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    title: str,
    quantity: str = "",
) -> Figure:
    """Show one quantity of several models over their training steps.

    Args:
        curves: Each model's name, its logged steps and the values there.
        title: The figure's title.
        quantity: Name of the values, with their unit, for the axis.

    Returns:
        The figure, one axes; values far below the last ones are cut off.

    Raises:
        ValueError: If there is no model.
    """
    if not curves:
        raise ValueError("curves must hold at least one model; got none.")
    figure = new_figure(PAGE_WIDTH, 3.0, title)
    axes = figure.subplots()
    plain_axes(axes)
    for index, (name, (steps, values)) in enumerate(curves.items()):
        label = f"{name}: {values[-1]:.2f} at the end" if len(values) else name
        axes.plot(
            steps, values, _DASHES[index % len(_DASHES)], label=label, lw=1.4,
            color=PALETTE[index % len(PALETTE)],
            marker=MARKERS[index % len(MARKERS)], ms=3,
        )  # fmt: skip
    ends = [values[-1] for _, values in curves.values() if len(values)]
    if ends:
        low, high = min(ends), max(np.max(v) for _, v in curves.values() if len(v))
        room = max(high - low, 1.0)
        axes.set_ylim(low - 2.0 * room, high + 0.3 * room)
    axes.set_xlabel("training step", fontsize=LABEL_SIZE)
    axes.set_ylabel(quantity, fontsize=LABEL_SIZE, parse_math=False)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.legend(fontsize=TICK_SIZE)
    return figure


def operator_magnitudes(
    steps: Shaped[Array | np.ndarray, " t"],
    norms: Float[Array | np.ndarray, "t m"],
    *,
    title: str,
) -> Figure:
    """Show the operators' Frobenius norms through training and at its end: Fig. 8.

    Args:
        steps: The logged steps.
        norms: Each operator's norm at each of them.
        title: The figure's title.

    Returns:
        The figure with two axes: lines over the steps, bars of the last.

    Raises:
        ValueError: If shapes disagree.
    """
    steps, norms = np.asarray(steps), np.asarray(norms)
    if norms.ndim != 2 or steps.shape != norms.shape[:1] or not norms.size:
        raise ValueError(
            "steps and norms must have shapes [T] and [T, M]; got "
            f"{list(steps.shape)} and {list(norms.shape)}."
        )
    count = norms.shape[1]
    figure = new_figure(PAGE_WIDTH, 2.9, title)
    lines, bars = figure.subplots(1, 2, width_ratios=[2.4, 1], sharey=True)
    for index, values in enumerate(norms.T):
        colour, dash = PALETTE[index % len(PALETTE)], _DASHES[index % len(_DASHES)]
        lines.plot(steps, values, dash, color=colour, lw=1.6, label=f"{index + 1}")
        bars.bar(index + 1, values[-1], color=colour, width=0.7)
    plain_axes(lines)
    plain_axes(bars)
    lines.set_xlabel("training step", fontsize=LABEL_SIZE)
    lines.set_ylabel("Frobenius norm", fontsize=LABEL_SIZE)
    lines.set_ylim(bottom=0.0)
    if count <= 10:
        lines.legend(
            title="operator", fontsize=TICK_SIZE, title_fontsize=TICK_SIZE, ncols=2
        )
    bars.set_xlabel("operator, after training", fontsize=LABEL_SIZE)
    bars.set_xticks(range(1, count + 1, 1 + count // 12))
    return figure


def operator_eigenvalues(
    operators: Float[Array | np.ndarray, "m d d"], *, title: str
) -> Figure:
    """Show the operators' eigenvalues in the complex plane.

    Args:
        operators: The transport operators.
        title: The figure's title.

    Returns:
        The figure with one axes.

    Raises:
        ValueError: For anything but a stack of square matrices.
    """
    operators = np.asarray(operators)
    if operators.ndim != 3 or operators.shape[1] != operators.shape[2]:
        raise ValueError(
            f"operators must have shape [M, d, d]; got {list(operators.shape)}."
        )
    figure = new_figure(4.6, 4.0, title)
    axes = figure.subplots()
    axes.axhline(0.0, color=GREY, lw=0.6, zorder=0)
    axes.axvline(0.0, color=GREY, lw=0.6, zorder=0)
    for index, values in enumerate(np.linalg.eigvals(operators)):
        axes.scatter(values.real, values.imag, **operator_mark(index))
    plain_axes(axes)
    # Real parts are often small, and their labels long.
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_xlabel("real part: growth per unit of c", fontsize=LABEL_SIZE)
    axes.set_ylabel("imaginary part: rotation [rad per unit of c]", fontsize=LABEL_SIZE)
    if len(operators) <= 10:
        axes.legend(title="operator", fontsize=TICK_SIZE, title_fontsize=TICK_SIZE)
    return figure


def _draw_curves(axes: Axes, curves: list) -> None:
    """Draw raw lines and running means of them, on the scale that suits all."""
    plain_axes(axes)
    curves = [(np.asarray(t), np.asarray(v, float), colour) for t, v, colour in curves]
    curves = [(t[np.isfinite(v)], v[np.isfinite(v)], colour) for t, v, colour in curves]
    found = np.concatenate([values for _, values, _ in curves])
    if not found.size:
        axes.text(
            0.5, 0.5, "no finite values", fontsize=TICK_SIZE, color=GREY,
            ha="center", transform=axes.transAxes,
        )  # fmt: skip
        return
    logarithmic = found.min() > 0.0 and found.max() >= 100.0 * found.min()
    if logarithmic:
        axes.set_yscale("log")
    for steps, values, colour in curves:
        if colour == VERMILION:  # values of validation data are few
            axes.plot(steps, values, "o-", color=colour, lw=1.2, ms=2.5)
            continue
        axes.plot(steps, values, color=colour, lw=0.6, alpha=0.35)
        if logarithmic:
            smooth = np.exp(_running_mean(np.log(values)))
        else:
            smooth = _running_mean(values)
        axes.plot(steps, smooth, color=colour, lw=1.6)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Average over a fortieth of the values, centred except at the ends."""
    half = max(1, len(values) // 80)
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first = np.maximum(places - half, 0)
    last = np.minimum(places + half + 1, len(values))
    return (total[last] - total[first]) / (last - first)
