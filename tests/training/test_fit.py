import dataclasses
import functools
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaells_jax import LossWeights, init_state, loss, make_train_step
from vaells_jax.operators.structures import Commuting, Skew
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.failure import NonFiniteLossError
from vaells_jax.training.fit import fit, to_host
from vaells_jax.training.optimizers import OptimizerOptions, operator_step_state
from vaells_jax.training.scale import choose_scale, latent_magnitude
from vaells_jax.training.schedule import Schedule, phase_at
from vaells_jax.training.step import hold_anchors

SCHEDULE = Schedule(steps=12, warm_up_steps=3, network_steps=2, operator_steps=2)
OPTIMIZER = OptimizerOptions(network_rate=1e-2, anchor_rate=1e-2, operator_rate=1e-4)
WEIGHTS = LossWeights()


@pytest.fixture
def new_state(tiny_model, tiny_params, tiny_batch):
    return lambda: init_state(
        jax.random.key(7),
        model=tiny_model,
        num_operators=2,
        inputs=tiny_batch.inputs,
        anchors=jnp.array(tiny_params.anchors),
        optimizer=OPTIMIZER,
        latent_scale=2.0,
    )


@pytest.fixture
def next_batch(tiny_batch):
    return lambda step: tiny_batch._replace(inputs=tiny_batch.inputs + 0.01 * step)


@pytest.fixture
def train(tiny_model, next_batch):
    def run(state, schedule=SCHEDULE, next_batch=next_batch, scale=False, **options):
        if scale:
            options["after_warm_up"] = choose_scale(next_batch, model=tiny_model)
        steps = functools.partial(
            make_train_step,
            model=tiny_model,
            weights=WEIGHTS,
            schedule=schedule,
            optimizer=OPTIMIZER,
        )
        options.setdefault("hold", functools.partial(hold, model=tiny_model))
        return fit(
            jax.random.key(3), state, next_batch, schedule=schedule, make_step=steps,
            **options,
        )  # fmt: skip

    return run


def hold(phase, state, *, model):
    return hold_anchors(state, model=model) if phase == "operators" else None


