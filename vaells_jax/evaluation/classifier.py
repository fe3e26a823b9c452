"""A classifier of digits: do decoded images keep their class?"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.checks import (
    check_classes,
    check_examples,
    check_fields,
    check_finite,
    check_integers,
    check_key,
    check_kind,
    check_labels,
)
from vaells_jax.networks.classifier import ImageClassifier
from vaells_jax.networks.contract import PyTree

Images = Float[Array | np.ndarray, "n 28 28"]
Labels = Int[Array | np.ndarray, " n"]
Augment = Callable[[PRNGKeyArray, Array], Array]

_NETWORK = ImageClassifier()
_CHUNK = 500


@dataclasses.dataclass(frozen=True)
class ClassifierOptions:
    """How a classifier is trained; hashable.

    Attributes:
        steps: Adam steps, at a rate that falls to 0 along a cosine.
        batch_size: Images of a step.
        rate: The first rate.
    """

    steps: int = 3000
    batch_size: int = 128
    rate: float = 2e-3

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self)


def train_classifier(
    key: PRNGKeyArray,
    images: Images,
    labels: Labels,
    *,
    augment: Augment | None = None,
    options: ClassifierOptions = ClassifierOptions(),  # noqa: B008, immutable
    on_done: Callable[[int], object] | None = None,
) -> PyTree:
    """Train a classifier by cross-entropy.

    Args:
        key: Random key.
        images: Training images in [0, 1].
        labels: Their classes, 0 to 9.
        augment: Changes a batch's images at random in every step, from a key.
        options: Length and rate of the training.
        on_done: Called with 1 after each step.

    Returns:
        The network's parameters.

    Raises:
        ValueError: If there are no images in [0, 1], or labels that are not a class of
            each.
    """
    check_key("key", key)
    check_kind(options=(options, ClassifierOptions))
    _check_images(images)
    check_integers(labels=labels)
    check_labels("labels", labels, len(images))
    check_classes("labels", labels, _NETWORK.num_classes)
    init_key, key = jax.random.split(key)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    params = _NETWORK.init(init_key, images[:1])
    state = _optimizer(options).init(params)
    for step in range(options.steps):
        params, state = _step(
            params, state, jax.random.fold_in(key, step), images, labels,
            augment=augment, options=options,
        )  # fmt: skip
        if on_done is not None:
            on_done(1)
    return params


def classify(params: PyTree, images: Images) -> Int[np.ndarray, " n"]:
    """Return the most probable class of each image.

    Raises:
        ValueError: If there are no images in [0, 1].
    """
    _check_images(images)
    images = np.asarray(images)
    # Equal parts share a compilation.
    padding = -len(images) % _CHUNK
    images, count = np.pad(images, ((0, padding), (0, 0), (0, 0))), len(images)
    parts = [_classify(params, images[i : i + _CHUNK]) for i in range(0, count, _CHUNK)]
    return np.concatenate([np.asarray(part) for part in parts])[:count]


def _check_images(images):
    check_examples("images", images)
    check_finite("images", images, unit=True)
    if images.ndim != 3:
        raise ValueError(f"images must have shape [n, H, W]; got {list(images.shape)}.")


def _optimizer(options):
    return optax.adam(optax.cosine_decay_schedule(options.rate, options.steps))


@functools.partial(
    jax.jit, static_argnames=("augment", "options"), donate_argnames=("params", "state")
)
def _step(params, state, key, images, labels, *, augment, options):
    index_key, augment_key = jax.random.split(key)
    index = jax.random.randint(index_key, (options.batch_size,), 0, len(labels))
    batch = images[index]
    if augment is not None:
        batch = augment(augment_key, batch)

    def loss(params):
        logits = _NETWORK.apply(params, batch)
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, labels[index]
        ).mean()

    updates, state = _optimizer(options).update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


@jax.jit
def _classify(params, images):
    logits = jnp.asarray(_NETWORK.apply(params, images))
    return jnp.argmax(logits, axis=-1)
