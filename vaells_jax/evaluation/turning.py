"""Measures of paths that should turn images, as a group of rotations would.

Nothing here knows what a model is made of. A model comes as functions of whole batches:
`encode`, `decode`, and `path`, from latents `[n, d]` and coefficients `[T]` to
`[n, T, d]`; the truth as `turn`, from images `[n, H, W]` and angles `[T]` in radians to
`[n, T, H, W]`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import as_count, check_callable, check_number, check_shapes
from vaells_jax.evaluation.chunks import in_parts
from vaells_jax.evaluation.ranks import spearman
from vaells_jax.evaluation.structure import BatchFunction
from vaells_jax.networks.contract import check_outputs

Images = Float[Array | np.ndarray, "n height width"]
SweepFunction = Callable[..., Array | np.ndarray]

_CHUNK = 500  # images that pass the networks at once
_SPAN = np.deg2rad(150.0)  # angles that a path is compared with
_STEP = np.deg2rad(2.5)
_WINDOW = np.deg2rad(45.0)


class TurnScore(NamedTuple):
    """How decoded paths compare with the true rotations of their examples.

    Attributes:
        coefficients: Swept, in order of the angle that they stand for.
        outputs: Decoded paths.
        angles: Of the best-matching true rotation of each point [radians].
        monotonicity: Spearman of coefficient and angle along each path.
        path_errors: Mean squared pixel error of each path against those rotations.
        nominal_errors: The same against the rotations that the coefficients stand for.
        reconstruction_errors: The same of these rotations' own reconstructions.
    """

    coefficients: Float[np.ndarray, " T"]
    outputs: Float[np.ndarray, "n T height width"]
    angles: Float[np.ndarray, "n T"]
    monotonicity: Float[np.ndarray, " n"]
    path_errors: Float[np.ndarray, " n"]
    nominal_errors: Float[np.ndarray, " n"]
    reconstruction_errors: Float[np.ndarray, " n"]


def frequency_ratios(
    operator: Float[Array | np.ndarray, "d d"], *, least: float = 0.1
) -> Float[np.ndarray, " k"]:
    """Return an operator's frequencies over the slowest, in increasing order.

    A representation of the rotation group has whole numbers here.

    Args:
        operator: A generator.
        least: Imaginary parts below this share of the largest count as none.
    """
    check_shapes(operator=(operator, "d d"))
    operator = np.asarray(operator, float)
    frequencies = np.linalg.eigvals(operator).imag
    frequencies = np.sort(frequencies[frequencies > 0])
    if not frequencies.size:
        return frequencies
    frequencies = frequencies[frequencies >= least * frequencies[-1]]
    return frequencies / frequencies[0]


def quarter_turn(
    images: Images,
    longest: float,
    *,
    encode: BatchFunction,
    decode: BatchFunction,
    path: SweepFunction,
    turn: SweepFunction,
    num_candidates: int = 60,
) -> float:
    """Find the one coefficient that turns all images by a quarter, best on average.

    Args:
        images: Upright images, not all of them symmetric.
        longest: The largest coefficient to consider; well below a turn more than what
            is sought, because that turns by a quarter too.
        encode: From images to latents.
        decode: From latents to images.
        path: From latents and coefficients to paths.
        turn: From images and angles to rotated images.
        num_candidates: Coefficients that are tried, and then half as many around the
            best.

    Returns:
        The coefficient, negative if positive coefficients turn clockwise.
    """
    check_shapes(images=(images, "n H W"))
    check_number("longest", longest, strict=True)
    check_callable(encode=encode, decode=decode, path=path, turn=turn)
    num_candidates = as_count("num_candidates", num_candidates, 2)
    latents = encode(images)
    targets = np.asarray(turn(images, np.array([np.pi / 2, -np.pi / 2])))

    def errors(candidates):
        both = np.concatenate([candidates, -candidates])
        outputs = _decode(decode, path(latents, both))
        towards, away = np.split(outputs, 2, axis=1)
        # Positive coefficients turn counter-clockwise, or clockwise.
        ways = ((0, 1), (1, 0))
        return np.stack(
            [
                _mse(towards, targets[:, [i]]) + _mse(away, targets[:, [j]])
                for i, j in ways
            ]
        )

    step = longest / num_candidates
    candidates = step * np.arange(1, num_candidates + 1)
    way, place = _first_dip(errors(candidates))
    finer = candidates[place] + step * np.linspace(-1.0, 1.0, num_candidates // 2)
    return (-1.0) ** way * float(finer[np.argmin(errors(finer)[way])])


def turn_score(
    images: Images,
    quarter: float,
    *,
    encode: BatchFunction,
    decode: BatchFunction,
    path: SweepFunction,
    turn: SweepFunction,
    num_points: int = 19,
) -> TurnScore:
    """Compare decoded paths through images, over +-90 degrees, with true rotations.

    The best-matching rotation of a point is sought within 45 degrees of that of the
    point before it, from the middle outwards: some digits look alike after half a turn.

    Args:
        images: Upright images.
        quarter: The coefficient of a quarter turn (`quarter_turn`).
        encode: From images to latents.
        decode: From latents to images.
        path: From latents and coefficients to paths.
        turn: From images and angles to rotated images.
        num_points: Points of each path, an odd number.
    """
    check_shapes(images=(images, "n H W"))
    check_number("quarter", quarter, -math.inf)
    check_callable(encode=encode, decode=decode, path=path, turn=turn)
    num_points = as_count("num_points", num_points, 3)
    nominal = np.linspace(-np.pi / 2, np.pi / 2, num_points)
    coefficients = quarter * np.linspace(-1.0, 1.0, num_points)
    outputs = _decode(decode, path(encode(images), coefficients))
    truth = np.asarray(turn(images, nominal))
    check_outputs(outputs.shape, truth.shape)
    flat = truth.reshape(-1, *truth.shape[2:])
    codes = np.concatenate(in_parts(encode, flat, _CHUNK))
    again = np.concatenate(in_parts(decode, codes, _CHUNK)).reshape(truth.shape)
    angles, errors = _match(images, outputs, turn)
    monotonicity = [spearman(nominal, row) for row in angles]
    over_path = lambda squared: np.asarray(np.mean(squared, axis=(1, 2, 3)))
    return TurnScore(
        coefficients,
        outputs,
        angles,
        np.array(monotonicity),
        errors.mean(axis=1),
        over_path((outputs - truth) ** 2),
        over_path((again - truth) ** 2),
    )


def _match(images, outputs, turn):
    """Return the angle of each output's best-matching rotation and its error."""
    count = round(_SPAN / _STEP)
    grid = _STEP * np.arange(-count, count + 1)
    errors = np.stack(
        [
            _all_errors(output, np.asarray(turn(image[None], grid))[0])
            for image, output in zip(np.asarray(images), outputs, strict=True)
        ]
    )
    chosen = np.empty(errors.shape[:2], int)
    middle = errors.shape[1] // 2
    for places in (range(middle, errors.shape[1]), range(middle, -1, -1)):
        before = np.zeros(len(errors))
        for t in places:
            near = np.abs(grid[None, :] - before[:, None]) <= _WINDOW + 1e-9
            chosen[:, t] = np.argmin(np.where(near, errors[:, t], np.inf), axis=1)
            before = grid[chosen[:, t]]
    best = np.take_along_axis(errors, chosen[:, :, None], axis=2)[..., 0]
    return grid[chosen], best.astype(float)


