"""Does it find the symmetry? Operators from pairs, against generators that are known.

python -m benchmarks.symmetry --seeds 5
"""

import dataclasses
import json
import pathlib
import sys
import time
from typing import Annotated, Any

import jax
import numpy as np
import scipy.linalg
import tyro
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure
from tqdm import tqdm

from vaells_jax import InferenceOptions, PairOptions, fit_operators, infer_coefficients
from vaells_jax.data.symmetries import SYMMETRIES, Symmetry, SymmetryPairs
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.canvas import (
    BLUE,
    GREY,
    LABEL_SIZE,
    PAGE_WIDTH,
    TICK_SIZE,
    new_figure,
    plain_axes,
)
from vaells_jax.evaluation.spans import (
    algebra_score,
    circular_wasserstein,
    count_generators,
    extrapolation_error,
    span_angles,
    turned_angles,
)
from vaells_jax.runs.records import write_json
from vaells_jax.runs.results import markdown, spread

SURPLUS = 1
"""Operators more than there are generators."""

STRETCH = 3
"""Paths are followed to so many times the transformation of their pair."""

SEARCH = InferenceOptions(search="global", l1_weight=1e-4)
"""How coefficients of held-out pairs are inferred."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How each cell of the table is made.

    Attributes:
        pairs: Pairs that are learned from.
        held_out: Pairs that are scored.
        keys: First dictionaries, of which the one with the least objective counts.
        options: How each is learned.
        wide_keys: Of points of more than four numbers, whose searches take longer.
        wide: Of those, in smaller batches.
        far_keys: Of whole multiples: most pairs are a quarter turn or more apart.
        far: Of those.
        noise_std: Deviation of the noise on the ends that are learned from.
    """

    pairs: int = 1000
    held_out: int = 200
    keys: int = 6
    options: PairOptions = PairOptions(
        l1_weight=0.03, norm_weight=0.01, batch_size=1000, steps=800
    )
    wide_keys: int = 1
    wide: PairOptions = PairOptions(
        l1_weight=0.03, norm_weight=0.01, batch_size=128, steps=800
    )
    far_keys: int = 6
    far: PairOptions = PairOptions(
        l1_weight=0.05, norm_weight=0.03, batch_size=500, rate=0.05, restarts=4,
        steps=600,
    )  # fmt: skip
    noise_std: float = 0.0

    def of(self, symmetry: Symmetry) -> tuple[int, PairOptions]:
        """Return how many first dictionaries a data set gets, and its options."""
        if symmetry.unit is not None:
            return self.far_keys, self.far
        if symmetry.generators.shape[-1] > 4:
            return self.wide_keys, self.wide
        return self.keys, self.options


FULL = Settings()
QUICK = dataclasses.replace(
    FULL, pairs=300, held_out=50, keys=1, far_keys=4,
    options=dataclasses.replace(FULL.options, batch_size=300, steps=600),
    far=dataclasses.replace(FULL.far, batch_size=300, steps=600),
)  # fmt: skip
QUICK_NAMES = ("so2", "c4", "shear")

COLUMNS = {
    "angle": "largest angle [degrees]",
    "found": "operators found",
    "closure": "bracket outside",
    "commutator": "commutator",
    "pair_error": "pairs: error",
    "extrapolation": f"{STRETCH} times as far: error",
    "wasserstein": "W1 of angles [rad]",
    "seconds": "seconds",
}

Cell = dict[str, Any]


def main(
    output: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/symmetry"
    ),
    seeds: int = 5,
    quick: bool = False,
    sets: tuple[str, ...] = tuple(SYMMETRIES),
    first_seed: int = 0,
) -> int:
    """Fit operators to every data set and seed and score them; resume where it stopped.

    Args:
        output: Gets symmetry.json, symmetry.md and symmetry.png.
        seeds: Seeds of each data set.
        quick: Three small data sets, short fits.
        sets: Which data sets.
        first_seed: The first of the seeds.
    """
    settings = QUICK if quick else FULL
    names = [n for n in sets if not quick or n in QUICK_NAMES]
    unknown = [name for name in names if name not in SYMMETRIES]
    if unknown or not names or seeds < 1:
        print(f"wanted seeds >= 1 and some of {', '.join(SYMMETRIES)}", file=sys.stderr)
        return 2
    path = output / "symmetry.json"
    made = dataclasses.asdict(settings)
    record = json.loads(path.read_text()) if path.exists() else {}
    if record.setdefault("settings", made) != made:
        print(f"{path} has other settings; choose another --output", file=sys.stderr)
        return 2
    cells = record.setdefault("cells", {})
    output.mkdir(parents=True, exist_ok=True)
    wanted = [(n, str(s)) for n in names for s in range(first_seed, first_seed + seeds)]
    with tqdm(total=len(wanted), desc="symmetries", unit="cell") as bar:
        for name, seed in wanted:
            bar.set_postfix_str(f"{name}, seed {seed}")
            if seed not in cells.setdefault(name, {}):
                cells[name][seed] = measure(SYMMETRIES[name], int(seed), settings)
                write_json(path, record)
            bar.update()
    chosen = {n: [cells[n][s] for m, s in wanted if m == n] for n in names}
    text = table(chosen)
    (output / "symmetry.md").write_text(text)
    save_figure(figure(chosen), output / "symmetry.png")
    print(text)
    return 0


