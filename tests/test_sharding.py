"""What many devices give is what one gives; wants JAX_NUM_CPU_DEVICES=8."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import InferenceOptions, LossWeights, infer_coefficients, init_state
from vaells_jax.evaluation.importance import ImportanceOptions, log_marginal_likelihood
from vaells_jax.evaluation.likelihood import estimate
from vaells_jax.model.types import Batch
from vaells_jax.sharding import (
    AXIS,
    make_mesh,
    on_mesh,
    place,
    place_batch,
    replicated,
    split,
)
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.fit import choose_scale, fit, transport_steps
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule
from vaells_jax.training.step import make_train_step

SCHEDULE = Schedule(steps=8, warm_up_steps=2, network_steps=2, operator_steps=2)
OPTIMIZER = OptimizerOptions(network_rate=1e-2, anchor_rate=1e-2, operator_rate=1e-4)
COLLECTIVE = re.compile(
    r"all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|"
    r"reduce-scatter"
)

eight = pytest.mark.skipif(
    "jax.device_count() < 8", reason="wants JAX_NUM_CPU_DEVICES=8"
)


@pytest.fixture(scope="module")
def batch(dtype):
    inputs = jax.random.normal(jax.random.key(0), (16, 5), dtype)
    return Batch(inputs, jnp.arange(16) % 2)


@pytest.fixture
def new_state(tiny_model, tiny_params, batch):
    return lambda: init_state(
        jax.random.key(7), model=tiny_model, num_operators=2, inputs=batch.inputs,
        anchors=jnp.array(tiny_params.anchors), optimizer=OPTIMIZER, latent_scale=2.0,
    )  # fmt: skip


@pytest.fixture
def train(tiny_model, new_state, batch):
    def run(devices):
        logged = []
        mesh = make_mesh(jax.devices()[:devices]) if devices else None
        next_batch = lambda step: batch._replace(inputs=batch.inputs + 0.01 * step)
        steps = transport_steps(
            model=tiny_model, weights=LossWeights(), schedule=SCHEDULE,
            optimizer=OPTIMIZER, mesh=mesh,
        )  # fmt: skip
        state = fit(
            jax.random.key(3), new_state(), next_batch, schedule=SCHEDULE,
            make_step=steps, mesh=mesh,
            after_warm_up=choose_scale(next_batch, model=tiny_model),
            on_step=lambda step, phase, metrics, state: logged.append(metrics),
        )  # fmt: skip
        return state, logged

    return run


@eight
def test_a_run_on_eight_devices_is_that_on_one(train, x64, tmp_path):
    (one, alone), (many, shared) = train(None), train(8)
    assert len(alone) == len(shared) == SCHEDULE.steps
    # Shares of other sizes let searches stop at other points within their tolerance; in
    # single precision one in some thousand ends in another valley.
    if x64:
        for a, b in zip(alone, shared, strict=True):
            assert a.get("operator_step_accepted") == b.get("operator_step_accepted")
            np.testing.assert_allclose(b["loss"], a["loss"], rtol=1e-5)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(shared[0]["loss"], alone[0]["loss"], rtol=1e-5)
    for leaf in jax.tree.leaves(many):  # every device decided the same
        copies = {np.asarray(x.data).tobytes() for x in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 8
        assert len(copies) == 1
    # One checkpoint serves any number of devices.
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(many)
    two = replicated(make_mesh(jax.devices()[:2]))
    for template in (one, place(one, two), many):
        found = checkpoints.restore(template)
        assert found.step.sharding == template.step.sharding
        for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(found), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    checkpoints.close()


@eight
def test_devices_search_without_a_word_between_them(dtype):
    mesh = make_mesh(jax.devices()[:8])
    options = InferenceOptions(restarts=2)
    operators = 0.3 * jax.random.normal(jax.random.key(0), (2, 4, 4), dtype)
    start, end = jax.random.normal(jax.random.key(1), (2, 64, 4), dtype)
    search = lambda *a: infer_coefficients(jax.random.key(2), *a, options=options)
    places = {
        "in_shardings": (replicated(mesh), split(mesh), split(mesh)),
        "out_shardings": split(mesh),
    }
    told = jax.jit(on_mesh(search, mesh), **places).lower(operators, start, end)
    compiled = told.compile()
    assert not COLLECTIVE.search(compiled.as_text())
    # Left to itself XLA makes them talk, or this test would say nothing.
    left = jax.jit(search, **places).lower(operators, start, end).compile()
    assert COLLECTIVE.search(left.as_text())
    alone = search(*(x for x in (operators, start, end)))
    shared = compiled(*(place(x, s) for x, s in zip(
        (operators, start, end), places["in_shardings"], strict=True
    )))  # fmt: skip
    agree = np.isclose(shared.objective, alone.objective, rtol=1e-3, atol=1e-5)
    assert agree.mean() > 0.98  # rounding decides a pair between two valleys
    np.testing.assert_array_equal(shared.converged, alone.converged)


def loop_bodies(text):
    """Return the computations that run inside a compiled program's loops."""
    computation = r"^(?:ENTRY )?%?([\w.\-]+) [^\n]*\{\n(.*?)^\}"
    bodies = dict(re.findall(computation, text, re.MULTILINE | re.DOTALL))
    called = lambda body: re.findall(
        r"(?:body|condition|to_apply|calls)=%?([\w.\-]+)", body
    )
    waiting = [
        name
        for body in bodies.values()
        for name in re.findall(r"(?:body|condition)=%?([\w.\-]+)", body)
    ]
    found = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += called(bodies[name])
    return {name: bodies[name] for name in found}


