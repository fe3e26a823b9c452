"""A map of a latent space of any dimension."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    PALETTE,
    TICK_SIZE,
    new_figure,
    plain_axes,
)

CLASS_COLOURS = (*PALETTE, "#117733", "#882255", "#999999")
"""Of classes 0, 1 and so on."""

_MARKERS = "os^Dv<>Phd"


def latent_map(
    latents: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"] | None = None,
    *,
    anchors: Float[Array | np.ndarray, "a d"] | None = None,
    class_names: Sequence[str] = (),
    title: str,
) -> Figure:
    """Show latents in their first two principal components, coloured by class.

    Two-dimensional latents are shown as they are; one dimension is a histogram.

    Args:
        latents: Encoded data points.
        labels: Their classes; up to ten have a legend, more a colour bar.
        anchors: Encoded anchors, marked by crosses.
        class_names: Of class 0, 1 and so on; a class without one is numbered.
        title: The figure's title.

    Returns:
        The figure, one axes (and one for the colour bar, if there is one).

    Raises:
        ValueError: If shapes disagree.
    """
    points = np.asarray(latents, float)
    if points.ndim != 2 or not points.size:
        raise ValueError(
            f"latents must have shape [n, d], not empty; got {list(points.shape)}."
        )
    count, size = points.shape
    classes = np.zeros(count, int) if labels is None else np.asarray(labels)
    marks = np.empty((0, size)) if anchors is None else np.asarray(anchors, float)
    if classes.shape != (count,) or marks.shape[1:] != (size,):
        raise ValueError(
            f"labels and anchors must have shapes [{count}] and [a, {size}]; got "
            f"{list(classes.shape)} and {list(marks.shape)}."
        )
    points, marks, axis_names = _principal(points, marks)
    found = np.unique(classes)
    names = [class_names[c] if 0 <= c < len(class_names) else str(c) for c in found]
    scale = matplotlib.colormaps["viridis"].resampled(len(found))
    few = len(found) <= len(CLASS_COLOURS)
    colours = CLASS_COLOURS[: len(found)] if few else scale(np.arange(len(found)))
    # No legend takes a name that starts with an underscore.
    listed = names if few and labels is not None else ["_"] * len(names)
    figure = new_figure(5.0, 5.2, title)
    axes = figure.subplots()
    plain_axes(axes)
    parts = [points[classes == c] for c in found]
    if size == 1:
        flat = [part[:, 0] for part in parts]
        axes.hist(flat, 40, stacked=True, color=list(colours), label=listed)
        marks = np.column_stack([marks[:, 0], np.zeros(len(marks))])
    else:
        shown = np.concatenate([points, marks])
        low, high = shown.min(axis=0), shown.max(axis=0)
        middle, half = (low + high) / 2, 0.54 * max(float(np.max(high - low)), 1e-6)
        axes.set(
            xlim=(middle[0] - half, middle[0] + half), aspect="equal",
            ylim=(middle[1] - half, middle[1] + half),
        )  # fmt: skip
        # Large classes lie below small ones.
        order = np.argsort(np.argsort([-len(part) for part in parts]))
        for i, part in enumerate(parts):
            axes.scatter(
                part[:, 0], part[:, 1], s=9, color=colours[i],
                marker=_MARKERS[i % len(_MARKERS)],
                alpha=0.7, lw=0, label=listed[i], zorder=2 + order[i] / len(parts),
            )  # fmt: skip
    if len(marks):
        axes.scatter(
            marks[:, 0], marks[:, 1], s=24, marker="x", color="black", lw=1.1,
            label="anchors", zorder=4, clip_on=False,
        )  # fmt: skip
    if size > 1:
        # As many ticks whatever the size: the layout is made before it is final.
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xlabel(axis_names[0], fontsize=LABEL_SIZE)
    axes.set_ylabel(axis_names[1], fontsize=LABEL_SIZE)
    if not few:
        bar = ScalarMappable(Normalize(-0.5, len(found) - 0.5), scale)
        places = range(0, len(found), 1 + len(found) // 21)
        ticks = figure.colorbar(bar, ax=axes, label="class", ticks=places).ax
        ticks.set_yticklabels([names[i] for i in places], fontsize=TICK_SIZE)
    handles, texts = axes.get_legend_handles_labels()
    if handles:
        columns = min(len(texts), max(1, 60 // (6 + max(map(len, texts)))))
        figure.legend(
            handles, texts, loc="outside lower center", ncols=columns,
            fontsize=TICK_SIZE,
        )  # fmt: skip
    return figure


def _principal(points, marks):
    """Return points and marks in the plane to be shown, and the names of its axes."""
    if points.shape[1] == 1:
        return points, marks, ["latent", "data points"]
    names, share = ["latent 1", "latent 2"], points.var(axis=0)
    if points.shape[1] > 2:
        names, middle = ["first component", "second component"], points.mean(axis=0)
        share, turn = np.linalg.eigh((points - middle).T @ (points - middle))
        share, turn = share[::-1], turn[:, :-3:-1]
        points, marks = (points - middle) @ turn, (marks - middle) @ turn
    share = share / max(share.sum(), np.finfo(float).tiny)
    return (
        points,
        marks,
        [
            f"{name} ({100 * part:.0f} % of variance)"
            for name, part in zip(names, share, strict=False)
        ],
    )
