"""What the figures share: size, colours, titles, tiled images, saving."""

import os
import pathlib
import tempfile
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from vaells_jax.checks import check_kind

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
PALETTE = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
PAGE_WIDTH = 7.2  # inches: the text width of a printed page
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 9, 8  # points
_DPI = 150
_GAP = 2  # pixels of white between tiled images


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: the figure.
        path: the file to write; its folder is made if need be.
    """
    check_kind(figure=(figure, Figure), path=(path, str | os.PathLike))
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=target.parent, suffix=".png.part")
    try:
        with os.fdopen(handle, "wb") as stream:
            figure.savefig(stream, format="png", dpi=_DPI)
        # mkstemp makes files that only their owner may read.
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
    except BaseException:
        os.unlink(scratch)
        raise


def new_figure(width: float, height: float, title: str, *, pad: float = 0.04) -> Figure:
    """Make a figure of so many inches, its title wrapped to fit and taken literally."""
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad)
    figure = Figure(figsize=(width, height), dpi=_DPI, layout=layout)
    # A letter is about half as wide as high.
    letters = int(width * 72 / (0.52 * TITLE_SIZE))
    lines = [textwrap.fill(line, letters) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def show_tiles(axes: Axes, tiles: np.ndarray) -> None:
    """Draw [R, C, H, W] as one image with white between the tiles; NaN is white.

    A last axis of three channels is colour; of other numbers, their mean is drawn.
    """
    if tiles.ndim == 5 and tiles.shape[4] != 3:
        tiles = tiles.mean(axis=4)
    rows, columns, height, width, *colours = tiles.shape
    canvas = np.ones((rows, height + _GAP, columns, width + _GAP, *colours))
    canvas[:, :height, :, :width] = np.nan_to_num(tiles.swapaxes(1, 2), nan=1.0)
    canvas = canvas.reshape(rows * (height + _GAP), columns * (width + _GAP), *colours)
    canvas = (
        np.clip(canvas[:-_GAP, :-_GAP], 0.0, 1.0) if colours else canvas[:-_GAP, :-_GAP]
    )
    axes.imshow(canvas, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def frame_tiles(
    axes: Axes, shape: tuple[int, ...], *, column: int, row: int, rows: int = 1
) -> None:
    """Frame tiles of one column in green, along the middle of the gaps around them."""
    _, _, height, width = shape
    corner = (column * (width + _GAP) - 1.5, row * (height + _GAP) - 1.5)
    extent = (width + _GAP, rows * (height + _GAP))
    frame = Rectangle(corner, *extent, fill=False, edgecolor=GREEN, lw=1.6)
    frame.set_clip_on(False)
    axes.add_patch(frame)


def tick_tiles(
    axes: Axes,
    shape: tuple[int, ...],
    *,
    rows: list[str] | None = None,
    columns: list[str] | None = None,
) -> None:
    """Write labels beside the rows and under the columns of tiles."""
    height, width = shape[2:4]
    if rows is not None:
        places = np.arange(len(rows)) * (height + _GAP) + (height - 1) / 2
        axes.set_yticks(places, rows, fontsize=TICK_SIZE)
    if columns is not None:
        places = np.arange(len(columns)) * (width + _GAP) + (width - 1) / 2
        axes.set_xticks(places, columns, fontsize=TICK_SIZE - 1)
    axes.tick_params(length=0, pad=3)


def plain_axes(axes: Axes) -> None:
    """Leave two spines, small tick labels and a light grid."""
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=GREY, alpha=0.2, lw=0.5)
