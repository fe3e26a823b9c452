"""Identity against variety of digits' samples, of finished runs at several spreads.

python -m benchmarks.frontier --runs runs/natural_mnist-tuned runs/natural_mnist-quick
"""

import dataclasses
import pathlib
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array
from matplotlib.figure import Figure

from experiments.digits.classifier import Classifier, digit_classifier
from experiments.digits.measures import NUM_DIGITS, NUM_SAMPLES
from experiments.natural_mnist import PAPER
from experiments.natural_mnist import published as read_published
from vaells_jax.data.batches import binarise
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.figures.canvas import (
    GREY,
    LABEL_SIZE,
    MARKERS,
    PALETTE,
    new_figure,
    plain_axes,
)
from vaells_jax.evaluation.images import identity_preservation, sample_diversity
from vaells_jax.progress import progress_bar
from vaells_jax.runs.load import load_run
from vaells_jax.runs.models import vaells
from vaells_jax.runs.records import write_json
from vaells_jax.runs.results import markdown
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.baseline import TrainedBaseline
from vaells_jax.trained.vaells import TrainedVaells

FACTORS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Spreads, in units of that of each model's own figures."""

IDENTITY, VARIANCE = 0.95, 0.0275
"""What is wanted of one spread: as many samples that stay their digit, and a variance
of a pixel as large as that of the paper's values."""

Row = dict[str, float]


def main(
    runs: tuple[pathlib.Path, ...] = (),
    published: Annotated[pathlib.Path | None, tyro.conf.arg(metavar="FILE")] = None,
    output: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/frontier"
    ),
) -> int:
    """Measure finished runs, write and draw what they reach.

    Args:
        runs: Folders of finished runs on natural MNIST, of any model; each is named by
            its folder.
        published: Weights that the paper's authors published, to be measured too.
        output: Gets frontier.json, frontier.md and frontier.png.
    """
    models = {path.name: load_run(path) for path in runs}
    if published is not None:
        models["published weights"] = _published(published)
    if not models:
        raise SystemExit("frontier: name --runs to measure, or --published weights.")
    test = load_images(None)
    classifier = digit_classifier(test, rotated=False)
    images, labels = (x[:NUM_DIGITS] for x in test.test)
    found = {}
    with progress_bar(len(models) * len(FACTORS), unit="spread") as bar:
        for name, model in models.items():
            found[name] = frontier(model, images, labels, classifier, bar.update)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "frontier.json", found)
    (output / "frontier.md").write_text(table(found))
    save_figure(draw(found), output / "frontier.png")
    print(table(found))
    return 0


def frontier(
    model: TrainedModel,
    images: np.ndarray,
    labels: np.ndarray,
    classifier: Classifier,
    on_done=lambda count: None,
) -> list[Row]:
    """Measure the samples of one model at every spread."""
    inputs: Array | np.ndarray = images
    found = []
    if (
        isinstance(model, TrainedBaseline)
        and model.model.likelihood.kind == "bernoulli"
    ):
        inputs = binarise(jax.random.key(0), jnp.asarray(images))
    for factor in FACTORS:
        spread = with_spread(model, factor)
        drawn = spread.sample_posterior(jax.random.key(1), inputs, NUM_SAMPLES)
        samples = np.asarray(spread.decode(drawn))
        kept = identity_preservation(samples, labels, classify=classifier.classify)
        found.append(
            {
                "spread": factor,
                "identity": kept.share,
                "variance": float(sample_diversity(samples)),
            }
        )
        on_done(1)
    return found


def with_spread(model: TrainedModel, factor: float) -> TrainedModel:
    """Return a model whose samples spread as in its figures, times a factor."""
    wide = model.widened()
    if isinstance(wide, TrainedVaells):
        return dataclasses.replace(wide, rate_factor=wide.rate_factor / factor)
    assert isinstance(wide, TrainedBaseline)
    return dataclasses.replace(wide, spread=wide.spread * factor)


def variance_at(rows: list[Row], identity: float) -> float | None:
    """Interpolate the variance at which so many samples stay their digit.

    None if fewer do at every spread.
    """
    shares, variances = (
        np.array([r[k] for r in rows]) for k in ("identity", "variance")
    )
    falling = np.minimum.accumulate(shares)
    if falling[0] < identity:
        return None
    return float(np.interp(-identity, -falling, variances))


def table(found: dict[str, list[Row]]) -> str:
    """Write a row for each run, in Markdown."""
    at = "variance at identity {:.2f}"
    heads = ["", "identity (variance)", *(at.format(x) for x in (0.9, IDENTITY))]
    rows = []
    for name, measured in found.items():
        reached = [variance_at(measured, share) for share in (0.9, IDENTITY)]
        pairs = ", ".join(
            f"{r['identity']:.3f} ({r['variance']:.4f})" for r in measured
        )
        cells = ["not reached" if x is None else f"{x:.4f}" for x in reached]
        rows.append([name, pairs, *cells])
    return markdown(heads, rows)


def draw(found: dict[str, list[Row]]) -> Figure:
    """Draw each run's samples as a curve, and the corner that is wanted."""
    figure = new_figure(6.4, 4.2, "Samples around test digits, at several spreads")
    axes = figure.subplots()
    plain_axes(axes)
    for i, (name, rows) in enumerate(found.items()):
        x, y = ([row[k] for row in rows] for k in ("variance", "identity"))
        axes.plot(
            x, y, label=name, lw=1.2, ms=4, color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
        )  # fmt: skip
    right = max(axes.get_xlim()[1], 1.3 * VARIANCE)
    axes.fill_between([VARIANCE, right], IDENTITY, 1.0, color=GREY, alpha=0.25, lw=0)
    axes.text(VARIANCE, 1.0, " wanted", fontsize=LABEL_SIZE, va="top")
    axes.set_xlim(0.0, right)
    axes.set_ylim(top=1.0)
    axes.set_xlabel("variance of a pixel over a digit's samples", fontsize=LABEL_SIZE)
    axes.set_ylabel("share that stays its digit", fontsize=LABEL_SIZE)
    axes.legend(fontsize=LABEL_SIZE, frameon=False)
    return figure


def _published(path):
    config, params = read_published(path, PAPER)
    return TrainedVaells(vaells(config, {"shape": (28, 28)}), params, config.weights)


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main, prog="python -m benchmarks.frontier"))
