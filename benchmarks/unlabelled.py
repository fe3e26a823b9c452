"""Models of digits without labels, for `benchmarks.augmentation`."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np

from experiments.digits import baselines
from experiments.natural_mnist import EXPERIMENT, TUNED
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.data.images import load_images
from vaells_jax.runs.config import BaselineConfig, RunConfig, VaellsConfig
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.main import run_model
from vaells_jax.runs.run import RunData, anchors_of, run_keys, shuffled_batches
from vaells_jax.trained.base import TrainedModel

NUM_ANCHORS = 80
"""As many as the experiment has for ten classes, but drawn from all digits alike."""

VAE_PIXELS = Likelihood("gaussian", 0.3)
"""Narrower than the experiment's deviation of 1.0, for sharper digits."""

MODELS = ("vae", "vampprior", "vaells")


def config_of(model: str, seed: int, dataset: str, quick: bool) -> RunConfig:
    """Return a model's configuration: the preset `tuned`, or a few steps of it."""
    preset = dataclasses.replace(
        TUNED,
        seed=seed,
        data=dataclasses.replace(
            TUNED.data, dataset=dataset, anchors_per_class=NUM_ANCHORS
        ),
    )
    config = preset if model == "vaells" else baselines.settings(model, preset)
    if model == "vae" and isinstance(config, BaselineConfig):
        config = dataclasses.replace(config, likelihood=VAE_PIXELS)
    if not quick:
        return config
    schedule = dataclasses.replace(config.schedule, steps=60, warm_up_steps=0)
    if isinstance(config, VaellsConfig):
        schedule = dataclasses.replace(schedule, warm_up_steps=50, operator_steps=5)
        schedule = dataclasses.replace(schedule, network_steps=5)
    return dataclasses.replace(config, schedule=schedule)


def without_labels(config: RunConfig) -> RunData:
    """Load the training digits as one class; anchors are drawn from all of them."""
    dataset, keys = load_images(config.data.dataset), run_keys(config.seed)
    images = jnp.asarray(dataset.train.inputs)
    none = np.zeros(len(images), np.int32)
    anchors = anchors_of(config, keys.anchors, dataset.train.inputs, none, 1)
    next_batch, indices = shuffled_batches(
        images, none, keys.order, config.data.batch_size
    )
    return RunData(dataset.name, images, anchors, next_batch, dataset, indices)


UNLABELLED: Experiment = dataclasses.replace(EXPERIMENT, prepare=without_labels)


def trained(
    model: str, seed: int, folder: pathlib.Path, dataset: str, quick: bool
) -> TrainedModel:
    """Train a model without labels, or read it back where it is finished."""
    config = config_of(model, seed, dataset, quick)
    run, _ = run_model(UNLABELLED, config, folder / model, ("train",))
    return run.trained
