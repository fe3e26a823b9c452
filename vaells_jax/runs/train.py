"""Training from the newest checkpoint to the end, of any model."""

import collections
import dataclasses
import math
import pathlib
import shutil
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaells_jax.networks.contract import Networks
from vaells_jax.progress import progress_bar
from vaells_jax.runs.config import BaselineConfig, RunConfig, model_name
from vaells_jax.runs.devices import Resources
from vaells_jax.runs.folder import (
    BEST,
    CHECKPOINTS,
    claim,
    make_record,
    trained_checkpoints,
    writing,
)
from vaells_jax.runs.models import Recipe, recipe
from vaells_jax.runs.records import MetricsLog, write_json
from vaells_jax.runs.run import Run, RunData, binarised, resolved, run_keys
from vaells_jax.sharding import check_batch_size, place, replicated
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.failure import Failure, NonFiniteLossError
from vaells_jax.training.fit import fit, to_host
from vaells_jax.training.schedule import Phase, Schedule, phase_at
from vaells_jax.training.step import TrainState

Watch = Callable[[Run], dict[str, float]]
"""Measures the run at each checkpoint, for a line of `watched.jsonl`."""


def train_or_restore(
    config: RunConfig,
    data: RunData,
    workdir: pathlib.Path,
    *,
    train: bool = True,
    resources: Resources = Resources(),  # noqa: B008, frozen
    watch: Watch | None = None,
    start: Callable[[TrainState], TrainState] | None = None,
    networks: Networks | None = None,
) -> Run:
    """Train from the newest checkpoint, or from the start, to the schedule's end.

    Args:
        config: What to train, and how.
        data: The data.
        workdir: The run's folder; on several hosts they share it.
        train: Whether to train, or to restore the newest checkpoint.
        resources: The devices.
        watch: Measures the run at each checkpoint.
        start: Changes the first state, if given.
        networks: The program's own, where the configuration says so.

    Raises:
        ValueError: If there is nothing to restore, the folder holds another run or is
            being written by another process, or the devices cannot share a batch
            equally.
        NonFiniteLossError: If a step fails; `failed/` in the folder shows it.
    """
    mesh = resources.mesh
    keys = run_keys(config.seed)
    config = resolved(config, data)
    if isinstance(config, BaselineConfig) and config.binarise:
        batches = binarised(data.next_batch, keys.pixels)
        data = dataclasses.replace(data, next_batch=batches)
    plan = recipe(config, data, mesh, networks)
    record = make_record(config, data)
    if mesh is not None:
        check_batch_size(config.data.batch_size, mesh)
    state = plan.start(keys.start)
    if start is not None:
        state = start(state)
    if mesh is not None:
        state = place(state, replicated(mesh))
    own = own_folder(workdir, resources)

    def describe(state):
        trained = dataclasses.replace(plan.trained(state), record=record)
        step = int(state.step)
        return Run(config, data, trained, keys.evaluation, own, step, mesh=mesh)

    if not train:
        checkpoints = trained_checkpoints(workdir)
        if checkpoints is None:
            raise ValueError(f"nothing to restore in {workdir}: train first.")
        state = checkpoints.restore(state)
        checkpoints.close()
        return describe(_on_one_device(state, mesh))
    with writing(own):
        claim(own, record)
        print(f"{config.experiment}: {summary(config, data)}; results in {own}/")
        checkpoints = Checkpoints(workdir / CHECKPOINTS, record=record)
        best = Checkpoints(workdir / BEST, keep=1, record=record)
        if checkpoints.latest_step() is not None:
            state = checkpoints.restore(state)

        def look(state):
            """Measure a state that is saved, and keep it if it is the best."""
            if data.validation is None and watch is None:
                return
            step, values, kept = int(state.step), {}, state
            state = _on_one_device(state, mesh)
            if data.validation is not None and step > config.schedule.warm_up_steps:
                values["validation"] = float(plan.validation(state, data.validation))
            if watch is not None:
                values |= watch(describe(state))
            if values:
                lines = _watched(own, values, step)
                losses = [line.get("validation", math.inf) for line in lines]
                if "validation" in values and losses[-1] <= min(losses):
                    best.save(kept)

        def on_save(state):
            checkpoints.save(state)
            look(state)

        last = MetricsLog.last(own / "watched.jsonl")
        if int(state.step) and (last is None or last["step"] != int(state.step)):
            look(state)  # the run was killed between the two
        if int(state.step) < config.schedule.steps:
            state = _train(plan, config, data, state, own, resources, on_save)
        if best.latest_step() is not None:
            state = best.restore(state)
        checkpoints.close()
        best.close()
    return describe(_on_one_device(state, mesh))


