"""Figures of data points: reconstructions, posterior samples, operators' paths.

A data point is a grey image `[H, W]` or `[H, W, 1]`, a colour image `[H, W, 3]`, its
numbers in [0, 1], or a vector `[n]`, which is drawn as a curve, or as a point if n = 2.
"""

import math
import textwrap
from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    PAGE_WIDTH,
    as_tiles,
    frame_tiles,
    new_figure,
    show_tiles,
    tick_tiles,
    tile_aspect,
)

_LEAST_TILE, _MOST_TILE = 0.32, 0.6  # inches: a digit that can be read


def reconstruction_grid(
    inputs: Float[Array | np.ndarray, "n ..."],
    outputs: Float[Array | np.ndarray, "n ..."],
    *,
    title: str,
) -> Figure:
    """Show inputs above their reconstructions.

    Args:
        inputs: The images, in [0, 1].
        outputs: The reconstruction of each.
        title: The figure's title.

    Returns:
        The figure, one axes for each row of up to ten pairs.

    Raises:
        ValueError: For no images, and for inputs and outputs of different shapes.
    """
    inputs, outputs = np.asarray(inputs), np.asarray(outputs)
    if inputs.ndim < 2 or inputs.shape != outputs.shape or not len(inputs):
        raise ValueError(
            "inputs and outputs must have the same shape [N, H, W], N at least 1; got "
            f"{list(inputs.shape)} and {list(outputs.shape)}."
        )
    columns = min(len(inputs), 10)
    rows = math.ceil(len(inputs) / columns)
    blank = np.full((rows * columns, *inputs.shape[1:]), np.nan)
    pairs = np.stack([blank, blank])
    pairs[:, : len(inputs)] = inputs, outputs
    (pairs,) = as_tiles(2, pairs)
    width = max(4.5, PAGE_WIDTH * columns / 10)
    side = (width - 1.0) / columns
    height = 2 * side * tile_aspect(pairs.shape) * rows
    figure = new_figure(width, height + 0.12 * rows + 0.5, title)
    all_axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for row, axes in enumerate(all_axes):
        part = pairs[:, row * columns : (row + 1) * columns]
        show_tiles(axes, part)
        tick_tiles(axes, part.shape, rows=["input", "output"])
    return figure


