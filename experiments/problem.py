"""What an experiment is made of: its data, its model, its first state."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.config import ExperimentConfig
from experiments.devices import Resources
from vaells_jax.baselines.vaells import TrainedVaells
from vaells_jax.data.batches import batch_indices
from vaells_jax.model.networks import Networks
from vaells_jax.model.paths import Model
from vaells_jax.model.starts import linear_start, skew
from vaells_jax.model.types import Batch, Params
from vaells_jax.training.step import TrainState, init_state


@dataclasses.dataclass(frozen=True)
class Problem:
    """An experiment's data, ready to train on.

    Attributes:
        config: The configuration with the data set's name filled in.
        networks: Encoder and decoder.
        example_inputs: Any batch of the data's shape; with `model.linear_start` all
            training data.
        anchors: `[C, N_a, *x]`, or None where examples bring their own.
        next_batch: The batch of a step, a pure function of its number.
        data: Whatever evaluation and figures need.
        example_indices: Which training examples a step's batch is made of, or None
            where that cannot be said.
        title: What to call the data in titles; None for the configuration's name.
    """

    config: ExperimentConfig
    networks: Networks
    example_inputs: Array
    anchors: Array | None
    next_batch: Callable[[int], Batch]
    data: Any
    example_indices: Callable[[int], Array] | None = None
    title: str | None = None

    @property
    def name(self) -> str | None:
        """Name the data, for titles."""
        return self.title or self.config.data.dataset


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with what it came from; what evaluation and figures take.

    Attributes:
        problem: The data and the configuration.
        model: The static part.
        state: The trained state.
        key: Random key of evaluation and figures.
        workdir: The run's folder.
        source: Where the weights are from, if they were not trained here.
        mesh: Devices that share long evaluations; None for one device.
    """

    problem: Problem
    model: Model
    state: TrainState
    key: Array
    workdir: pathlib.Path
    source: str | None = None
    mesh: Mesh | None = None

    @property
    def functions(self) -> TrainedVaells:
        """Return the model as functions of whole batches."""
        return TrainedVaells(self.model, self.state.params, self.problem.config.weights)

    @property
    def label(self) -> str:
        """Name data set, seed and step, for titles; or whose weights they are."""
        config = self.problem.config
        if self.source is not None:
            return f"{self.problem.name}, {self.source}"
        return f"{self.problem.name}, seed {config.seed}, step {int(self.state.step):,}"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments.

    Attributes:
        name: As in `python -m experiments.NAME`.
        summary: One sentence for `--help`.
        presets: Configurations by name; the first is the default.
        prepare: Loads the data that a configuration names.
        evaluate: Measures a run: figures of merit by name, each a dictionary with
            `value`, `paper` (or None) and `meaning`; None where VAELLS has no part.
        draw: Writes a run's figures into a folder and names them; or None, likewise.
        table: Does the parts asked for of each row of the paper's table, in folders of
            a working folder; or None where the paper has no table.
        published: Reads the authors' weights and puts their sizes into the
            configuration; or None where they published none.
        compare: Does the parts asked for of other models, or of all (`--model`).
    """

    name: str
    summary: str
    presets: dict[str, ExperimentConfig]
    prepare: Callable[[ExperimentConfig], Problem]
    evaluate: Callable[[Run], dict[str, Any]] | None = None
    draw: Callable[[Run, pathlib.Path], list[pathlib.Path]] | None = None
    table: (
        Callable[
            [
                "Experiment",
                ExperimentConfig,
                pathlib.Path,
                tuple[str, ...],
                Resources,
            ],
            None,
        ]
        | None
    ) = None
    published: (
        Callable[[pathlib.Path, ExperimentConfig], tuple[ExperimentConfig, Params]]
        | None
    ) = None
    compare: Callable[["Experiment", argparse.Namespace, Resources], None] | None = None


def make_model(problem: Problem) -> Model:
    """Build the model that a configuration describes."""
    config = problem.config
    return Model(
        networks=problem.networks,
        num_samples=config.model.num_samples,
        noise_std=config.model.noise_std,
        closest_anchor=config.model.closest_anchor,
        posterior_search=config.posterior_search,
        prior_search=config.prior_search,
    )


def first_state(problem: Problem) -> TrainState:
    """Draw the state that a run of the configuration's seed starts from."""
    config = problem.config
    state = init_state(
        jax.random.split(jax.random.key(config.seed), 3)[1],
        model=make_model(problem),
        num_operators=config.model.num_operators,
        inputs=problem.example_inputs,
        anchors=problem.anchors,
        optimizer=config.optimizer,
        operator_std=config.model.operator_std,
        latent_scale=config.model.latent_scale or 1.0,
    )
    started = _start(state.params, problem)
    return state.replace(params=started)  # type: ignore[attr-defined]


def _start(params, problem):
    """Change the drawn parameters as the configuration asks."""
    model = problem.config.model
    if model.linear_start is not None:
        params = linear_start(params, problem.example_inputs, spread=model.linear_start)
    if model.skew_start:
        params = params._replace(operators=skew(params.operators))
    return params


def gather(
    inputs: ArrayLike, labels: ArrayLike, key: Array, batch_size: int
) -> Callable[[int], Batch]:
    """Return `next_batch` over arrays that lie on the device.

    Args:
        inputs: All training examples.
        labels: The class of each.
        key: Key of the order.
        batch_size: Examples of a step.

    Returns:
        A function from a step's number to its batch.

    Raises:
        ValueError: If there are fewer examples than a batch holds.
    """
    inputs, labels = jnp.asarray(inputs), jnp.asarray(labels)

    @jax.jit
    def next_batch(step):
        index = batch_indices(
            key, step, num_examples=len(labels), batch_size=batch_size
        )
        return Batch(inputs[index], labels[index])

    jax.eval_shape(next_batch, 0)  # refuses a size before a run begins
    return next_batch
