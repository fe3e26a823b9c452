import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from vaells_jax.evaluation.symmetry import coefficient_disagreement, lsbd
from vaells_jax.inference import InferenceOptions, infer_coefficients

RANDOM = np.random.default_rng(0)
CIRCLE = 2.0 * np.pi * np.arange(64) / 64


def turning(*phases):
    """Return the points of unit circles at some phases, side by side."""
    return np.concatenate([np.stack([np.cos(p), np.sin(p)], 1) for p in phases], 1)


def torus(*sizes):
    """Return a grid of angles, `[N, K]`, in a random order."""
    axes = [2.0 * np.pi * np.arange(n) / n for n in sizes]
    angles = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    return RANDOM.permutation(angles)


@pytest.mark.parametrize("frequency", [1, 3, -10])
def test_a_turning_plane_is_perfect_wherever_it_lies(frequency):
    mixed = turning(frequency * CIRCLE + 0.4) @ RANDOM.normal(size=(2, 5)) + 3.0
    score = lsbd(mixed, CIRCLE[:, None])
    assert score.dispersion == pytest.approx(0.0, abs=1e-12)
    assert score.frequencies == [abs(frequency)]


def test_a_frequency_beyond_the_greatest_is_not_found():
    score = lsbd(turning(4 * CIRCLE), CIRCLE[:, None], max_frequency=3)
    assert score.dispersion == pytest.approx(1.0)


def test_the_smaller_of_two_frequencies_is_dispersion():
    # |M_1|^2 over the mean of |z|^2 is 4 / (4 + 1).
    codes = 2.0 * turning(CIRCLE) + turning(3 * CIRCLE)
    score = lsbd(codes, CIRCLE[:, None])
    assert score.dispersion == pytest.approx(1 / 5)
    assert score.frequencies == [1]


def test_an_uneven_turn_has_the_dispersion_of_quadrature():
    # By symmetry the principal components are x and y, which quadrature whitens.
    phase = lambda t: t + 0.6 * np.sin(t)
    mean = lambda f: scipy.integrate.quad(f, -np.pi, np.pi)[0] / (2.0 * np.pi)
    x, y = (lambda t: np.cos(phase(t))), (lambda t: np.sin(phase(t)))
    centre = mean(x)
    stds = np.sqrt([mean(lambda t: (x(t) - centre) ** 2), mean(lambda t: y(t) ** 2)])
    turned = [mean(lambda t: (x(t) - centre) * np.cos(t)),
              mean(lambda t: y(t) * np.sin(t))]  # fmt: skip
    expected = 1.0 - np.sum(turned / stds) ** 2 / 2.0
    score = lsbd(turning(phase(CIRCLE)), CIRCLE[:, None])
    assert 0.01 < expected < 0.5
    assert score.dispersion == pytest.approx(expected, rel=1e-6)


def test_what_does_not_turn():
    angles = CIRCLE[:, None]
    line = np.cos(angles)
    assert lsbd(line, angles).dispersion == pytest.approx(3 / 4)
    assert lsbd(line * [1.0, 2.0, 0.0], angles).dispersion == pytest.approx(3 / 4)
    assert lsbd(np.full((64, 3), 0.1), angles).dispersion == 1.0
    noise = RANDOM.normal(size=(600, 4))
    angles = 2.0 * np.pi * np.arange(600)[:, None] / 600
    assert 0.95 < lsbd(noise, angles).dispersion < 1.0


def test_random_angles_leave_about_one_part_in_their_number():
    angles = RANDOM.uniform(0.0, 2.0 * np.pi, size=(20, 1_000, 1))
    found = [lsbd(turning(a[:, 0]), a).dispersion for a in angles]
    assert 0.2e-3 < np.mean(found) < 5e-3


def test_a_torus_of_planes_is_perfect_in_any_basis():
    angles = torus(24, 30)
    planes = turning(angles[:, 0], -2 * angles[:, 1])
    score = lsbd(planes @ RANDOM.normal(size=(4, 6)), angles)
    np.testing.assert_allclose(score.per_factor, 0.0, atol=1e-12)
    np.testing.assert_array_equal(score.frequencies, [1, 2])
    assert score.dispersion == pytest.approx(np.mean(score.per_factor))


def test_planes_that_turn_with_both_factors_are_entangled():
    angles = torus(24, 24)
    a, b = angles.T
    np.testing.assert_allclose(lsbd(turning(a + b, a - b), angles).per_factor, 1.0)
    # A plane of the second factor's own is hidden by a larger one that both turn.
    score = lsbd(np.concatenate([2.0 * turning(a + b), turning(b)], 1), angles)
    np.testing.assert_allclose(score.per_factor, [1.0, 1.0], atol=1e-9)


