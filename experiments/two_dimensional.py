"""What the swiss roll and the concentric circles share: data, batches, functions."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import ExperimentConfig
from experiments.problem import Problem, Run, gather
from vaells_jax.baselines.vaells import TrainedVaells
from vaells_jax.data.batches import batch_indices
from vaells_jax.data.synthetic import LIFTED_DIM, NOISE_STD, ManifoldDataset
from vaells_jax.networks.stock import dense_networks

NUM_PATHS = 200
NUM_SAMPLES = 2000
TOLERANCE = 3.0 * NOISE_STD * LIFTED_DIM**0.5
"""Three widths of the noise: its root mean square norm in the space of the data."""


def make_problem(config: ExperimentConfig, name: str, make_data: Callable) -> Problem:
    """Draw a 2-D set for a configuration's seed and make batches of it.

    Raises:
        ValueError: If another data set is asked for.
    """
    if config.data.dataset not in (None, name):
        raise ValueError(
            f"--dataset: {config.experiment} draws its own data, {name!r}; "
            f"got {config.data.dataset!r}."
        )
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, dataset=name)
    )
    data_key, order_key = jax.random.split(jax.random.key(config.seed + 1))
    data = make_data(data_key, num_anchors=config.data.anchors_per_class)

    return Problem(
        config=config,
        networks=dense_networks(config.model.latent_size, LIFTED_DIM),
        example_inputs=data.train.inputs,
        anchors=jnp.copy(data.anchors),  # training donates its own
        next_batch=gather(
            data.train.inputs, data.train.labels, order_key, config.data.batch_size
        ),
        data=data,
        example_indices=functools.partial(
            batch_indices,
            order_key,
            num_examples=len(data.train.labels),
            batch_size=config.data.batch_size,
        ),
    )


def widened(run: Run) -> TrainedVaells:
    """Return a run as functions, its prior as wide as the manifold is long.

    The table's rate (zeta_3) gives prior samples near their anchors. The spread that
    makes them a manifold is the paths' own: the mean |c| of each operator between test
    points and their closest anchors, which is the Laplace scale of greatest likelihood.
    """
    trained = run.functions
    found = _closest_coefficients(run.problem.data, trained)
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
