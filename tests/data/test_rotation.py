import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from vaells_jax.data.rotation import MAX_ANGLE, rotate_image, rotated_digits, rotations

ANGLES = np.array([0.0, 0.3, -1.1, np.pi / 2, 2.5, np.pi, 6.1])


def picture(height=28, width=28):
    return np.random.default_rng(0).uniform(size=(height, width)).astype(np.float32)


@pytest.mark.parametrize("shape", [(28, 28), (9, 14), (7, 7)])
def test_rotation_is_scipys_bilinear_rotation(shape):
    image = picture(*shape)
    rotated = jax.jit(jax.vmap(rotate_image, (None, 0)))(image, ANGLES)
    assert rotated.dtype == image.dtype
    for angle, result in zip(ANGLES, rotated, strict=True):
        expected = scipy.ndimage.rotate(
            image.astype(float), np.rad2deg(angle), order=1, reshape=False,
            mode="grid-constant",
        )  # fmt: skip
        np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4])
def test_quarter_turns_permute_pixels(quarters):
    image = picture()
    rotated = rotate_image(jnp.asarray(image), quarters * np.pi / 2)
    np.testing.assert_allclose(rotated, np.rot90(image, quarters), atol=1e-5)


def test_there_and_back_keeps_a_smooth_middle():
    rows, columns = np.mgrid[:28, :28] - 13.5
    blob = np.exp(-((rows - 3.0) ** 2 + columns**2) / 18.0)
    back = rotate_image(rotate_image(jnp.asarray(blob, jnp.float32), 0.7), -0.7)
    # Each bilinear pass flattens the peak by about two hundredths.
    np.testing.assert_allclose(back, blob, atol=0.05)


def test_outside_is_zero_and_nothing_is_added():
    rotated = rotate_image(jnp.ones((28, 28)), np.pi / 4)
    assert rotated[0, 0] == 0.0
    np.testing.assert_allclose(rotated[14, 14], 1.0, rtol=1e-6)
    assert rotated.min() >= 0.0
    assert rotated.max() <= 1.0 + 1e-6


def test_the_angles_derivative_matches_finite_differences():
    rows, columns = np.mgrid[:28, :28] - 13.5
    blob = jnp.asarray(np.exp(-((rows - 3.0) ** 2 + columns**2) / 18.0))

    def moment(angle):
        return jnp.sum(rotate_image(blob, angle) * columns)

    slope = jax.grad(moment)(0.4)
    step = 1e-2
    finite = (moment(0.4 + step) - moment(0.4 - step)) / (2 * step)
    np.testing.assert_allclose(slope, finite, rtol=2e-2)


def test_a_batch_is_refused():
    with pytest.raises(
        ValueError, match=r"image must be \[H, W\]; got shape \[2, 28, 28\]"
    ):
        inspect.unwrap(rotate_image)(jnp.zeros((2, 28, 28)), 0.1)


@pytest.mark.parametrize("turn", ["rotate_image", "rotations", "rotated_digits"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: (255 * x).astype(np.uint8), "must hold float32 or float64"),
        (lambda x: x > 0.5, "must hold float32 or float64"),
        (lambda x: x.tolist(), "must be an array"),
        (lambda x: np.where(x == x.max(), np.nan, x), "must be finite"),
        (lambda x: 255 * x, r"must be images with values in \[0, 1\]"),
        (lambda x: 2 * x - 1, r"must be images with values in \[0, 1\]"),
    ],
)
def test_what_is_no_image_is_refused(turn, spoil, message, unchecked):
    image = spoil(picture() if turn == "rotate_image" else picture()[None])
    calls = {
        "rotate_image": lambda: rotate_image(image, 0.7),
        "rotations": lambda: rotations(image, jnp.array([0.7])),
        "rotated_digits": lambda: rotated_digits(
            jax.random.key(0), image, num_anchors=2
        ),
    }
    with pytest.raises(ValueError, match=f"images? {message}"):
        calls[turn]()


@pytest.mark.parametrize("angle", [np.nan, np.inf, True, "1", None, jnp.array(1)])
def test_what_is_no_angle_is_refused(angle, unchecked):
    with pytest.raises(ValueError, match="angle must"):
        rotate_image(picture(), angle)


def test_a_batch_turns_by_its_key_and_brings_upright_anchors_in_order(dtype):
    rows, columns = np.mgrid[:28, :28] - 13.5
    blob = np.exp(-((rows + 5.0) ** 2 + columns**2) / 8.0).astype(dtype)
    images = jnp.asarray(np.stack([blob] * 40))
    make = jax.jit(rotated_digits, static_argnames="num_anchors")
    inputs, anchors = make(jax.random.key(0), images, num_anchors=4)
    for place, anchor in enumerate(anchors[0]):
        np.testing.assert_allclose(anchor, np.rot90(blob, place), atol=1e-5)
    np.testing.assert_array_equal(anchors[0], anchors[-1])
    # The blob's centre of mass tells each input's angle: all over 0 to 350 degrees.
    mass = jnp.sum(inputs, axis=(1, 2))
    up = -jnp.einsum("bij,ij->b", inputs, rows) / mass
    left = -jnp.einsum("bij,ij->b", inputs, columns) / mass
    angles = np.rad2deg(np.arctan2(left, up)) % 360
    assert len(np.unique(np.round(angles))) > 30
    assert scipy.stats.kstest(angles, "uniform", (0, MAX_ANGLE)).pvalue > 0.01
    again, none = make(jax.random.key(0), images, num_anchors=0)
    np.testing.assert_allclose(again, inputs, atol=1e-6)
    assert none.shape == (40, 0, 28, 28)
    other, _ = make(jax.random.key(1), images, num_anchors=0)
    assert np.abs(np.asarray(other - inputs)).max() > 0.1


def test_anchors_cannot_be_less_than_none():
    with pytest.raises(ValueError, match="num_anchors must be .* got -1"):
        rotated_digits(jax.random.key(0), jnp.zeros((1, 28, 28)), num_anchors=-1)
