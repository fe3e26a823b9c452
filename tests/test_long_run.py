"""What grows with the steps of a run, and what must not."""

import dataclasses
import functools

import jax

from tests.training.test_fit import OPTIMIZER
from tests.training.test_fit import SCHEDULE as SHORT
from vaells_jax import LossWeights, init_state, make_train_step
from vaells_jax.training.fit import fit

SCHEDULE = dataclasses.replace(SHORT, steps=200)


def test_nothing_is_left_over_and_each_phase_is_compiled_once(
    tiny_model, tiny_params, tiny_batch, tmp_path
):
    given = {"model": tiny_model, "schedule": SCHEDULE, "optimizer": OPTIMIZER}
    phases = [
        make_train_step(phase, **given, weights=LossWeights())
        for phase in ("warm_up", "network", "operators")
    ]
    for step in phases:
        step.clear_cache()
    alive = []
    state = init_state(
        jax.random.key(0), model=tiny_model, num_operators=2, inputs=tiny_batch.inputs,
        anchors=tiny_params.anchors, optimizer=OPTIMIZER,
    )  # fmt: skip
    fit(
        jax.random.key(1), state, lambda step: tiny_batch, schedule=SCHEDULE,
        make_step=functools.partial(make_train_step, **given, weights=LossWeights()),
        on_step=lambda *_: alive.append(len(jax.live_arrays())), save_every=50,
        save=lambda state: None,
    )  # fmt: skip
    assert [step._cache_size() for step in phases] == [1, 1, 1]
    assert max(alive[100:]) <= max(alive[60:100])  # whole turns of both phases
