"""Operators of flows that are not linear: on the data, and with an autoencoder.

python -m benchmarks.flows --seeds 5
"""

import dataclasses
import pathlib
import time
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import tyro
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks.bent import BentOptions, Learned, learn_together, with_operators
from benchmarks.symmetry import STRETCH
from vaells_jax import PairOptions, infer_coefficients
from vaells_jax.data.flows import FLOWS, Flow, FlowPairs
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.canvas import (
    BLUE,
    GREY,
    LABEL_SIZE,
    PAGE_WIDTH,
    TICK_SIZE,
    VERMILION,
    new_figure,
    plain_axes,
)
from vaells_jax.evaluation.symmetry import coefficient_disagreement
from vaells_jax.operators.transport import transport
from vaells_jax.runs.results import markdown, spread

OPTIONS = BentOptions(
    operators=PairOptions(l1_weight=0.003, norm_weight=0.003, batch_size=256, steps=400)
)
"""How each cell is made: those of bent data, with less weight on what shrinks paths."""

SEARCH = dataclasses.replace(OPTIONS.operators.search, l1_weight=1e-4)
"""How times of held-out pairs are inferred: from starts near 0, so within a turn."""

HELD_OUT = (40, 12)
"""Starts that are scored, and times of each."""

ORBIT = np.linspace(0.0, 12.0, 601)
"""Times at which an orbit is known; straight lines join these points."""

COLUMNS = {
    "pair_error": "pairs: error",
    "far_error": f"{STRETCH} times as far: error",
    "orbit_error": f"{STRETCH} times as far: from the orbit",
    "wasserstein": "W1 of times",
    "disagreement": "disagreement",
    "seconds": "seconds",
}

Cell = dict[str, float]


class Plain(NamedTuple):
    """Operators on the data themselves.

    Attributes:
        operators: The dictionary Psi.
    """

    operators: Float[Array, "M d d"]

    def encode(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Return the points."""
        return points

    def decode(self, latents: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Return the points."""
        return latents


class HeldOut(NamedTuple):
    """Every start with every time.

    Attributes:
        pairs: The n starts T times each, one after the other.
        far: Where the flow is after `STRETCH` times the time.
        orbits: Of each start, at `ORBIT`, which is longer than any period.
    """

    pairs: FlowPairs
    far: Float[Array, "nT d"]
    orbits: Float[np.ndarray, "n t d"]


def main(
    output: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/flows"
    ),
    seeds: int = 5,
    sets: tuple[str, ...] = tuple(FLOWS),
    first_seed: int = 0,
) -> None:
    """Learn one operator of every flow and seed, and score it.

    The table is written anew after each.

    Args:
        output: Gets flows.md and flows.png.
        seeds: Seeds of each flow.
        sets: Which flows.
        first_seed: The first of the seeds; its operators are drawn.
    """
    cells: dict[str, dict[str, list[Cell]]] = {}
    drawn: dict[str, dict[str, Any]] = {}
    output.mkdir(parents=True, exist_ok=True)
    wanted = [(first_seed + i, name) for i in range(seeds) for name in sets]
    for seed, name in tqdm(wanted, desc="flows", unit="cell"):
        found, learned = measure(FLOWS[name], seed)
        for row, cell in found.items():
            cells.setdefault(name, {}).setdefault(row, []).append(cell)
            tqdm.write(f"{name}, seed {seed}, {row}: {cell}")
        drawn.setdefault(name, learned)
        (output / "flows.md").write_text(table(cells))
    save_figure(figure(drawn), output / "flows.png")
    print(table(cells))


def measure(
    flow: Flow,
    seed: int,
    options: BentOptions = OPTIONS,
) -> tuple[dict[str, Cell], dict[str, Plain | Learned]]:
    """Return the scores of each learner, of a random operator and the best ones."""
    keys = jax.random.split(jax.random.key(seed), 6)
    pair_key, held_out_key, plain_key, latent_key, score_key, null_key = keys
    pairs = flow.pairs(pair_key, options.pairs)
    held_out = draw_held_out(held_out_key, flow)
    size = pairs.start.shape[1]
    zeros = jnp.zeros((1, size, size), pairs.start.dtype)
    scored = lambda x: score(jax.random.clone(score_key), held_out, x)
    cells: dict[str, Cell] = {}
    learned: dict[str, Plain | Learned] = {}
    for name, learn in {
        "on the data": lambda: with_operators(plain_key, Plain(zeros), pairs, options),
        "with an autoencoder": lambda: learn_together(
            latent_key, pairs, size=size, num_operators=1, options=options
        ),
    }.items():
        began = time.perf_counter()
        learned[name] = jax.block_until_ready(learn())
        seconds = time.perf_counter() - began
        cells[name] = {**scored(learned[name]), "seconds": seconds}
    random = jax.random.normal(null_key, zeros.shape, zeros.dtype)
    random = random / np.sqrt(size**2 / 2)  # as a turn's norm
    cells["random operator"] = scored(Plain(random))
    cells["best possible"] = best(held_out)
    return cells, learned


