"""Few labels: new examples by walks along operators, against other ways to make them.

python -m benchmarks.augmentation
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks import few_labels
from benchmarks.few_labels import Digits, Recipe
from benchmarks.unlabelled import MODELS, trained
from vaells_jax import TrainedModel, augment
from vaells_jax.data.arrays import ArrayDataset
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.classifier import ClassifierOptions, classify
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.canvas import (
    LABEL_SIZE,
    MARKERS,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    new_figure,
    plain_axes,
)
from vaells_jax.runs.records import write_json
from vaells_jax.runs.results import markdown

WALK_STEPS = 4
"""Steps of a walk along operators."""

FIRST_VALIDATED = 100
"""Labelled digits by which settings are chosen are drawn with seeds from here on."""

TITLES = {
    "nothing": "nothing",
    "jitter": "affine jitter",
    "mixup": "mixup",
    "vae": "VAE's samples",
    "vampprior": "VampPrior's samples",
    "vaells": "VAELLS's walks",
    "vae_jitter": "VAE's samples and jitter",
    "vampprior_jitter": "VampPrior's samples and jitter",
    "vaells_jitter": "VAELLS's walks and jitter",
}

NEAR = ((1.0, 0.5), (3.0, 0.5), (3.0, 0.75))
FAR = ((10.0, 0.5), (25.0, 0.5), (25.0, 0.75))
"""Scales of samples and of walks, and shares of a batch, to choose from."""

CANDIDATES: dict[str, tuple[Recipe, ...]] = {
    "nothing": (Recipe(),),
    "jitter": tuple(Recipe(jitter=strength) for strength in (1.0, 1.5, 2.0)),
    "mixup": tuple(Recipe(mixup=alpha) for alpha in (0.1, 0.2, 0.5)),
    **{
        model: tuple(Recipe(model, scale, share) for scale, share in grid)
        for model, grid in zip(MODELS, (NEAR, NEAR, FAR), strict=True)
    },
}
"""What each method chooses from. Those with jitter take the strength that jitter alone
chose, and choose from the same scales and shares."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and with how much effort.

    Attributes:
        counts: Labels a class.
        validated: Of these, those by which settings are chosen, all together.
        dataset: The digits.
        pool: Jittered and new examples that each classifier draws from.
        training: Of every classifier.
        quick: Train the models for a few steps only, and choose nothing.
    """

    counts: tuple[int, ...] = (5, 10, 1, 50)
    validated: tuple[int, ...] = (5,)
    dataset: str = "mnist"
    pool: int = 3_000
    training: ClassifierOptions = ClassifierOptions(steps=500, batch_size=64)
    quick: bool = False


FULL = Settings()
QUICK = Settings(
    counts=(5,), validated=(5,), dataset="mnist_5k", pool=100,
    training=ClassifierOptions(steps=20, batch_size=32), quick=True,
)  # fmt: skip

Cells = dict[str, dict[str, dict[str, float]]]
"""Accuracies on test digits, by labels a class, method and seed."""


class Workshop:
    """The digits and the models of one run of the command, made when first needed."""

    def __init__(self, settings: Settings, folder: pathlib.Path):
        """Load the digits."""
        self.settings, self.folder = settings, folder
        self.data: ArrayDataset = load_images(settings.dataset)
        self._models: dict[str, TrainedModel] = {}
        self._classifiers: dict[tuple, Callable] = {}

    def model(self, name: str) -> TrainedModel:
        """Return a trained model."""
        if name not in self._models:
            self._models[name] = trained(
                name, 0, self.folder, self.settings.dataset, self.settings.quick
            )
        return self._models[name]

    def classifier(
        self, key: PRNGKeyArray, real: Digits, *named: float
    ) -> Callable[[Any], np.ndarray]:
        """Return a classifier of the labelled digits alone, made once for its name."""
        if named not in self._classifiers:
            training = self.settings.training
            params = few_labels.fit(key, real, real, recipe=Recipe(), training=training)
            self._classifiers[named] = functools.partial(classify, params)
        return self._classifiers[named]


def measure(shop: Workshop, seed: int, count: int, recipe: Recipe, split: str) -> float:
    """Train a classifier on few labels by a recipe; return its accuracy on a split."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), count), 6)
    labelled = few_labels.few(keys[0], shop.data.train, count)
    settings = shop.settings
    real = few_labels.pool(keys[1], labelled, settings.pool, recipe.jitter)
    made = real
    if recipe.model is not None:
        own = shop.classifier(keys[2], real, seed, count, recipe.jitter)
        images, labels = augment(
            shop.model(recipe.model), keys[3], labelled.inputs, labelled.labels,
            settings.pool, scale=recipe.scale, steps=WALK_STEPS,
            classify=own,
        )  # fmt: skip
        made = few_labels.pool(
            keys[4], Digits(images, labels), settings.pool, recipe.jitter
        )
    params = few_labels.fit(
        keys[5], real, made, recipe=recipe, training=settings.training
    )
    return few_labels.accuracy(params, getattr(shop.data, split))


def candidates(method: str, chosen: dict[str, Any]) -> tuple[Recipe, ...]:
    """Return what a method chooses from, where jitter alone has chosen already."""
    if not method.endswith("_jitter"):
        return CANDIDATES[method]
    strength = chosen["jitter"]["jitter"]
    plain = CANDIDATES[method.removesuffix("_jitter")]
    return tuple(dataclasses.replace(recipe, jitter=strength) for recipe in plain)


