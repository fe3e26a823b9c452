"""The judge of identity: a classifier that is trained once for each working folder."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vaells_jax.data.images import ImageDataset
from vaells_jax.data.rotation import rotate_image
from vaells_jax.evaluation.classifier import (
    ClassifierOptions,
    classify,
    train_classifier,
)


class Judge(NamedTuple):
    """A trained classifier.

    Attributes:
        classify: From images to the names of their classes.
        name: From labels to what the classifier calls these classes.
        accuracy: On test digits, turned as those that it was trained on.
    """

    classify: Callable[[Any], np.ndarray]
    name: Callable[[Any], np.ndarray]
    accuracy: float


def digit_judge(
    workdir: pathlib.Path,
    data: ImageDataset,
    *,
    rotated: bool,
    options: ClassifierOptions | None = None,
) -> Judge:
    """Train a classifier on a data set, or read the one that lies in a folder.

    Args:
        workdir: Where it is kept.
        data: What it is trained and tested on.
        rotated: Turn the digits by any angle, and call nines sixes.
        options: Length and rate of the training; by default 3,000 steps for digits at
            all angles, and 800 for upright ones, which are learnt sooner.
    """
    options = options or ClassifierOptions(steps=3000 if rotated else 800)
    path = workdir / "classifier.npz"
    wanted = {"dataset": data.name, "rotated": rotated, **options._asdict()}
    name = _six_for_nine if rotated else np.asarray
    found = _read(path, wanted)
    if found is None:
        # A key of its own: runs of all seeds meet the same judge.
        params = train_classifier(
            jax.random.key(0), data.train.images, name(data.train.labels),
            augment=turn_at_random if rotated else None, options=options,
        )  # fmt: skip
        images = jnp.asarray(data.test.images)
        if rotated:
            images = turn_at_random(jax.random.key(1), images)
        right = classify(params, images) == name(data.test.labels)
        found = params, float(np.mean(right))
        _write(path, wanted, *found)
    params, accuracy = found
    return Judge(lambda images: classify(params, images), name, accuracy)


def turn_at_random(key, images):
    """Turn each image by an angle of its own, any angle."""
    angles = jax.random.uniform(key, images.shape[:1], images.dtype, 0.0, 2 * jnp.pi)
    return jax.vmap(rotate_image)(images, angles)


def _six_for_nine(labels):
    labels = np.asarray(labels)
    return np.where(labels == 9, 6, labels)


def _read(path, wanted):
    """Return parameters and accuracy, or None unless they are what is wanted."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:  # runs no code: pickles are refused
            arrays = dict(file)
        about = json.loads(str(arrays.pop("about")))
        accuracy = about.pop("accuracy")
    except (ValueError, KeyError, AttributeError, OSError, BadZipFile) as error:
        raise ValueError(
            f"{path} holds no classifier; remove it to train one anew. ({error})"
        ) from error
    if about != wanted:
        return None
    return unflatten_dict(jax.tree.map(jnp.asarray, arrays), sep="/"), accuracy


def _write(path, wanted, params, accuracy):
    about = json.dumps({**wanted, "accuracy": accuracy})
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, about=about, **flatten_dict(params, sep="/"))
    partial.replace(path)
