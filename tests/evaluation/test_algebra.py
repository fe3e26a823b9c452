import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation

from vaells_jax.evaluation.algebra import as_record, describe_operators

# Generators of SO(3): [L_x, L_y] = L_z, and so on.
LX = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
LY = np.array([[0.0, 0, 1], [0, 0, 0], [-1, 0, 0]])
LZ = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(400, 3))


def test_so3_is_closed_and_does_not_commute(points):
    found = describe_operators(2.0 * np.stack([LX, LY, LZ]), points)
    np.testing.assert_allclose(found.norms, 2 * np.sqrt(2))
    # |[A, B]| = |L_z| sqrt(2) ... over 2 |A| |B|: sqrt(2) / 4.
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found.commutators[off], np.sqrt(2) / 4)
    np.testing.assert_allclose(np.diag(found.commutators), 0.0)
    np.testing.assert_allclose(found.closure[off], 0.0, atol=1e-12)
    assert np.all(np.isnan(np.diag(found.closure)))
    # Two alone are not closed: their bracket is the third.
    two = describe_operators(np.stack([LX, LY]), points)
    np.testing.assert_allclose(two.closure[0, 1], 1.0)


def test_order_swap_is_that_of_rotations(points):
    found = describe_operators(np.stack([3 * LX, 5 * LY]), points, reach=0.3)
    x = Rotation.from_rotvec([0.3, 0, 0])
    y = Rotation.from_rotvec([0, 0.3, 0])
    apart = (x * y).apply(points) - (y * x).apply(points)
    wanted = np.sqrt(np.mean(apart**2) / np.mean(points**2))
    assert found.order_swap[0, 1] == pytest.approx(wanted)
    assert found.order_swap[0, 0] == pytest.approx(0.0, abs=1e-12)


def test_planes_their_energy_and_their_frequencies():
    rng = np.random.default_rng(1)
    blocks = [
        np.array([[0.1, -3.0], [3.0, 0.1]]), np.array([[-0.2, -1.0], [1.0, -0.2]]),
        np.array([[0.5]]),
    ]  # fmt: skip
    A = scipy.linalg.block_diag(*blocks)
    spread = np.array([1.0, 1.0, 3.0, 3.0, 2.0])
    Q = Rotation.random(random_state=0).as_matrix()
    Q = scipy.linalg.block_diag(Q, np.eye(2))[:, rng.permutation(5)]
    latents = spread * rng.normal(size=(50_000, 5))
    found = describe_operators((Q @ A @ Q.T)[None], latents @ Q.T)
    growth, frequency, energy = np.array(found.planes[0]).T
    np.testing.assert_allclose(growth, [-0.2, 0.5, 0.1], atol=1e-9)
    np.testing.assert_allclose(frequency, [1.0, 0.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(energy, [18 / 24, 4 / 24, 2 / 24], rtol=0.03)
    np.testing.assert_allclose(found.frequency_ratios[0], [1.0, 3.0])


def test_operators_that_commute_and_operators_of_zeros(points):
    A = np.random.default_rng(2).normal(size=(3, 3))
    found = describe_operators(np.stack([A, A @ A, np.zeros((3, 3))]), points)
    np.testing.assert_allclose(found.commutators, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.order_swap, 0.0, atol=1e-10)
    assert all(plane[:2] == (0.0, 0.0) for plane in found.planes[2])
    defective = describe_operators(
        np.array([[[0.0, 1, 0], [0, 0, 1], [0, 0, 0]]]), points
    )
    assert np.isfinite(np.array(defective.planes)).all()
    record = as_record(found)
    assert record["closure"][0][1] is None
    assert record["planes"][2][0]["growth"] == 0.0


def test_what_cannot_be_described_is_refused(points, unchecked):
    for operators, latents in (
        (np.zeros((0, 3, 3)), points), (np.ones((1, 3, 3)), points[:0]),
        (np.nan * np.ones((1, 3, 3)), points), (np.ones((1, 3, 3)), np.inf * points),
        (np.ones((1, 2, 2)), points), (np.ones((3, 3)), points),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="operators|latents"):
            describe_operators(operators, latents)
    with pytest.raises(ValueError, match="reach"):
        describe_operators(np.ones((1, 3, 3)), points, reach=0.0)
