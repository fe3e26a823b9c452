"""Anchors and batches drawn by key: no state, so that resuming needs none."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from vaells_jax.checks import (
    as_count,
    check_finite,
    check_integers,
    check_key,
    check_labels,
)

# Four rounds already pass for random (Luby and Rackoff, 1988).
_ROUNDS = 6


def draw_anchors(
    key: Key[Array, ""],
    inputs: Float[Array | np.ndarray, "n ..."],
    labels: Int[Array | np.ndarray, " n"],
    per_class: int,
    *,
    num_classes: int | None = None,
    method: str = "random",
    features: Float[Array | np.ndarray, "n ..."] | None = None,
) -> Float[Array, "num_classes per_class ..."]:
    """Choose anchors among the examples of every class: Appendix F.

    Without replacement; a class with fewer examples repeats them in turn, which doubles
    their weight in the prior.

    Args:
        key: The random key; "spread" draws nothing.
        inputs: The training examples.
        labels: Their classes, 0 to `num_classes` - 1.
        per_class: N_a, the number of anchors of each class.
        num_classes: The number of classes; by default the largest label plus one.
        method: "random", or "spread": the example closest to the class's mean, then
            repeatedly the one farthest from those chosen.
        features: Points between which "spread" measures distances, such as latents
            [n, d]; by default the inputs.

    Returns:
        The anchors, a row for each class.

    Raises:
        ValueError: For no classes or no anchors, for a label outside the classes, for a
            class without examples, and for values that are not finite.
    """
    check_key("key", key)
    check_finite("inputs", inputs)
    check_integers(labels=labels)
    check_labels("labels", labels, len(inputs))
    per_class, classes = as_count("per_class", per_class), np.asarray(labels)
    if num_classes is None:
        num_classes = classes.max(initial=0) + 1
    num_classes = as_count("num_classes", num_classes)
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        raise ValueError(
            f"labels must be 0 to {num_classes - 1}; got {classes.min()} to "
            f"{classes.max()}."
        )
    if method not in ("random", "spread"):
        raise ValueError(f"method must be 'random' or 'spread'; got {method!r}.")
    points = inputs if features is None else features
    check_finite("features", points)
    if len(points) != len(inputs):
        raise ValueError(
            f"features must be one for each of {len(inputs)} inputs; got {len(points)}."
        )
    # One shuffle of everything, then each class's first: one compilation, not ten.
    order = np.arange(len(classes))
    if method == "random":
        order = np.asarray(jax.random.permutation(key, len(classes)))
    chosen = []
    for label in range(num_classes):
        members = order[classes[order] == label]
        if not len(members):
            raise ValueError(
                f"labels must have examples of every class; got none of class {label}."
            )
        if method == "spread":
            members = members[_farthest_points(np.asarray(points)[members], per_class)]
        chosen.append(np.resize(members, per_class))
    return jnp.asarray(inputs[np.stack(chosen)])


def _farthest_points(points: np.ndarray, count: int) -> list[int]:
    """Return the point closest to the mean, then those farthest from all before."""
    flat = points.reshape(len(points), -1)
    squares = lambda offset: np.einsum("ij,ij->i", offset, offset)
    chosen = [int(np.argmin(squares(flat - flat.mean(axis=0, keepdims=True))))]
    distance = np.full(len(flat), np.inf)
    while len(chosen) < min(count, len(flat)):
        distance = np.minimum(distance, squares(flat - flat[chosen[-1:]]))
        distance[chosen] = -1.0  # not twice, where points are equal
        chosen.append(int(np.argmax(distance)))
    return chosen


def batch_indices(
    key: Key[Array, ""],
    step: Int[Array, ""] | int,
    *,
    num_examples: int,
    batch_size: int,
) -> Int[Array, " batch_size"]:
    """Return the examples of a step's batch, as a pure function of the step.

    Epoch e goes once through its own permutation, drawn from fold_in(key, e),
    and leaves out the examples that do not fill a last batch.

    Args:
        key: The random key of the whole run.
        step: The step, from 0; may be traced.
        num_examples: The size of the training set.
        batch_size: The number of examples in a batch.

    Returns:
        Distinct indices into the training set, distinct within the epoch too.

    Raises:
        ValueError: For an empty batch, and for one larger than the training set.
    """
    check_key("key", key)
    check_integers(step=step if isinstance(step, jax.Array) else np.asarray(step))
    num_examples = as_count("num_examples", num_examples)
    batch_size = as_count("batch_size", batch_size)
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size must be 1 to the {num_examples} examples; got {batch_size}."
        )
    steps_per_epoch = num_examples // batch_size
    epoch, position = jnp.divmod(jnp.asarray(step), steps_per_epoch)
    positions = position * batch_size + jnp.arange(batch_size)
    return _permute(jax.random.fold_in(key, epoch), positions, num_examples)


def binarise(
    key: Key[Array, ""], images: Float[Array, "*n height width"]
) -> Float[Array, "*n height width"]:
    """Draw binary pixels whose probabilities are the grey values.

    With the step in the key, every step has a new draw: dynamic binarisation
    (Salakhutdinov and Murray, 2008).

    Args:
        key: The random key.
        images: Grey values in [0, 1].

    Returns:
        Zeros and ones of the images' number type.

    Raises:
        ValueError: If it is not an array of numbers in [0, 1].
    """
    check_key("key", key)
    check_finite("images", images, unit=True)
    drawn = jax.random.uniform(key, images.shape, images.dtype) < images
    return drawn.astype(images.dtype)


def _permute(
    key: Key[Array, ""], positions: Int[Array, " k"], size: int
) -> Int[Array, " k"]:
    """Send positions through a random permutation of 0 to `size` - 1.

    A Feistel network of random tables over pairs of digits, applied again while the
    result lies outside the range. Its cost grows with the batch alone; a shuffle of
    50,000 examples in every step took 40 ms on one core.
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
