import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats

from vaells_jax.data.symmetries import rotation_generators
from vaells_jax.evaluation.spans import (
    algebra_score,
    circular_wasserstein,
    count_generators,
    extrapolation_error,
    span_angles,
    turned_angles,
)

RANDOM = np.random.default_rng(0)
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
TURNS = rotation_generators(3)


def test_mixtures_and_vanished_operators_have_the_same_span():
    mixed = np.einsum("ab,bij->aij", RANDOM.normal(size=(3, 3)), TURNS)
    surplus = 1e-9 * RANDOM.normal(size=(2, 3, 3))
    angles = span_angles(np.concatenate([surplus, mixed]), TURNS)
    np.testing.assert_allclose(angles, 0.0, atol=1e-5)
    assert angles.shape == (3,)


@pytest.mark.parametrize("degrees", [0.0, 3.0, 45.0, 90.0])
def test_a_tilted_operator_has_its_tilt(degrees):
    tilt = np.radians(degrees)
    # I and the turn are at right angles and of one length.
    tilted = np.cos(tilt) * TURN + np.sin(tilt) * np.eye(2)
    found = span_angles(-7.0 * tilted[None], TURN[None])
    np.testing.assert_allclose(found, [degrees], atol=1e-5)


def test_a_missed_generator_is_ninety_degrees():
    found = np.concatenate([TURNS[:2], np.zeros((1, 3, 3))])
    np.testing.assert_allclose(span_angles(found, TURNS), [90.0, 0.0, 0.0], atol=1e-5)
    np.testing.assert_array_equal(span_angles(np.zeros((2, 2, 2)), TURN[None]), [90.0])


def test_random_operators_have_the_angle_of_random_lines():
    # |cos| of a direction among those of R^4 and an axis: cos^2 ~ Beta(1/2, 3/2).
    median = np.degrees(np.arccos(np.sqrt(scipy.stats.beta(0.5, 1.5).median())))
    assert median == pytest.approx(66, abs=0.5)
    drawn = RANDOM.normal(size=(2000, 1, 2, 2))
    angles = [span_angles(operators, TURN[None])[0] for operators in drawn]
    assert np.median(angles) == pytest.approx(median, abs=2.0)


def test_operators_are_counted_by_their_share():
    operators = np.array([1.0, 0.11, 0.09, 0.0])[:, None, None] * TURN
    assert count_generators(operators) == 2
    assert count_generators(operators, share=0.05) == 3
    assert count_generators(0.0 * operators) == 0


def test_turns_are_an_algebra_and_two_of_them_are_not():
    points = RANDOM.normal(size=(10, 3))
    small = 1e-3 * RANDOM.normal(size=(1, 3, 3))  # switched off: not part of it
    whole = algebra_score(np.concatenate([TURNS, small]), points)
    # |[X, Y]| = |Z| = sqrt 2 and |X| |Y| = 2.
    assert whole.commutator == pytest.approx(np.sqrt(2) / 4)
    assert whole.closure == pytest.approx(0.0, abs=1e-12)
    # The bracket of two is the third, all of it outside.
    assert algebra_score(TURNS[:2], points).closure == pytest.approx(np.sqrt(2) / 4)
    apart = np.array([scipy.linalg.block_diag(TURN, 0 * TURN),
                      scipy.linalg.block_diag(0 * TURN, TURN)])  # fmt: skip
    points = RANDOM.normal(size=(10, 4))
    assert algebra_score(apart, points) == (0.0, 0.0)
    assert algebra_score(apart[:1], points) == (0.0, 0.0)
    nearly = apart + 1e-4 * RANDOM.normal(size=apart.shape)
    assert 0.0 < algebra_score(nearly, points).closure < 1e-3


def brute_force(a, b):
    """Match as many angles to each other at the least mean arc."""
    arcs = np.abs(np.angle(np.exp(1j * (a[:, None] - b[None]))))
    rows, columns = scipy.optimize.linear_sum_assignment(arcs)
    return arcs[rows, columns].mean()


