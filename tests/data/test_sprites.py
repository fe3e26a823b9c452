import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.data.sprites import (
    SHAPES,
    SpriteFactors,
    draw_sprites,
    render_sprites,
)

NAMES = list(SHAPES)
EVERY = pytest.mark.parametrize("shape", NAMES)


def sprite(shape, scale=0.3, angle=0.0, x=0.5, y=0.5, *, size=32):
    """Render one sprite."""
    numbers = [jnp.asarray([float(value)]) for value in (scale, angle, x, y)]
    factors = SpriteFactors(jnp.asarray([NAMES.index(shape)]), *numbers)
    return np.asarray(render_sprites(factors, size)[0], float)


def centre(image):
    """Return the centre of mass, from the left and the bottom edge."""
    size = len(image)
    middles = (np.arange(size) + 0.5) / size
    x = np.sum(image * middles) / image.sum()
    return x, np.sum(image * middles[::-1, None]) / image.sum()


def polygon(points, *corners):
    """Say which points are within a convex polygon, by its corners anticlockwise."""
    inside = np.full(len(points), True)
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        (u, v), (s, t) = np.subtract(b, a), (points - a).T
        inside &= u * t - v * s >= 0.0
    return inside


def within(shape, p):
    """Say which points are inside a shape of area 1, its lowest point at the origin."""
    if shape == "square":
        return polygon(p, (-0.5, 0.0), (0.5, 0.0), (0.5, 1.0), (-0.5, 1.0))
    if shape == "triangle":
        a = 2.0 / 3.0**0.25  # side, of area sqrt(3) a^2 / 4
        return polygon(p, (-a / 2, 0.0), (a / 2, 0.0), (0.0, np.sqrt(0.75) * a))
    if shape == "ellipse":
        b = np.sqrt(1.0 / (2.0 * np.pi))  # of area 2 pi b^2
        return (p[:, 0] / (2 * b)) ** 2 + (p[:, 1] / b - 1.0) ** 2 <= 1.0
    d = 2.0 / np.sqrt(2.0 + np.pi / 2.0)  # the square's diagonal
    box = polygon(p, (0.0, 0.0), (d / 2, d / 2), (0.0, d), (-d / 2, d / 2))
    discs = [np.hypot(p[:, 0] - s * d / 4, p[:, 1] - 3 * d / 4) for s in (-1, 1)]
    return box | (np.minimum(*discs) <= d / np.sqrt(8.0))


@EVERY
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_sprites_are_the_shares_of_pixels_that_the_shape_covers(shape, angle):
    # A pixel has 20 x 20 points here; the shape's centre of mass is theirs.
    size, scale, x, y = 24, 0.4, 0.52, 0.47
    fine = (np.arange(20 * size) + 0.5) / (20 * size)
    right, up = np.meshgrid(fine, 1.0 - fine)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    plane = np.stack(np.meshgrid(*[np.linspace(-1.0, 2.0, 601)] * 2), -1).reshape(-1, 2)
    lowest = plane[within(shape, plane)].mean(axis=0)
    points = np.stack([right - x, up - y], axis=-1).reshape(-1, 2) @ turn / scale
    inside = within(shape, points + lowest).reshape(size, 20, size, 20)
    error = sprite(shape, scale, angle, x, y, size=size) - inside.mean(axis=(1, 3))
    assert np.abs(error).max() < 0.25
    assert np.sqrt(np.mean(error**2)) < 0.012


@EVERY
@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_areas_and_centres_are_those_asked_for(shape, angle):
    size, scale, x, y = 64, 0.35, 0.53, 0.46
    image = sprite(shape, scale, angle, x, y, size=size)
    assert image.min() == 0.0
    assert image.max() == 1.0
    # To 0.25 %, and 2 % of a pixel's width.
    assert image.sum() == pytest.approx((scale * size) ** 2, rel=0.0025)
    np.testing.assert_allclose(centre(image), (x, y), atol=0.02 / size)


@pytest.mark.parametrize(("scale", "x", "y"), [(0.25, 0.5, 0.5), (0.333, 0.47, 0.61)])
def test_upright_squares_are_exact(scale, x, y):
    # The share of a pixel is a product of overlaps of intervals.
    edges = np.arange(33) / 32
    overlap = lambda z: np.diff(np.clip(edges, z - scale / 2, z + scale / 2)) * 32
    image = sprite("square", scale, 0.0, x, y)
    wanted = np.outer(overlap(y)[::-1], overlap(x))
    np.testing.assert_allclose(image, wanted, atol=1e-5)
    assert image.sum() == pytest.approx((32 * scale) ** 2, rel=1e-5)
    np.testing.assert_allclose(centre(image), (x, y), atol=0.02 / 32)


