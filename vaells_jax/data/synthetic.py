"""Two-dimensional manifolds lifted to 20 dimensions: Appendices C and D."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vaells_jax.checks import as_count, check_integers, check_key, check_numbers

LIFTED_DIM = 20
CIRCLE_RADII = (0.5, 1.0)
# Both sets come from points ten times as large with noise of 0.01 in 20-D.
_SHRINK = 10.0
NOISE_STD = 0.01 / _SHRINK


class ManifoldSplit(NamedTuple):
    """Points of a known manifold.

    Attributes:
        inputs: The lifted points that a model sees, with their noise.
        latents: The points in the plane that were lifted, without noise.
        positions: Where each lies along its curve: the swiss roll's u in [0, 1], or
            the angle on its circle in [0, 2 pi), in radians.
        labels: The curve it lies on: 0 on the swiss roll; the circle, inner first.
    """

    inputs: Float[Array, "n 20"]
    latents: Float[Array, "n 2"]
    positions: Float[Array, " n"]
    labels: Int[Array, " n"]


class ManifoldDataset(NamedTuple):
    """Training and test points, and anchors, under one lift.

    Attributes:
        train: The training points.
        test: Points drawn afresh.
        anchors: Lifted anchors of each curve, without noise.
        anchor_positions: Where each anchor lies along its curve.
        lift: The matrix that maps the plane into the data space.
    """

    train: ManifoldSplit
    test: ManifoldSplit
    anchors: Float[Array, "C N 20"]
    anchor_positions: Float[Array, "C N"]
    lift: Float[Array, "20 2"]


def swiss_roll_point(position: Float[Array, "..."]) -> Float[Array, "... 2"]:
    """Return the swiss roll's points (t cos t, t sin t) / 10: Appendix C.

    Args:
        position: u in [0, 1]; t = (3 pi / 2)(1 + 2 u) radians.

    Returns:
        Points in the plane.
    """
    check_numbers(position=position)
    t = 1.5 * jnp.pi * (1.0 + 2.0 * position)
    return (t / _SHRINK)[..., None] * jnp.stack([jnp.cos(t), jnp.sin(t)], axis=-1)


def circle_point(
    angle: Float[Array, "..."], label: Int[Array, "..."]
) -> Float[Array, "... 2"]:
    """Return points of the concentric circles of radius 0.5 and 1: Appendix D.

    Args:
        angle: The angle on the circle in radians.
        label: 0 for the inner circle, 1 for the outer.

    Returns:
        Points in the plane.
    """
    check_numbers(angle=angle)
    check_integers(label=label)
    radius = jnp.asarray(CIRCLE_RADII, angle.dtype)[label]
    return radius[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def swiss_roll(
    key: Key[Array, ""],
    *,
    num_train: int = 1000,
    num_test: int = 1000,
    num_anchors: int = 4,
) -> ManifoldDataset:
    """Draw the swiss roll and lift it to 20 dimensions: Appendix C.

    Args:
        key: The random key.
        num_train: The number of training points.
        num_test: The number of test points.
        num_anchors: The number of anchors, evenly spaced from u = 0.1 to 0.9.

    Returns:
        The data set, of one class.

    Raises:
        ValueError: If a number is below 1.
    """
    check_key("key", key)
    num_train = as_count("num_train", num_train)
    num_test = as_count("num_test", num_test)
    num_anchors = as_count("num_anchors", num_anchors)
    lift_key, train_key, test_key = jax.random.split(key, 3)
    lift = _draw_lift(lift_key)

    def draw(key: Key[Array, ""], count: int) -> ManifoldSplit:
        position_key, noise_key = jax.random.split(key)
        positions = jax.random.uniform(position_key, (count,))
        latents = swiss_roll_point(positions)
        inputs = _lift_noisily(noise_key, lift, latents)
        return ManifoldSplit(inputs, latents, positions, jnp.zeros(count, jnp.int32))

    positions = jnp.linspace(0.1, 0.9, num_anchors)[None, :]
    anchors = _lift(lift, swiss_roll_point(positions))
    return ManifoldDataset(
        draw(train_key, num_train), draw(test_key, num_test), anchors, positions, lift
    )


def concentric_circles(
    key: Key[Array, ""],
    *,
    num_train: int = 400,
    num_test: int = 400,
    num_anchors: int = 3,
) -> ManifoldDataset:
    """Draw two concentric circles and lift them to 20 dimensions: Appendix D.

    Args:
        key: The random key.
        num_train: The number of training points, every other one on each circle.
        num_test: The number of test points.
        num_anchors: The number of anchors of each circle, evenly spaced.

    Returns:
        The data set, of two classes.

    Raises:
        ValueError: If a number is below 1.
    """
    check_key("key", key)
    num_train = as_count("num_train", num_train)
    num_test = as_count("num_test", num_test)
    num_anchors = as_count("num_anchors", num_anchors)
    lift_key, train_key, test_key = jax.random.split(key, 3)
    lift = _draw_lift(lift_key)

    def draw(key: Key[Array, ""], count: int) -> ManifoldSplit:
        angle_key, noise_key = jax.random.split(key)
        angles = jax.random.uniform(angle_key, (count,), maxval=2.0 * jnp.pi)
        labels = jnp.arange(count, dtype=jnp.int32) % len(CIRCLE_RADII)
        latents = circle_point(angles, labels)
        inputs = _lift_noisily(noise_key, lift, latents)
        return ManifoldSplit(inputs, latents, angles, labels)

    evenly = jnp.linspace(0.0, 2.0 * jnp.pi, num_anchors, endpoint=False)
    angles = jnp.tile(evenly[None, :], (len(CIRCLE_RADII), 1))
    labels = jnp.broadcast_to(jnp.arange(len(CIRCLE_RADII))[:, None], angles.shape)
    anchors = _lift(lift, circle_point(angles, labels))
    return ManifoldDataset(
        draw(train_key, num_train), draw(test_key, num_test), anchors, angles, lift
    )


def _draw_lift(key: Key[Array, ""]) -> Float[Array, "20 2"]:
    return jax.random.uniform(key, (LIFTED_DIM, 2), minval=-1.0, maxval=1.0)


def _lift(
    lift: Float[Array, "20 2"], latents: Float[Array, "... 2"]
) -> Float[Array, "... 20"]:
    return jnp.einsum("xd,...d->...x", lift, latents, precision="highest")


def _lift_noisily(
    key: Key[Array, ""], lift: Float[Array, "20 2"], latents: Float[Array, "n 2"]
) -> Float[Array, "n 20"]:
    noise = NOISE_STD * jax.random.normal(key, (len(latents), LIFTED_DIM))
    return _lift(lift, latents) + noise
