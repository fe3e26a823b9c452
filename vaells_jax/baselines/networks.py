"""Networks of the compared models' authors, beside those of Tables 2 and 5."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaells_jax.model.networks import (
    ConvolutionalEncoder,
    Networks,
    grow_images,
    uniform_dense,
)

IMAGE = (28, 28)


def plain_networks(encoder_size: int) -> Networks:
    """Return the hyperspherical VAE's pair for images: ReLU, 256-128 and 128-256."""
    return Networks(ImageEncoder((256, 128), encoder_size), ImageDecoder((128, 256)))


def gated_networks(encoder_size: int) -> Networks:
    """Return VampPrior's pair for images: gated layers, 300-300 both ways."""
    return Networks(
        ImageEncoder((300, 300), encoder_size, gated=True),
        ImageDecoder((300, 300), gated=True),
    )


def logit_networks(encoder_size: int, *, dense_end: bool = False) -> Networks:
    """Return the pair of Table 5, its decoder's images logits.

    Args:
        encoder_size: Features of the encoder.
        dense_end: Put a dense layer over all pixels last, as the paper does for
            VampPrior.
    """
    return Networks(ConvolutionalEncoder(encoder_size), LogitDecoder(dense_end))


class ImageEncoder(nn.Module):
    """Hidden layers over an image's pixels, then a linear one."""

    hidden: tuple[int, ...]
    features: int
    gated: bool = False

    @nn.compact
    def __call__(self, images):
        """Map images `[B, 28, 28]` to `[B, features]`."""
        x = images.reshape(images.shape[0], -1)
        return uniform_dense(_stack(x, self.hidden, self.gated), self.features)


class ImageDecoder(nn.Module):
    """Hidden layers over a latent, then a linear one to an image's logits."""

    hidden: tuple[int, ...]
    gated: bool = False

    @nn.compact
    def __call__(self, latents):
        """Map latents `[B, d]` to logits `[B, 28, 28]`."""
        x = _stack(latents, self.hidden, self.gated)
        return uniform_dense(x, IMAGE[0] * IMAGE[1]).reshape(-1, *IMAGE)


class LogitDecoder(nn.Module):
    """Decoder of Table 5 without its sigmoid."""

    dense_end: bool = False

    @nn.compact
    def __call__(self, latents):
        """Map latents `[B, d]` to logits `[B, 28, 28]`."""
        x = grow_images(latents)
        if not self.dense_end:
            return x
        size = IMAGE[0] * IMAGE[1]
        return uniform_dense(x.reshape(-1, size), size).reshape(-1, *IMAGE)


def _stack(x, sizes, gated):
    """Apply hidden layers: ReLU, or `h * sigmoid(g)` of two linear maps (gated)."""
    he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    for size in sizes:
        if gated:
            gate = jax.nn.sigmoid(nn.Dense(size, kernel_init=he)(x))
            x = nn.Dense(size, kernel_init=he)(x) * gate
        else:
            x = jnp.maximum(uniform_dense(x, size), 0.0)
    return x
