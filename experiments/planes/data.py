"""The swiss roll and the concentric circles: data, batches, anchors, a wide prior."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vaells_jax.data.synthetic import LIFTED_DIM, NOISE_STD, ManifoldDataset
from vaells_jax.runs.config import RunConfig
from vaells_jax.runs.run import (
    Run,
    RunData,
    check_given_anchors,
    run_keys,
    shuffled_batches,
)
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.vaells import TrainedVaells

NUM_PATHS = 200
NUM_SAMPLES = 2000
TOLERANCE = 3.0 * NOISE_STD * LIFTED_DIM**0.5
"""Three widths of the noise: its root mean square norm in the space of the data."""


def prepare(make_data: Callable[..., ManifoldDataset], config: RunConfig) -> RunData:
    """Draw a set for a configuration's seed.

    Args:
        make_data: Draws it from a key.
        config: The configuration.

    Raises:
        ValueError: If another data set is asked for.
    """
    name = config.experiment
    if config.data.dataset not in (None, name):
        raise ValueError(
            f"--dataset: {name} draws its own data, {name!r}; got "
            f"{config.data.dataset!r}."
        )
    check_given_anchors(config)
    keys = run_keys(config.seed)
    data = make_data(keys.data, num_anchors=config.data.anchors_per_class)
    next_batch, indices = shuffled_batches(
        data.train.inputs, data.train.labels, keys.order, config.data.batch_size
    )
    return RunData(
        name, data.train.inputs, data.anchors, next_batch, data, indices,
        title=name.replace("_", " "),
    )  # fmt: skip


def with_wide_prior(run: Run) -> TrainedModel:
    """Return a run's model; VAELLS's prior as wide as the manifold is long.

    The table's rate (zeta_3) gives prior samples near their anchors. The spread that
    makes them a manifold is the paths' own: the mean |c| of each operator between test
    points and their closest anchors, which is the Laplace scale of greatest likelihood.
    """
    trained = run.trained
    if not isinstance(trained, TrainedVaells):
        return trained
    found = _closest_coefficients(run.data.source, trained)
    return dataclasses.replace(trained, coefficient_scale=np.abs(found).mean(axis=0))


def _closest_coefficients(data, trained):
    """Return c* from the closest anchor of its class to each test point, `[n, M]`."""
    latents = np.asarray(trained.encode(data.test.inputs))
    starts, ends = anchor_pairs(data, trained, latents)
    found, reached = (np.asarray(x) for x in trained.search(starts, ends))
    shape = (len(latents), data.anchors.shape[1])
    distance = np.linalg.norm(reached - ends, axis=-1).reshape(shape)
    length = np.abs(found).sum(axis=-1).reshape(shape)
    # All anchors may reach a point as well: the shortest path says which is closest.
    near = distance <= distance.min(axis=1, keepdims=True) + 0.02 * np.linalg.norm(
        latents, axis=-1, keepdims=True
    )
    closest = np.argmin(np.where(near, length, np.inf), axis=1)
    return found.reshape(*shape, -1)[np.arange(len(latents)), closest]


def anchor_pairs(data, trained, latents):
    """Pair each latent with all anchors of its class: starts and ends, flat."""
    anchors = np.asarray(trained.encode(data.anchors.reshape(-1, LIFTED_DIM)))
    classes, count = data.anchors.shape[:2]
    own = anchors.reshape(classes, count, -1)[np.asarray(data.test.labels)]
    ends = np.broadcast_to(latents[:, None], own.shape)
    return own.reshape(-1, own.shape[-1]), ends.reshape(-1, own.shape[-1])


def draw_pairs(data: ManifoldDataset, count: int) -> tuple[np.ndarray, ...]:
    """Pick pairs of test points of one class: starts, ends, labels."""
    labels = np.asarray(data.test.labels)
    generator = np.random.default_rng(0)
    first = generator.integers(len(labels), size=count)
    second = np.array(
        [generator.choice(np.flatnonzero(labels == label)) for label in labels[first]]
    )
    inputs = np.asarray(data.test.inputs)
    return inputs[first], inputs[second], labels[first]