def posterior_sample_grids(
    centres: Float[Array | np.ndarray, "n ..."],
    samples: Float[Array | np.ndarray, "n s ..."],
    *,
    title: str,
) -> Figure:
    """Show decoded posterior samples around the decoded input: Figs. 6 (R) and 11.

    Args:
        centres: Decoded latent means, framed in green.
        samples: Decoded samples of each; their number is one less than an odd square
            (8, 24, 48).
        title: The figure's title.

    Returns:
        The figure, one axes for each example.

    Raises:
        ValueError: For shapes that disagree, and a number that fills no square.
    """
    (tiles,) = as_tiles(3, _sample_tiles(centres, samples))
    side = tiles.shape[1]
    columns = min(len(tiles), 5 if len(tiles) % 5 == 0 else 4)
    rows = math.ceil(len(tiles) / columns)
    panel = min(max(PAGE_WIDTH / columns, _LEAST_TILE * side), 3.2)
    height = panel * tile_aspect(tiles.shape[1:]) * rows
    figure = new_figure(panel * columns, height + 0.4, title, pad=0.08)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, grid in zip(all_axes, tiles, strict=False):
        show_tiles(axes, grid)
        frame_tiles(axes, grid.shape, column=side // 2, row=side // 2)
    for axes in all_axes[len(tiles) :]:
        axes.remove()
    return figure


def image_rows(
    rows: Mapping[str, Float[Array | np.ndarray, "n ..."]], *, title: str
) -> Figure:
    """Show a row of data points beside each name, as many in each.

    Args:
        rows: A name for each row, and its data points.
        title: The figure's title.

    Returns:
        The figure, one axes.

    Raises:
        ValueError: If there is no image, or images differ in shape.
    """
    shapes = sorted({np.shape(images) for images in rows.values()})
    if len(shapes) != 1 or 0 in shapes[0] or len(shapes[0]) < 2:
        raise ValueError(
            f"rows must hold the same number of data points; got {shapes}."
        )
    (tiles,) = as_tiles(2, np.stack([np.asarray(row) for row in rows.values()]))
    side = (PAGE_WIDTH - 1.2) / tiles.shape[1]
    height = side * tile_aspect(tiles.shape) * len(tiles)
    figure = new_figure(PAGE_WIDTH, height + 0.6, title)
    axes = figure.subplots()
    show_tiles(axes, tiles)
    tick_tiles(axes, tiles.shape, rows=list(rows))
    return figure


def compared_sample_grids(
    models: Mapping[
        str,
        tuple[
            Float[Array | np.ndarray, "n ..."],
            Float[Array | np.ndarray, "n s ..."],
        ],
    ],
    *,
    title: str,
) -> Figure:
    """Show several models' posterior samples side by side: Figs. 5, 6 (R), 10, 11.

    Args:
        models: A name for each column, with decoded centres and samples around them
            (see `posterior_sample_grids`), of the same examples.
        title: The figure's title.

    Returns:
        The figure: a row an example, a column a model.

    Raises:
        ValueError: As `posterior_sample_grids`, or if there is no model.
    """
    if not models:
        raise ValueError("models must hold at least one model; got none.")
    tiles_of_all = as_tiles(3, *(_sample_tiles(*pair) for pair in models.values()))
    grids = dict(zip(models, tiles_of_all, strict=True))
    count = len(tiles_of_all[0])
    panel = PAGE_WIDTH / len(grids) * tile_aspect(tiles_of_all[0].shape[1:])
    figure = new_figure(PAGE_WIDTH, panel * count + 0.7, title, pad=0.06)
    for row, axes_row in enumerate(figure.subplots(count, len(grids), squeeze=False)):
        for axes, (name, tiles) in zip(axes_row, grids.items(), strict=True):
            show_tiles(axes, tiles[row])
            side = tiles.shape[1]
            frame_tiles(axes, tiles[row].shape, column=side // 2, row=side // 2)
            if row == 0:
                lines = textwrap.fill(name, max(8, 100 // len(grids)))
                axes.set_title(lines, fontsize=LABEL_SIZE, parse_math=False)
    return figure


def _sample_tiles(centres, samples):
    """Put each centre in the middle of a square of its samples, `[n, s, s, ...]`."""
    centres, samples = np.asarray(centres), np.asarray(samples)
    expected = (*samples.shape[:1], *samples.shape[2:])
    if samples.ndim < 3 or centres.shape != expected or not len(centres):
        raise ValueError(
            "centres and samples must have shapes [E, H, W] and [E, S, H, W], E at "
            f"least 1; got {list(centres.shape)} and {list(samples.shape)}."
        )
    count = samples.shape[1]
    side = math.isqrt(count + 1)
    if side * side != count + 1 or side % 2 == 0:
        raise ValueError(
            "samples of each example must be one less than an odd square (8, 24, 48); "
            f"got {count}."
        )
    tiles = np.insert(samples, count // 2, centres, axis=1)
    return tiles.reshape(len(tiles), side, side, *tiles.shape[2:])


def operator_path_rows(
    images: Float[Array | np.ndarray, "m r t ..."],
    coefficients: Float[Array | np.ndarray, "*m t"],
    *,
    title: str,
    names: list[str] | None = None,
) -> Figure:
    """Show each operator's effect as its coefficient is swept: Fig. 12.

    Args:
        images: Decoded paths: operator, data point, coefficient.
        coefficients: The swept values, of all operators or `[m, t]` of each; one of
            them is 0, in the same column for all, which is framed in green.
        title: The figure's title.
        names: Of the operators; numbers them by default.

    Returns:
        The figure, one axes for each operator, with a row for each data point.

    Raises:
        ValueError: For shapes that disagree, and a sweep without 0.
    """
    images, coefficients = np.asarray(images), np.asarray(coefficients)
    fitting = (images.shape[2:3], images.shape[0:3:2])
    if images.ndim < 4 or coefficients.shape not in fitting or not images.size:
        raise ValueError(
            "images must have shape [M, R, T, H, W] and coefficients [T] or [M, T], "
            f"not empty; got {list(images.shape)} and {list(coefficients.shape)}."
        )
    sweeps = np.broadcast_to(coefficients, images.shape[0:3:2])
    sizes = np.abs(sweeps) / np.maximum(np.abs(sweeps).max(axis=1), 1e-30)[:, None]
    centre = int(sizes.max(axis=0).argmin())
    if sizes[:, centre].max() > 1e-6:
        raise ValueError(
            f"coefficients must include 0; the nearest to it is {sweeps[0, centre]}."
        )
    (images,) = as_tiles(3, images)
    names = names or [f"Operator {m + 1}" for m in range(len(images))]
    operators, rows, times = images.shape[:3]
    columns = 1 if operators == 1 else 2
    panel_rows = math.ceil(operators / columns)
    tile = (PAGE_WIDTH - 0.4) / (columns * times)
    tile = min(max(tile, _LEAST_TILE), _MOST_TILE)
    height = rows * tile * tile_aspect(images.shape[1:]) + 0.6
    figure = new_figure(
        columns * (times * tile + 0.25), panel_rows * height + 0.4, title
    )
    panels = figure.subplots(panel_rows, columns, squeeze=False).ravel()
    for index, (axes, tiles) in enumerate(zip(panels, images, strict=False)):
        show_tiles(axes, tiles)
        frame_tiles(axes, tiles.shape, column=centre, row=0, rows=rows)
        labels = [f"{value:.3g}".replace("-", "−") for value in sweeps[index] + 0.0]
        labels[centre] = "0"
        if max(map(len, labels)) > 5:  # they would touch
            labels = [x if (i - centre) % 2 == 0 else "" for i, x in enumerate(labels)]
        tick_tiles(axes, tiles.shape, columns=labels)
        axes.set_title(names[index], fontsize=LABEL_SIZE)
        axes.set_xlabel("coefficient", fontsize=LABEL_SIZE)
    for axes in panels[operators:]:
        axes.remove()
    return figure
