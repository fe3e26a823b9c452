import inspect

import chex
import jax
import numpy as np
import pytest
import scipy.stats

from vaells_jax.data.batches import batch_indices, draw_anchors


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_class": 0}, "per_class: got 0"),
        ({"per_class": 4}, "class 2 has only 3"),
        ({"num_classes": 2}, "labels: got 0 to 2, wanted 0 to 1"),
        ({"num_classes": 4}, "class 3 has only 0"),
        ({"num_classes": 0}, "num_classes: got 0"),
    ],
)
def test_anchors_refuse(change, message):
    images, labels = labelled_images([5, 9, 3])
    settings = {"num_classes": 3, "per_class": 3} | change
    with pytest.raises(ValueError, match=message):
        draw_anchors(jax.random.key(0), images, labels, **settings)


def test_anchors_refuse_negative_labels():
    images, labels = labelled_images([5, 5])
    with pytest.raises(ValueError, match="labels: got -1 to 0"):
        draw_anchors(jax.random.key(0), images, labels - 1, num_classes=2, per_class=1)


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


@pytest.mark.parametrize("batch", [0, 11])
def test_batches_refuse_sizes(batch):
    with pytest.raises(
        ValueError, match=f"batch_size: got {batch}, wanted 1 to the 10"
    ):
        batch_indices(jax.random.key(0), 0, num_examples=10, batch_size=batch)


def test_anchors_refuse_as_many_labels_as_not_images():
    images, labels = labelled_images([5, 5])
    with pytest.raises(ValueError, match="labels: got 9 for 10 images"):
        inspect.unwrap(draw_anchors)(
            jax.random.key(0), images, labels[1:], num_classes=2, per_class=1
        )
