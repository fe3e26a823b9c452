"""The stock networks: those of the paper's Tables 2 and 5, for data of any shape.

Beside them are those of the baselines' authors, by name.
"""

import dataclasses
import math
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from vaells_jax.checks import as_count, check_kind
from vaells_jax.networks.contract import (
    Network,
    Networks,
    PyTree,
    check_shape,
    init_network,
)
from vaells_jax.networks.layers import (
    TransposedConvolution,
    convolution,
    flat,
    uniform_dense,
)

SMALLEST = 8
"""Height and width from which images have convolutional networks."""

NetworkName = Literal[
    "dense", "convolutional", "logits", "logits_dense", "plain", "gated"
]


def make_networks(name: NetworkName, features: int, shape: tuple[int, ...]) -> Networks:
    """Make a pair of networks by its name.

    Args:
        name: "dense" is Table 2, "convolutional" Table 5, "logits" the same without its
            sigmoid, "logits_dense" with a dense layer over all pixels last, as the
            paper has for VampPrior; "plain" and "gated" are the hyperspherical VAE's
            and VampPrior's own, whose outputs are logits.
        features: Size of the encoder's outputs; the decoder takes latents of any size.
        shape: Shape of one data point.

    Raises:
        ValueError: If there is no such pair, or none for this shape.
    """
    features, shape = as_count("features", features), _sizes("shape", shape)
    match name:
        case "dense":
            return dense_networks(features, shape)
        case "convolutional":
            return convolutional_networks(features, shape)
        case "logits" | "logits_dense":
            encoder, _ = convolutional_networks(features, shape)
            dense_end = name == "logits_dense"
            return Networks(encoder, ConvolutionalDecoder(shape, True, dense_end))
        case "plain":
            return _dense_pair(features, shape, (256, 128))
        case "gated":
            return _dense_pair(features, shape, (300, 300), gated=True)
    raise ValueError(f"name must be one of {get_args(NetworkName)}; got {name!r}.")


def dense_networks(
    latent_size: int, input_size: int | tuple[int, ...], hidden: int = 512
) -> Networks:
    """Return the fully connected pair of Table 2.

    Args:
        latent_size: Features of the encoder.
        input_size: Entries of a data point, or its shape.
        hidden: Units of the hidden layers.

    Raises:
        ValueError: If a size is below 1.
    """
    shape = input_size if isinstance(input_size, tuple) else (input_size,)
    shape = _sizes("input_size", shape)
    return _dense_pair(latent_size, shape, (as_count("hidden", hidden),))


def convolutional_networks(
    latent_size: int, shape: tuple[int, ...] = (28, 28)
) -> Networks:
    """Return the convolutional pair of Table 5, for images in [0, 1].

    Enough of their layers halve and double the maps to bring the shorter side to about
    8: two for the table's 28x28 images, which become 7x7 maps.

    Args:
        latent_size: Features of the encoder.
        shape: (height, width) or (height, width, channels) of an image.

    Raises:
        ValueError: If a size is below 1, or the images smaller than 8x8.
    """
    latent_size, shape = as_count("latent_size", latent_size), _sizes("shape", shape)
    if len(shape) not in (2, 3) or min(shape[:2]) < SMALLEST:
        raise ValueError(
            "shape must be (height, width) or (height, width, channels), the first two "
            f"at least {SMALLEST}; got {shape}."
        )
    encoder = ConvolutionalEncoder(latent_size, shape)
    return Networks(encoder, ConvolutionalDecoder(shape))


def standardised(
    networks: Networks,
    mean: float | tuple[float, ...] | np.ndarray,
    scale: float | tuple[float, ...] | np.ndarray,
) -> Networks:
    """Adapt a pair to data in their own units, by mean and scale.

    The encoder receives `(x - mean) / scale`, and the decoder's output `y` becomes
    `scale * y + mean`; losses stay in the data's units. The decoder of Table 5 keeps
    its sigmoid and starts at the mean: on dark images, one that starts at grey learns
    to be black everywhere and stays there.

    Args:
        networks: The pair.
        mean: One number, or one for each entry of the data's last axis.
        scale: Likewise, positive.

    Raises:
        ValueError: If a number is not finite, or a scale not positive.
    """
    check_kind(networks=(networks, Networks))
    maps = {}
    for name, value in {"mean": mean, "scale": scale}.items():
        numbers, least = np.asarray(value), 0.0 if name == "scale" else -math.inf
        good = numbers.dtype.kind in "fiu" and numbers.ndim < 2 and numbers.size
        if not good or not np.all(np.isfinite(numbers) & (numbers > least)):
            raise ValueError(
                f"{name} must be a finite number or a vector of them, scale positive; "
                f"got {repr(value)[:60]}."
            )
        maps[name] = tuple(numbers.ravel().tolist())
    encoder, decoder = Standardised(networks.encoder, encodes=True, **maps), networks[1]
    if isinstance(decoder, ConvolutionalDecoder) and not decoder.logits:
        return Networks(encoder, decoder.clone(mean=maps["mean"]))
    return Networks(encoder, Standardised(decoder, encodes=False, **maps))


