"""Figures of images: reconstructions, posterior samples, operators' paths."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    PAGE_WIDTH,
    frame_tiles,
    new_figure,
    show_tiles,
    tick_tiles,
)

_LEAST_TILE, _MOST_TILE = 0.32, 0.6  # inches: a digit that can be read


def reconstruction_grid(
    inputs: Float[Array | np.ndarray, "n height width"],
    outputs: Float[Array | np.ndarray, "n height width"],
    *,
    title: str,
) -> Figure:
    """Show inputs above their reconstructions.

    Args:
        inputs: the images, in [0, 1].
        outputs: the reconstruction of each.
        title: the figure's title.

    Returns:
        The figure, one axes for each row of up to ten pairs.

    Raises:
        ValueError: for no images, and for inputs and outputs of different shapes.
    """
    inputs, outputs = np.asarray(inputs), np.asarray(outputs)
    if inputs.ndim != 3 or inputs.shape != outputs.shape or not len(inputs):
        raise ValueError(
            f"inputs, outputs: got {inputs.shape} and {outputs.shape}, "
            "wanted the same [N, H, W] with N at least 1"
        )
    columns = min(len(inputs), 10)
    rows = math.ceil(len(inputs) / columns)
    blank = np.full((rows * columns, *inputs.shape[1:]), np.nan)
    pairs = np.stack([blank, blank])
    pairs[:, : len(inputs)] = inputs, outputs
    width = max(4.5, PAGE_WIDTH * columns / 10)
    side = (width - 1.0) / columns
    figure = new_figure(width, 2 * side * rows + 0.12 * rows + 0.5, title)
    all_axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for row, axes in enumerate(all_axes):
        part = pairs[:, row * columns : (row + 1) * columns]
        show_tiles(axes, part)
        tick_tiles(axes, part.shape, rows=["input", "output"])
    return figure


def posterior_sample_grids(
    centres: Float[Array | np.ndarray, "n height width"],
    samples: Float[Array | np.ndarray, "n s height width"],
    *,
    title: str,
) -> Figure:
    """Show decoded posterior samples around the decoded input: Figs. 6 (R) and 11.

    Args:
        centres: decoded latent means, framed in green.
        samples: decoded samples of each; their number is one less than an odd square
            (8, 24, 48).
        title: the figure's title.

    Returns:
        The figure, one axes for each example.

    Raises:
        ValueError: for shapes that disagree, and a number that fills no square.
    """
    tiles = _sample_tiles(centres, samples)
    side = tiles.shape[1]
    columns = min(len(tiles), 5 if len(tiles) % 5 == 0 else 4)
    rows = math.ceil(len(tiles) / columns)
    panel = min(max(PAGE_WIDTH / columns, _LEAST_TILE * side), 3.2)
    figure = new_figure(panel * columns, panel * rows + 0.4, title, pad=0.08)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, grid in zip(all_axes, tiles, strict=False):
        show_tiles(axes, grid)
        frame_tiles(axes, grid.shape, column=side // 2, row=side // 2)
    for axes in all_axes[len(tiles) :]:
        axes.remove()
    return figure


def image_rows(
    rows: Mapping[str, Float[Array | np.ndarray, "n height width"]], *, title: str
) -> Figure:
    """Show a row of images under each name, as many in each.

    Args:
        rows: a name for each row, and its images.
        title: the figure's title.

    Returns:
        The figure, one axes.

    Raises:
        ValueError: If there is no image, or images differ in shape.
    """
    shapes = sorted({np.shape(images) for images in rows.values()})
    if len(shapes) != 1 or 0 in shapes[0] or len(shapes[0]) < 3:
        raise ValueError(f"rows must hold as many images [n, H, W] each; got {shapes}.")
    tiles = np.stack([np.asarray(images) for images in rows.values()])
    side = (PAGE_WIDTH - 1.2) / tiles.shape[1]
    figure = new_figure(PAGE_WIDTH, side * len(tiles) + 0.6, title)
    axes = figure.subplots()
    show_tiles(axes, tiles)
    tick_tiles(axes, tiles.shape, rows=list(rows))
    return figure


def compared_sample_grids(
    models: Mapping[
        str,
        tuple[
            Float[Array | np.ndarray, "n height width"],
            Float[Array | np.ndarray, "n s height width"],
        ],
    ],
    *,
    title: str,
) -> Figure:
    """Show several models' posterior samples side by side: Figs. 5, 6 (R), 10, 11.

    Args:
        models: a name for each column, with decoded centres and samples around them
            (see `posterior_sample_grids`), of the same examples.
        title: the figure's title.

    Returns:
        The figure: a row an example, a column a model.

    Raises:
        ValueError: As `posterior_sample_grids`, or if there is no model.
    """
    if not models:
        raise ValueError("models must hold at least one model; got none.")
    grids = {name: _sample_tiles(*pair) for name, pair in models.items()}
    count = len(next(iter(grids.values())))
    panel = PAGE_WIDTH / len(grids)
    figure = new_figure(PAGE_WIDTH, panel * count + 0.7, title, pad=0.06)
    for row, axes_row in enumerate(figure.subplots(count, len(grids), squeeze=False)):
        for axes, (name, tiles) in zip(axes_row, grids.items(), strict=True):
            show_tiles(axes, tiles[row])
            side = tiles.shape[1]
            frame_tiles(axes, tiles[row].shape, column=side // 2, row=side // 2)
            if row == 0:
                axes.set_title(name, fontsize=LABEL_SIZE, parse_math=False)
    return figure


def _sample_tiles(centres, samples):
    """Put each centre in the middle of a square of its samples, `[n, s, s, H, W]`."""
    centres, samples = np.asarray(centres), np.asarray(samples)
    expected = (*samples.shape[:1], *samples.shape[2:])
    if samples.ndim != 4 or centres.shape != expected or not len(centres):
        raise ValueError(
            f"centres, samples: got {centres.shape} and {samples.shape}, "
            "wanted [E, H, W] and [E, S, H, W] with E at least 1"
        )
    count = samples.shape[1]
    side = math.isqrt(count + 1)
    if side * side != count + 1 or side % 2 == 0:
        raise ValueError(
            f"samples: got {count} for each example, "
            "wanted one less than an odd square: 8, 24, 48"
        )
    tiles = np.insert(samples, count // 2, centres, axis=1)
    return tiles.reshape(len(tiles), side, side, *tiles.shape[2:])


def operator_path_rows(
    images: Float[Array | np.ndarray, "m r t height width"],
    coefficients: Float[Array | np.ndarray, " t"],
    *,
    title: str,
) -> Figure:
    """Show each operator's effect as its coefficient is swept: Fig. 12.

    Args:
        images: decoded paths: operator, digit, coefficient.
        coefficients: the swept values, one of them 0: its column is framed in green.
        title: the figure's title.

    Returns:
        The figure, one axes for each operator, with a row for each digit.

    Raises:
        ValueError: for shapes that disagree, and a sweep without 0.
    """
    images, coefficients = np.asarray(images), np.asarray(coefficients)
    if images.ndim != 5 or coefficients.shape != images.shape[2:3] or not images.size:
        raise ValueError(
            f"images, coefficients: got {images.shape} and {coefficients.shape}, "
            "wanted [M, R, T, H, W] and [T], none of them empty"
        )
    scale = np.abs(coefficients).max()
    centre = int(np.abs(coefficients).argmin())
    if abs(coefficients[centre]) > 1e-6 * scale:
        raise ValueError(
            f"coefficients: got none that is 0 (the nearest is {coefficients[centre]})"
        )
    operators, rows, times = images.shape[:3]
    columns = 1 if operators == 1 else 2
    panel_rows = math.ceil(operators / columns)
    tile = (PAGE_WIDTH - 0.4) / (columns * times)
    tile = min(max(tile, _LEAST_TILE), _MOST_TILE)
    figure = new_figure(
        columns * (times * tile + 0.25), panel_rows * (rows * tile + 0.6) + 0.4, title
    )
    panels = figure.subplots(panel_rows, columns, squeeze=False).ravel()
    for index, (axes, tiles) in enumerate(zip(panels, images, strict=False)):
        show_tiles(axes, tiles)
        frame_tiles(axes, tiles.shape, column=centre, row=0, rows=rows)
        labels = [f"{value:.3g}".replace("-", "−") for value in coefficients + 0.0]
        labels[centre] = "0"
        tick_tiles(axes, tiles.shape, columns=labels)
        axes.set_title(f"Operator {index + 1}", fontsize=LABEL_SIZE)
        axes.set_xlabel("coefficient", fontsize=LABEL_SIZE)
    for axes in panels[operators:]:
        axes.remove()
    return figure
