"""A classifier of images, for measures of whether they keep their class."""

import flax.linen as nn

from vaells_jax.networks.layers import flat


class ImageClassifier(nn.Module):
    """A small convolutional classifier."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images):
        """Map images `[B, H, W]` or `[B, H, W, C]` to logits `[B, num_classes]`."""
        x = images if images.ndim == 4 else images[..., None]
        for channels in (16, 32, 64):
            x = nn.relu(nn.Conv(channels, (4, 4), (2, 2))(x))
        x = nn.relu(nn.Dense(128)(flat(x)))
        return nn.Dense(self.num_classes)(x)
