"""Measures of images along a model's samples and paths: identity and variety.

Nothing here knows what a model is made of: decoded images come as arrays, a classifier
as a function of whole batches.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from vaells_jax.checks import check_callable, check_shapes

Views = Float[Array | np.ndarray, "n k height width"]
"""Decoded images: k views of each of n examples, samples or points of a path."""
Classify = Callable[..., Array | np.ndarray]
"""From images `[m, H, W]` to the class of each `[m]`."""


class IdentityScore(NamedTuple):
    """How far views of an example stay members of its class.

    Attributes:
        share: Of all views, those that are classified as their example.
        whole: Of all examples, those whose every view is.
        per_view: `share` of each view, in the views' order.
    """

    share: float
    whole: float
    per_view: Float[np.ndarray, " k"]


def identity_preservation(
    views: Views, labels: Int[Array | np.ndarray, " n"], *, classify: Classify
) -> IdentityScore:
    """Measure how often a classifier still sees the class that the example has.

    Args:
        views: Decoded samples or paths of each example.
        labels: The examples' classes, as the classifier names them.
        classify: The classifier; what it gets wrong counts against the model, so that
            its accuracy belongs beside the score.

    Raises:
        ValueError: If there are no views, or labels of another number.
    """
    check_callable(classify=classify)
    check_shapes(views=(views, "n k H W"), labels=(labels, "n"))
    views, labels = np.asarray(views), np.asarray(labels)
    found = np.asarray(classify(views.reshape(-1, *views.shape[2:])))
    kept = found.reshape(views.shape[:2]) == labels[:, None]
    return IdentityScore(
        float(kept.mean()), float(kept.all(axis=1).mean()), kept.mean(axis=0)
    )


def sample_diversity(views: Views) -> float:
    """Return the variance of a pixel over an example's views, averaged over all.

    Samples that keep their class by not moving have none, so that this belongs beside
    `identity_preservation`.

    Raises:
        ValueError: If there are no views.
    """
    check_shapes(views=(views, "n k H W"))
    views = np.asarray(views, float)
    return float(np.mean(np.var(views, axis=1)))
