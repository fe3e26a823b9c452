"""The classifier that recognises digits, trained once for each working folder."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vaells_jax.data.rotation import rotate_image
from vaells_jax.evaluation.classifier import (
    ClassifierOptions,
    classify,
    train_classifier,
)
from vaells_jax.runs.run import Run


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


def digit_classifier(run: Run, *, rotated: bool) -> Classifier:
    """Train a classifier on a run's digits, or read the one that lies in its folder.

    Args:
        run: Whose digits; runs that share a folder share the classifier.
        rotated: Turn the digits by any angle, and call nines sixes. These take 3,000
            steps, or 1,000 for a first picture; upright ones 800.
    """
    data = run.data.source
    turned = 1000 if run.config.preset == "quick" else 3000
    options = ClassifierOptions(steps=turned if rotated else 800)
    path = (run.shared or run.workdir) / "classifier.npz"
    wanted = {"dataset": data.name, "rotated": rotated, **dataclasses.asdict(options)}
    name = _six_for_nine if rotated else np.asarray
    found = _read(path, wanted)
    if found is None:
        # A key of its own: all runs are measured by the same classifier.
        params = train_classifier(
            jax.random.key(0), data.train.inputs, name(data.train.labels),
            augment=turn_at_random if rotated else None, options=options,
        )  # fmt: skip
        images = jnp.asarray(data.test.inputs)
        if rotated:
            images = turn_at_random(jax.random.key(1), images)
        right = classify(params, images) == name(data.test.labels)
        found = params, float(np.mean(right))
        _write(path, wanted, *found)
    params, accuracy = found
    return Classifier(lambda images: classify(params, images), name, accuracy)


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
        with path.open("rb") as file:  # runs no code: pickles are refused
            arrays = dict(np.load(file))
        about = json.loads(str(arrays.pop("about")))
        accuracy = about.pop("accuracy")
    except Exception as error:  # whatever a file of that name may be
        raise ValueError(
            f"{path} holds no classifier; remove it to train a new one. ({error})"
        ) from error
    if about != wanted:
        return None
    return unflatten_dict(jax.tree.map(jnp.asarray, arrays), sep="/"), accuracy


def _write(path, wanted, params, accuracy):
    about = json.dumps({**wanted, "accuracy": accuracy})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, about=about, **flatten_dict(params, sep="/"))
    partial.replace(path)
