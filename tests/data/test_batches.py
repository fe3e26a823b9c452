import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.data.batches import batch_indices, binarise, draw_anchors


def labelled_images(counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = np.arange(len(labels), dtype=np.float32)[:, None, None]
    return images + np.zeros((1, 2, 2), np.float32), labels


def test_anchors_come_from_their_class_without_repeats():
    images, labels = labelled_images([5, 9, 3])
    anchors = draw_anchors(
        jax.random.key(0), images, labels, num_classes=3, per_class=3
    )
    assert anchors.shape == (3, 3, 2, 2)
    assert anchors.dtype == images.dtype
    drawn = np.asarray(anchors[:, :, 0, 0]).astype(int)
    assert (labels[drawn] == np.arange(3)[:, None]).all()
    assert all(len(set(row)) == 3 for row in drawn)


def test_anchors_follow_the_key_alone():
    images, labels = labelled_images([40, 40])
    draws = [
        np.asarray(
            draw_anchors(
                jax.random.key(seed), images, labels, num_classes=2, per_class=4
            )
        )
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_random_anchors_are_the_first_of_each_class_in_one_shuffle():
    images, labels = labelled_images([5, 9, 3])
    draw = lambda *args, **more: draw_anchors(
        jax.random.key(7), images, labels, *args, **more
    )
    anchors = draw(num_classes=3, per_class=3)
    shuffled = np.asarray(jax.random.permutation(jax.random.key(7), 17))
    for label, row in enumerate(np.asarray(anchors[:, :, 0, 0]).astype(int)):
        np.testing.assert_array_equal(row, shuffled[labels[shuffled] == label][:3])
    np.testing.assert_array_equal(anchors, draw(3))


def greedy(points, count):
    """Search for the farthest points, pair by pair."""
    distance = lambda i, j: np.linalg.norm(points[i] - points[j])
    gaps = np.linalg.norm(points - points.mean(axis=0), axis=-1)
    chosen = [int(gaps.argmin())]
    while len(chosen) < count:
        others = [i for i in range(len(points)) if i not in chosen]
        chosen.append(max(others, key=lambda i: min(distance(i, j) for j in chosen)))
    return chosen


@pytest.mark.parametrize("features", [False, True])
def test_spread_anchors_are_those_of_a_plain_farthest_point_search(features):
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 2, 3)), np.arange(60) % 3
    where = rng.normal(size=(60, 4)) if features else inputs.reshape(60, 6)
    found = draw_anchors(
        jax.random.key(0), inputs, labels, 5, method="spread",
        features=where if features else None,
    )  # fmt: skip
    for label in range(3):
        own = labels == label
        wanted = inputs[own][greedy(where[own], 5)]
        np.testing.assert_allclose(found[label], wanted, rtol=1e-6)


@pytest.mark.parametrize("method", ["random", "spread"])
def test_small_classes_repeat_their_examples_in_turn(method):
    images, labels = labelled_images([3, 9])
    images[:2] = 0.0  # equal examples are still taken once each
    anchors = draw_anchors(jax.random.key(0), images, labels, 7, method=method)
    drawn = np.asarray(anchors[:, :, 0, 0])
    np.testing.assert_array_equal(drawn[0], np.resize(drawn[0, :3], 7))
    assert sorted(drawn[0, :3]) == [0.0, 0.0, 2.0]
    assert len(set(drawn[1])) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_class": 0}, "per_class must be an integer of at least 1; got 0"),
        ({"per_class": True}, "per_class must be an integer"),
        ({"num_classes": 2}, "labels must be 0 to 1; got 0 to 2"),
        ({"num_classes": 4}, "got none of class 3"),
        ({"num_classes": 0}, "num_classes must be an integer of at least 1; got 0"),
        ({"method": "far"}, "method must be 'random' or 'spread'; got 'far'"),
        ({"features": np.zeros((3, 2))}, "one for each of 17 inputs; got 3"),
        ({"features": np.full((17, 2), np.nan)}, "features must be finite"),
        ({"inputs": np.zeros((17, 2), np.uint8)}, "inputs must hold float"),
        ({"labels": np.zeros(17)}, "labels must hold integers"),
        ({"labels": np.zeros((17, 3), int)}, "one-hot"),
        ({"labels": np.zeros(16, int)}, "labels must be 17 integers, one for each"),
        ({"labels": np.full(17, -1)}, "labels must be 0 to 2; got -1 to -1"),
    ],
)
def test_anchors_refuse(change, message, unchecked):
    images, labels = labelled_images([5, 9, 3])
    given = {"inputs": images, "labels": labels, "num_classes": 3, "per_class": 3}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(draw_anchors)(jax.random.key(0), **given | change)


