import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from benchmarks.adversarial import (
    AdversarialOptions,
    _alike,
    _transform,
    adversarial_generators,
)
from vaells_jax.data.symmetries import SYMMETRIES
from vaells_jax.evaluation.spans import span_angles


def test_points_are_moved_by_the_exponential_of_one_generator():
    L = jnp.asarray(SYMMETRIES["so2_so2"].generators, jnp.result_type(float))
    start = jax.random.normal(jax.random.key(0), (200, 4))
    moved = np.asarray(_transform(jax.random.key(1), L, start, AdversarialOptions()))
    planes = lambda x: np.asarray(x).reshape(-1, 2, 2) @ [1.0, 1.0j]
    angles = np.angle(planes(moved) / planes(start))
    assert np.all(np.isclose(angles, 0.0, atol=1e-5).sum(axis=1) == 1)
    assert 0.95 < np.abs(angles).max() < 1.0
    blocks = [scipy.linalg.expm(a * SYMMETRIES["so2"].generators[0]) for a in angles[0]]
    wanted = scipy.linalg.block_diag(*blocks) @ np.asarray(start[0])
    np.testing.assert_allclose(moved[0], wanted, atol=1e-5)


def test_equal_generators_are_as_alike_as_can_be():
    A = jnp.asarray([[0.0, -1.0], [1.0, 0.0]])
    assert _alike(jnp.stack([A, -2 * A])) == pytest.approx(1.0)
    assert _alike(jnp.stack([A, jnp.eye(2)])) == pytest.approx(0.0)


@pytest.mark.slow
def test_the_game_finds_turns():
    truth = SYMMETRIES["so2"]
    pairs = truth.pairs(jax.random.key(0), 1000)
    found = adversarial_generators(
        jax.random.key(1), pairs.start, pairs.end, num_generators=1,
        options=AdversarialOptions(steps=5000, hidden=64, batch_size=128),
    )  # fmt: skip
    assert span_angles(found, truth.generators)[0] < 3.0
    # Coefficients reach a radian: the norm is fixed too.
    assert np.linalg.norm(found) == pytest.approx(np.sqrt(2), rel=0.1)
