"""Pairs shared among the cores of one CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from vaells_jax.inference import InferenceOptions, devices, infer_coefficients

ALONE = jax.default_backend() == "cpu" and jax.local_device_count() == 1
one_device = pytest.mark.skipif(not ALONE, reason="wants a single CPU device")


@pytest.fixture(scope="module")
def planted(dtype):
    """Coefficients near 0 of 2 x 301 pairs, which the search finds from near 0."""
    rng = np.random.default_rng(0)
    operators = rng.normal(size=(2, 3, 3))
    start = rng.normal(size=(301, 3))
    truth = rng.uniform(-0.2, 0.2, size=(2, 301, 2))
    paths = np.einsum("abm,mij->abij", truth, operators)
    end = np.einsum("abij,bj->abi", expm(paths), start)
    return tuple(jnp.asarray(x, dtype) for x in (operators, start, end)), truth


@one_device
@pytest.mark.parametrize("count", [1, 2, 3])
def test_cores_share_the_pairs_and_change_no_order(count, planted, monkeypatch):
    problem, truth = planted
    used = []
    spread = devices.in_threads
    monkeypatch.setattr(devices, "cores", lambda: count)
    monkeypatch.setattr(devices, "PAIRS_PER_DEVICE", 100)
    monkeypatch.setattr(
        "vaells_jax.inference.api.in_threads",
        lambda work, shares: used.append(len(shares)) or spread(work, shares),
    )
    options = InferenceOptions(l1_weight=1e-9, initial_range=(-0.1, 0.1))
    fit = infer_coefficients(jax.random.key(0), *problem, options=options)
    assert used == [count] * (count > 1)
    assert fit.objective.shape == fit.converged.shape == (2, 301)
    errors = np.abs(np.asarray(fit.coefficients) - truth).max(axis=-1)
    assert np.mean(errors < 1e-3) > 0.98
    assert np.all(np.asarray(fit.objective)[errors < 1e-3] < 1e-6)


@one_device
def test_what_holds_in_one_thread_alone_is_not_shared(planted, monkeypatch):
    (operators, start, end), _ = planted
    monkeypatch.setattr(devices, "cores", lambda: 2)
    count = lambda *arrays: devices.usable_cores(600, *arrays)
    assert count(operators, start, end) == 2
    assert devices.usable_cores(500, start) == 1  # fewer than 256 each
    other = not jax.config.jax_enable_x64
    with jax.enable_x64(other):
        assert count(start) == 1
    with jax.debug_infs(True):
        assert count(start) == 1
    # It is the only device there is.
    assert count(jax.device_put(start, jax.devices()[0])) == 2
    assert jax.jit(lambda x: jnp.asarray(count(x)))(start) == 1
