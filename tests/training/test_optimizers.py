import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaells_jax.training.optimizers import (
    PARAM_LABELS,
    OptimizerOptions,
    accept_reject_descent,
    is_active,
    make_optimizer,
)


def half_square(x):
    return 0.5 * jnp.sum(x**2)


def take(transform, state, x, objective=half_square):
    gradient = jax.grad(half_square)(x)
    updates, state = transform.update(gradient, state, x, objective=objective)
    return optax.apply_updates(x, updates), state


def test_a_step_that_pays_is_taken_and_the_rate_raised(dtype):
    transform = accept_reject_descent(0.1, 1.0)
    x = jnp.array([2.0, -1.0], dtype)
    moved, state = take(transform, transform.init(x), x)
    np.testing.assert_allclose(moved, 0.9 * np.asarray(x), rtol=1e-6)
    np.testing.assert_allclose(state.rate, 0.1 / 0.99, rtol=1e-6)
    assert bool(state.accepted)
    np.testing.assert_allclose(state.before, 2.5, rtol=1e-6)
    np.testing.assert_allclose(state.after, 0.81 * 2.5, rtol=1e-6)


@pytest.mark.parametrize("worse", [3.0, float("inf"), float("nan")])
def test_a_step_that_does_not_pay_leaves_every_bit(worse, dtype):
    transform = accept_reject_descent(0.1, 1.0)
    x = jnp.array([2.0, -1.0, 1e-30], dtype)
    rises = lambda y: jnp.where(jnp.all(y == x), 2.5, worse)
    moved, state = take(transform, transform.init(x), x, rises)
    assert np.asarray(moved).tobytes() == np.asarray(x).tobytes()
    np.testing.assert_allclose(state.rate, 0.1 * 0.99, rtol=1e-6)
    assert not bool(state.accepted)


def test_an_equal_objective_is_a_rejection(dtype):
    transform = accept_reject_descent(0.1, 1.0)
    x = jnp.array([1.0], dtype)
    _, state = take(transform, transform.init(x), x, lambda y: jnp.zeros((), dtype))
    assert not bool(state.accepted)


def test_the_rate_is_capped_and_finds_its_level(dtype):
    transform = accept_reject_descent(0.1, 0.5)
    x = jnp.array([1.0], dtype)
    state = transform.init(x)
    step = jax.jit(lambda x, state: take(transform, state, x))
    rates = []
    for _ in range(250):
        x, state = step(x, state)
        rates.append(float(state.rate))
    assert max(rates) <= 0.5 + 1e-6
    too_large = accept_reject_descent(10.0, 100.0)  # overshoots until below 2
    x, state = jnp.array([1.0], dtype), too_large.init(jnp.array([1.0], dtype))
    step = jax.jit(lambda x, state: take(too_large, state, x))
    for _ in range(250):
        x, state = step(x, state)
    assert 1.5 < float(state.rate) < 2.5


@pytest.mark.parametrize("phase", ["warm_up", "network", "operators", "joint"])
def test_idle_groups_keep_parameters_and_state(phase, tiny_params):
    options = OptimizerOptions(
        anchor_rate=0.1, operator_rate=0.1, max_operator_rate=0.1
    )
    start = make_optimizer(options, warm_up_steps=0, phase="joint").init(tiny_params)
    transform = make_optimizer(options, warm_up_steps=0, phase=phase)
    gradients = jax.tree.map(jnp.ones_like, tiny_params)
    updates, state = transform.update(
        gradients, start, tiny_params,
        objective=lambda p: jnp.sum(p.operators).astype(jnp.float32),
    )  # fmt: skip
    moved = optax.apply_updates(tiny_params, updates)
    for name, before, after, active in zip(
        tiny_params._fields, tiny_params, moved, is_active(phase), strict=True
    ):
        for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            assert np.any(x != y) == active, name
    for group in ("networks", "anchors", "operators"):
        same = jax.tree.map(
            lambda x, y: np.array_equal(x, y),
            start.inner_states[group],
            state.inner_states[group],
        )
        if group not in [
            label
            for label, active in zip(PARAM_LABELS, is_active(phase), strict=True)
            if active
        ]:
            assert all(jax.tree.leaves(same)), group


@pytest.mark.parametrize(
    ("ramp_steps", "rates"),
    [(0, [1e-2, 1e-2, 1e-2, 1e-3, 1e-3]), (2, [0, 5e-3, 1e-2, 1e-3, 1e-3])],
)
def test_network_rate_rises_and_drops_after_the_warm_up(ramp_steps, rates, tiny_params):
    options = OptimizerOptions(
        network_rate=1e-2, ramp_steps=ramp_steps, rate_after_warm_up=0.1
    )
    transform = make_optimizer(options, warm_up_steps=3, phase="warm_up")
    state = transform.init(tiny_params)
    gradients = jax.tree.map(jnp.ones_like, tiny_params)
    steps = []
    for _ in range(5):
        updates, state = transform.update(gradients, state, tiny_params)
        steps.append(-float(jax.tree.leaves(updates.encoder)[0].ravel()[0]))
    np.testing.assert_allclose(steps, rates, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"network_rate": -1.0}, "network_rate"), ({"beta1": 1.0}, "beta1.*1.0"),
     ({"anchor_rate": float("inf")}, "anchor_rate"),
     ({"operator_rate": 1e-3, "max_operator_rate": 5e-4}, "at most.*0.0005.*0.001")],
)  # fmt: skip
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        OptimizerOptions(**options)
