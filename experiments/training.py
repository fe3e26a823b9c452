"""Trains an experiment's model from its newest checkpoint, or restores it."""

import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.devices import Resources
from experiments.problem import Problem, Run, first_state, make_model
from experiments.records import MetricsLog, write_json
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.failure import Failure, NonFiniteLossError
from vaells_jax.training.fit import fit, to_host, with_scale
from vaells_jax.training.mesh import check_batch_size, place, replicated


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
    config = problem.config
    if resources.mesh is not None:
        check_batch_size(config.data.batch_size, resources.mesh)
    key, _, view_key = jax.random.split(jax.random.key(config.seed), 3)
    model, state = make_model(problem), first_state(problem)
    if resources.mesh is not None:
        state = place(state, replicated(resources.mesh))
    checkpoints = Checkpoints(workdir / "checkpoints")
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
    elif not train:
        raise ValueError(f"nothing to restore in {workdir}: train first.")
    own = own_folder(workdir, resources)
    if train and int(state.step) < config.schedule.steps:
        state = _train(problem, model, key, state, checkpoints, own, resources)
    checkpoints.close()
    if resources.mesh is not None:
        state = jax.tree.map(jnp.asarray, to_host(state))
    model = with_scale(model, state)
    return Run(problem, model, state, view_key, own, mesh=resources.mesh)


def own_folder(workdir: pathlib.Path, resources: Resources) -> pathlib.Path:
    """Return where a host leaves its files: hosts but the first have their own."""
    return workdir / f"host-{resources.host}" if resources.host else workdir


def _train(problem, model, key, state, checkpoints, workdir, resources):
    """Call `fit` with a progress bar and a log."""
    config = problem.config
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

    try:
        return fit(
            key, state, problem.next_batch, model=model, weights=config.weights,
            schedule=config.schedule, optimizer=config.optimizer,
            choose_scale=config.model.latent_scale is None, on_step=on_step,
            save=save, save_every=config.log.save_every, mesh=resources.mesh,
            debug_nans=resources.debug_nans,
        )  # fmt: skip
    except NonFiniteLossError as error:
        if error.failure is None:
            raise
        folder = workdir / "failed"
        report_failure(folder, problem, error.failure)
        words = [str(error), f"State, batch and report are in {folder}/."]
        if error.failure.line is not None:
            words.append(f"The first NaN: {error.failure.line}")
        elif not resources.debug_nans:
            words.append("With --debug-nans the same command names the line.")
        raise NonFiniteLossError(" ".join(words), error.failure) from error
    finally:
        bar.close()
        log.close()


def report_failure(folder: pathlib.Path, problem: Problem, failure: Failure) -> None:
    """Write down a failed step.

    Leaves `report.json`, `batch.npz` and `state.npz`: the state before the step, its
    arrays by their names.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index = None
    if problem.example_indices is not None:
        index = np.asarray(problem.example_indices(failure.step - 1))
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
