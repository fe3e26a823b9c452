"""Parts shared by the figures: size, colours, titles, tiled images, saving."""

import os
import pathlib
import tempfile
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from vaells_jax.checks import check_kind

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
PALETTE = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
PAGE_WIDTH = 7.2  # inches: the text width of a printed page
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 9, 8  # points
_DPI = 150


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: The figure.
        path: The file to write; its folder is made if need be.
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


def operator_mark(index: int) -> dict[str, Any]:
    """Return how `Axes.scatter` marks what belongs to an operator, and its label."""
    return {
        "s": 26, "marker": MARKERS[index % len(MARKERS)], "facecolors": "none",
        "edgecolors": PALETTE[index % len(PALETTE)], "linewidths": 1.3,
        "label": f"{index + 1}",
    }  # fmt: skip


def new_figure(width: float, height: float, title: str, *, pad: float = 0.04) -> Figure:
    """Make a figure of a size in inches, its title wrapped to fit, taken literally."""
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad)
    figure = Figure(figsize=(width, height), dpi=_DPI, layout=layout)
    # A letter is about half as wide as high.
    letters = int(width * 72 / (0.52 * TITLE_SIZE))
    lines = [textwrap.fill(line, letters) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def as_tiles(lead: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """Bring data points of any shape to the form that `show_tiles` draws.

    Args:
        lead: The number of axes before those of a data point.
        arrays: Data of one shape: images `[H, W]` or `[H, W, C]`, or vectors `[n]`.

    Returns:
        Grey images `[..., H, W]` and colour images `[..., H, W, 3]` (the first three
        of more channels), vectors `[..., n]` in common units, 0 to 1 from the lower
        to the upper edge of a tile.

    Raises:
        ValueError: For data points of any other shape.
    """
    shape = arrays[0].shape[lead:]
    if len(shape) == 1 and shape[0]:
        # Each coordinate of a point in the plane has a middle, a curve has one in all.
        axis = 0 if shape[0] == 2 else None
        flat = np.concatenate([array.reshape(-1, *shape) for array in arrays])
        flat = np.where(np.isfinite(flat), flat, np.nan)
        low, high = np.nanpercentile(flat, [0.5, 99.5], axis=axis)
        span = max(float(np.max(high - low)), 1e-12) * 1.25
        return [
            np.clip((array - (low + high) / 2) / span + 0.5, 0, 1) for array in arrays
        ]
    if len(shape) == 2:
        return list(arrays)
    if len(shape) != 3 or shape[-1] in (0, 2):
        raise ValueError(
            "data points must be images [H, W] or [H, W, C] of 1, 3 or more channels, "
            f"or vectors [n]; got shape {list(shape)}."
        )
    return [array[..., 0] if shape[-1] == 1 else array[..., :3] for array in arrays]


def tile_layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the height and width of tiles `[R, C, ...]`, and the gap between them."""
    if len(shape) == 3:  # vectors
        return (30, 30, 3) if shape[2] <= 2 else (30, 44, 3)
    height, width = shape[2:4]
    return height, width, max(2, max(height, width) // 20)


def tile_aspect(shape: tuple[int, ...]) -> float:
    """Return the height of tiles over their width."""
    height, width, _ = tile_layout(shape)
    return height / width


def show_tiles(axes: Axes, tiles: np.ndarray) -> None:
    """Draw tiles side by side: images `[R, C, H, W]`, `[R, C, H, W, 3]`, or vectors.

    Vectors `[R, C, n]` become curves, those of two numbers points in the plane, with
    all others behind them in grey. A tile of NaN stays white.
    """
    height, width, gap = tile_layout(tiles.shape)
    rows, columns, *size = tiles.shape
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if len(size) > 1:
        canvas = np.ones((rows, height + gap, columns, width + gap, *size[2:]))
        pixels = np.nan_to_num(tiles.swapaxes(1, 2), nan=1.0)
        canvas[:, :height, :, :width] = np.clip(pixels, 0.0, 1.0)
        canvas = canvas.reshape(rows * (height + gap), -1, *size[2:])[:-gap, :-gap]
        smooth = "nearest" if max(height, width) <= 64 else "auto"
        axes.imshow(canvas, cmap="gray", vmin=0.0, vmax=1.0, interpolation=smooth)
        return
    axes.set_xlim(-0.5, columns * (width + gap) - gap - 0.5)
    axes.set_ylim(rows * (height + gap) - gap - 0.5, -0.5)
    axes.set_aspect("equal")
    row, column = np.nonzero(~np.isnan(tiles).all(axis=2))
    vectors = tiles[row, column]
    corners = np.stack([column * (width + gap), row * (height + gap)], axis=1) - 0.5
    for corner in corners:
        axes.add_patch(Rectangle(corner, width, height, color=GREY, alpha=0.09, lw=0))
    # Along a tile: the place of an entry, or the first coordinate of two.
    along = np.broadcast_to((np.arange(size[0]) + 0.5) / size[0], vectors.shape)
    if size[0] == 2:
        along, vectors = vectors[:, :1], vectors[:, 1:]
    curves = np.stack([along * width, (1.0 - vectors) * height], axis=2)
    if size[0] == 2:
        others = curves[:: 1 + len(curves) // 150] + corners[:, None, None]
        x, y = others.reshape(-1, 2).T
        axes.scatter(x, y, s=1.2, color=GREY, alpha=0.4, lw=0)
    curves = curves + corners[:, None]
    if size[0] <= 2:
        x, y = curves.reshape(-1, 2).T
        axes.scatter(x, y, s=14, color=BLUE, zorder=3, lw=0)
    else:
        axes.add_collection(LineCollection(list(curves), colors=BLUE, lw=0.8))


def frame_tiles(
    axes: Axes, shape: tuple[int, ...], *, column: int, row: int, rows: int = 1
) -> None:
    """Frame tiles of one column in green, along the middle of the gaps around them."""
    height, width, gap = tile_layout(shape)
    middle = 0.5 + gap / 2
    corner = (column * (width + gap) - middle, row * (height + gap) - middle)
    extent = (width + gap, rows * (height + gap))
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
    height, width, gap = tile_layout(shape)
    if rows is not None:
        places = np.arange(len(rows)) * (height + gap) + (height - 1) / 2
        axes.set_yticks(places, rows, fontsize=TICK_SIZE)
    if columns is not None:
        places = np.arange(len(columns)) * (width + gap) + (width - 1) / 2
        axes.set_xticks(places, columns, fontsize=TICK_SIZE - 1)
    axes.tick_params(length=0, pad=3)


def plain_axes(axes: Axes) -> None:
    """Leave two spines, small tick labels and a light grid."""
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=GREY, alpha=0.2, lw=0.5)