def measure(symmetry: Symmetry, seed: int, settings: Settings) -> Cell:
    """Learn operators of one data set and seed; score them, and random ones."""
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(seed), 5)
    pairs = symmetry.pairs(keys[0], settings.pairs, noise_std=settings.noise_std)
    operators, objective = learn(keys[1], symmetry, pairs, settings)
    seconds = time.perf_counter() - began
    held_out = symmetry.pairs(keys[2], settings.held_out)
    random = jax.random.normal(keys[3], operators.shape, operators.dtype)
    random = random / np.sqrt(np.prod(operators.shape[1:]) / 2)  # as a turn's norm
    search_keys = jax.random.split(keys[4])
    return {
        **score(search_keys[0], symmetry, held_out, operators),
        "objective": objective,
        "norms": np.linalg.norm(operators, axis=(1, 2)).tolist(),
        "seconds": seconds,
        "null": score(search_keys[1], symmetry, held_out, random),
    }


def learn(
    key: PRNGKeyArray, symmetry: Symmetry, pairs: SymmetryPairs, settings: Settings
) -> tuple[Float[Array, "M d d"], float]:
    """Return the dictionary with the least objective of several, and that objective."""
    count, options = settings.of(symmetry)
    fits = [
        fit_operators(
            one, pairs.start, pairs.end,
            num_operators=len(symmetry.base) + SURPLUS, options=options,
        )
        for one in jax.random.split(key, count)
    ]  # fmt: skip
    objectives = [float(fit.objective[-50:].mean()) for fit in fits]
    best = int(np.argmin(objectives))
    return fits[best].operators, objectives[best]


def score(
    key: PRNGKeyArray,
    symmetry: Symmetry,
    pairs: SymmetryPairs,
    operators: Float[Array, "M d d"],
) -> Cell:
    """Score operators on pairs that they were not learned from."""
    found = infer_coefficients(
        key, operators, pairs.start, pairs.end, options=SEARCH
    ).coefficients
    angles = span_angles(operators, symmetry.generators)
    algebra = algebra_score(operators, pairs.start)
    truth = moved(symmetry.generators, STRETCH * pairs.coefficients, pairs.start)
    error = lambda end, stretch: extrapolation_error(
        operators, found, pairs.start, end, stretch=stretch
    )
    cell = {
        "angle": float(angles[0]),
        "angles": angles.tolist(),
        "found": count_generators(operators),
        **algebra._asdict(),
        "pair_error": error(pairs.end, 1.0),
        "extrapolation": error(truth.astype(pairs.end.dtype), float(STRETCH)),
    }
    if symmetry.base.shape == (1, 2, 2) and np.allclose(
        symmetry.base + symmetry.base.swapaxes(1, 2), 0.0
    ):
        cell["wasserstein"] = circular_wasserstein(
            inferred_angles(symmetry, operators, found),
            np.asarray(pairs.coefficients)[:, 0],
        )
    return cell


def inferred_angles(
    symmetry: Symmetry, operators: Float[Array, "M d d"], found: Float[Array, "n M"]
) -> Float[np.ndarray, " n"]:
    """Return the angles [radians] of the inferred transformations, in their plane."""
    A = np.einsum("nm,mij->nij", np.asarray(found, float), np.asarray(operators, float))
    moves = scipy.linalg.expm(A)
    if symmetry.lift is not None:
        moves = symmetry.lift.T @ moves @ symmetry.lift
    return turned_angles(moves)


def moved(
    generators: Float[np.ndarray, "G d d"],
    coefficients: Float[Array, "n G"],
    start: Float[Array, "n d"],
) -> Float[np.ndarray, "n d"]:
    """Return where generators lead, by SciPy's exponential."""
    A = np.einsum("ng,gij->nij", np.asarray(coefficients, float), generators)
    return np.einsum("nij,nj->ni", scipy.linalg.expm(A), np.asarray(start, float))


def table(chosen: dict[str, list[Cell]]) -> str:
    """Lay the scores out as Markdown: median (least to most), and random operators'."""
    rows = []
    for name, cells in chosen.items():
        generators = len(SYMMETRIES[name].base)
        right = sum(cell["found"] == generators for cell in cells)
        row, null = [SYMMETRIES[name].name], ["random operators"]
        for column in COLUMNS:
            if column == "found":
                row.append(f"{generators} in {right} of {len(cells)}")
                null.append("")
                continue
            for into, source in ((row, cells), (null, [c["null"] for c in cells])):
                values = [c[column] for c in source if c.get(column) is not None]
                into.append(spread(values) if values else "")
        rows += [row, null]
    return markdown(["", *COLUMNS.values()], rows)


def figure(chosen: dict[str, list[Cell]]) -> Figure:
    """Draw each seed as a dot, its random operators in grey."""
    panels = ("angle", "extrapolation")
    height = 1.3 + 0.3 * len(chosen)
    drawn = new_figure(PAGE_WIDTH, height, "Does it find the symmetry?")
    grid = drawn.subplots(1, len(panels), sharey=True)
    for axes, column in zip(grid, panels, strict=True):
        for place, cells in enumerate(chosen.values()):
            for source, color, label in (
                ([c["null"] for c in cells], GREY, "random operators"),
                (cells, BLUE, "learned operators"),
            ):
                values = [c[column] for c in source if c.get(column) is not None]
                axes.plot(
                    values, [place] * len(values), "o", color=color, ms=4, alpha=0.6,
                    label=None if place else label,
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(COLUMNS[column], fontsize=LABEL_SIZE)
        plain_axes(axes)
    names = [SYMMETRIES[name].name for name in chosen]
    grid[0].set_yticks(range(len(names)), names, fontsize=TICK_SIZE)
    grid[0].axvline(1.0, color="black", lw=0.8, ls=":")
    grid[0].invert_yaxis()
    handles, labels = grid[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, fontsize=TICK_SIZE, loc="outside lower center", ncols=2
    )
    return drawn


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main, prog="python -m benchmarks.symmetry"))
