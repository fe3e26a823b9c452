"""Natural MNIST digits (Section 4, Appendix F, Tables 5 and 7; Figs. 6R, 11 and 12).

python -m experiments.natural_mnist
"""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison import compare
from experiments.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    LogConfig,
    ModelConfig,
)
from experiments.curves import training_figures
from experiments.digit_comparison import digit_comparison
from experiments.digits import (
    NUM_POINTS,
    REACH,
    operator_paths,
    posterior_samples,
    variation_merits,
)
from experiments.likelihoods import (
    consistent_likelihood,
    paper_likelihoods,
    progress,
)
from experiments.problem import Experiment, Problem, Run, gather
from experiments.records import merit
from experiments.runner import main
from experiments.table import run_table
from vaells_jax.data.batches import batch_indices, draw_anchors
from vaells_jax.data.images import NUM_CLASSES, ImageDataset, load_images
from vaells_jax.evaluation.figures import (
    operator_path_rows,
    posterior_sample_grids,
    reconstruction_grid,
    save_figure,
)
from vaells_jax.evaluation.reconstruction import reconstruction_errors
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.networks import convolutional_networks
from vaells_jax.model.published import load_published
from vaells_jax.model.types import LossWeights, Params
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule

FIGURE_6 = {
    (2, 8): {"log_likelihood": -744.9376, "mse": 0.0286},
    (4, 8): {"log_likelihood": -744.6206, "mse": 0.0236},
    (8, 8): {"log_likelihood": -756.7853, "mse": 0.0233},
    (4, 12): {"log_likelihood": -745.7737, "mse": 0.0222},
    (4, 16): {"log_likelihood": -744.1835, "mse": 0.0222},
}
"""The table of Fig. 6, by (M, N_a)."""

PAPER = ExperimentConfig(
    experiment="natural_mnist",
    preset="paper",
    schedule=Schedule(
        steps=35_000,
        warm_up_steps=30_000,
        network_steps=20,
        operator_steps=60,
        network_prior_factor=1e-4,
        operator_reconstruction_factor=1e-4,
    ),
    data=DataConfig(anchors_per_class=8, batch_size=32),
    model=ModelConfig(latent_size=6, num_operators=4, latent_scale=10.0),
    weights=LossWeights(
        reconstruction=1.0,
        posterior_residual=1.0,
        posterior_l1=1.0,
        prior_residual=1.0,
        prior_l1=0.01,
        operator_norm=0.01,
    ),
    optimizer=OptimizerOptions(
        network_rate=1e-4,
        anchor_rate=1e-4,
        operator_rate=1e-5,
        # Operators end with the norms of the authors' (0.07); the README says why.
        max_operator_rate=5e-4,
    ),
    posterior_search=InferenceOptions(l1_weight=1e-6, initial_range=(0.0, 1.0)),
    prior_search=InferenceOptions(l1_weight=1e-6, initial_range=(-2.5, 0.0)),
)

# What the paper's values lack, one by one; docs/natural_mnist.md has the figures.
# - Six dimensions lose one digit in fifteen in the reconstruction alone.
# - Psi starts with entries of deviation 0.01, norms of 0.06, and ends with 0.07: its
#   size is the start's, and moves samples by half the length of a latent.
# - Network steps that hardly see the prior (1e-4) bring no digit nearer to a path.
TUNED = dataclasses.replace(
    PAPER,
    preset="tuned",
    schedule=dataclasses.replace(
        PAPER.schedule,
        steps=4_400,
        warm_up_steps=4_000,
        operator_steps=20,
        network_prior_factor=1.0,
    ),
    model=dataclasses.replace(
        PAPER.model, latent_size=16, latent_scale=None, operator_std=0.001
    ),
    optimizer=dataclasses.replace(
        PAPER.optimizer, network_rate=1e-3, ramp_steps=100, operator_rate=5e-4
    ),
)

# A first picture in minutes: few steps, at rates ten and fifty times as large, and
# likelihoods of few digits.
QUICK = dataclasses.replace(
    PAPER,
    preset="quick",
    schedule=dataclasses.replace(PAPER.schedule, steps=2_400, warm_up_steps=1_600),
    model=dataclasses.replace(PAPER.model, latent_scale=None),
    optimizer=dataclasses.replace(
        PAPER.optimizer, network_rate=1e-3, ramp_steps=100, operator_rate=5e-4
    ),
    log=LogConfig(log_every=5, save_every=400),
    evaluation=EvaluationConfig(digits=100, consistent_digits=0),
)