@EVERY
def test_a_quarter_turn_is_the_turned_image(shape):
    image = sprite(shape, angle=0.3)
    turned = sprite(shape, angle=0.3 + np.pi / 2)
    np.testing.assert_allclose(turned, np.rot90(image), atol=1e-5)
    if shape != "square":
        assert np.abs(turned - image).max() > 0.5


@EVERY
def test_a_turn_by_the_period_changes_nothing_and_no_part_of_it_does(shape):
    image, period = sprite(shape, angle=0.2), SHAPES[shape].period
    same = sprite(shape, angle=0.2 + period)
    np.testing.assert_allclose(same, image, atol=1e-5)
    for part in (2, 3, 5):
        assert np.abs(sprite(shape, angle=0.2 + period / part) - image).max() > 0.2
    np.testing.assert_allclose(
        sprite(shape, angle=-0.2), sprite(shape, angle=0.2)[:, ::-1], atol=1e-5
    )


@EVERY
def test_a_shift_by_pixels_is_the_rolled_image(shape):
    image = sprite(shape, angle=0.3)
    moved = sprite(shape, angle=0.3, x=0.5 + 3 / 32, y=0.5 - 2 / 32)
    np.testing.assert_allclose(moved, np.roll(image, (2, 3), (0, 1)), atol=1e-5)


@EVERY
def test_centres_of_mass_move_with_the_factors(shape):
    # Derivatives of the mass and of its moments, to 5 %: edges are a pixel wide.
    def moments(scale, angle, x, y):
        factors = SpriteFactors(
            jnp.asarray([NAMES.index(shape)]), *jnp.stack([scale, angle, x, y])[:, None]
        )
        image = render_sprites(factors, 256)[0]
        middles = (jnp.arange(256, dtype=image.dtype) + 0.5) / 256
        mass = image.sum()
        return jnp.stack(
            [mass / 256**2, jnp.sum(image * middles[None]) / mass,
             jnp.sum(image * middles[::-1, None]) / mass]
        )  # fmt: skip

    point = [jnp.asarray(value) for value in (0.35, 0.3, 0.53, 0.46)]
    found = np.stack(jax.jacobian(moments, (0, 1, 2, 3))(*point), axis=1)
    wanted = [[0.7, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_drawn_sprites_are_those_of_their_factors(dtype):
    images, factors = draw_sprites(jax.random.key(0), 3000)
    assert images.shape == (3000, 32, 32)
    assert images.dtype == dtype
    np.testing.assert_array_equal(images, render_sprites(factors, 32))
    some = SpriteFactors(*(value[5:8] for value in factors))
    np.testing.assert_allclose(images[5:8], render_sprites(some, 32), atol=1e-6)
    # All within the image.
    np.testing.assert_array_equal(images[:, [0, -1]], 0.0)
    np.testing.assert_array_equal(images[:, :, [0, -1]], 0.0)
    assert scipy.stats.chisquare(np.bincount(factors.shape)).pvalue > 1e-3
    ranges = ((0.15, 0.3), (0.0, 2.0 * np.pi), (0.3, 0.7), (0.3, 0.7))
    for values, (low, high) in zip(factors[1:], ranges, strict=True):
        law = scipy.stats.uniform(low, high - low)
        assert scipy.stats.kstest(np.asarray(values), law.cdf).pvalue > 1e-3
    correlations = np.corrcoef(np.stack(factors)) - np.eye(5)
    assert np.abs(correlations).max() < 0.07


def test_ranges_of_one_value_hold_factors_fixed():
    images, factors = draw_sprites(
        jax.random.key(1), 5, size=8, shapes=("heart",), scale=(0.4, 0.4),
        angle=(1.0, 1.0), place=(0.5, 0.5),
    )  # fmt: skip
    np.testing.assert_array_equal(factors.shape, NAMES.index("heart"))
    np.testing.assert_allclose(
        images, sprite("heart", 0.4, 1.0, size=8)[None] + 0 * images, atol=1e-6
    )


def test_compiled_is_as_it_is_called():
    factors = draw_sprites(jax.random.key(2), 6).factors
    compiled = jax.jit(render_sprites, static_argnums=1)
    np.testing.assert_allclose(
        compiled(factors, 20), render_sprites(factors, 20), atol=1e-6
    )
    draw = jax.jit(draw_sprites, static_argnums=1)
    for one, other in zip(
        jax.tree.leaves(draw(jax.random.key(3), 4)),
        jax.tree.leaves(draw_sprites(jax.random.key(3), 4)), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(one, other, atol=1e-6)
