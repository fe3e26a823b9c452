"""Your own data: an experiment made of arrays, with defaults from their size."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.checks import check_examples, check_kind, check_member
from vaells_jax.data.arrays import (
    ArrayDataset,
    as_arrays,
    from_arrays,
    read_points,
)
from vaells_jax.evaluation.overview import overview_figures, overview_merits
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.types import Batch, LossWeights
from vaells_jax.networks.contract import Networks
from vaells_jax.networks.stock import SMALLEST
from vaells_jax.runs.command import PARTS
from vaells_jax.runs.config import (
    BaselineConfig,
    DataConfig,
    EvaluationConfig,
    LikelihoodEvaluation,
    LogConfig,
    ModelConfig,
    RunConfig,
    VaellsConfig,
    baseline_config,
    with_settings,
)
from vaells_jax.runs.curves import operator_merits, training_figures
from vaells_jax.runs.experiment import Experiment, Merits
from vaells_jax.runs.likelihood import marginal_likelihood
from vaells_jax.runs.main import run_model
from vaells_jax.runs.models import BASELINES
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run, RunData, anchors_of, run_keys, shuffled_batches
from vaells_jax.trained.base import TrainedModel
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule

EPOCHS, FEWEST_STEPS, MOST_STEPS = 60, 600, 6_000
"""Length of a training: passes through the data, within bounds."""

VALIDATED, MEASURED = 256, 1_000
"""Most validation examples that decide the best checkpoint; most test examples."""


def train(
    inputs: Any,
    labels: ArrayLike | None = None,
    *,
    workdir: str | os.PathLike[str],
    test: Any = None,
    anchors: ArrayLike | None = None,
    networks: Networks | None = None,
    model: str = "vaells",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Train on your own data; resume if the folder holds a stopped run.

    Writes configuration, checkpoints, metrics, `results.json` and figures there.

    Args:
        inputs: Data points `[N, *x]`: vectors, or images with values in [0, 1]; or
            any object with a length and items, each a data point or a pair with its
            label.
        labels: The class of each, integers or names; None for data of one class.
        workdir: The run's folder.
        test: Inputs, or inputs and labels, to measure with; without it a tenth of the
            data is held out.
        anchors: `[C, N_a, *x]` for C classes; without it examples spread over each
            class.
        networks: Encoder and decoder; without it the paper's, dense for vectors and
            convolutional for images.
        model: "vaells", or the name of a baseline.
        seed: Random seed.
        settings: Fields of the configuration by name: `{"model.num_operators": 2}`.

    Returns:
        The model of the best checkpoint by validation.

    Raises:
        ValueError: If data, networks or settings are invalid; names them.
        NonFiniteLossError: If a step fails; `failed/` in the folder shows it.
    """
    check_kind(workdir=(workdir, str | os.PathLike))
    experiment = own_experiment(
        inputs, labels, test=test, anchors=anchors, networks=networks
    )
    config = dataclasses.replace(experiment.presets["default"], seed=seed)
    check_member("model", model, ("vaells", *BASELINES))
    if model != "vaells":
        config = baseline_settings(model, config)
    config = with_settings(config, {} if settings is None else settings)
    run, _ = run_model(experiment, config, pathlib.Path(workdir), PARTS)
    return run.trained


def own_experiment(
    inputs: Any,
    labels: ArrayLike | None = None,
    *,
    test: Any = None,
    anchors: ArrayLike | None = None,
    networks: Networks | None = None,
    name: str = "own data",
    command: str = "vaells-jax train FILE.npz",
) -> Experiment:
    """Describe the training on your own data; arguments as `train`.

    Args:
        inputs: Data points.
        labels: Their classes.
        test: Test data.
        anchors: Anchors of each class.
        networks: Encoder and decoder.
        name: Of the data.
        command: The command that a user types.
    """
    inputs, labels = as_arrays("inputs", inputs, labels)  # read once, however many runs
    split = functools.partial(from_arrays, inputs, labels, test=test, name=name)
    points, classes = read_points("inputs", inputs, labels)
    config = default_config(points, len(np.unique(classes)))
    if networks is not None:
        check_kind(networks=(networks, Networks))
        config = with_settings(config, {"model.networks": "own"})
    if anchors is not None:
        anchors = np.asarray(anchors)
        check_examples("anchors", anchors)
        per_class = {"data.anchors": "given", "data.anchors_per_class": len(anchors[0])}
        config = with_settings(config, per_class)
    return Experiment(
        name=name,
        summary="Train VAELLS on data of your own, measure it and draw figures.",
        presets={"default": config},
        prepare=functools.partial(prepare, split, anchors),
        measure=measure,
        draw=draw,
        baselines=baseline_settings,
        without={"data_operators": "fit_operators learns operators on data alone."},
        networks=networks,
        command=command,
    )


