"""Rank correlation with ties."""

import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import check_shapes


def spearman(
    first: Float[Array | np.ndarray, " n"], second: Float[Array | np.ndarray, " n"]
) -> float:
    """Return Spearman's rank correlation; equal values share a rank, constants give 0.

    Raises:
        ValueError: If the lengths differ or there is one value only.
    """
    check_shapes(first=(first, "n"), second=(second, "n"))
    if len(first) < 2:
        raise ValueError("first and second must be at least 2 values; got 1.")
    ranks = np.stack([_ranks(np.asarray(values)) for values in (first, second)])
    ranks -= ranks.mean(axis=1)[:, None]
    sizes = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / np.prod(sizes)) if sizes.all() else 0.0


def _ranks(values):
    """Rank values from 1 on; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