def draw_held_out(
    key: PRNGKeyArray, flow: Flow, shape: tuple[int, int] = HELD_OUT
) -> HeldOut:
    """Draw starts and times, and move every start by every time."""
    drawn = flow.pairs(key, max(shape))
    each = drawn.start[: shape[0]]
    start = jnp.repeat(each, shape[1], axis=0)
    times = jnp.tile(drawn.times[: shape[1]], shape[0])
    pairs = FlowPairs(start, flow.move(start, times), times)
    points = jnp.repeat(each, len(ORBIT), axis=0)
    orbits = flow.move(points, jnp.tile(jnp.asarray(ORBIT, each.dtype), shape[0]))
    return HeldOut(
        pairs, flow.move(start, STRETCH * times),
        np.asarray(orbits, float).reshape(shape[0], len(ORBIT), -1),
    )  # fmt: skip


def score(key: PRNGKeyArray, held_out: HeldOut, learned: Plain | Learned) -> Cell:
    """Score one operator on pairs that it was not learned from.

    Returns:
        RMS distances over the RMS of the truth: from it at the pairs' times and
        `STRETCH` times as far, and there from any point of its orbit; W1 of times;
        `coefficient_disagreement`.
    """
    pairs, Psi = held_out.pairs, learned.operators
    start, end = learned.encode(pairs.start), learned.encode(pairs.end)
    found = infer_coefficients(key, Psi, start, end, options=SEARCH).coefficients
    moved = jax.vmap(transport, (None, 0, 0))
    near, far = (
        np.asarray(learned.decode(moved(Psi, stretch * found, start)), float)
        for stretch in (1.0, float(STRETCH))
    )
    rms = lambda x: float(np.linalg.norm(x) / np.sqrt(len(pairs.times)))
    return {
        "pair_error": rms(near - pairs.end) / rms(pairs.end),
        "far_error": rms(far - held_out.far) / rms(held_out.far),
        "orbit_error": rms(orbit_distances(held_out, far)) / rms(held_out.far),
        **time_scores(held_out, np.asarray(found)),
    }


def orbit_distances(
    held_out: HeldOut, points: Float[np.ndarray, "nT d"]
) -> Float[np.ndarray, " nT"]:
    """Return how far points are from the orbit of their start."""
    a, b = held_out.orbits[:, None, :-1], held_out.orbits[:, None, 1:]
    x = points.reshape(len(a), -1, 1, a.shape[-1])
    along = np.sum((x - a) * (b - a), axis=-1) / np.sum((b - a) ** 2, axis=-1)
    nearest = a + np.clip(along, 0.0, 1.0)[..., None] * (b - a)
    return np.linalg.norm(x - nearest, axis=-1).min(axis=2).reshape(-1)


def time_scores(held_out: HeldOut, found: Float[np.ndarray, "nT 1"]) -> Cell:
    """Compare coefficients with times: W1, and how far equal times disagree."""
    pairs, (count, _, size) = held_out.pairs, held_out.orbits.shape
    by_start = lambda x: np.asarray(x).reshape(count, -1, size)
    return {
        "wasserstein": scaled_wasserstein(found[:, 0], pairs.times),
        "disagreement": coefficient_disagreement(
            by_start(pairs.start)[:, 0], by_start(pairs.end), np.ones((1, size, size)),
            search=lambda *_: (found, None),
        ),
    }  # fmt: skip


def scaled_wasserstein(
    first: Float[Array | np.ndarray, " n"], second: Float[Array | np.ndarray, " n"]
) -> float:
    """Return the least Wasserstein-1 distance of any multiple of one from the other.

    With both in order, a multiple s >= 0 has the distance `mean |s first - second|`,
    whose least is at a median of `second / first`, weighted by `|first|`.
    """
    second = np.sort(np.asarray(second, float))
    distances = []
    for x in (np.sort(np.asarray(first, float)), np.sort(-np.asarray(first, float))):
        some = x != 0.0
        ratio, weight = second[some] / x[some], np.abs(x[some])
        order = np.argsort(ratio)
        total = np.cumsum(weight[order])
        middle = np.searchsorted(total, total[-1] / 2) if some.any() else 0
        s = max(ratio[order][middle], 0.0) if some.any() else 0.0
        distances.append(scipy.stats.wasserstein_distance(s * x, second))
    return float(min(distances))