def default_config(
    inputs: Float[np.ndarray, "n ..."], num_classes: int
) -> VaellsConfig:
    """Choose a configuration by the data's size and shape.

    The objective's weights suit values in [0, 1] for images, and the data's own width
    for vectors; the latent scale is chosen when the warm-up ends. Two thirds of the
    steps warm up.
    """
    count, shape = len(inputs), inputs.shape[1:]
    batch_size = min(32, count)
    steps = int(np.clip(EPOCHS * count // batch_size, FEWEST_STEPS, MOST_STEPS))
    image = len(shape) > 1 and min(shape[:2]) >= SMALLEST
    size = 8 if image else max(2, min(8, int(np.prod(shape)) // 2))
    precision = 1.0 if image else 10.0 / _width(inputs) ** 2
    return VaellsConfig(
        experiment="own_data",
        preset="default",
        schedule=Schedule(
            steps=steps,
            warm_up_steps=2 * steps // 3,
            network_steps=20,
            operator_steps=20,
            operator_reconstruction_factor=1e-4,
        ),
        data=DataConfig(
            anchors="spread",
            anchors_per_class=8 if num_classes > 1 else 16,
            batch_size=batch_size,
        ),
        model=ModelConfig(
            networks="convolutional" if image else "dense",
            latent_size=size,
            operator_std=0.001,
        ),
        weights=LossWeights(reconstruction=precision),
        optimizer=OptimizerOptions(
            network_rate=1e-3,
            anchor_rate=1e-4,
            operator_rate=5e-4,
            max_operator_rate=5e-4,
            ramp_steps=100,
        ),
        posterior_search=InferenceOptions(l1_weight=1e-6, initial_range=(0.0, 1.0)),
        prior_search=InferenceOptions(l1_weight=1e-6, initial_range=(-2.5, 0.0)),
        log=LogConfig(log_every=5, save_every=max(100, steps // 12)),
        evaluation=EvaluationConfig(points=100, samples=200),
    )


def baseline_settings(model: str, preset: RunConfig) -> BaselineConfig:
    """Return a baseline's settings for your own data, with latents of the same size.

    Raises:
        ValueError: If the networks are the program's own, which are VAELLS's.
    """
    assert isinstance(preset, VaellsConfig)
    if preset.model.networks == "own":
        raise ValueError(
            f"model must be vaells with networks of your own; got {model!r}."
        )
    steps, size = preset.schedule.steps, preset.model.latent_size
    options: dict[str, int | float | str] = {}
    if model == "manifold_autoencoder":
        options = {"num_operators": preset.model.num_operators}
    if model == "vampprior":
        options = {"num_components": min(50, preset.data.batch_size)}
    return baseline_config(
        model,
        preset,
        steps,
        schedule=Schedule(steps, BASELINES[model].networks_first * (steps // 2), 0, 0),
        latent_size=size + BASELINES[model].extra_entries,
        networks=preset.model.networks,
        likelihood=Likelihood("gaussian", preset.weights.reconstruction**-0.5),
        options=options,
        optimizer=BaselineOptions(rate=1e-3, ramp_steps=100, warm_up_steps=steps // 5),
        evaluation=LikelihoodEvaluation(points=100, samples=200),
    )


def prepare(split: Any, anchors: Any, config: RunConfig) -> RunData:
    """Split the data, draw anchors and make batches.

    Args:
        split: From a key to the data set.
        anchors: `[C, N_a, *x]`, or None to draw them.
        config: The configuration.

    Raises:
        ValueError: If another data set is asked for, or anchors do not fit the data.
    """
    keys = run_keys(config.seed)
    dataset: ArrayDataset = split(key=keys.data)
    train, classes = dataset.train, len(dataset.class_names)
    shape = train.inputs.shape[1:]
    if config.data.dataset not in (None, dataset.name):
        raise ValueError(
            f"--dataset: the data are given, {dataset.name!r}; got "
            f"{config.data.dataset!r}."
        )
    if anchors is None:
        anchors = anchors_of(config, keys.anchors, train.inputs, train.labels, classes)
    elif anchors.ndim == len(shape) + 1:
        anchors = anchors[..., None]  # grey images, as the inputs
    if anchors.shape[:1] + anchors.shape[2:] != (classes, *shape):
        raise ValueError(
            f"anchors must have shape [{classes}, N_a, {', '.join(map(str, shape))}]; "
            f"got {list(anchors.shape)}."
        )
    inputs = jnp.asarray(train.inputs)  # one copy on the device
    next_batch, indices = shuffled_batches(
        inputs, train.labels, keys.order, config.data.batch_size
    )
    held = dataset.validation
    return RunData(
        dataset.name, inputs, jnp.asarray(anchors), next_batch, dataset, indices,
        class_names=dataset.class_names, mean=tuple(_mean(train.inputs).tolist()),
        scale=_width(train.inputs),
        validation=Batch(
            jnp.asarray(held.inputs[:VALIDATED]), jnp.asarray(held.labels[:VALIDATED])
        ),
    )  # fmt: skip


def measure(run: Run) -> Merits:
    """Measure a run on test data."""
    inputs, labels = (part[:MEASURED] for part in run.data.source.test)
    found = overview_merits(run.trained, run.key, inputs, labels)
    merits = {name: merit(value, meaning) for name, (value, meaning) in found.items()}
    if run.is_vaells:
        merits |= operator_merits(run)
    return merits | marginal_likelihood(run, inputs)


def draw(run: Run) -> dict[str, Any]:
    """Draw a run on test data, and the course of its training."""
    test = run.data.source.test
    figures = overview_figures(
        run.trained, run.key, test.inputs[:MEASURED], test.labels[:MEASURED],
        class_names=run.data.class_names,
    )  # fmt: skip
    return figures | training_figures(run)


def _mean(inputs: np.ndarray) -> np.ndarray:
    """Return the mean of each entry of vectors, of each channel of images."""
    return np.mean(inputs, axis=tuple(range(inputs.ndim - 1)), dtype=float)


def _width(inputs: np.ndarray) -> float:
    """Return the root mean square distance of an entry from its mean; 1 for none."""
    return float(np.std(inputs - _mean(inputs))) or 1.0
