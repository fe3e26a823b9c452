import numpy as np
import pytest
import scipy.ndimage

from vaells_jax.evaluation.turning import frequency_ratios, quarter_turn, turn_score

SIZE, RATE = 12, 0.03  # pixels; radians that a coefficient of 1 turns by
CLOCKWISE = -RATE


def pictures(count=6):
    """Draw blurred random pictures that stay inside the circle."""
    noise = np.random.default_rng(0).uniform(size=(count, SIZE, SIZE))
    radius = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2))
    blurred = scipy.ndimage.gaussian_filter(noise, (0, 1.2, 1.2)) * (radius < SIZE / 2)
    return blurred / blurred.max()


def turned(image, angle):
    return scipy.ndimage.rotate(
        image, np.rad2deg(angle), order=1, reshape=False, mode="grid-constant"
    )


def turn(images, angles):
    return np.array([[turned(image, a) for a in angles] for image in images])


# A model whose latent is the picture itself and an angle, which its path increases.


def encode(images):
    images = np.asarray(images)
    return np.concatenate(
        [images.reshape(len(images), -1), np.zeros((len(images), 1))], 1
    )


def decode(latents):
    return np.array([turned(z[:-1].reshape(SIZE, SIZE), z[-1]) for z in latents])


def path(latents, coefficients):
    points = np.repeat(latents[:, None], len(coefficients), axis=1)
    points[..., -1] += RATE * np.asarray(coefficients)[None, :]
    return points


def backwards(latents, coefficients):
    return path(latents, -np.asarray(coefficients))


def fading(latents, coefficients):
    """Lead to darker pictures, and never turn them."""
    points = path(latents, 0.0 * np.asarray(coefficients))
    points[..., :-1] *= np.exp(RATE * np.asarray(coefficients))[None, :, None]
    return points


def restless(latents, coefficients):
    """Turn to and fro."""
    return path(latents, np.sin(5.0 * RATE * np.asarray(coefficients)) / RATE)


def model(path):
    return {"encode": encode, "decode": decode, "path": path, "turn": turn}


@pytest.mark.parametrize(("way", "sign"), [(path, 1), (backwards, -1)])
def test_a_quarter_turn_is_found_with_its_direction(way, sign):
    # The longest is more than a turn and a quarter, which must not be mistaken for it.
    found = quarter_turn(pictures(), 1.3 * 2 * np.pi / RATE, **model(way))
    assert found == pytest.approx(sign * np.pi / 2 / RATE, rel=0.01)


def test_a_model_that_turns_is_perfect():
    images, quarter = pictures(), -np.pi / 2 / RATE
    score = turn_score(images, quarter, **model(backwards))
    np.testing.assert_allclose(score.monotonicity, 1.0)
    # Points lie every ten degrees; the truth is compared every two and a half.
    expected = np.linspace(-np.pi / 2, np.pi / 2, 19)
    np.testing.assert_allclose(score.angles, np.tile(expected, (6, 1)), atol=1e-9)
    for errors in (
        score.path_errors,
        score.nominal_errors,
        score.reconstruction_errors,
    ):
        np.testing.assert_allclose(errors, 0.0, atol=1e-12)
    np.testing.assert_allclose(score.outputs[:, 9], images, atol=1e-12)
    np.testing.assert_allclose(score.coefficients[[0, -1]], [-quarter, quarter])


def test_half_the_speed_is_monotone_but_not_at_its_angles():
    score = turn_score(pictures(), np.pi / 4 / RATE, **model(path))
    np.testing.assert_allclose(score.monotonicity, 1.0)
    np.testing.assert_allclose(score.angles[:, -1], np.pi / 4)
    assert (score.path_errors < 1e-12).all()
    assert (score.nominal_errors > 1e-3).all()


@pytest.mark.parametrize("wrong", [fading, restless])
def test_a_model_that_does_not_turn_is_found_out(wrong):
    score = turn_score(pictures(), np.pi / 2 / RATE, **model(wrong))
    assert np.mean(score.monotonicity) < 0.6
    assert (score.nominal_errors > 1e-3).all()


def test_a_picture_that_half_a_turn_keeps_is_still_followed():
    image = pictures(1) + pictures(1)[:, ::-1, ::-1]
    score = turn_score(image, np.pi / 2 / RATE, **model(path))
    np.testing.assert_allclose(score.monotonicity, 1.0)


def test_frequencies_are_counted_in_the_slowest():
    generator = np.random.default_rng(1)
    blocks = [
        frequency * np.array([[0.0, -1.0], [1.0, 0.0]]) for frequency in (0.7, 2.1, 1.4)
    ]
    operator = scipy.linalg.block_diag(*blocks, 0.3, -0.2, 0.001 * blocks[0])
    basis = generator.normal(size=operator.shape)
    operator = basis @ operator @ np.linalg.inv(basis)
    np.testing.assert_allclose(frequency_ratios(operator), [1.0, 2.0, 3.0])
    assert frequency_ratios(np.diag([0.1, -0.2])).size == 0


def test_an_operator_is_square(unchecked):
    with pytest.raises(ValueError, match="operator"):
        frequency_ratios(np.ones((2, 3)))