def best(held_out: HeldOut) -> Cell:
    """Return the scores of latents in which every orbit is a circle.

    In such latents paths are exact. One matrix turns all circles with one frequency, so
    that the coefficients are the times, multiplied by each orbit's own.
    """
    times = np.asarray(held_out.pairs.times, float).reshape(len(held_out.orbits), -1)
    found = (frequencies(held_out.orbits)[:, None] * times).reshape(-1, 1)
    errors = dict.fromkeys(("pair_error", "far_error", "orbit_error"), 0.0)
    return {**errors, **time_scores(held_out, found)}


def frequencies(orbits: Float[np.ndarray, "n t d"]) -> Float[np.ndarray, " n"]:
    """Return `2 pi / period` of orbits at the times `ORBIT`.

    In all flows here (q_1, p_1) turns about 0 clockwise, so that the period is when its
    angle is a whole turn less.
    """
    angles = np.arctan2(orbits[..., orbits.shape[-1] // 2], orbits[..., 0])
    turned = -np.unwrap(angles - angles[:, :1])
    periods = np.array([np.interp(2.0 * np.pi, row, ORBIT) for row in turned])
    return 2.0 * np.pi / periods


def table(cells: dict[str, dict[str, list[Cell]]]) -> str:
    """Lay the scores out as Markdown: median (least to most)."""
    rows = []
    for name, learners in cells.items():
        for learner, seeds in learners.items():
            row = [f"{FLOWS[name].name}: {learner}"]
            for column in COLUMNS:
                values = [cell[column] for cell in seeds if column in cell]
                row.append(spread(values) if values else "")
            rows.append(row)
    return markdown(["", *COLUMNS.values()], rows)


def figure(drawn: dict[str, dict[str, Any]]) -> Figure:
    """Draw true orbits in grey, and paths of `STRETCH` times the pairs' times."""
    page = new_figure(PAGE_WIDTH, 2.9, "True orbits and learned paths")
    grid = page.subplots(1, len(drawn), squeeze=False)[0]
    for axes, (name, learners) in zip(grid, drawn.items(), strict=True):
        held_out = draw_held_out(jax.random.key(0), FLOWS[name], (3, 12))
        paths = {learner: learned_paths(held_out, x) for learner, x in learners.items()}
        styles = ((GREY, 3.0), (VERMILION, 1.2), (BLUE, 1.2))
        for (label, curves), (color, width) in zip(
            {"true": held_out.orbits, **paths}.items(), styles, strict=True
        ):
            for i, curve in enumerate(curves):
                axes.plot(
                    *curve.T[:2], color=color, lw=width, label=None if i else label,
                    alpha=0.35 if label == "true" else 1.0,
                )  # fmt: skip
        axes.plot(*held_out.orbits[:, 0].T[:2], "o", color=GREY, ms=4)
        plane = "(q₁, q₂)" if held_out.orbits.shape[-1] == 4 else "(q, p)"
        axes.set_title(f"{FLOWS[name].name}, {plane}", fontsize=LABEL_SIZE)
        axes.set_aspect("equal")
        plain_axes(axes)
    handles, labels = grid[0].get_legend_handles_labels()
    page.legend(
        handles, labels, fontsize=TICK_SIZE, loc="outside lower center", ncols=3
    )
    return page


def learned_paths(
    held_out: HeldOut, learned: Plain | Learned
) -> Float[np.ndarray, "n t d"]:
    """Follow an operator from each start, both ways, by its mean speed."""
    pairs, Psi = held_out.pairs, learned.operators
    start, end = learned.encode(pairs.start), learned.encode(pairs.end)
    found = infer_coefficients(
        jax.random.key(1), Psi, start, end, options=SEARCH
    ).coefficients[:, 0]
    speed = jnp.sum(jnp.abs(found)) / jnp.sum(jnp.abs(pairs.times))
    reach = STRETCH * float(speed * jnp.max(jnp.abs(pairs.times)))
    amounts = jnp.linspace(-reach, reach, 100)[:, None]
    along = jax.vmap(transport, (None, 0, None))
    firsts = start[:: len(start) // len(held_out.orbits)]
    return np.stack([learned.decode(along(Psi, amounts, z)) for z in firsts])


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.flows")
