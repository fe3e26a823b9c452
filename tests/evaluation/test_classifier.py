import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.evaluation.classifier import (
    ClassifierOptions,
    classify,
    train_classifier,
)


def bars(count, dtype=np.float32):
    """Draw noisy images of a bar that is as high as its class says."""
    generator = np.random.default_rng(count)
    labels = generator.integers(3, size=count)
    images = 0.2 * generator.uniform(size=(count, 28, 28)).astype(dtype)
    for image, label in zip(images, labels, strict=True):
        image[: 6 + 8 * label, 10:18] = 1.0
    return images, labels.astype(np.int32)


def upside_down(key, images):
    return jnp.where(jax.random.bernoulli(key), images, images[:, ::-1])


def test_it_learns_and_the_key_decides():
    options = ClassifierOptions(steps=40, batch_size=16)
    train = lambda key: train_classifier(
        key, *bars(200), augment=upside_down, options=options
    )
    params = train(jax.random.key(0))
    images, labels = bars(700)
    assert np.mean(classify(params, images) == labels) > 0.97
    assert np.mean(classify(params, images[:, ::-1]) == labels) > 0.97
    assert classify(params, images[:1]).shape == (1,)
    for one, two in zip(
        jax.tree.leaves(params), jax.tree.leaves(train(jax.random.key(0))), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_images_and_labels_belong_together(unchecked):
    images, labels = bars(4)
    with pytest.raises(ValueError, match=r"labels must be 4 integers.*\[3\]"):
        inspect.unwrap(train_classifier)(jax.random.key(0), images, labels[:3])
