"""Layers of the stock networks, in Flax Linen.

Weights start as the authors' do: convolutions from N(0, 0.05^2), dense layers and all
biases uniform in +-1/sqrt(fan in), their framework's default.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

_conv_init = nn.initializers.normal(0.05)
_dense_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_dense(inputs, features):
    """Apply a dense layer, weights and biases uniform in +-1/sqrt(fan in)."""
    bias_init = _bias_init(inputs.shape[-1])
    return nn.Dense(features, kernel_init=_dense_init, bias_init=bias_init)(inputs)


def convolution(x, stride, padding):
    """Apply a 4x4 convolution to 64 maps and a ReLU."""
    return nn.relu(
        nn.Conv(
            64,
            (4, 4),
            (stride, stride),
            padding=(padding, padding),
            kernel_init=_conv_init,
            bias_init=_bias_init(16 * x.shape[-1]),
        )(x)
    )


class TransposedConvolution(nn.Module):
    """Transposed convolution, computed as `stride**2` small ordinary ones.

    Equal to `flax.linen.ConvTranspose` with the same kernel, whose gradient by way of
    dilated inputs is twenty times slower on CPUs: output row `stride * m + p` uses
    only the kernel rows congruent to `stride - 1 - p`, so that one ordinary convolution
    with `stride**2` times the channels, then interleaved, gives the same numbers.

    Attributes:
        features: Channels of the output.
        stride: Factor of growth; divides the kernel's size.
        padding: Rows and columns cut off each side of the full result.
        size: Side of the square kernel.
    """

    features: int
    stride: int
    padding: int
    size: int = 4

    @nn.compact
    def __call__(self, x):
        """Map `[B, H, W, C]` to `[B, H', W', features]`, H' = (H-1) s + size - 2 p."""
        batch, height, width, channels = x.shape
        s, taps, cut = self.stride, self.size // self.stride, self.padding
        shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", _conv_init, shape, jnp.float32)
        fan_in = self.size**2 * self.features  # the authors' framework counts so here
        bias = self.param("bias", _bias_init(fan_in), (self.features,), jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        phases = kernel.reshape(taps, s, taps, s, channels, self.features)
        phases = phases[:, ::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
        phases = phases.reshape(taps, taps, channels, s * s * self.features)
        # An explicit border: the kernel gradient of a padded convolution is slow too.
        border = (taps - 1, taps - 1)
        x = jnp.pad(x, ((0, 0), border, border, (0, 0)))
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, phases, (1, 1), "VALID", dimension_numbers=dimensions
        )
        rows, columns = height + taps - 1, width + taps - 1
        y = y.reshape(batch, rows, columns, s, s, self.features)
        y = y.transpose(0, 1, 3, 2, 4, 5)
        y = y.reshape(batch, rows * s, columns * s, self.features)
        y = y[:, cut : rows * s - cut, cut : columns * s - cut]
        return y + bias[None, None, None, :]


def flat(x):
    """Turn `[B, *x]` into `[B, size]`."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _bias_init(fan_in):
    """Return an initialiser that is uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
