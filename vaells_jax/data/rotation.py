"""Rotation of images about their centre, for the rotated digits of Appendix E."""

import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float


def rotate_image(
    image: Float[Array, "height width"], angle: Float[Array, ""] | float
) -> Float[Array, "height width"]:
    """Rotate an image about its centre, bilinearly, with zeros outside: Appendix E.

    Args:
        image: one image, of grey values.
        angle: the angle in radians, counter-clockwise as the image is seen with its
            first row on top; may be traced.

    Returns:
        The rotated image, of the same size and precision.

    Raises:
        ValueError: for anything but one image of two axes.

    Note:
        The authors pad the digits to 32x32 before they rotate; the paper prints 28x28,
        which is kept here, so that a corner turned beyond the frame is lost.
    """
    if image.ndim != 2:
        raise ValueError(f"image: got shape {image.shape}, wanted [H, W]; vmap batches")
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
