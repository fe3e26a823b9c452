"""A run's random keys, its data, and the trained run that is measured and drawn."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from vaells_jax.data.batches import batch_indices, binarise, draw_anchors
from vaells_jax.model.types import Batch
from vaells_jax.runs.config import RunConfig, model_name
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.vaells import TrainedVaells

ConfigT = TypeVar("ConfigT", bound=RunConfig)
TITLES = {
    "vae": "VAE",
    "hyperspherical": "spherical VAE",
    "delta": "Delta-VAE",
    "lie": "Lie VAE",
    "vampprior": "VampPrior",
    "vdae": "VDAE",
    "r": "R-VAE",
    "manifold_autoencoder": "Manifold Autoencoder",
    "data_operators": "operators on data",
    "vaells": "VAELLS",
}


class RunKeys(NamedTuple):
    """The random keys of a run, one for each role; a new role comes last.

    Attributes:
        data: Of drawn data sets, of their split and of the angles of turned digits.
        anchors: Of the anchors that are drawn from the data.
        order: Of the batches' order.
        pixels: Of binary pixels.
        start: Of the first parameters.
        steps: Of the training steps.
        evaluation: Of measurements and figures.
        pairs: Of operators that are learned from pairs of codes.
    """

    data: PRNGKeyArray
    anchors: PRNGKeyArray
    order: PRNGKeyArray
    pixels: PRNGKeyArray
    start: PRNGKeyArray
    steps: PRNGKeyArray
    evaluation: PRNGKeyArray
    pairs: PRNGKeyArray


def run_keys(seed: int) -> RunKeys:
    """Derive a run's keys from its seed: `fold_in(key(seed), number of the role)`.

    No key is shared by two roles or by two seeds.
    """
    fold = functools.partial(jax.random.fold_in, jax.random.key(seed))
    return RunKeys(*map(fold, range(len(RunKeys._fields))))


@dataclasses.dataclass(frozen=True)
class RunData:
    """Data that are ready to train on.

    Attributes:
        name: Of the data set.
        inputs: The training examples.
        anchors: `[C, N_a, *x]`, or None where examples bring their own.
        next_batch: The batch of a step, a pure function of its number.
        source: The whole data set, for evaluation and figures.
        indices: The training examples of a step's batch, or None if unknown.
        title: The data set's name in titles, if it is another.
        class_names: Names of the classes, in order.
        mean: What networks take off the data, and `scale` what they divide them by;
            None for data that are near 0 and 1 wide.
        scale: See there.
        validation: Examples by which the best checkpoint is chosen; or None.
    """

    name: str
    inputs: Array
    anchors: Array | None
    next_batch: Callable[[int], Batch]
    source: Any
    indices: Callable[[int], Array] | None = None
    title: str | None = None
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    scale: float = 1.0
    validation: Batch | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what is written into the run's record, as JSON knows it."""
        return {
            "name": self.name,
            "title": self.title,
            "shape": list(self.shape),
            "class_names": list(self.class_names),
            "mean": None if self.mean is None else list(self.mean),
            "scale": self.scale,
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one data point."""
        return self.inputs.shape[1:]


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, of any model.

    Attributes:
        config: Its configuration.
        data: Its data.
        trained: The trained model.
        key: Random key of measurements and figures.
        workdir: Its folder.
        step: Steps that it was trained for, or None for weights from elsewhere.
        weights: Where the weights are from, if they were not trained here.
        mesh: Devices that share long evaluations; None for one device.
    """

    config: RunConfig
    data: RunData
    trained: TrainedModel
    key: PRNGKeyArray
    workdir: pathlib.Path
    step: int | None
    weights: str | None = None
    mesh: Mesh | None = None

    @property
    def model(self) -> str:
        """Name the model."""
        return model_name(self.config)

    @property
    def title(self) -> str:
        """Name the model, for titles."""
        return TITLES.get(self.model, self.model)

    @property
    def is_vaells(self) -> bool:
        """Tell VAELLS from the baselines."""
        return isinstance(self.trained, TrainedVaells)

    @property
    def label(self) -> str:
        """Name data set, seed and step, or the weights' source, and a baseline."""
        if self.weights is not None:
            return f"{self.data.title or self.data.name}, {self.weights}"
        model = "" if self.model == "vaells" else f"{self.title}, "
        return f"{model}{self.setting}, step {self.step:,}"

    @property
    def setting(self) -> str:
        """Name data set and seed, which runs that are compared have in common."""
        return f"{self.data.title or self.data.name}, seed {self.config.seed}"

    @property
    def latent_scale(self) -> float | None:
        """Return s of a VAELLS, None of other models."""
        return float(self.trained.params.latent_scale) if self.is_vaells else None


def resolved(config: ConfigT, data: RunData) -> ConfigT:
    """Put the name of the data that were loaded into a configuration."""
    named = dataclasses.replace(config.data, dataset=data.name)
    return dataclasses.replace(config, data=named)


def anchors_of(
    config: RunConfig,
    key: PRNGKeyArray,
    inputs: Array | np.ndarray,
    labels: Array | np.ndarray,
    num_classes: int,
) -> Array:
    """Choose the anchors among the examples of each class, as a configuration asks.

    Raises:
        ValueError: If it asks for anchors that come with the data.
    """
    if config.data.anchors == "given":
        raise ValueError(
            "--data.anchors must be random or spread here: no anchors come with the "
            "data; got given."
        )
    return draw_anchors(
        key, inputs, labels, config.data.anchors_per_class,
        num_classes=num_classes, method=config.data.anchors,
    )  # fmt: skip


def check_given_anchors(config: RunConfig) -> None:
    """Raise a ValueError where others than the data's own anchors are asked for."""
    if config.data.anchors != "given":
        raise ValueError(
            f"--data.anchors must be given: {config.experiment} makes its own; got "
            f"{config.data.anchors}."
        )


def binarised(
    next_batch: Callable[[int], Batch], key: PRNGKeyArray
) -> Callable[[int], Batch]:
    """Draw the binary pixels of every step's batch: a function of the step alone."""
    draw = jax.jit(lambda step, x: binarise(jax.random.fold_in(key, step), x))

    def binary_batch(step: int) -> Batch:
        batch = next_batch(step)
        return batch._replace(inputs=draw(step, batch.inputs))

    return binary_batch


def shuffled_batches(
    inputs: ArrayLike, labels: ArrayLike, key: PRNGKeyArray, batch_size: int
) -> tuple[Callable[[int], Batch], Callable[[int], Array]]:
    """Return a step's batch, and its examples' indices, as functions of the step.

    Args:
        inputs: All training examples; they are kept on the device.
        labels: The class of each.
        key: Key of the order.
        batch_size: Examples of a step.

    Raises:
        ValueError: If there are fewer examples than a batch holds.
    """
    inputs, labels = jnp.asarray(inputs), jnp.asarray(labels)

    def indices(step):
        return batch_indices(key, step, num_examples=len(labels), batch_size=batch_size)

    @jax.jit
    def take(inputs, labels, step):  # a whole set is no constant of a program
        index = indices(step)
        return Batch(inputs[index], labels[index])

    def next_batch(step):
        return take(inputs, labels, step)

    jax.eval_shape(next_batch, 0)  # refuses a size before a run begins
    return next_batch, indices
