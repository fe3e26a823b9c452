"""Rank correlation, in which equal values are equal."""

import numpy as np
from jaxtyping import Array, Float


def spearman(
    first: Float[Array | np.ndarray, " n"], second: Float[Array | np.ndarray, " n"]
) -> float:
    """Return Spearman's rank correlation; equal values share a rank, constants give 0.

    Raises:
        ValueError: If the lengths differ or there is one value only.
    """
    if np.shape(first) != np.shape(second) or np.ndim(first) != 1 or len(first) < 2:
        raise ValueError(
            f"first, second: got {np.shape(first)} and {np.shape(second)}, wanted the "
            "same [n] with n at least 2."
        )
    ranks = np.stack([_ranks(np.asarray(values)) for values in (first, second)])
    ranks -= ranks.mean(axis=1)[:, None]
    sizes = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / np.prod(sizes)) if sizes.all() else 0.0


def _ranks(values):
    """Rank values from 1 on; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
