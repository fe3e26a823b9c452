import numpy as np
import pytest
from scipy import stats

from vaells_jax.evaluation import structure

RNG = np.random.default_rng(0)


def circles(count=721):
    angles = np.linspace(0.0, 2.0 * np.pi, count)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.stack([0.5 * unit, unit])


def on_circle(angles, radius):
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def arc_path(starts, ends, times):
    """Join points about the origin: the angle goes the short way, the radius too."""
    first = np.arctan2(starts[:, 1], starts[:, 0])
    turn = np.arctan2(ends[:, 1], ends[:, 0]) - first
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    angles = first[:, None] + turn[:, None] * times[None, :]
    radii = np.linalg.norm(starts, axis=1)[:, None, None]
    return radii * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_the_spectrum_names_the_rotation_that_dominates():
    operators = np.array(
        [
            [[0.1, 0.0], [0.0, -0.2]],
            [[0.03, -0.6], [0.6, 0.03]],
        ]
    )
    spectrum = structure.spectrum(operators)
    norms = [np.hypot(0.1, 0.2), np.sqrt(2 * (0.03**2 + 0.36))]
    np.testing.assert_allclose(spectrum.norms, norms)
    np.testing.assert_allclose(spectrum.eigenvalues[1], [0.03 + 0.6j, 0.03 - 0.6j])
    assert spectrum.dominant == 1
    assert spectrum.dominant_share == pytest.approx(norms[1] / sum(norms))
    assert spectrum.rotation_purity == pytest.approx(0.05)
    assert structure.spectrum(operators[:1]).rotation_purity == np.inf


def test_rank_correlation_is_spearmans_without_its_sign():
    first, noise = RNG.normal(size=(2, 60))
    for second in (first + noise, -first + 0.1 * noise, noise):
        expected = abs(stats.spearmanr(first, second).statistic)
        assert structure.rank_correlation(first, second) == pytest.approx(expected)


def test_residuals_are_relative_and_of_the_nearest():
    targets = np.array([[3.0, 4.0], [0.0, 2.0]])
    reached = np.array([[[3.0, 4.5], [9.0, 9.0]], [[5.0, 5.0], [0.0, 2.0]]])
    np.testing.assert_allclose(
        structure.relative_residuals(targets, reached), [0.1, 0.0]
    )


def test_points_are_located_on_their_curves():
    angles = RNG.uniform(0.0, 2.0 * np.pi, 500)
    radii = RNG.choice([0.45, 0.6, 0.9, 1.2], 500)
    place = structure.locate(on_circle(angles, radii[:, None]), circles())
    own = np.where(radii < 0.75, 0.5, 1.0)
    np.testing.assert_array_equal(place.label, (own == 1.0).astype(int))
    np.testing.assert_allclose(place.distance, np.abs(radii - own), atol=2e-5)
    # Off the curve the chord's normal and the circle's differ by half a chord's angle.
    np.testing.assert_allclose(place.position, angles / (2 * np.pi), atol=2e-4)


def test_paths_along_the_circles_score_and_chords_do_not():
    angles, ends = RNG.uniform(0.0, 2.0 * np.pi, (2, 50))
    labels = RNG.integers(2, size=50)
    radii = np.where(labels == 0, 0.5, 1.0)[:, None]
    score = lambda path, decode=lambda z: z: structure.path_score(
        on_circle(angles, radii), on_circle(ends, radii), labels,
        encode=lambda x: x, decode=decode, path=path, curves=circles(),
    )  # fmt: skip
    arcs = score(arc_path)
    assert arcs.error < 1e-4
    assert arcs.class_preservation == 1.0
    chords = score(structure.straight_line)
    assert chords.error > 0.1
    assert chords.class_preservation < 0.9
    # The error is in units of the data's norm: a decoder off by 10 % shows it.
    data = np.sqrt(np.mean(radii**2))
    scaled = score(arc_path, lambda z: 1.1 * z)
    assert scaled.error == pytest.approx(0.1 * data / data, rel=1e-3)


def test_prior_samples_on_half_a_circle_are_precise_and_cover_half():
    angles = RNG.uniform(0.0, np.pi, 4000)
    curves = circles()[1:]
    score = structure.prior_score(on_circle(angles, 1.0), curves, tolerance=0.01)
    assert score == structure.PriorScore(1.0, 0.5)
    wild = on_circle(angles, np.where(angles < 1.0, 1.2, 1.0)[:, None])
    score = structure.prior_score(wild, curves, tolerance=0.01)
    assert score.precision == pytest.approx(np.mean(angles >= 1.0))


def test_arcs_are_shared_among_curves_by_their_length():
    angles = RNG.uniform(0.0, 2.0 * np.pi, 6000)
    inner = structure.prior_score(on_circle(angles, 0.5), circles(), tolerance=0.01)
    assert inner.coverage == pytest.approx(1 / 3, abs=0.011)


def test_separation_counts_neighbours_of_another_class():
    train = np.array([[0.0, 0.0], [1.0, 0.0]])
    test = np.array([[0.1, 0.0], [0.9, 0.0], [0.2, 0.0], [0.8, 0.0]])
    labels = np.array([0, 1, 1, 1])
    share = structure.class_separation(train, np.array([0, 1]), test, labels)
    assert share == 0.75


def test_a_sheared_circle_off_the_centre_has_no_spread():
    angles = RNG.uniform(0.0, 2.0 * np.pi, 300)
    shear = np.array([[2.0, 0.5], [0.0, 0.7]])
    ellipse = on_circle(angles, 1.0) @ shear.T + np.array([3.0, -2.0])
    assert structure.radius_spread(ellipse) < 1e-8
    radii = 1.0 + 0.05 * RNG.normal(size=300)
    noisy = on_circle(angles, radii[:, None]) @ shear.T
    assert structure.radius_spread(noisy) == pytest.approx(0.05, rel=0.15)
    branch = np.linspace(-1.0, 1.0, 50)
    hyperbola = np.stack([np.cosh(branch), np.sinh(branch)], axis=1)
    assert structure.radius_spread(hyperbola) == np.inf


def test_bad_shapes_are_named(unchecked):
    with pytest.raises(ValueError, match="operators must be"):
        structure.spectrum(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="second must be"):
        structure.rank_correlation(np.ones(3), np.ones(4))


def test_straight_line_ends_where_it_should():
    starts, ends = np.array([[0.0, 1.0]]), np.array([[2.0, -1.0]])
    path = structure.straight_line(starts, ends, np.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(path[0], [[0.0, 1.0], [0.5, 0.5], [2.0, -1.0]])
