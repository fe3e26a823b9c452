"""Trains an experiment's model from its newest checkpoint, or restores it."""

import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.config import RunConfig
from experiments.devices import Resources
from experiments.problem import Problem, Run, first_state, make_model
from experiments.records import MetricsLog, write_json
from vaells_jax.model.types import Batch
from vaells_jax.sharding import check_batch_size, place, replicated
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.failure import Failure, NonFiniteLossError
from vaells_jax.training.fit import choose_scale, fit, to_host, transport_steps
from vaells_jax.training.step import TrainState


def train_or_restore(
    problem: Problem,
    workdir: pathlib.Path,
    *,
    train: bool,
    resources: Resources = Resources(),  # noqa: B008, frozen
) -> Run:
    """Train from the newest checkpoint, or from the start, to the schedule's end.

    Args:
        problem: What to train.
        workdir: The run's folder; on several hosts they share it.
        train: Whether to train, or to take what is there.
        resources: The devices.

    Raises:
        ValueError: If `train` is False and there is no checkpoint, or the devices
            cannot share a batch equally.
        NonFiniteLossError: If a step fails; `failed/` in the folder shows it.
    """
    config, model = problem.config, make_model(problem)
    steps = transport_steps(
        model=model, weights=config.weights, schedule=config.schedule,
        optimizer=config.optimizer, mesh=resources.mesh,
    )  # fmt: skip
    scale = None
    if config.model.latent_scale is None:
        scale = choose_scale(problem.next_batch, model=model)
    state = advance(
        config, first_state(problem), problem.next_batch, workdir, train=train,
        resources=resources, example_indices=problem.example_indices, make_step=steps,
        after_warm_up=scale,
    )  # fmt: skip
    view_key = jax.random.split(jax.random.key(config.seed), 3)[2]
    own = own_folder(workdir, resources)
    return Run(problem, model, state, view_key, own, mesh=resources.mesh)


def advance(
    config: RunConfig,
    state: TrainState,
    next_batch: Callable[[int], Batch],
    workdir: pathlib.Path,
    *,
    train: bool,
    resources: Resources = Resources(),  # noqa: B008, frozen
    example_indices: Callable[[int], jax.Array] | None = None,
    on_save: Callable[[TrainState], None] | None = None,
    **fitting: Any,
) -> TrainState:
    """Take any model from its newest checkpoint, or its first state, to the end.

    Args:
        config: Seed, schedule and logging.
        state: The state at step 0.
        next_batch: The batch of a step.
        workdir: The run's folder; on several hosts they share it.
        train: False only restores.
        resources: The devices.
        example_indices: Which examples make a step's batch, for reports of failures.
        on_save: Called with every state that is saved.
        **fitting: The model's own steps: `make_step` and `after_warm_up` of `fit`.

    Raises:
        ValueError: If `train` is False and there is no checkpoint, or the devices
            cannot share a batch equally.
        NonFiniteLossError: If a step fails; `failed/` in the folder shows it.
    """
    mesh = resources.mesh
    if mesh is not None:
        check_batch_size(config.data.batch_size, mesh)
        state = place(state, replicated(mesh))
    checkpoints = Checkpoints(workdir / "checkpoints")
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
    elif not train:
        raise ValueError(f"nothing to restore in {workdir}: train first.")
    own = own_folder(workdir, resources)
    if train and int(state.step) < config.schedule.steps:
        try:
            state = _train(
                config, state, next_batch, checkpoints, own, resources, on_save,
                **fitting,
            )  # fmt: skip
        except NonFiniteLossError as error:
            raise _written_down(error, own, resources, example_indices) from error
    checkpoints.close()
    return state if mesh is None else jax.tree.map(jnp.asarray, to_host(state))


def own_folder(workdir: pathlib.Path, resources: Resources) -> pathlib.Path:
    """Return where a host leaves its files: hosts but the first have their own."""
    return workdir / f"host-{resources.host}" if resources.host else workdir


def _train(
    config, state, next_batch, checkpoints, workdir, resources, on_save, **fitting
):
    """Call `fit` with a progress bar and a log."""
    key = jax.random.split(jax.random.key(config.seed), 3)[0]
    first = int(state.step)
    if first:
        print(f"  going on from step {first:,} of {config.schedule.steps:,}")
    log = MetricsLog(workdir / "metrics.jsonl", resume_step=first)
    started = time.monotonic() - log.elapsed
    bar = tqdm(
        total=config.schedule.steps, initial=first, unit="step", smoothing=0.05,
        dynamic_ncols=True, mininterval=0.5, disable=resources.host > 0,
    )  # fmt: skip

    def on_step(step, phase, metrics):
        bar.update()
        if step % config.log.log_every == 0 or step == config.schedule.steps:
            bar.set_postfix(phase=phase, loss=f"{metrics['loss']:.4g}", refresh=False)
            log.write(step, phase, time.monotonic() - started, metrics)

    def save(state):
        log.flush()
        checkpoints.save(state)
        if on_save is not None:
            on_save(state)

    try:
        return fit(
            key, state, next_batch, schedule=config.schedule, on_step=on_step,
            save=save, save_every=config.log.save_every, mesh=resources.mesh,
            debug_nans=resources.debug_nans, **fitting,
        )  # fmt: skip
    finally:
        bar.close()
        log.close()


def _written_down(error, workdir, resources, example_indices):
    """Write a failed step down; returns an error that says where."""
    if error.failure is None:
        return error
    folder = workdir / "failed"
    report_failure(folder, error.failure, example_indices)
    words = [str(error), f"State, batch and report are in {folder}/."]
    if error.failure.line is not None:
        words.append(f"The first NaN: {error.failure.line}")
    elif not resources.debug_nans:
        words.append("With --debug-nans the same command names the line.")
    return NonFiniteLossError(" ".join(words), error.failure)


def report_failure(
    folder: pathlib.Path,
    failure: Failure,
    example_indices: Callable[[int], jax.Array] | None,
) -> None:
    """Write down a failed step.

    Leaves `report.json`, `batch.npz` and `state.npz`: the state before the step, its
    arrays by their names.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index = None
    if example_indices is not None:
        index = np.asarray(example_indices(failure.step - 1))
    batch = {k: v for k, v in failure.batch._asdict().items() if v is not None}
    bad = {
        name: np.flatnonzero(~np.isfinite(value).reshape(len(value), -1).all(axis=1))
        for name, value in batch.items()
    }
    np.savez(folder / "batch.npz", **batch)
    leaves = jax.tree_util.tree_leaves_with_path(failure.state)
    np.savez(
        folder / "state.npz",
        **{jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves},
    )
    report = {
        "step": failure.step,
        "phase": failure.phase,
        "terms": {name: str(value) for name, value in failure.terms.items()},
        "examples": None if index is None else index.tolist(),
        "not_finite_in_batch": {name: rows.tolist() for name, rows in bad.items()},
        "parameters_it_would_have_spoilt": failure.parameters,
        "line": failure.line,
    }
    write_json(folder / "report.json", report)
