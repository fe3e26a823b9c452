"""Images of small shapes, drawn from factors that are known."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaells_jax.checks import (
    as_count,
    as_number,
    check_classes,
    check_finite,
    check_integers,
    check_key,
    check_kind,
    check_member,
    check_shapes,
)

SMALLEST = 4
"""Pixels along a side of the smallest images."""


class Shape(NamedTuple):
    """A shape of area 1 whose centre of mass is the origin.

    Attributes:
        name: Name in tables.
        inside: The share of each pixel that the shape covers, given the coordinates of
            the pixels' centres, to the right and upwards, and a pixel's width.
        period: The least turn that leaves the shape as it is [radians].
    """

    name: str
    inside: Callable[[Array, Array, Array], Array]
    period: float


class SpriteFactors(NamedTuple):
    """What decides an image, of n sprites.

    Attributes:
        shape: Index into `SHAPES`.
        scale: Square root of the area, so a square's side [shares of the image's side].
        angle: Turn about the centre of mass, anticlockwise [radians].
        x: Centre of mass, from the left edge [shares of the image's side].
        y: Centre of mass, from the bottom edge [shares of the image's side].
    """

    shape: Int[Array | np.ndarray, " n"]
    scale: Float[Array | np.ndarray, " n"]
    angle: Float[Array | np.ndarray, " n"]
    x: Float[Array | np.ndarray, " n"]
    y: Float[Array | np.ndarray, " n"]


class Sprites(NamedTuple):
    """Images with their factors.

    Attributes:
        images: From 0, outside, to 1, inside; the first row is on top.
        factors: Of each image.
    """

    images: Float[Array, "n size size"]
    factors: SpriteFactors


def render_sprites(factors: SpriteFactors, size: int) -> Float[Array, "n size size"]:
    """Draw each sprite: a pixel's value is the share of it that the shape covers.

    The share is `clip(1/2 - d, 0, 1)`, where d is the signed distance of the pixel's
    centre from an edge in pixels, and a product over the edges of squares and
    triangles. It is exact where edges run along the pixels and by at most a twentieth
    off where straight ones do not, by more at corners and on shapes of a few pixels.
    What is outside the image is cut off.
    Values are differentiable in all factors but the shape, almost everywhere.

    Args:
        factors: Shape, scale, angle and place of each sprite; they may be traced.
        size: Pixels along a side.

    Raises:
        ValueError: If factors do not fit together, there is no such shape, a scale is
            not positive or numbers are not finite.
    """
    check_kind(factors=(factors, SpriteFactors))
    size = as_count("size", size, SMALLEST)
    check_integers(shape=factors.shape)
    for name, values in factors._asdict().items():
        if name != "shape":
            check_finite(name, values)
    check_shapes(**{name: (x, "n") for name, x in factors._asdict().items()})
    check_classes("shape", factors.shape, len(SHAPES))
    scale = factors.scale
    if not isinstance(scale, jax.core.Tracer) and np.min(scale) <= 0.0:
        raise ValueError(f"scale must be greater than 0; got {np.min(scale):g}.")
    return _rendered(factors, size)


def draw_sprites(
    key: Key[Array, ""],
    count: int,
    *,
    size: int = 32,
    shapes: tuple[str, ...] = ("square", "ellipse", "triangle", "heart"),
    scale: tuple[float, float] = (0.15, 0.3),
    angle: tuple[float, float] = (0.0, 2.0 * math.pi),
    place: tuple[float, float] = (0.3, 0.7),
) -> Sprites:
    """Draw sprites whose factors are independent and uniform.

    The default ranges keep every sprite within the image. An angle can be seen in an
    image only up to the shape's `period`: for a factor that images determine, take one
    shape and a range of at most its period.

    Args:
        key: Random key.
        count: Number of sprites.
        size: Pixels along a side.
        shapes: Keys of `SHAPES`, all equally likely.
        scale: Least and greatest; equal bounds hold a factor fixed.
        angle: Least and greatest [radians].
        place: Least and greatest of x and of y.

    Raises:
        ValueError: If an argument is not of its kind, a range is empty or a scale not
            positive.
    """
    check_key("key", key)
    count = as_count("count", count)
    check_kind(shapes=(shapes, tuple))
    for name in shapes or ("",):
        check_member("shapes", name, tuple(SHAPES))
    ranges = {
        "scale": _as_range("scale", scale, 0.0),
        "angle": _as_range("angle", angle, -math.inf),
        "x": (place := _as_range("place", place, -math.inf)),
        "y": place,
    }
    shape_key, *keys = jax.random.split(key, 5)
    index = jnp.asarray([list(SHAPES).index(name) for name in shapes])
    factors = SpriteFactors(
        index[jax.random.randint(shape_key, (count,), 0, len(shapes))],
        **{
            name: jax.random.uniform(own, (count,), minval=low, maxval=high)
            for own, (name, (low, high)) in zip(keys, ranges.items(), strict=True)
        },
    )
    return Sprites(render_sprites(factors, size), factors)


def _as_range(name, value, least):
    """Return two numbers in order, above `least`."""
    check_kind(**{name: (value, tuple)})
    if len(value) != 2:
        raise ValueError(f"{name} must be (least, greatest); got {len(value)} numbers.")
    low, high = (as_number(name, x, least, strict=True) for x in value)
    if low > high:
        raise ValueError(f"{name} must be (least, greatest); got {low:g}, {high:g}.")
    return low, high


@functools.partial(jax.jit, static_argnums=1)
def _rendered(factors, size):
    branches = [shape.inside for shape in SHAPES.values()]

    def one(shape, scale, angle, x, y):
        middles = (jnp.arange(size, dtype=scale.dtype) + 0.5) / size
        right, up = (middles - x)[None, :], (1.0 - middles - y)[:, None]
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        u = (cos * right + sin * up) / scale
        v = (cos * up - sin * right) / scale
        return jax.lax.switch(shape, branches, u, v, 1.0 / (size * scale))

    return jax.vmap(one)(*factors)


def _covered(distance, pixel):
    """Return the share of each pixel on the negative side of an edge."""
    return jnp.clip(0.5 - distance / pixel, 0.0, 1.0)


def _square(u, v, pixel):
    return _covered(jnp.abs(u) - 0.5, pixel) * _covered(jnp.abs(v) - 0.5, pixel)


def _triangle(u, v, pixel):
    """Cover an equilateral triangle that points upwards."""
    radius = 1.0 / math.sqrt(3.0 * math.sqrt(3.0))  # of the inscribed circle
    slope = math.sqrt(0.75)
    sides = (-v, 0.5 * v + slope * u, 0.5 * v - slope * u)
    return math.prod(_covered(side - radius, pixel) for side in sides)


def _ellipse(u, v, pixel):
    """Cover an ellipse twice as wide as high; the distance is to first order."""
    b = 1.0 / math.sqrt(2.0 * math.pi)
    u, v = u / (2.0 * b), v / b
    size = u**2 + v**2
    slope = jnp.sqrt(jnp.maximum((u / (2.0 * b)) ** 2 + (v / b) ** 2, 1e-12))
    return _covered(0.5 * (size - 1.0) / slope, pixel)


def _heart(u, v, pixel):
    """Cover a square that stands on a corner and half discs on its upper sides."""
    side = 1.0 / math.sqrt(1.0 + math.pi / 4.0)
    # Centre of mass of both half discs and the square, from that of the square.
    v = v + math.sqrt(0.5) * math.pi / 4.0 * (0.5 + 2.0 / (3.0 * math.pi)) * side**3
    u, v = math.sqrt(0.5) * (u + v), math.sqrt(0.5) * (v - u)
    half = 0.5 * side
    square = _covered(jnp.abs(u) - half, pixel) * _covered(jnp.abs(v) - half, pixel)
    radii = [
        jnp.sqrt(jnp.maximum((u - a) ** 2 + (v - b) ** 2, 1e-12))
        for a, b in ((half, 0.0), (0.0, half))
    ]
    return functools.reduce(
        jnp.maximum, [square, *(_covered(radius - half, pixel) for radius in radii)]
    )


SHAPES: dict[str, Shape] = {
    "square": Shape("square", _square, math.pi / 2.0),
    "ellipse": Shape("ellipse", _ellipse, math.pi),
    "triangle": Shape("triangle", _triangle, 2.0 * math.pi / 3.0),
    "heart": Shape("heart", _heart, 2.0 * math.pi),
}
"""Shapes by name. Each is its own mirror image; at angle 0 the ellipse lies, twice as
wide as high, and triangle and heart are upright, on a side and on the tip."""