def test_a_plane_of_its_own_is_found_beside_one_that_is_shared():
    a, b = (angles := torus(24, 24)).T
    codes = np.concatenate([0.5 * turning(a + b), 2.0 * turning(b)], axis=1)
    # The larger plane turns with the second factor alone.
    score = lsbd(codes, angles)
    np.testing.assert_allclose(score.per_factor, [1.0, 0.0], atol=1e-9)
    assert score.dispersion == pytest.approx(0.5)


def test_a_factor_that_is_not_in_the_codes_counts_as_noise():
    angles = torus(12, 12, 12)
    score = lsbd(turning(angles[:, 0], angles[:, 2]), angles, max_frequency=5)
    np.testing.assert_allclose(score.per_factor, [0.0, 1.0, 0.0], atol=1e-12)


def test_single_precision_and_arrays_of_jax():
    angles = torus(24, 24).astype(np.float32)
    codes = turning(angles[:, 0], 3 * angles[:, 1])
    score = lsbd(jnp.asarray(codes), jnp.asarray(angles))
    assert score.dispersion == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(score.frequencies, [1, 3])


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (torus(5, 5)[:-1], "24 combinations, 1 to 1 times, of .5, 5. values"),
        (RANDOM.uniform(size=(25, 2)), "25 combinations"),
        (np.array([*torus(5, 5), [0.0, 0.0]]), "25 combinations, 1 to 2 times"),
        (torus(2, 13), "at least 3 values each; got .2, 13."),
        (torus(5, 5) * np.nan, "angles must be finite"),
    ],
    ids=["one missing", "no grid", "one twice", "two values", "NaN"],
)
def test_angles_that_are_no_grid(angles, message, unchecked):
    with pytest.raises(ValueError, match=message):
        lsbd(RANDOM.normal(size=(len(angles), 4)), angles)


TURN = np.array([[[0.0, -1.0], [1.0, 0.0]]])


def inferred(operators):
    options = InferenceOptions(search="global", l1_weight=1e-4)

    def search(starts, ends):
        found = infer_coefficients(
            jax.random.key(0), jnp.asarray(operators), jnp.asarray(starts),
            jnp.asarray(ends), options=options,
        )  # fmt: skip
        return found.coefficients, None

    return search


def turned(angles, count=20):
    phases = RANDOM.uniform(-np.pi, np.pi, count)
    radii = RANDOM.uniform(0.5, 2.0, count)
    point = lambda p, r: r[..., None] * np.stack([np.cos(p), np.sin(p)], -1)
    ends = point(phases[:, None] + angles, radii[:, None] + 0.0 * np.asarray(angles))
    return point(phases, radii), ends


def test_rotations_get_equal_coefficients_whatever_the_point():
    starts, ends = turned([-1.0, -0.5, 0.5, 1.0])
    found = coefficient_disagreement(starts, ends, TURN, search=inferred(TURN))
    assert 0 <= found < 1e-4


def test_ellipses_of_other_axes_disagree_by_what_their_angles_do():
    """An operator of elliptic orbits, wrong for circles, wants other coefficients."""
    starts, ends = turned([-1.0, -0.5, 0.5, 1.0])
    ellipse = np.array([[[0.0, -2.5], [0.4, 0.0]]])
    found = coefficient_disagreement(starts, ends, ellipse, search=inferred(ellipse))
    assert found > 0.05


def test_the_share_is_that_of_an_analysis_of_variance():
    """Coefficients 3 t + e with variances 9 v and 1: the turn leaves 1 / (1 + 9 v)."""
    turns = np.array([-1.0, 0.0, 1.0])
    noise = RANDOM.normal(size=(4000, 3, 1))
    coefficients = 3.0 * turns[None, :, None] + noise
    dead = RANDOM.normal(size=(4000, 3, 1))  # of an operator that does nothing
    both = np.concatenate([coefficients, dead], axis=2).reshape(-1, 2)
    operators = np.concatenate([TURN, 0.0 * TURN])
    starts, ends = np.zeros((4000, 2)), np.zeros((4000, 3, 2))
    found = coefficient_disagreement(
        starts, ends, operators, search=lambda *_: (both, None)
    )
    assert found == pytest.approx(1.0 / (1.0 + 9.0 * 2.0 / 3.0), rel=0.03)


def test_coefficients_that_know_nothing_of_the_turn_disagree_wholly():
    drawn = RANDOM.normal(size=(4000 * 5, 1))
    starts, ends = np.zeros((4000, 2)), np.zeros((4000, 5, 2))
    found = coefficient_disagreement(
        starts, ends, TURN, search=lambda *_: (drawn, None)
    )
    assert found == pytest.approx(1.0, abs=2e-3)
