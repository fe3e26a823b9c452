"""Encoder and decoder of the paper's Tables 2 and 5, in Flax Linen.

The one owner of Flax modules: everything else calls `init_networks`, `encode` and
`decode`. Weights start as the authors' do: convolutions from N(0, 0.05^2), dense layers
and all biases uniform in +-1/sqrt(fan in), which is what their framework gives to
layers that nobody initialises.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import check_count, check_kind, check_numbers
from vaells_jax.model.types import PyTree

_conv_init = nn.initializers.normal(0.05)
_dense_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Networks(NamedTuple):
    """An encoder `f_phi: [B, *x] -> [B, d]` and a decoder `g_theta: [B, d] -> [B, *x]`.

    Hashable, so that it can be a static argument under `jit`.
    """

    encoder: nn.Module
    decoder: nn.Module


def dense_networks(latent_size: int, input_size: int, hidden: int = 512) -> Networks:
    """Return the fully connected pair of Table 2; a ValueError for sizes below 1."""
    sizes = {"latent_size": latent_size, "input_size": input_size, "hidden": hidden}
    for name, size in sizes.items():
        check_count(name, size)
    return Networks(DenseNetwork(hidden, latent_size), DenseNetwork(hidden, input_size))


def convolutional_networks(latent_size: int) -> Networks:
    """Return the convolutional pair of Table 5, for 28x28 images in [0, 1]."""
    check_count("latent_size", latent_size)
    return Networks(ConvolutionalEncoder(latent_size), ConvolutionalDecoder())


def init_networks(
    key: PRNGKeyArray,
    networks: Networks,
    inputs: Float[Array, "B ..."],
    *,
    latent_size: int | None = None,
) -> tuple[PyTree, PyTree]:
    """Draw the parameters of encoder and decoder.

    Args:
        key: Random key.
        networks: The pair to initialise.
        inputs: Any batch of the data's shape.
        latent_size: What the decoder takes, where the encoder gives something else.

    Returns:
        Encoder parameters and decoder parameters.
    """
    encoder_key, decoder_key = jax.random.split(key)
    latents, encoder = networks.encoder.init_with_output(encoder_key, inputs)
    if latent_size is not None:
        latents = jnp.zeros((inputs.shape[0], latent_size), inputs.dtype)
    return encoder, networks.decoder.init(decoder_key, latents)


def encode(
    networks: Networks, encoder: PyTree, inputs: Float[Array, "B ..."]
) -> Float[Array, "B d"]:
    """Map data points to unscaled latent means, `f_phi(x)`.

    Raises:
        ValueError: If the inputs do not fit the network.
    """
    check_kind(networks=(networks, Networks))
    return _apply("inputs", networks.encoder, encoder, inputs)


def decode(
    networks: Networks, decoder: PyTree, latents: Float[Array, "B d"]
) -> Float[Array, "B ..."]:
    """Map unscaled latents to data points, `g_theta(z)`.

    Raises:
        ValueError: If the latents do not fit the network.
    """
    check_kind(networks=(networks, Networks))
    check_numbers(latents=latents)
    _check_shape("latents", latents, (None,))
    return _apply("latents", networks.decoder, decoder, latents)


def _apply(name, network, parameters, values):
    """Run a network, with the errors that users of this library expect."""
    check_numbers(**{name: values})
    try:
        return network.apply(parameters, values)
    except (FlaxError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{name} of shape {list(values.shape)} do not fit the parameters of "
            f"{type(network).__name__}: {str(error).splitlines()[0]}"
        ) from error


class DenseNetwork(nn.Module):
    """Two dense layers with a ReLU between (either column of Table 2)."""

    hidden: int
    features: int

    @nn.compact
    def __call__(self, inputs):
        """Map `[B, in]` to `[B, features]`."""
        _check_shape("inputs", inputs, (None,))
        return uniform_dense(nn.relu(uniform_dense(inputs, self.hidden)), self.features)


class ConvolutionalEncoder(nn.Module):
    """Encoder of Table 5.

    The third convolution keeps its 7x7 maps by a zero border of 1 before and 2 after,
    which the table does not print.
    """

    latent_size: int

    @nn.compact
    def __call__(self, images):
        """Map images `[B, 28, 28]` to latents `[B, d]`."""
        _check_shape("inputs", images, (28, 28))
        x = images[..., None]
        for stride, padding in ((2, (1, 1)), (2, (1, 1)), (1, (1, 2))):
            fan_in = 16 * x.shape[-1]
            x = nn.Conv(
                64,
                (4, 4),
                (stride, stride),
                padding=(padding, padding),
                kernel_init=_conv_init,
                bias_init=_bias_init(fan_in),
            )(x)
            x = nn.relu(x)
        return uniform_dense(x.reshape(x.shape[0], -1), self.latent_size)


class ConvolutionalDecoder(nn.Module):
    """Decoder of Table 5; its maps grow 7 -> 8 -> 14 -> 28."""

    @nn.compact
    def __call__(self, latents):
        """Map latents `[B, d]` to images `[B, 28, 28]` in [0, 1]."""
        return nn.sigmoid(grow_images(latents))


class DigitClassifier(nn.Module):
    """A small convolutional classifier, no part of the model: it judges its images."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images):
        """Map images `[B, 28, 28]` to logits `[B, num_classes]`."""
        _check_shape("images", images, (28, 28))
        x = images[..., None]
        for channels in (16, 32, 64):
            x = nn.relu(nn.Conv(channels, (4, 4), (2, 2))(x))
        x = nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.num_classes)(x)


class TransposedConvolution(nn.Module):
    """Transposed convolution, computed as `stride**2` small ordinary ones.

    Equal to `flax.linen.ConvTranspose` with the same kernel, whose gradient by way of
    dilated inputs is twenty times slower on CPUs: output row `stride * m + p` meets
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


def grow_images(latents):
    """Apply the layers of Table 5's decoder up to its sigmoid, inside a module."""
    _check_shape("latents", latents, (None,))
    x = nn.relu(uniform_dense(latents, 7 * 7 * 64)).reshape(-1, 7, 7, 64)
    x = nn.relu(TransposedConvolution(64, stride=1, padding=1)(x))
    x = nn.relu(TransposedConvolution(64, stride=2, padding=2)(x))
    return TransposedConvolution(1, stride=2, padding=1)(x)[..., 0]


def uniform_dense(inputs, features):
    """Apply a dense layer, weights and biases uniform in +-1/sqrt(fan in)."""
    bias_init = _bias_init(inputs.shape[-1])
    return nn.Dense(features, kernel_init=_dense_init, bias_init=bias_init)(inputs)


def _check_shape(name, values, wanted):
    """Raise a ValueError unless `values` is a batch of the wanted shape."""
    fits = len(values.shape) == len(wanted) + 1 and all(
        found == size or (size is None and found > 0)
        for size, found in zip(wanted, values.shape[1:], strict=True)
    )
    if not fits:
        shape = ", ".join("size" if size is None else str(size) for size in wanted)
        raise ValueError(
            f"{name} must have shape [batch, {shape}]; got {list(values.shape)}."
        )


def _bias_init(fan_in):
    """Return an initialiser that is uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
