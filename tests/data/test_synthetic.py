import inspect

import jax
import numpy as np
import pytest
import scipy.stats

from vaells_jax.data.synthetic import concentric_circles, swiss_roll

SETS = pytest.mark.parametrize("draw", [swiss_roll, concentric_circles])


def test_the_swiss_roll_is_the_spiral():
    data = swiss_roll(jax.random.key(0), num_train=2000)
    assert data.train.inputs.shape == (2000, 20)
    x, y = np.asarray(data.train.latents, float).T
    radius = np.hypot(x, y)
    # The radius is t / 10 where t is the angle, up to whole turns.
    turns = (10 * radius - np.arctan2(y, x)) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)
    u = (10 * radius / (1.5 * np.pi) - 1) / 2
    np.testing.assert_allclose(data.train.positions, u, atol=1e-5)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    assert (data.train.labels == 0).all()


def test_the_circles_have_their_radii():
    data = concentric_circles(jax.random.key(0), num_train=2000)
    latents = np.asarray(data.train.latents, float)
    labels = np.asarray(data.train.labels)
    np.testing.assert_array_equal(np.bincount(labels), [1000, 1000])
    radius = np.hypot(*latents.T)
    np.testing.assert_allclose(radius, np.array([0.5, 1.0])[labels], rtol=1e-5)
    angles = np.arctan2(latents[:, 1], latents[:, 0]) % (2 * np.pi)
    np.testing.assert_allclose(data.train.positions, angles, atol=1e-5)
    for label in (0, 1):
        share = angles[labels == label] / (2 * np.pi)
        assert scipy.stats.kstest(share, "uniform").pvalue > 1e-3


@SETS
def test_one_lift_serves_every_part(draw):
    data = draw(jax.random.key(1), num_train=1500, num_test=700)
    lift = np.asarray(data.lift, float)
    assert scipy.stats.kstest((lift.ravel() + 1) / 2, "uniform").pvalue > 1e-3
    for split, count in ((data.train, 1500), (data.test, 700)):
        assert split.latents.shape == (count, 2)
        noise = np.asarray(split.inputs) - np.asarray(split.latents) @ lift.T
        assert scipy.stats.kstest(noise.ravel() / 0.001, "norm").pvalue > 1e-3
    recovered = np.linalg.lstsq(lift, data.train.inputs.T, rcond=None)[0].T
    np.testing.assert_allclose(recovered, data.train.latents, atol=5e-3)
    assert not np.isin(data.test.positions, data.train.positions).any()


def test_swiss_roll_anchors_are_spaced_along_the_roll():
    data = swiss_roll(jax.random.key(2))
    assert data.anchors.shape == (1, 4, 20)
    u = np.linspace(0.1, 0.9, 4)
    t = 1.5 * np.pi * (1 + 2 * u)
    points = np.stack([t * np.cos(t), t * np.sin(t)], -1) / 10
    np.testing.assert_allclose(data.anchor_positions[0], u, rtol=1e-6)
    np.testing.assert_allclose(
        data.anchors[0], points @ np.asarray(data.lift).T, atol=2e-6
    )


def test_circle_anchors_are_evenly_spaced_on_each():
    data = concentric_circles(jax.random.key(2))
    assert data.anchors.shape == (2, 3, 20)
    planar = np.linalg.lstsq(
        np.asarray(data.lift), data.anchors.reshape(6, 20).T, rcond=None
    )[0].T.reshape(2, 3, 2)
    np.testing.assert_allclose(planar.sum(1), 0.0, atol=1e-5)
    np.testing.assert_allclose(
        np.hypot(planar[..., 0], planar[..., 1]), [[0.5] * 3, [1.0] * 3], rtol=1e-5
    )


@SETS
def test_the_key_decides_everything(draw):
    first, again, other = (
        draw(jax.random.key(seed), num_train=10, num_test=10) for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first.train.inputs != other.train.inputs).all()


@SETS
@pytest.mark.parametrize("name", ["num_train", "num_test", "num_anchors"])
def test_counts_are_refused_by_name(draw, name):
    with pytest.raises(ValueError, match=f"{name} must be .* at least 1; got 0"):
        draw(jax.random.key(0), **{name: 0})


@SETS
def test_numpys_integers_are_counts(draw):
    counts = dict.fromkeys(("num_train", "num_test", "num_anchors"), np.int64(4))
    assert inspect.unwrap(draw)(jax.random.key(0), **counts).train.labels.shape == (4,)
