"""The classifier that recognises digits, trained once for each data set."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vaells_jax.data.arrays import ArrayDataset
from vaells_jax.data.cache import make_once
from vaells_jax.data.rotation import rotate_image
from vaells_jax.evaluation.classifier import (
    ClassifierOptions,
    classify,
    train_classifier,
)
from vaells_jax.progress import progress_bar
from vaells_jax.version import __version__


class Classifier(NamedTuple):
    """A trained classifier.

    Attributes:
        classify: From images to the names of their classes.
        name: From labels to what the classifier calls these classes.
        accuracy: On test digits, turned as those that it was trained on.
    """

    classify: Callable[[Any], np.ndarray]
    name: Callable[[Any], np.ndarray]
    accuracy: float


def digit_classifier(
    data: ArrayDataset, *, rotated: bool, quick: bool = False
) -> Classifier:
    """Train a classifier on digits, or read it from the user's cache folder.

    All runs on the same digits are measured by the same classifier.

    Args:
        data: The digits.
        rotated: Turn the digits by any angle, and call nines sixes. These take 3,000
            steps, or 1,000 for a first picture; upright ones 800.
        quick: Whether it is for a first picture.
    """
    turned = 1000 if quick else 3000
    options = ClassifierOptions(steps=turned if rotated else 800)
    name = _six_for_nine if rotated else np.asarray

    def train():
        with progress_bar(
            options.steps, unit="step", desc="  classifier", delay=5
        ) as bar:
            params = train_classifier(
                jax.random.key(0), data.train.inputs, name(data.train.labels),
                augment=turn_at_random if rotated else None, options=options,
                on_done=bar.update,
            )  # fmt: skip
        images = jnp.asarray(data.test.inputs)
        if rotated:
            images = turn_at_random(jax.random.key(1), images)
        right = classify(params, images) == name(data.test.labels)
        return {**flatten_dict(params, sep="/"), "accuracy": np.mean(right)}

    settings = rotated, dataclasses.asdict(options), __version__
    arrays = make_once(
        "classifiers", (_digest(*data.train, *data.test), settings), train
    )
    accuracy = float(arrays.pop("accuracy"))
    params = unflatten_dict(jax.tree.map(jnp.asarray, arrays), sep="/")
    return Classifier(lambda images: classify(params, images), name, accuracy)


def turn_at_random(key, images):
    """Turn each image by an angle of its own, any angle."""
    angles = jax.random.uniform(key, images.shape[:1], images.dtype, 0.0, 2 * jnp.pi)
    return jax.vmap(rotate_image)(images, angles)


def _six_for_nine(labels):
    labels = np.asarray(labels)
    return np.where(labels == 9, 6, labels)


def _digest(*arrays):
    """Return a fingerprint of arrays' numbers."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
