"""Rotation of images about their centre, for the rotated digits of Appendix E."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from vaells_jax.checks import as_count, check_finite, check_key

MAX_ANGLE = 350.0
"""Degrees by which training examples are turned at most: Appendix E."""


def rotate_image(
    image: Float[Array, "height width"], angle: Float[Array, ""] | float
) -> Float[Array, "height width"]:
    """Rotate an image about its centre, bilinearly, with zeros outside: Appendix E.

    Args:
        image: One image, of grey values in [0, 1].
        angle: The angle in radians, counter-clockwise as the image is seen with its
            first row on top; may be traced.

    Returns:
        The rotated image, of the same size and precision.

    Raises:
        ValueError: For anything but one image of two axes, and for values that are no
            numbers, not finite or, of the image, outside [0, 1].

    Note:
        The authors pad the digits to 32x32 before they rotate; the paper prints 28x28,
        which is kept here, so that a corner turned beyond the frame is lost.
    """
    check_finite("image", image, unit=True)
    if image.ndim != 2:
        raise ValueError(
            f"image must be [H, W]; got shape {list(image.shape)}: vmap batches."
        )
    plain = isinstance(angle, int | float) and not isinstance(angle, bool)
    check_finite("angle", np.asarray(angle, float) if plain else angle)
    angle = jnp.asarray(angle, image.dtype)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    height, width = image.shape
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    # Where each pixel of the result comes from: the inverse rotation.
    rows = (jnp.arange(height, dtype=image.dtype) - middle_row)[:, None]
    columns = (jnp.arange(width, dtype=image.dtype) - middle_column)[None, :]
    source_rows = middle_row + cos * rows + sin * columns
    source_columns = middle_column - sin * rows + cos * columns
    return map_coordinates(
        image, [source_rows, source_columns], order=1, mode="constant", cval=0.0
    )


def rotations(
    images: Float[Array, "n height width"], angles: Float[Array, " angles"]
) -> Float[Array, "n angles height width"]:
    """Rotate every image by each of the same angles, in radians (`rotate_image`)."""
    check_finite("images", images, unit=True)
    check_finite("angles", angles)
    if images.ndim != 3 or angles.ndim != 1:
        raise ValueError(
            f"images must be [n, H, W], and angles [k]; got shapes "
            f"{list(images.shape)} and {list(angles.shape)}."
        )
    # Images inside, angles outside: an angle's source places are computed once.
    turn = jax.vmap(jax.vmap(rotate_image, (0, None)), (None, 0), out_axes=1)
    return turn(images, angles)


def rotated_digits(
    key: Key[Array, ""],
    images: Float[Array, "batch height width"],
    *,
    num_anchors: int,
) -> tuple[
    Float[Array, "batch height width"], Float[Array, "batch anchors height width"]
]:
    """Rotate each image at random, and make anchors of its rotated copies: Appendix E.

    Args:
        key: The random key of the angles.
        images: Upright images, of grey values in [0, 1].
        num_anchors: N_a, copies of each image at angles evenly spaced over a turn, the
            first of them upright; 0 for none.

    Returns:
        The images, each turned by an angle of its own between 0 and 350 degrees, and
        the anchors of each.

    Raises:
        ValueError: For a negative number of anchors, and for images as `rotations`.
    """
    check_key("key", key)
    check_finite("images", images, unit=True)
    num_anchors = as_count("num_anchors", num_anchors, 0)
    if images.ndim != 3:
        raise ValueError(f"images must be [n, H, W]; got shape {list(images.shape)}.")
    angles = jax.random.uniform(
        key, images.shape[:1], images.dtype, 0.0, jnp.deg2rad(MAX_ANGLE)
    )
    places = 2 * jnp.pi * jnp.arange(num_anchors, dtype=images.dtype)
    return jax.vmap(rotate_image)(images, angles), rotations(
        images, places / max(num_anchors, 1)
    )