def _all_errors(outputs, references):
    """Return the mean squared error of each output against each reference."""
    first, second = (x.reshape(len(x), -1).astype(float) for x in (outputs, references))
    squares = np.sum(first**2, axis=1)[:, None] + np.sum(second**2, axis=1)[None, :]
    return np.maximum(squares - 2.0 * first @ second.T, 0.0) / first.shape[1]


def _decode(decode, latents):
    """Decode latents `[n, T, d]` to images `[n, T, H, W]`."""
    latents = np.asarray(latents)
    flat = latents.reshape(-1, latents.shape[-1])
    outputs = np.concatenate(in_parts(decode, flat, _CHUNK))
    return outputs.reshape(*latents.shape[:2], *outputs.shape[1:])


def _mse(outputs, target):
    """Average squared errors over examples and pixels, leaving the second axis."""
    check_outputs(outputs.shape[2:], target.shape[2:])
    return np.mean((outputs - target) ** 2, axis=(0, 2, 3))


def _first_dip(errors):
    """Return row and column of the first local minimum that is about the least.

    Three quarters of a turn, or five, look like one; noise may even favour them.
    """
    padded = np.pad(errors, ((0, 0), (1, 1)), constant_values=np.inf)
    dip = (errors <= padded[:, :-2]) & (errors <= padded[:, 2:])
    dip &= errors <= errors.min() + 0.2 * np.ptp(errors)
    place = int(np.argmax(dip.any(axis=0)))
    return int(np.argmin(np.where(dip[:, place], errors[:, place], np.inf))), place