class DenseNetwork(nn.Module):
    """Hidden layers over all entries of an array, then a linear one to another array.

    Attributes:
        inputs: Shape of an input, None for a size that the parameters decide.
        hidden: Units of the hidden layers.
        outputs: Shape of an output.
        gated: Take `h * sigmoid(g)` of two linear maps, in place of a ReLU.
    """

    inputs: tuple[int | None, ...]
    hidden: tuple[int, ...]
    outputs: tuple[int, ...]
    gated: bool = False

    @nn.compact
    def __call__(self, inputs):
        """Map `[B, *inputs]` to `[B, *outputs]`."""
        check_shape("inputs", inputs, self.inputs)
        x = flat(inputs)
        he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        for size in self.hidden:
            if self.gated:
                gate = jax.nn.sigmoid(nn.Dense(size, kernel_init=he)(x))
                x = nn.Dense(size, kernel_init=he)(x) * gate
            else:
                x = nn.relu(uniform_dense(x, size))
        x = uniform_dense(x, math.prod(self.outputs))
        return x.reshape(x.shape[0], *self.outputs)


class ConvolutionalEncoder(nn.Module):
    """Encoder of Table 5.

    The last convolution keeps its maps' size by a zero border of 1 before and 2 after,
    which the table does not print.
    """

    latent_size: int
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, images):
        """Map images `[B, *shape]` to latents `[B, d]`."""
        check_shape("inputs", images, self.shape)
        x = images if len(self.shape) == 3 else images[..., None]
        for _ in range(_halvings(self.shape)):
            x = convolution(x, 2, (1, 1))
        return uniform_dense(flat(convolution(x, 1, (1, 2))), self.latent_size)


class ConvolutionalDecoder(nn.Module):
    """Decoder of Table 5, whose maps of 28x28 images grow 7 -> 8 -> 14 -> 28.

    Where the sides are no multiples, they grow beyond and are cut.

    Attributes:
        shape: Of an image.
        logits: Leave the sigmoid out.
        dense_end: Put a dense layer over all pixels last.
        mean: Of the images, one number or one a channel: outputs start near it.
    """

    shape: tuple[int, ...]
    logits: bool = False
    dense_end: bool = False
    mean: tuple[float, ...] = (0.5,)

    @nn.compact
    def __call__(self, latents):
        """Map latents `[B, d]` to images `[B, *shape]`, in [0, 1] or logits."""
        height, width, channels = (*self.shape, 1)[:3]
        doublings = _halvings(self.shape)
        rows, columns = (math.ceil(side / 2**doublings) for side in (height, width))
        x = uniform_dense(latents, rows * columns * 64)
        x = x.reshape(x.shape[0], rows, columns, 64)
        for i in range(doublings + 1):  # to n + 1, 2 n, 4 n, ...
            features = 64 if i < doublings else channels
            stride, padding = min(i + 1, 2), 2 if i == 1 else 1
            x = TransposedConvolution(features, stride, padding)(nn.relu(x))
        x = x[:, :height, :width].reshape(x.shape[0], *self.shape)
        if self.dense_end:
            x = uniform_dense(flat(x), math.prod(self.shape)).reshape(x.shape)
        if self.logits:
            return x
        mean = np.clip(self.mean, 0.01, 0.99)
        return nn.sigmoid(x + _along(np.log(mean / (1.0 - mean)), x))


@dataclasses.dataclass(frozen=True)
class Standardised:
    """An encoder given `(x - mean) / scale`, or a decoder made `scale * y + mean`."""

    network: Network
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    encodes: bool

    def init(self, key: PRNGKeyArray, inputs: Array) -> PyTree:
        """Draw the network's parameters."""
        return init_network("network", self.network, key, self._standard(inputs))

    def apply(self, parameters: PyTree, inputs: Array) -> Array:
        """Map data in units of their own to latents, or latents to such data."""
        y = self.network.apply(parameters, self._standard(inputs))
        if self.encodes:
            return y
        return y * _along(self.scale, y) + _along(self.mean, y)

    def _standard(self, x):
        if not self.encodes:
            return x
        return (x - _along(self.mean, x)) / _along(self.scale, x)


def _sizes(name, shape):
    """Return a tuple of sizes as integers, or raise a ValueError."""
    check_kind(**{name: (shape, tuple)})
    return tuple(as_count(name, size) for size in shape)


def _along(numbers, x):
    """Lay numbers along the last axis of `x`."""
    if len(numbers) not in (1, x.shape[-1]):
        raise ValueError(
            f"mean and scale must have 1 or {x.shape[-1]} entries, for data of shape "
            f"{list(x.shape)}; got {len(numbers)}."
        )
    return jnp.asarray(numbers, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def _dense_pair(features, shape, hidden, gated=False):
    """Make a pair of dense networks, the decoder's hidden layers in reverse."""
    features = as_count("latent_size", features)
    return Networks(
        DenseNetwork(shape, hidden, (features,), gated),
        DenseNetwork((None,), hidden[::-1], shape, gated),
    )


def _halvings(shape):
    """Count the halvings that bring the shorter side to about 8."""
    return round(math.log2(min(shape[:2]) / SMALLEST))