def assert_same_bits(a, b):
    chex.assert_trees_all_equal_structs(a, b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize(
    "structure", [Skew(), Commuting(learned_basis=True)], ids=["skew", "commuting"]
)
def test_training_moves_a_structures_parameters_and_never_leaves_it(
    structure, tiny_model, tiny_params, tiny_batch
):
    model = dataclasses.replace(tiny_model, structure=structure)
    state = init_state(
        jax.random.key(7), model=model, num_operators=2, inputs=tiny_batch.inputs,
        anchors=jnp.array(tiny_params.anchors), optimizer=OPTIMIZER, operator_std=0.3,
    )  # fmt: skip
    before = to_host(state.params.operators)
    step = make_train_step(
        "operators", model=model, weights=WEIGHTS, schedule=SCHEDULE,
        optimizer=OPTIMIZER,
    )  # fmt: skip
    for _ in range(6):
        state, metrics = step(state, jax.random.key(3), tiny_batch)
        norms = np.linalg.norm(model.dictionary(state.params).operators, axis=(1, 2))
        np.testing.assert_allclose(metrics["operator_norms"], norms, rtol=1e-5)
    after = state.params.operators
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.any(x != np.asarray(y))
    found = np.asarray(model.dictionary(state.params).operators, float)
    if isinstance(structure, Skew):
        np.testing.assert_array_equal(found, -found.swapaxes(1, 2))
    else:
        np.testing.assert_allclose(found[0] @ found[1], found[1] @ found[0], atol=1e-6)


class Killed(Exception):
    """Ends a run from inside, as a signal would."""


@pytest.mark.parametrize("stop", [2, 7])
def test_resumed_run_is_the_uninterrupted_one_to_the_bit(
    stop, train, new_state, tmp_path
):
    whole = train(new_state(), scale=True)
    checkpoints = Checkpoints(tmp_path)

    def save(state):
        checkpoints.save(state)
        if int(state.step) == stop:
            raise Killed

    with pytest.raises(Killed):
        train(new_state(), scale=True, save=save, save_every=1)
    checkpoints.close()
    again = Checkpoints(tmp_path)
    restored = again.restore(new_state())
    again.close()
    assert int(restored.step) == stop
    assert_same_bits(train(restored, scale=True), whole)


@pytest.mark.parametrize("every", [100, 2])
def test_a_stopped_run_loses_nothing_and_goes_on_to_the_same_bits(
    every, train, new_state
):
    whole = train(new_state(), scale=True)
    seen, saved = [], []

    def stop(step, phase, metrics, state):
        seen.append(int(state.step) - step)
        return step == 5

    state = train(
        new_state(), scale=True, on_step=stop, save_every=every,
        save=lambda state: saved.append(int(state.step)),
    )  # fmt: skip
    assert int(state.step) == saved[-1] == len(seen)
    assert int(state.step) in (5, 6)
    assert set(seen) <= {0, 1}
    assert_same_bits(train(state, scale=True), whole)


def test_anchors_are_encoded_once_a_phase_and_no_number_changes(
    train, new_state, tiny_model
):
    begun = []

    def counted(phase, state):
        begun.append((int(state.step), phase))
        return hold(phase, state, model=tiny_model)

    priors: dict = {True: [], False: []}

    def kept(which):
        return lambda step, phase, metrics, state: priors[which].append(
            metrics["prior"]
        )

    held = train(new_state(), hold=counted, on_step=kept(True))
    assert begun == [
        (0, "warm_up"), (3, "network"), (5, "operators"), (7, "network"),
        (9, "operators"), (11, "network"),
    ]  # fmt: skip
    anew = train(new_state(), hold=None, on_step=kept(False))
    chex.assert_trees_all_close(held.params, anew.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(priors[True], priors[False], rtol=1e-4)


def test_phases_metrics_and_saves(train, new_state):
    seen, saved = [], []
    state = train(
        new_state(),
        on_step=lambda step, phase, metrics, state: seen.append((step, phase, metrics)),
        save=lambda state: saved.append((int(state.step), len(seen))),
        save_every=5,
    )
    assert int(state.step) == 12
    assert [step for step, _, _ in seen] == list(range(1, 13))
    phases = ["warm_up"] * 3 + (["network"] * 2 + ["operators"] * 2) * 2 + ["network"]
    assert [phase for _, phase, _ in seen] == phases
    assert saved == [(5, 5), (10, 10), (12, 12)]  # never ahead of the metrics
    for _, phase, metrics in seen:
        parts = metrics["reconstruction"] + metrics["posterior"] + metrics["prior"]
        if phase == "warm_up":
            np.testing.assert_allclose(metrics["loss"], parts, rtol=1e-6)
        else:
            assert 0 <= metrics["converged_searches"] <= 1


def test_every_leaf_moves_in_one_joint_step_and_it_is_traced_once(
    tiny_model, tiny_batch, new_state
):
    schedule = Schedule(steps=2, network_steps=0, operator_steps=0)
    step = make_train_step(
        model=tiny_model, weights=WEIGHTS, schedule=schedule, optimizer=OPTIMIZER,
        phase="joint",
    )  # fmt: skip
    before = jax.tree.map(np.asarray, new_state().params)
    state, _ = step(new_state(), jax.random.key(0), tiny_batch)
    assert bool(operator_step_state(state.opt_state).accepted)
    after = state.params._replace(latent_scale=None)
    assert float(state.params.latent_scale) == before.latent_scale
    before = before._replace(latent_scale=None)
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.any(x != y)
    for _ in range(2):
        state, _ = step(state, jax.random.key(0), tiny_batch)
    assert step._cache_size() == 1


def test_any_optax_transformation_moves_networks_and_anchors(
    tiny_model, tiny_params, tiny_batch, unchecked
):
    given = {
        "model": tiny_model,
        "optimizer": OPTIMIZER,
        "network_transform": optax.sgd(0.1),
        "anchor_transform": optax.chain(optax.trace(0.9), optax.scale(-0.2)),
    }
    schedule = Schedule(steps=2, network_steps=1, operator_steps=1)
    state = init_state(
        jax.random.key(7), num_operators=2, inputs=tiny_batch.inputs,
        anchors=tiny_params.anchors, **given,
    )  # fmt: skip
    weights = dataclasses.replace(WEIGHTS, prior_factor=schedule.network_prior_factor)
    objective = lambda params: loss(
        params, jax.random.fold_in(jax.random.key(0), 0), tiny_batch,
        model=tiny_model, weights=weights,
    )[0]  # fmt: skip
    before, grads = to_host((state.params, jax.jit(jax.grad(objective))(state.params)))
    for name, rate in (("encoder", 0.1), ("decoder", 0.1), ("anchors", 0.2)):
        wanted = getattr(before, name), getattr(grads, name)
        wanted = jax.tree.map(lambda x, g, rate=rate: x - rate * g, *wanted)
        before = before._replace(**{name: wanted})
    seen = []
    fit(
        jax.random.key(0), state, lambda step: tiny_batch,
        schedule=dataclasses.replace(schedule, steps=1),
        make_step=functools.partial(
            make_train_step, weights=WEIGHTS, schedule=schedule, **given
        ),
        save=lambda state: seen.append(to_host(state.params)),
    )  # fmt: skip
    chex.assert_trees_all_close(seen[0], before, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"network_transform must be an optax.Grad"):
        make_train_step(
            "joint", weights=WEIGHTS, schedule=schedule,
            **{**given, "network_transform": 1e-3},
        )  # fmt: skip


@pytest.fixture
def operator_step(tiny_model):
    return make_train_step(
        model=tiny_model, weights=WEIGHTS, schedule=SCHEDULE, optimizer=OPTIMIZER,
        phase="operators",
    )  # fmt: skip


def test_the_held_latents_are_what_the_searches_start_from(
    operator_step, tiny_batch, tiny_model, new_state
):
    latents = 3.0 * hold_anchors(new_state(), model=tiny_model)
    _, wrong = operator_step(new_state(), jax.random.key(3), tiny_batch, latents)
    _, right = operator_step(new_state(), jax.random.key(3), tiny_batch)
    assert abs(wrong["prior"] - right["prior"]) > 0.1


def test_a_rejected_operator_step_changes_no_bit(operator_step, tiny_batch, new_state):
    start = new_state()
    groups = start.opt_state.inner_states
    rate = jnp.full_like(groups["operators"].inner_state.rate, 1e3)  # far too long
    state = groups["operators"].inner_state._replace(rate=rate)
    groups = {**groups, "operators": groups["operators"]._replace(inner_state=state)}
    start = start.replace(opt_state=start.opt_state._replace(inner_states=groups))
    before = np.asarray(start.params.operators).tobytes()
    moved, metrics = operator_step(start, jax.random.key(0), tiny_batch)
    assert not bool(metrics["operator_step_accepted"])
    assert np.asarray(moved.params.operators).tobytes() == before
    # Lengths of paths are constants here, and the posterior's residual is tiny.
    length = WEIGHTS.prior_l1 * metrics["prior_path_length"]
    terms = metrics["prior"] - length + metrics["operator_norm"]
    np.testing.assert_allclose(metrics["transport_objective_before"], terms, atol=1e-3)


def test_scale_is_chosen_when_the_warm_up_ends(
    train, new_state, tiny_model, next_batch
):
    state = train(new_state(), dataclasses.replace(SCHEDULE, steps=3))
    inputs = jnp.concatenate([next_batch(3 + i).inputs for i in range(16)])
    wanted = float(latent_magnitude(state.params, inputs, model=tiny_model))
    assert float(state.params.latent_scale) == 2.0
    chosen = train(state, dataclasses.replace(SCHEDULE, steps=4), scale=True)
    np.testing.assert_allclose(chosen.params.latent_scale, wanted, rtol=1e-5)


@pytest.mark.parametrize("bad", [2, 5, 10])
def test_a_loss_that_is_not_finite_stops_with_all_there_is_to_see(
    bad, train, tiny_batch, new_state, next_batch
):
    def poisoned(step):
        batch = next_batch(step)
        value = jnp.nan if step == bad else 0.0
        return batch._replace(inputs=batch.inputs.at[1, 0].add(value))

    phase = phase_at(bad, SCHEDULE)
    whole = []
    options = {"save_every": 4}
    train(new_state(), dataclasses.replace(SCHEDULE, steps=max(bad, 3)),
          save=lambda state: whole.append(to_host(state)), **options)  # fmt: skip
    with pytest.raises(
        NonFiniteLossError, match=rf"step {bad + 1} \({phase}\).*reconstruction"
    ) as caught:
        train(new_state(), next_batch=poisoned, debug_nans=True, **options)
    failure = caught.value.failure
    assert (failure.step, failure.phase) == (bad + 1, phase)
    assert {"loss", "reconstruction", "gradient_norm"} <= set(failure.terms)
    assert int(failure.state.step) == bad
    if bad > 3:
        assert_same_bits(failure.state, whole[-1])  # the state before it, to the bit
    assert np.isnan(failure.batch.inputs[1, 0])
    assert np.isfinite(failure.batch.inputs[0]).all()
    assert any("encoder" in name for name in failure.parameters) == (
        phase in ("warm_up", "network")
    )
    assert "networks" in failure.line
    assert "invalid value (nan)" in failure.line


def test_a_gradient_that_overflows_stops_too(train, new_state, next_batch):
    def huge(step):  # its square is finite, that of its gradient is not
        batch = next_batch(step)
        factor = 1e12 if batch.inputs.dtype == jnp.float32 else 1e90
        return batch._replace(inputs=batch.inputs * (factor if step == 1 else 1.0))

    with pytest.raises(NonFiniteLossError, match=r"step 2 .*gradient_norm") as caught:
        train(new_state(), next_batch=huge)
    assert caught.value.failure.line is None


def test_bad_initial_states(tiny_model, tiny_batch, tiny_params, unchecked):
    build = lambda **changes: init_state(
        jax.random.key(0),
        **{
            "model": tiny_model, "num_operators": 2, "inputs": tiny_batch.inputs,
            "anchors": tiny_params.anchors, **changes,
        },
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"num_operators.*0"):
        build(num_operators=0)
    with pytest.raises(ValueError, match=r"anchors.*\[2, 0, 5\]"):
        build(anchors=tiny_params.anchors[:, :0])
    with pytest.raises(ValueError, match=r"anchors.*\[5\].*\[2, 3, 4\]"):
        build(anchors=tiny_params.anchors[..., :4])


@pytest.mark.parametrize("fails", [False, True])
def test_steps_of_later_phases_are_lowered_once_the_first_is_taken(
    fails, new_state, next_batch, tiny_model
):
    lowered, taken = [], []

    class Step:
        def __init__(self, phase):
            self.phase = phase
            self.step = make_train_step(
                phase, model=tiny_model, weights=WEIGHTS, schedule=SCHEDULE,
                optimizer=OPTIMIZER,
            )  # fmt: skip

        def __call__(self, *arguments):
            return self.step(*arguments)

        def lower(self, *shapes):
            # Two threads cannot trace at once.
            assert threading.current_thread() is threading.main_thread()
            lowered.append((self.phase, list(taken)))
            if fails:
                raise TypeError("no such shapes")
            return self.step.lower(*shapes)

    train = functools.partial(
        fit, jax.random.key(3), next_batch=next_batch, schedule=SCHEDULE,
        hold=functools.partial(hold, model=tiny_model),
        on_step=lambda step, *more: taken.append(step),
    )  # fmt: skip
    ahead = train(state=new_state(), make_step=Step)
    assert lowered == [("network", [1]), ("operators", [1])]
    # One that cannot be lowered is compiled when it is called.
    alone = train(state=new_state(), make_step=lambda phase: Step(phase).__call__)
    assert_same_bits(ahead, alone)


def test_what_is_compiled_ahead_is_not_compiled_again(
    new_state, tiny_model, tiny_batch
):
    schedule = dataclasses.replace(SCHEDULE, network_prior_factor=0.125)  # a new one
    compiled = []

    def note(event, seconds, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            if about.get("fun_name") == "jit(step)":
                compiled.append(threading.current_thread().name)

    steps = functools.partial(
        make_train_step, model=tiny_model, weights=WEIGHTS, schedule=schedule,
        optimizer=OPTIMIZER,
    )  # fmt: skip
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        fit(
            jax.random.key(3), new_state(), lambda step: tiny_batch, schedule=schedule,
            make_step=steps,
        )  # fmt: skip
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert "compile-ahead_0" in compiled
    assert len(compiled) <= 3