def choose(
    shop: Workshop, method: str, chosen: dict[str, Any], validated: dict[str, float]
) -> dict[str, Any]:
    """Choose a method's settings by their mean accuracy on validation digits.

    Args:
        shop: Digits and models.
        method: A name of `TITLES`.
        chosen: What earlier methods chose.
        validated: Accuracies that are known; gets the new ones.
    """
    found: dict[Recipe, list[float]] = {}
    recipes = candidates(method, chosen)
    for recipe in recipes[:1] if shop.settings.quick else recipes:
        for seed, count in enumerate(shop.settings.validated, FIRST_VALIDATED):
            name = json.dumps([dataclasses.asdict(recipe), seed, count])
            if name not in validated:
                validated[name] = measure(shop, seed, count, recipe, "validation")
            found.setdefault(recipe, []).append(validated[name])
    return dataclasses.asdict(max(found, key=lambda recipe: np.mean(found[recipe])))


def main(
    output: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/augmentation"
    ),
    seeds: int = 5,
    quick: bool = False,
) -> int:
    """Choose each method's settings and measure them; resume where it stopped.

    Args:
        output: Gets augmentation.json, augmentation.md, augmentation.png and the
            models.
        seeds: Draws of the labelled digits and starts of the classifier.
        quick: 5 labels a class of 5,000 digits, and next to no training.
    """
    settings, path = QUICK if quick else FULL, output / "augmentation.json"
    if seeds < 1:
        print(f"wanted seeds >= 1; got {seeds}", file=sys.stderr)
        return 2
    made = json.loads(json.dumps(dataclasses.asdict(settings)))
    record = json.loads(path.read_text()) if path.exists() else {}
    if record.setdefault("settings", made) != made:
        print(f"{path} has other settings; choose another --output", file=sys.stderr)
        return 2
    chosen, validated, cells = (
        record.setdefault(part, {}) for part in ("chosen", "validated", "cells")
    )
    output.mkdir(parents=True, exist_ok=True)
    shop = Workshop(settings, output / "models" / "seed-0")
    wanted = [(c, s, m) for c in settings.counts for s in range(seeds) for m in TITLES]
    with tqdm(total=len(TITLES) + len(wanted), desc="few labels", unit="cell") as bar:
        for method in TITLES:
            bar.set_postfix_str(f"choosing: {TITLES[method]}")
            if method not in chosen:
                chosen[method] = choose(shop, method, chosen, validated)
                write_json(path, record)
            bar.update()
        for count, seed, method in wanted:
            bar.set_postfix_str(f"{count} a class, seed {seed}, {TITLES[method]}")
            row = cells.setdefault(str(count), {}).setdefault(method, {})
            if str(seed) not in row:
                recipe = Recipe(**chosen[method])
                row[str(seed)] = measure(shop, seed, count, recipe, "test")
                write_json(path, record)
            bar.update()
    text = table(cells)
    (output / "augmentation.md").write_text(text)
    save_figure(figure(cells), output / "augmentation.png")
    print(text)
    return 0


def gains(cells: Cells, count: str, method: str) -> tuple[float, float]:
    """Return the mean gain over jitter on the same digits, and its standard error."""
    row, jitter = cells[count][method], cells[count]["jitter"]
    return mean_error([row[seed] - jitter[seed] for seed in row if seed in jitter])


def mean_error(values: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error, which of one value is 0."""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(spread / len(values) ** 0.5)


def table(cells: Cells) -> str:
    """Lay out accuracies, and below each method its gains over jitter, in per cent."""
    counts = sorted(cells, key=int)
    shown = lambda found, sign="": f"{100 * found[0]:{sign}.2f} +- {100 * found[1]:.2f}"
    rows = []
    for method, title in TITLES.items():
        known = [count for count in counts if method in cells[count]]
        if not known:
            continue
        means = {c: shown(mean_error([*cells[c][method].values()])) for c in known}
        rows.append([title, *(means.get(count, "") for count in counts)])
        if method != "jitter":
            over = {c: shown(gains(cells, c, method), "+") for c in known}
            rows.append(["over jitter", *(over.get(count, "") for count in counts)])
    return markdown(["labels a class", *counts], rows)


def figure(cells: Cells) -> Figure:
    """Draw every method's accuracy, and the gains over jitter of those with jitter."""
    counts = sorted(cells, key=int)
    drawn = new_figure(PAGE_WIDTH, 3.6, "Few labels: accuracy and gain over jitter")
    left, right = drawn.subplots(1, 2, sharex=True)
    for place, (method, title) in enumerate(TITLES.items()):
        # A model has one colour, with jitter and without.
        both = method.endswith("_jitter")
        color = PALETTE[list(TITLES).index(method.removesuffix("_jitter"))]
        style = {
            "marker": MARKERS[place % len(MARKERS)], "ms": 4, "capsize": 2, "lw": 1,
            "color": color, "ls": "-" if both else "--",
        }  # fmt: skip
        places = np.arange(len(counts)) + 0.05 * (place - len(TITLES) / 2)
        found = [mean_error([*cells[c][method].values()]) for c in counts]
        left.errorbar(places, *(100 * np.array(found).T), label=title, **style)
        if both:
            over = np.array([gains(cells, c, method) for c in counts])
            right.errorbar(places, *(100 * over.T), **style)
    right.axhline(0.0, color="black", lw=0.8, ls=":")
    for axes, label in ((left, "accuracy [%]"), (right, "over jitter [points]")):
        axes.set_ylabel(label, fontsize=LABEL_SIZE)
        axes.set_xticks(range(len(counts)), counts, fontsize=TICK_SIZE)
        axes.set_xlabel("labels a class", fontsize=LABEL_SIZE)
        plain_axes(axes)
    drawn.legend(fontsize=TICK_SIZE, loc="outside lower center", ncols=3)
    return drawn


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main, prog="python -m benchmarks.augmentation"))
