"""A measure of how linear the map from true points to latents is."""

import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import check_shapes


def affine_error(
    latents: Float[Array | np.ndarray, "n d"], truth: Float[Array | np.ndarray, "n k"]
) -> float:
    """Return what the best affine map from latents leaves of the true points.

    Args:
        latents: Encoded points.
        truth: Where the points truly lie.

    Returns:
        RMS of the residual over the RMS of the truth about its mean: 0 for a linear
        picture, 1 where latents say nothing linear.

    Raises:
        ValueError: If there are not as many of both.
    """
    check_shapes(latents=(latents, "n d"), truth=(truth, "n k"))
    latents, truth = np.asarray(latents, float), np.asarray(truth, float)
    design = np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
    fitted = design @ np.linalg.lstsq(design, truth)[0]
    centred = truth - truth.mean(axis=0)
    return float(np.sqrt(np.sum((truth - fitted) ** 2) / np.sum(centred**2)))
