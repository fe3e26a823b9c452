"""A figure of operators: their planes, and how far they commute."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaells_jax.checks import check_kind
from vaells_jax.evaluation.algebra import OperatorDescription
from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    TICK_SIZE,
    new_figure,
    operator_mark,
    plain_axes,
)


def operator_algebra(found: OperatorDescription, *, title: str) -> Figure:
    """Show each operator's planes, and for several how far they commute.

    Left, a mark is a plane: how fast it turns, and how much of the latents' energy it
    holds. Right, each pair's relative commutator, 0 where the order of two paths does
    not matter.

    Args:
        found: The result of `describe_operators`.
        title: The figure's title.

    Raises:
        ValueError: For anything but a description.
    """
    check_kind(found=(found, OperatorDescription))
    count = len(found.norms)
    figure = new_figure(7.2 if count > 1 else 4.6, 3.6, title)
    row = figure.subplots(1, 2 if count > 1 else 1, squeeze=False)[0]
    axes = row[0]
    for index, planes in enumerate(found.planes):
        axes.scatter(
            [plane.frequency for plane in planes],
            [100 * plane.energy for plane in planes],
            **operator_mark(index),
        )
    plain_axes(axes)
    axes.set_xlabel("frequency [rad per unit of c]", fontsize=LABEL_SIZE)
    axes.set_ylabel("latents' energy [%]", fontsize=LABEL_SIZE)
    axes.set_title("planes", fontsize=LABEL_SIZE, loc="left")
    if count == 1:
        return figure
    if count <= 10:
        axes.legend(title="operator", fontsize=TICK_SIZE, title_fontsize=TICK_SIZE)
    axes = row[1]
    most = max(float(found.commutators.max()), 0.01)  # operators may commute exactly
    image = axes.imshow(found.commutators, vmin=0.0, vmax=most, cmap="viridis")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("|[A, B]| / 2 |A| |B|", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_locator(MaxNLocator(min(count, 8), integer=True))
        side.set_major_formatter(lambda value, _: f"{value + 1:.0f}")
    axes.tick_params(labelsize=TICK_SIZE)
    axes.set_xlabel("operator", fontsize=LABEL_SIZE)
    axes.set_title("commutators", fontsize=LABEL_SIZE, loc="left")
    return figure
