"""A decoder's deviation by radial basis functions: small near codes, large far away."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FAR = 100.0
"""Factor on the deviation far from all codes."""

WIDTH = 0.8
"""Of a basis function, in mean distances of codes from their centre."""


class Radial(NamedTuple):
    """A precision `1/sigma^2(z) = p_far + sum_k w_k exp(-|z - c_k|^2 / 2 b_k^2)`.

    Attributes:
        centres: c_k.
        widths: b_k.
        log_weights: log w_k, of each of D entries of the data.
    """

    centres: Float[Array | np.ndarray, "K d"]
    widths: Float[Array | np.ndarray, " K"]
    log_weights: Float[Array | np.ndarray, "K D"]

    def precision(self, z: Float[Array, " d"], std: float) -> Float[Array, " D"]:
        """Return the precision of each entry; p_far is that of `FAR * std`."""
        return (FAR * std) ** -2 + self.values(z) @ jnp.exp(self.log_weights)

    def mean(self, z: Float[Array, " d"], values: Float[Array, " K"]) -> Array:
        """Return the mean of a value for each centre, of the nearest ones."""
        return jax.nn.softmax(self._logs(z)) @ values

    def values(self, z: Float[Array | np.ndarray, " d"]) -> Float[Array, " K"]:
        """Return the basis functions' values."""
        return jnp.exp(self._logs(z))

    def _logs(self, z):
        squared = jnp.sum((z[None] - jnp.asarray(self.centres)) ** 2, axis=-1)
        return -0.5 * squared / jnp.asarray(self.widths) ** 2


def fit_radial(
    codes: Float[np.ndarray, "n d"], *, count: int, size: int, std: float, seed: int
) -> Radial:
    """Place basis functions by K-means, the precision at codes `1/std^2` on average.

    Args:
        codes: Where the precision is high.
        count: K.
        size: D.
        std: The deviation there.
        seed: Of K-means.
    """
    from scipy.cluster.vq import kmeans2

    spread = codes.std(axis=0, keepdims=True) + np.finfo(codes.dtype).tiny
    centres, own = kmeans2(codes / spread, count, minit="++", seed=seed)
    centres = (centres * spread).astype(codes.dtype)
    apart = np.linalg.norm(codes - centres[own], axis=1)
    total, members = np.bincount(own, apart, count), np.bincount(own, minlength=count)
    widths = WIDTH * np.maximum(total / np.maximum(members, 1), np.mean(apart))
    found = Radial(centres, widths.astype(codes.dtype), np.zeros((count, size)))
    reached = np.mean(np.sum(jax.vmap(found.values)(codes), axis=1))
    log_weight = math.log((1.0 - FAR**-2) / std**2 / reached)
    weights = np.full((count, size), log_weight, codes.dtype)
    return found._replace(log_weights=weights)