@pytest.mark.parametrize("seed", range(5))
def test_the_circular_distance_is_the_best_matchings(seed):
    random = np.random.default_rng(seed)
    a = random.vonmises(random.uniform(-3, 3), 1.0, size=40)
    b = random.vonmises(random.uniform(-3, 3), 4.0, size=40)
    wanted = brute_force(a, b)
    assert circular_wasserstein(a, b) == pytest.approx(wanted)
    assert circular_wasserstein(b + 2.0, a + 2.0) == pytest.approx(wanted)
    assert circular_wasserstein(np.repeat(a, 3), b) == pytest.approx(wanted)


def test_circular_distances_by_hand():
    quarters = np.arange(4) * np.pi / 2
    assert circular_wasserstein(quarters, quarters - 2 * np.pi) == pytest.approx(0.0)
    # Across the cut at 0.
    one = lambda angle: np.array([angle])
    assert circular_wasserstein(one(0.1), one(-0.1)) == pytest.approx(0.2)
    assert circular_wasserstein(one(0.0), one(np.pi)) == pytest.approx(np.pi)
    assert circular_wasserstein(quarters, quarters + np.pi / 4) == pytest.approx(
        np.pi / 4
    )
    # An even circle: each quarter's mean arc is pi / 8 to its middle; a point's pi / 2.
    even = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    assert circular_wasserstein(quarters, even) == pytest.approx(np.pi / 8, abs=1e-3)
    assert circular_wasserstein(one(1.0), even) == pytest.approx(np.pi / 2, abs=1e-3)


def test_angles_are_read_from_turns_that_also_scale():
    angles = np.array([-3.0, -0.5, 0.0, 1.0, 3.1])
    moves = scipy.linalg.expm(angles[:, None, None] * TURN + 0.3 * np.eye(2))
    np.testing.assert_allclose(turned_angles(moves), angles, atol=1e-12)
    # No rotation is nearer.
    A = RANDOM.normal(size=(1, 2, 2))
    grid = np.linspace(-np.pi, np.pi, 100_001)
    rows = [[np.cos(grid), -np.sin(grid)], [np.sin(grid), np.cos(grid)]]
    turns = np.moveaxis(rows, -1, 0)
    nearest = grid[np.linalg.norm(turns - A, axis=(1, 2)).argmin()]
    assert turned_angles(A)[0] == pytest.approx(nearest, abs=1e-4)


def test_extrapolation_of_a_slow_and_of_a_perfect_operator():
    start = RANDOM.normal(size=(8, 2))
    amounts = RANDOM.uniform(-1, 1, size=(8, 1))
    follow = lambda c: np.einsum(
        "nij,nj->ni", scipy.linalg.expm(c[:, :, None] * TURN), start
    )
    # Twice the operator, half the coefficients.
    best = extrapolation_error(2 * TURN[None], amounts / 2, start, follow(3 * amounts))
    assert best == pytest.approx(0.0, abs=1e-5)
    still = extrapolation_error(TURN[None], 0 * amounts, start, follow(3 * amounts))
    chord = 2 * np.sin(1.5 * amounts) * np.linalg.norm(start, axis=1, keepdims=True)
    wanted = np.linalg.norm(chord) / np.linalg.norm(start)
    assert still == pytest.approx(wanted, rel=1e-5)
    one = extrapolation_error(TURN[None], amounts, start, follow(amounts), stretch=1.0)
    assert one == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: span_angles(TURN[None], np.stack([TURN, TURN])), "independent"),
        (lambda: span_angles(TURNS[:2], TURNS), "at least as many as generators, 3"),
        (lambda: count_generators(TURNS, share=1.0), "share must be less than 1"),
        (lambda: algebra_score(0 * TURNS, np.ones((4, 3))), "must not all be zero"),
    ],
)
def test_what_has_no_score(call, words):
    with pytest.raises(ValueError, match=words):
        call()
