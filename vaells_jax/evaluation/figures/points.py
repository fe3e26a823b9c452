"""Figures of data points of any kind, images or vectors, and of their latents."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    new_figure,
    plain_axes,
    show_tiles,
    tick_tiles,
)


def point_rows(
    rows: Mapping[str, Float[Array | np.ndarray, "n ..."]],
    *,
    title: str,
    columns: Sequence[str] | None = None,
) -> Figure:
    """Show a row of data points under each name, as many in each.

    Images `[n, H, W, C]` are drawn as such, vectors `[n, m]` as curves over their
    entries.

    Args:
        rows: A name for each row, and its data points.
        title: The figure's title.
        columns: What is written under the columns.
    """
    points = np.stack([np.asarray(row) for row in rows.values()])
    count, number = points.shape[:2]
    side = (PAGE_WIDTH - 1.2) / number
    image = points.ndim > 3
    ratio = points.shape[2] / points.shape[3] if image else 0.8
    figure = new_figure(PAGE_WIDTH, side * ratio * count + 0.9, title)
    axes = figure.subplots()
    if image:
        show_tiles(axes, points)
        labels = None if columns is None else list(columns)
        tick_tiles(axes, points.shape, rows=list(rows), columns=labels)
        return figure
    low, high = np.min(points), np.max(points)
    across = np.linspace(0.06, 0.94, points.shape[2])
    for index, row in enumerate(points):
        for place, values in enumerate(row):
            height = 0.1 + 0.8 * (values - low) / ((high - low) or 1.0)
            axes.plot(place + across, height - index, color=PALETTE[0], lw=0.8)
    axes.set_xlim(0, number)
    axes.set_ylim(1 - count, 1)
    axes.set_yticks(0.5 - np.arange(count), list(rows), fontsize=TICK_SIZE)
    places = np.arange(number) + 0.5
    axes.set_xticks(places, columns or [""] * number, fontsize=TICK_SIZE - 1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def latent_map(
    latents: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    title: str,
    class_names: Sequence[str] = (),
) -> Figure:
    """Show latents in their first two principal components, coloured by class.

    Args:
        latents: The latents.
        labels: The class of each, from 0.
        title: The figure's title.
        class_names: Their names; more than ten classes have no legend.
    """
    latents, labels = np.asarray(latents, float), np.asarray(labels)
    centred = latents - latents.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    share = sizes**2 / max(np.sum(sizes**2), np.finfo(float).tiny)
    places = centred @ directions[:2].T
    figure = new_figure(5.0, 4.6, title)
    axes = figure.subplots()
    plain_axes(axes)
    found = np.unique(labels)
    for label in found:
        own = places[labels == label]
        name = class_names[label] if label < len(class_names) else str(label)
        colour = PALETTE[label % len(PALETTE)]
        marker = "os^Dvx+"[(label // len(PALETTE)) % 7]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=9,
            color=colour,
            marker=marker,
            label=name,
            alpha=0.7,
        )
    axes.set_xlabel(f"first component ({share[0]:.0%} of all)", fontsize=LABEL_SIZE)
    axes.set_ylabel(f"second component ({share[1]:.0%})", fontsize=LABEL_SIZE)
    if 1 < len(found) <= 10:
        axes.legend(fontsize=TICK_SIZE, title="class", title_fontsize=TICK_SIZE)
    return figure