@pytest.mark.parametrize("kind", [np.int64, jnp.int32])
def test_numpys_and_jaxs_integers_are_counts(kind):
    images, labels = labelled_images([5, 9, 3])
    draw = inspect.unwrap(draw_anchors)
    wanted = draw(jax.random.key(0), images, labels, 2, num_classes=3)
    counts = {"per_class": kind(2), "num_classes": kind(3)}
    found = draw(jax.random.key(0), images, labels, **counts)
    np.testing.assert_array_equal(found, wanted)
    counts = {"num_examples": kind(10), "batch_size": kind(3)}
    assert inspect.unwrap(batch_indices)(jax.random.key(0), 0, **counts).shape == (3,)


def test_binary_pixels_are_drawn_of_grey_values_in_the_unit_interval():
    grey = jnp.full((400, 5, 5), 0.3)
    drawn = np.asarray(binarise(jax.random.key(0), grey))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(), 0.3, atol=0.02)
    for bad in (255.0 * grey, grey - 1.0, grey.at[3, 2, 1].set(jnp.nan)):
        with pytest.raises(ValueError, match="images must be"):
            binarise(jax.random.key(0), bad)


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (2, 1), (10, 3), (1797, 32)])
def test_an_epoch_shows_each_example_at_most_once(size, batch):
    steps = size // batch
    indices = jax.jit(
        jax.vmap(
            lambda step: batch_indices(
                jax.random.key(3), step, num_examples=size, batch_size=batch
            )
        )
    )
    first = np.asarray(indices(np.arange(steps))).ravel()
    second = np.asarray(indices(np.arange(steps, 2 * steps))).ravel()
    for epoch in (first, second):
        assert len(set(epoch)) == steps * batch
        assert epoch.min() >= 0
        assert epoch.max() < size
    if size > 10:
        assert (first != second).any()


def test_batches_are_one_trace_and_the_same_under_jit():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def traced(step):
        return batch_indices(jax.random.key(1), step, num_examples=100, batch_size=7)

    for step in (0, 13, 14, 1000):
        eager = batch_indices(jax.random.key(1), step, num_examples=100, batch_size=7)
        np.testing.assert_array_equal(traced(step), eager)


def test_every_example_is_equally_likely_in_every_place():
    size, epochs = 50, 4000
    steps = np.arange(epochs) * (size // 5)
    batches = np.asarray(
        jax.vmap(
            lambda step: batch_indices(
                jax.random.key(2), step, num_examples=size, batch_size=5
            )
        )(steps)
    )
    for place in batches.T:
        counts = np.bincount(place, minlength=size)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
    gaps = np.bincount((batches[:, 1] - batches[:, 0]) % size, minlength=size)
    assert gaps[0] == 0
    assert scipy.stats.chisquare(gaps[1:]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("batch", "message"), [(0, "at least 1; got 0"), (11, "1 to the 10 examples")]
)
def test_batches_refuse_sizes(batch, message):
    with pytest.raises(ValueError, match=f"batch_size must be .*{message}"):
        batch_indices(jax.random.key(0), 0, num_examples=10, batch_size=batch)
