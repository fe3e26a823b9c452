"""Trains an experiment's model from its newest checkpoint, or restores it."""

import pathlib
import time

import jax
from tqdm import tqdm

from experiments.problem import Problem, Run, first_state, make_model
from experiments.records import MetricsLog
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.fit import fit, with_scale


def train_or_restore(problem: Problem, workdir: pathlib.Path, *, train: bool) -> Run:
    """Train from the newest checkpoint, or from the start, to the schedule's end.

    Raises:
        ValueError: If `train` is False and there is no checkpoint.
    """
    config = problem.config
    key, _, view_key = jax.random.split(jax.random.key(config.seed), 3)
    model, state = make_model(problem), first_state(problem)
    checkpoints = Checkpoints(workdir / "checkpoints")
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
    elif not train:
        raise ValueError(f"nothing to restore in {workdir}: train first.")
    if train and int(state.step) < config.schedule.steps:
        state = _train(problem, model, key, state, checkpoints, workdir)
    checkpoints.close()
    return Run(problem, with_scale(model, state), state, view_key, workdir)


def _train(problem, model, key, state, checkpoints, workdir):
    """Call `fit` with a progress bar and a log."""
    config = problem.config
    first = int(state.step)
    if first:
        print(f"  going on from step {first:,} of {config.schedule.steps:,}")
    log = MetricsLog(workdir / "metrics.jsonl", resume_step=first)
    started = time.monotonic() - log.elapsed
    bar = tqdm(
        total=config.schedule.steps, initial=first, unit="step", smoothing=0.05,
        dynamic_ncols=True, mininterval=0.5,
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
            save=save, save_every=config.log.save_every,
        )  # fmt: skip
    finally:
        bar.close()
        log.close()