def prepare(config: ExperimentConfig) -> Problem:
    """Load the digits and draw the anchors of each class."""
    dataset = load_images(config.data.dataset)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, dataset=dataset.name)
    )
    anchor_key, order_key = jax.random.split(jax.random.key(config.seed + 1))
    anchors = draw_anchors(
        anchor_key,
        dataset.train.images,
        dataset.train.labels,
        num_classes=NUM_CLASSES,
        per_class=config.data.anchors_per_class,
    )
    return Problem(
        config=config,
        networks=convolutional_networks(config.model.latent_size),
        example_inputs=jnp.asarray(dataset.train.images[:2]),
        anchors=anchors,
        next_batch=gather(
            dataset.train.images,
            dataset.train.labels,
            order_key,
            config.data.batch_size,
        ),
        data=dataset,
        example_indices=functools.partial(
            batch_indices,
            order_key,
            num_examples=len(dataset.train.labels),
            batch_size=config.data.batch_size,
        ),
    )


def published(
    path: pathlib.Path, config: ExperimentConfig
) -> tuple[ExperimentConfig, Params]:
    """Read published weights; their sizes go into the configuration.

    Raises:
        ValueError: If they are not those of a convolutional pair for ten digits.
    """
    params = load_published(path)
    anchors = params.anchors
    if anchors is None or anchors.shape[2:] != (28, 28):
        raise ValueError(f"{path} holds no model of images, with anchors of 28x28.")
    num_operators, latent_size, _ = params.operators.shape
    model = dataclasses.replace(
        config.model, num_operators=num_operators, latent_size=latent_size
    )
    data = dataclasses.replace(config.data, anchors_per_class=anchors.shape[1])
    return dataclasses.replace(config, model=model, data=data), params


def evaluate(run: Run) -> dict:
    """Measure the reconstruction and the likelihoods of test digits."""
    keys = [jax.random.fold_in(run.key, i) for i in (0, 1, 3)]
    images = run.problem.data.test.images
    with progress("mse", len(images)) as on_done:
        errors = reconstruction_errors(
            keys[0], run.state.params, images, model=run.model,
            weights=run.problem.config.weights, on_done=on_done,
        )  # fmt: skip
    found = {
        "mse": {
            "values": errors,
            "meaning": "squared pixel error, without a half, mean over pixels and "
            "posterior samples; all test digits",
        },
        **paper_likelihoods(run, keys[1]),
        **consistent_likelihood(run, keys[2]),
    }
    found = {name: _over_digits(run, name, **more) for name, more in found.items()}
    return found | variation_merits(run)


def _over_digits(run, name, *, values, meaning, **more):
    """Average over digits, beside the paper's figure where it is of the same data."""
    config = run.problem.config
    row = (config.model.num_operators, config.data.anchors_per_class)
    on_mnist = config.data.dataset == "mnist"
    paper = FIGURE_6[row] if on_mnist and row in FIGURE_6 else {}
    return merit(
        float(np.mean(values)), meaning, paper=paper.get(name),
        standard_error=float(np.std(values) / np.sqrt(len(values))), **more,
    )  # fmt: skip


def draw(run: Run, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw Figs. 6R, 11 and 12, reconstructions and the course of the training."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "reconstructions": _reconstructions(run),
        "posterior_samples": _posterior_samples(run),
        "operator_paths": _operator_paths(run),
        **training_figures(run),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths


def _reconstructions(run):
    images = run.problem.data.test.images[:20]
    outputs = run.functions.decode(run.functions.encode(images))
    return reconstruction_grid(images, outputs, title=f"Test digits ({run.label})")


def _posterior_samples(run):
    """Decode samples around one test digit of each class, spread as in Figs. 6R, 11."""
    images = _one_of_each_class(run.problem.data)
    spread = 1 / run.functions.widened().rate_factor
    return posterior_sample_grids(
        *posterior_samples(run, images),
        title=f"Posterior samples, coefficients spread {spread:.3g}-fold ({run.label})",
    )


def _operator_paths(run):
    """Sweep one operator's coefficient at a time, as in Fig. 12."""
    sweep = np.linspace(-REACH, REACH, NUM_POINTS)
    return operator_path_rows(
        operator_paths(run, _one_of_each_class(run.problem.data), sweep),
        sweep,
        title=f"Paths of each operator ({run.label})",
    )


def _one_of_each_class(data: ImageDataset):
    """Pick the first test image of each class."""
    labels = data.test.labels
    return np.stack([data.test.images[np.argmax(labels == c)] for c in range(10)])


COMPARISON = digit_comparison(prepare, rotated=False)
EXPERIMENT = Experiment(
    name="natural_mnist",
    summary="Train VAELLS on natural handwritten digits and draw the paper's figures.",
    presets={"paper": PAPER, "tuned": TUNED, "quick": QUICK},
    prepare=prepare,
    evaluate=evaluate,
    draw=draw,
    table=functools.partial(run_table, paper=FIGURE_6),
    published=published,
    compare=functools.partial(compare, COMPARISON),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