@eight
def test_no_loop_of_a_step_waits_for_other_devices(tiny_model, new_state, batch):
    mesh = make_mesh(jax.devices()[:8])
    step = make_train_step(
        model=tiny_model, weights=LossWeights(), schedule=SCHEDULE,
        optimizer=OPTIMIZER, phase="joint", mesh=mesh,
    )  # fmt: skip
    state, key = (place(x, replicated(mesh)) for x in (new_state(), jax.random.key(0)))
    text = step.lower(state, key, place_batch(batch, mesh)).compile().as_text()
    loops = loop_bodies(text)
    assert len(loops) > 5
    assert COLLECTIVE.search(text)  # the gradients' sum
    for body in loops.values():
        assert not COLLECTIVE.search(body)


@eight
@pytest.mark.parametrize("devices", [2, 8])
def test_likelihoods_on_many_devices_are_those_on_one(
    devices, tiny_model, tiny_params, batch, monkeypatch
):
    from vaells_jax.evaluation import importance, likelihood

    monkeypatch.setattr(likelihood, "PATHS_AT_ONCE", 36)  # three points at a time
    monkeypatch.setattr(importance, "DECODED_AT_ONCE", 32)  # two
    mesh = make_mesh(jax.devices()[:devices])
    options = ImportanceOptions(noise_std=0.1, coefficient_rate=1.0, num_samples=16)
    given = lambda: (tiny_params, jax.random.key(0), batch)
    both = {"model": tiny_model, "options": options}
    done = []
    for alone, shared in (
        (estimate(*given(), model=tiny_model),
         estimate(*given(), model=tiny_model, mesh=mesh, on_done=done.append)),
        (log_marginal_likelihood(*given(), **both),
         log_marginal_likelihood(*given(), **both, mesh=mesh)),
    ):  # fmt: skip
        for one, many in zip(alone, shared, strict=True):
            assert one.shape == (16,)
            np.testing.assert_allclose(many, one, rtol=1e-4)
    assert sum(done) == 16


def test_shares_are_equal(batch):
    device = jax.devices()[0]
    with pytest.raises(ValueError, match=r"distinct.*2 of which 1"):
        make_mesh([device, device])
    with pytest.raises(ValueError, match="at least one; got 0"):
        make_mesh([])
    mesh = make_mesh([device])
    assert mesh.axis_names == (AXIS,)
    assert place_batch(batch, mesh).inputs.sharding == split(mesh)


@eight
def test_a_batch_that_cannot_be_shared_equally_is_refused(batch):
    odd = jax.tree.map(lambda x: x[:13], batch)
    with pytest.raises(ValueError, match=r"multiple .* 8; got 13.*8 and 16"):
        place_batch(odd, make_mesh(jax.devices()[:8]))
