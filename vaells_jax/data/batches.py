"""Anchors and batches drawn by key: no state, so that resuming needs none."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

# Four rounds already pass for random (Luby and Rackoff, 1988).
_ROUNDS = 6


def draw_anchors(
    key: Key[Array, ""],
    images: Float[Array | np.ndarray, "n ..."],
    labels: Int[Array | np.ndarray, " n"],
    *,
    num_classes: int,
    per_class: int,
) -> Float[Array, "num_classes per_class ..."]:
    """Draw anchors of every class, without replacement: Appendix F.

    Args:
        key: the random key.
        images: the training examples.
        labels: their classes, 0 to `num_classes` - 1.
        num_classes: the number of classes.
        per_class: N_a, the number of anchors of each class.

    Returns:
        The anchors, a row for each class.

    Raises:
        ValueError: for no classes or no anchors, for a label outside the classes, and
            for a class with fewer examples than anchors.
    """
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes: got {num_classes}, wanted at least 1")
    if not isinstance(per_class, int) or per_class < 1:
        raise ValueError(f"per_class: got {per_class} anchors, wanted at least 1")
    if len(images) != len(labels):
        raise ValueError(
            f"labels: got {len(labels)} for {len(images)} images, wanted one each"
        )
    classes = np.asarray(labels)
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        raise ValueError(
            f"labels: got {classes.min()} to {classes.max()}, "
            f"wanted 0 to {num_classes - 1}"
        )
    counts = np.bincount(classes, minlength=num_classes)
    if counts.min() < per_class:
        scarce = int(counts.argmin())
        raise ValueError(
            f"per_class: got {per_class}, but class {scarce} has only "
            f"{counts[scarce]} examples"
        )
    # One shuffle of everything, then each class's first: one compilation, not ten.
    order = np.asarray(jax.random.permutation(key, len(classes)))
    shuffled = classes[order]
    chosen = [
        order[np.flatnonzero(shuffled == label)[:per_class]]
        for label in range(num_classes)
    ]
    return jnp.asarray(images[np.stack(chosen)])


def batch_indices(
    key: Key[Array, ""],
    step: Int[Array, ""] | int,
    *,
    num_examples: int,
    batch_size: int,
) -> Int[Array, " batch_size"]:
    """Return the examples of a step's batch, as a pure function of the step.

    Epoch e goes once through a permutation of its own, drawn from fold_in(key, e),
    and leaves out the examples that do not fill a last batch.

    Args:
        key: the random key of the whole run.
        step: the step, from 0; may be traced.
        num_examples: the size of the training set.
        batch_size: the number of examples in a batch.

    Returns:
        Distinct indices into the training set, distinct within the epoch too.

    Raises:
        ValueError: for an empty batch, and for one larger than the training set.
    """
    if not isinstance(batch_size, int) or not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"batch_size: got {batch_size}, wanted 1 to the {num_examples} examples"
        )
    steps_per_epoch = num_examples // batch_size
    epoch, position = jnp.divmod(jnp.asarray(step), steps_per_epoch)
    positions = position * batch_size + jnp.arange(batch_size)
    return _permute(jax.random.fold_in(key, epoch), positions, num_examples)


def binarise(
    key: Key[Array, ""], images: Float[Array, "*n height width"]
) -> Float[Array, "*n height width"]:
    """Draw binary pixels whose probabilities are the grey values.

    With the step in the key, every step meets a new draw: dynamic binarisation
    (Salakhutdinov and Murray, 2008).

    Args:
        key: the random key.
        images: grey values in [0, 1].

    Returns:
        Zeros and ones of the images' number type.
    """
    drawn = jax.random.uniform(key, images.shape, images.dtype) < images
    return drawn.astype(images.dtype)


def _permute(
    key: Key[Array, ""], positions: Int[Array, " k"], size: int
) -> Int[Array, " k"]:
    """Send positions through a random permutation of 0 to `size` - 1.

    A Feistel network of random tables over pairs of digits, walked on while it lands
    outside the range: it costs what the batch costs, where a shuffle of 50,000
    examples in every step took 40 ms on one core.
    """
    base = math.isqrt(size - 1) + 1
    tables = jax.random.randint(key, (_ROUNDS, base), 0, base)

    def shuffle(index: Int[Array, " k"]) -> Int[Array, " k"]:
        high, low = jnp.divmod(index, base)
        for table in tables:
            high, low = low, (high + table[low]) % base
        return high * base + low

    def outside(index: Int[Array, " k"]) -> Bool[Array, ""]:
        return jnp.any(index >= size)

    def walk(index: Int[Array, " k"]) -> Int[Array, " k"]:
        return jnp.where(index < size, index, shuffle(index))

    return jax.lax.while_loop(outside, walk, shuffle(positions))