def summary(config: RunConfig, data: RunData) -> str:
    """Describe a run in a line."""
    schedule = config.schedule
    warm_up = schedule.warm_up_steps
    return (
        f"{model_name(config)}, preset {config.preset}, data set {data.name}, "
        f"seed {config.seed}, "
        f"{schedule.steps:,} steps"
        + (f" ({warm_up:,} of them warm-up)" if warm_up else "")
    )


def own_folder(workdir: pathlib.Path, resources: Resources) -> pathlib.Path:
    """Return where a host leaves its files: hosts but the first have their own."""
    return workdir / f"host-{resources.host}" if resources.host else workdir


def _on_one_device(state, mesh):
    return state if mesh is None else jax.tree.map(jnp.asarray, to_host(state))


def _watched(folder, values, step):
    """Write a line of `watched.jsonl`, later ones anew; returns all up to it."""
    path = folder / "watched.jsonl"
    log = MetricsLog(path, resume_step=step - 1)
    log.write(step, "saved", 0.0, values)
    log.close()
    return MetricsLog.read(path)


def _train(
    plan: Recipe,
    config: RunConfig,
    data: RunData,
    state: TrainState,
    folder: pathlib.Path,
    resources: Resources,
    on_save: Callable[[TrainState], None],
) -> TrainState:
    """Call `fit` with a progress bar and a log."""
    first = int(state.step)
    if first:
        print(f"  resuming from step {first:,} of {config.schedule.steps:,}")
    log = MetricsLog(folder / "metrics.jsonl", resume_step=first)
    started = time.monotonic() - log.elapsed
    pace = Pace(config.schedule, first)
    bar = progress_bar(
        config.schedule.steps, unit="step", initial=first, disable=resources.host > 0,
        seconds_left=pace.seconds_left,
    )  # fmt: skip

    def on_step(step, phase, metrics, state):
        del state
        pace.took_step(phase, time.monotonic())
        bar.update()
        if step % config.log.log_every == 0 or step == config.schedule.steps:
            bar.set_postfix(phase=phase, loss=f"{metrics['loss']:.4g}", refresh=False)
            log.write(step, phase, time.monotonic() - started, metrics)

    def save(state):
        log.flush()
        on_save(state)

    try:
        return fit(
            run_keys(config.seed).steps, state, data.next_batch,
            schedule=config.schedule, make_step=plan.make_step,
            hold=plan.hold, after_warm_up=plan.after_warm_up, on_step=on_step,
            save=save, save_every=config.log.save_every, mesh=resources.mesh,
            debug_nans=resources.debug_nans,
        )  # fmt: skip
    except NonFiniteLossError as error:
        raise _written_down(error, folder, resources, data.indices) from error
    finally:
        bar.close()
        log.close()


class Pace:
    """How long steps take in each phase, and so the time that a training has left."""

    def __init__(self, schedule: Schedule, first: int):
        """Begin before a step, counted from 0."""
        steps = range(first, schedule.steps)
        self._left = collections.Counter(phase_at(step, schedule) for step in steps)
        self._recent: dict[Phase, collections.deque[float]] = {}
        self._last: tuple[Phase, float] | None = None

    def took_step(self, phase: Phase, now: float) -> None:
        """Note that a step is done, at a time in seconds."""
        self._left[phase] -= 1
        # Steps that follow another phase's compile, or compute what their phase holds.
        if self._last is not None and self._last[0] == phase:
            recent = self._recent.setdefault(phase, collections.deque(maxlen=99))
            recent.append(now - self._last[1])
        self._last = phase, now

    def seconds_left(self) -> float | None:
        """Return the time left; phases to come count as the slowest one so far."""
        if not self._recent:
            return None
        each = {phase: np.median(times) for phase, times in self._recent.items()}
        slowest = max(each.values())
        left = self._left.items()
        return float(sum(count * each.get(phase, slowest) for phase, count in left))


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
