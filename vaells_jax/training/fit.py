"""The training loop: which step comes next, and what to do between steps."""

import concurrent.futures
import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from vaells_jax.checks import as_count, check_callable, check_key, check_kind
from vaells_jax.model.types import Batch
from vaells_jax.sharding import place, place_batch, replicated
from vaells_jax.training.failure import (
    Failure,
    NonFiniteLossError,
    bad_parameters,
    first_nan,
    not_finite,
)
from vaells_jax.training.schedule import Phase, Schedule, phase_at
from vaells_jax.training.step import TrainState, TrainStep

MakeStep = Callable[[Phase], TrainStep]
"""Builds the step of a phase, when it first comes."""


def fit(
    key: PRNGKeyArray,
    state: TrainState,
    next_batch: Callable[[int], Batch],
    *,
    schedule: Schedule,
    make_step: MakeStep,
    hold: Callable[[Phase, TrainState], Any] | None = None,
    after_warm_up: Callable[[TrainState], TrainState] | None = None,
    on_step: Callable[[int, Phase, dict[str, Any], TrainState], Any] | None = None,
    save: Callable[[TrainState], None] | None = None,
    save_every: int = 1000,
    mesh: Mesh | None = None,
    debug_nans: bool = False,
) -> TrainState:
    """Train from the state's step to the schedule's end.

    The trajectory is a function of `key`, the state and `next_batch` alone: stopping
    and resuming from a saved state changes nothing.

    Args:
        key: The run's key; step n draws from `fold_in(key, n)`.
        state: The state to start from; its buffers are donated.
        next_batch: The batch of a step, a pure function of its number; on several
            hosts each computes the whole batch and keeps its devices' share.
        schedule: Length and phases.
        make_step: The model's own steps, one for each phase, for the same `mesh`;
            VAELLS's are `functools.partial(make_train_step, model=..., ...)`.
        hold: Called when a phase begins; what it returns, unless that is None, is the
            fourth argument of the phase's steps. It may use of the state what these
            leave as it is (`hold_anchors`).
        after_warm_up: Changes the state once the warm-up is over (`choose_scale`).
        on_step: Called with step (from 1), phase, metrics as NumPy values, and the
            newest state, which may be a step further: copy what should outlive the
            call, because the next step reuses its buffers. If it returns a true value,
            the run stops after the current step and is saved; it can be resumed from
            there exactly.
        save: Called every `save_every` steps and at the end, after `on_step` has seen
            all steps up to the state's.
        save_every: Steps between saves.
        mesh: Devices that share each batch, see `sharding.py`; None for one device.
        debug_nans: If a step fails, find the operation that caused it.

    Returns:
        The trained state; on a mesh it is replicated.

    Raises:
        NonFiniteLossError: If a term of the loss or a gradient is not finite; it holds
            the state and the batch.
        ValueError: If an argument is not of its kind, or a batch cannot be shared
            equally.
    """
    check_key("key", key)
    check_kind(state=(state, TrainState), schedule=(schedule, Schedule))
    check_callable(next_batch=next_batch, make_step=make_step)
    save_every = as_count("save_every", save_every)
    if mesh is not None:
        key, state = (place(x, replicated(mesh)) for x in (key, state))
    stepper = _Stepper(key, next_batch, schedule, make_step, hold, after_warm_up, mesh)
    kept = to_host(state)
    pending: tuple[int, Phase, dict[str, Any]] | None = None
    first, stopped = int(state.step), False

    def settle(state):
        """Look at the last step's metrics, which waits for it."""
        nonlocal pending, stopped
        if pending is not None:
            step, phase, metrics = pending
            pending = None
            values = jax.device_get(metrics)
            if not_finite(values):
                raise stepper.failure(kept, step, not_finite(values), debug_nans)
            if on_step is not None and on_step(step, phase, values, state):
                stopped = True

    for step in range(first, schedule.steps):
        if step == schedule.warm_up_steps:
            settle(state)  # should it have failed, its networks have no scale
        state, metrics = stepper.advance(step, state)
        settle(state)  # the step before, while this one runs
        if step == first + 1:
            stepper.compile_ahead(step, state)
        pending = (step + 1, phase_at(step, schedule), metrics)
        done = stopped or step + 1 == schedule.steps
        if done or (step + 1) % save_every == 0:
            settle(state)
            kept = to_host(state)
            if save is not None:
                save(state)
            if stopped:
                break
    return state


