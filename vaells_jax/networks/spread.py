"""How far each point may go along each operator: a small network of its latents."""

import math

import flax.linen as nn
import jax.numpy as jnp

from vaells_jax.networks.layers import uniform_dense

LARGEST_FACTOR = 10.0
"""Spreads lie between this factor and its inverse."""


class SpreadNetwork(nn.Module):
    """The logarithm of each operator's spread at a latent; zero before training.

    Attributes:
        num_operators: M.
        hidden: Units of the hidden layer.
    """

    num_operators: int
    hidden: int = 64

    @nn.compact
    def __call__(self, latents):
        """Map latents `[B, d]` to logarithms `[B, M]`."""
        x = nn.tanh(uniform_dense(latents, self.hidden))
        x = nn.Dense(self.num_operators, kernel_init=nn.initializers.zeros)(x)
        largest = math.log(LARGEST_FACTOR)
        return largest * jnp.tanh(x / largest)
