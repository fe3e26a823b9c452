"""Few labelled digits, ways to make more of them, and one classifier for all."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.data.arrays import Split
from vaells_jax.evaluation.classifier import ClassifierOptions, classify
from vaells_jax.networks.classifier import ImageClassifier
from vaells_jax.networks.contract import PyTree

_NETWORK = ImageClassifier()


class Digits(NamedTuple):
    """Images and their classes."""

    inputs: Float[Array | np.ndarray, "n height width"]
    labels: Int[Array | np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a batch is made of; one is chosen for each method on validation digits.

    Attributes:
        model: Whose new examples, a name of `unlabelled.MODELS`; None for none.
        scale: How far they are from the labelled ones (`augment`).
        share: Their share of a batch.
        jitter: Strength of the affine jitter of all of the batch; 0 for none.
        mixup: Both parameters of the Beta distribution of mixup; 0 for none.
    """

    model: str | None = None
    scale: float = 0.0
    share: float = 0.0
    jitter: float = 0.0
    mixup: float = 0.0


def few(key: PRNGKeyArray, split: Split, per_class: int) -> Digits:
    """Draw so many labelled digits of each class, the classes in turn."""
    order = np.asarray(jax.random.permutation(key, len(split.labels)))
    labels = split.labels[order]
    rows = [order[labels == c][:per_class] for c in range(10)]
    index = np.stack(rows, axis=1).ravel()
    return Digits(split.inputs[index], split.labels[index])


@jax.jit
def jittered(
    key: PRNGKeyArray, images: Float[Array, "n height width"], strength: float
) -> Float[Array, "n height width"]:
    """Turn, scale, shear and shift each image at random, bilinearly.

    At strength 1: +-15 degrees, +-15 % in each direction, a shear of +-0.15 and +-2
    pixels, each uniform.
    """
    count, height, width = images.shape
    draws = strength * jax.random.uniform(key, (count, 6), minval=-1.0, maxval=1.0)
    rows, columns = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2,
        jnp.arange(width) - (width - 1) / 2,
        indexing="ij",
    )

    def one(image, draw):
        angle = jnp.deg2rad(15.0) * draw[0]
        turn = jnp.array(
            [[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]]
        )
        size = jnp.diag(1.0 + 0.15 * draw[1:3])
        shear = jnp.array([[1.0, 0.0], [0.15 * draw[3], 1.0]])
        places = jnp.stack([rows.ravel(), columns.ravel()])
        source = turn @ size @ shear @ places + 2.0 * draw[4:, None]
        source = source.reshape(2, height, width)
        middle = [source[0] + (height - 1) / 2, source[1] + (width - 1) / 2]
        return map_coordinates(image, middle, order=1, mode="constant", cval=0.0)

    return jax.vmap(one)(images, draws)


def fit(
    key: PRNGKeyArray,
    real: Digits,
    made: Digits,
    *,
    recipe: Recipe,
    training: ClassifierOptions,
) -> PyTree:
    """Train the classifier by cross-entropy; returns its parameters.

    Args:
        key: Random key.
        real: The labelled images, jittered or not (`pool`).
        made: New examples, from which `recipe.share` of each batch is drawn; the others
            are drawn from the labelled.
        recipe: What else is done with a batch.
        training: Length and rate.
    """
    init_key, key = jax.random.split(key)
    params = _NETWORK.init(init_key, real.inputs[:1])
    moments = _optimizer(training).init(params)
    images, labels = (jnp.concatenate(parts) for parts in zip(real, made, strict=True))
    count = round(recipe.share * training.batch_size)
    for i in range(training.steps):  # XLA's loops are slow at convolutions on CPUs
        params, moments = _step(
            params, moments, jax.random.fold_in(key, i), images, labels,
            len(real.labels), count, mixup=recipe.mixup, training=training,
        )  # fmt: skip
    return params


def _optimizer(training):
    return optax.adam(optax.cosine_decay_schedule(training.rate, training.steps))


def pool(key: PRNGKeyArray, digits: Digits, size: int, jitter: float) -> Digits:
    """Return so many images, the given ones in turn, each jittered by itself."""
    index = np.arange(size) % len(digits.labels)
    images = jnp.asarray(digits.inputs)[index]
    labels = jnp.asarray(digits.labels)[index]
    return Digits(jittered(key, images, jitter) if jitter else images, labels)


@functools.partial(
    jax.jit,
    static_argnames=("mixup", "training"),
    donate_argnames=("params", "moments"),
)
def _step(
    params, moments, key, images, labels, num_real, num_made, *, mixup, training
):  # fmt: skip
    index_key, share_key, order_key = jax.random.split(key, 3)
    size = training.batch_size
    made = jnp.arange(size) < num_made
    first = jnp.where(made, num_real, 0)
    last = jnp.where(made, len(labels), num_real)
    index = jax.random.randint(index_key, (size,), first, last)
    images, targets = images[index], jax.nn.one_hot(labels[index], 10)
    if mixup:
        share = jax.random.beta(share_key, mixup, mixup, (size,))
        order = jax.random.permutation(order_key, size)
        images = _mixed(images, images[order], share[:, None, None])
        targets = _mixed(targets, targets[order], share[:, None])

    def loss(params):
        logits = _NETWORK.apply(params, images)
        return optax.softmax_cross_entropy(logits, targets).mean()

    updates, moments = _optimizer(training).update(jax.grad(loss)(params), moments)
    return optax.apply_updates(params, updates), moments


def _mixed(first, second, share):
    return share * first + (1.0 - share) * second


def accuracy(params: PyTree, split: Split | Digits) -> float:
    """Return the share of a split that is classified as its label says."""
    return float(np.mean(classify(params, split.inputs) == split.labels))