@dataclasses.dataclass
class _Stepper:
    """Takes any step of a run, the same way each time."""

    key: PRNGKeyArray
    next_batch: Callable[[int], Batch]
    schedule: Schedule
    make_step: MakeStep
    hold: Callable[[Phase, TrainState], Any] | None
    after_warm_up: Callable[[TrainState], TrainState] | None
    mesh: Mesh | None
    _steps: dict[Phase, TrainStep] = dataclasses.field(default_factory=dict)
    _ahead: dict[Phase, concurrent.futures.Future] = dataclasses.field(
        default_factory=dict
    )
    _phase: Phase | None = None
    _held: Any = None

    def compile_ahead(self, step, state):
        """Compile the steps of phases to come in a thread, while this one's run.

        Only XLA works there: two threads cannot trace at once. Not for a mesh.
        """
        steps = range(step, self.schedule.steps)
        begins = {phase_at(n, self.schedule): n for n in reversed(steps)}
        to_come = sorted(begins.items(), key=lambda item: item[1])[1:]
        if not to_come or self.mesh is not None:
            return
        pool = concurrent.futures.ThreadPoolExecutor(1, "compile-ahead")
        for phase, n in to_come:
            with contextlib.suppress(Exception):  # what fails, fails when it is run
                # A jitted function keeps what is made of it: a call finds it.
                lowered = self._compiled(n).lower(*self._shapes(n, state))
                self._ahead[phase] = pool.submit(lowered.compile)
        pool.shutdown(wait=False)

    def _shapes(self, step, state):
        """Return shapes and types of what a step will take."""
        held = None
        if self.hold is not None:
            hold = functools.partial(self.hold, phase_at(step, self.schedule))
            held = jax.eval_shape(hold, state)
        held = () if held is None else (held,)
        return *jax.tree.map(jax.typeof, (state, self.key, self._batch(step))), *held

    def advance(self, step, state):
        """Take the step with this number, counted from 0."""
        state = self._changed(step, state)
        if (ahead := self._ahead.pop(phase_at(step, self.schedule), None)) is not None:
            concurrent.futures.wait([ahead])
        return self._compiled(step)(*self._arguments(step, state))

    def _arguments(self, step, state):
        """Return what a step takes; what its phase holds is computed when it begins."""
        phase = phase_at(step, self.schedule)
        if phase != self._phase:
            self._phase = phase
            self._held = None if self.hold is None else self.hold(phase, state)
        held = () if self._held is None else (self._held,)
        return state, self.key, self._batch(step), *held

    def failure(self, kept, step, terms, debug_nans):
        """Go to a step from a state before it, and describe what happens there.

        Args:
            kept: A state before the step, NumPy arrays.
            step: The step, counted from 1.
            terms: The metrics that are not finite.
            debug_nans: Look for the operation that did it.
        """
        state, self._phase = self._placed(kept), None
        for before in range(int(kept.step), step - 1):
            state, _ = self.advance(before, state)
        state = self._changed(step - 1, state)
        kept, phase = to_host(state), phase_at(step - 1, self.schedule)
        take, arguments = self._compiled(step - 1), self._arguments(step - 1, state)
        line = first_nan(take, *arguments) if debug_nans else None
        after = to_host(take(*arguments)[0])
        failure = Failure(
            step, phase, terms, kept, to_host(self.next_batch(step - 1)),
            bad_parameters(after), line,
        )  # fmt: skip
        values = ", ".join(f"{name} = {value}" for name, value in terms.items())
        return NonFiniteLossError(f"step {step} ({phase}): {values}.", failure)

    def _placed(self, state):
        if self.mesh is None:
            return jax.tree.map(jnp.array, state)
        return place(state, replicated(self.mesh))

    def _batch(self, step):
        batch = self.next_batch(step)
        return batch if self.mesh is None else place_batch(batch, self.mesh)

    def _compiled(self, step):
        phase = phase_at(step, self.schedule)
        if phase not in self._steps:
            self._steps[phase] = self.make_step(phase)
        return self._steps[phase]

    def _changed(self, step, state):
        """Change the state, if this is the step after the warm-up."""
        if self.after_warm_up is None or step != self.schedule.warm_up_steps:
            return state
        return self._placed(self.after_warm_up(to_host(state)))


def to_host(tree: Any) -> Any:
    """Copy arrays, whole on every host, to NumPy's; device buffers are free to go."""
    return jax.tree.map(np.array, jax.device_get(tree))
