"""Digits, upright or rotated: their batches and anchors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vaells_jax.data.images import NUM_CLASSES, load_images
from vaells_jax.data.rotation import rotated_digits
from vaells_jax.model.types import Batch
from vaells_jax.runs.config import RunConfig, VaellsConfig
from vaells_jax.runs.run import (
    RunData,
    anchors_of,
    check_given_anchors,
    run_keys,
    shuffled_batches,
)

TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "mnist_5k": "MNIST, 5,000 digits",
}
"""The data sets' names in figures."""


def natural(config: RunConfig) -> RunData:
    """Load the digits and draw the anchors of each class."""
    dataset, images = _load(config)
    train, keys = dataset.train, run_keys(config.seed)
    anchors = anchors_of(config, keys.anchors, train.inputs, train.labels, NUM_CLASSES)
    next_batch, indices = shuffled_batches(
        images, train.labels, keys.order, config.data.batch_size
    )
    title = TITLES[dataset.name]
    return RunData(dataset.name, images, anchors, next_batch, dataset, indices, title)


def rotated(config: RunConfig) -> RunData:
    """Load the digits; a step's batch turns its own and makes their anchors."""
    check_given_anchors(config)
    dataset, images = _load(config)
    keys = run_keys(config.seed)
    upright, indices = shuffled_batches(
        images, dataset.train.labels, keys.order, config.data.batch_size
    )

    @functools.partial(jax.jit, static_argnames="num_anchors")
    def turned(digits, step, num_anchors):
        key = jax.random.fold_in(keys.data, step)
        inputs, anchors = rotated_digits(key, digits.inputs, num_anchors=num_anchors)
        return Batch(inputs, digits.labels, anchors if num_anchors else None)

    def next_batch(step: int) -> Batch:
        # Anchors are not used during the warm-up, and baselines have none.
        warm_up = step < config.schedule.warm_up_steps
        none = warm_up or not isinstance(config, VaellsConfig)
        count = 0 if none else config.data.anchors_per_class
        return turned(upright(step), step, count)

    title = f"rotated {TITLES[dataset.name]}"
    return RunData(dataset.name, images, None, next_batch, dataset, indices, title)


def _load(config):
    """Load the digits; on a CPU, JAX and NumPy hold the training images in common."""
    dataset = load_images(config.data.dataset)
    images = jnp.asarray(dataset.train.inputs)
    train = dataset.train._replace(inputs=np.asarray(images))
    return dataset._replace(train=train), images
