import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import convolutional_networks, dense_networks
from vaells_jax.model.networks import (
    TransposedConvolution,
    decode,
    encode,
    init_networks,
)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (3, 28, 28), jnp.float32)


@pytest.fixture(scope="module")
def convolutional(images):
    networks = convolutional_networks(6)
    return networks, *init_networks(jax.random.key(1), networks, images)


def test_sizes_of_table_5(convolutional, images):
    networks, encoder, decoder = convolutional
    assert count((encoder, decoder)) == 305_287
    latents = encode(networks, encoder, images)
    outputs = decode(networks, decoder, latents)
    assert latents.shape == (3, 6)
    assert outputs.shape == (3, 28, 28)
    assert float(outputs.min()) >= 0.0
    assert float(outputs.max()) <= 1.0


def test_sizes_of_table_2():
    networks = dense_networks(2, 20)
    inputs = jnp.ones((4, 20), jnp.float32)
    encoder, decoder = init_networks(jax.random.key(0), networks, inputs)
    assert count(encoder) == 20 * 512 + 512 + 512 * 2 + 2
    assert count(decoder) == 2 * 512 + 512 + 512 * 20 + 20
    assert decode(networks, decoder, encode(networks, encoder, inputs)).shape == (4, 20)


def test_initial_weights(convolutional):
    _, encoder, decoder = convolutional
    kernel = np.asarray(encoder["params"]["Conv_1"]["kernel"])
    assert abs(kernel.std() - 0.05) < 0.001
    assert abs(kernel.mean()) < 0.001
    dense = np.asarray(decoder["params"]["Dense_0"]["kernel"])
    assert np.abs(dense).max() <= 6**-0.5
    assert np.abs(dense).max() > 0.99 * 6**-0.5
    assert abs(dense.std() * np.sqrt(3) / 6**-0.5 - 1) < 0.02


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 2), (2, 1)])
def test_transposed_convolution_is_flax_own(stride, padding):
    ours = TransposedConvolution(5, stride=stride, padding=padding)
    border = (3 - padding, 3 - padding)
    flax = nn.ConvTranspose(
        5, (4, 4), (stride, stride), padding=(border, border), dtype=jnp.float32
    )
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3), jnp.float32)
    parameters = ours.init(jax.random.key(1), x)
    wanted = flax.apply(parameters, x)
    np.testing.assert_allclose(ours.apply(parameters, x), wanted, atol=1e-5)


def test_third_convolution_has_one_zero_row_before_and_two_after(convolutional):
    networks, encoder, _ = convolutional
    image = jnp.zeros((1, 28, 28), jnp.float32)
    _, stored = networks.encoder.apply(
        encoder, image, capture_intermediates=True, mutable=["intermediates"]
    )
    maps = stored["intermediates"]["Conv_2"]["__call__"][0]
    assert maps.shape == (1, 7, 7, 64)


@pytest.mark.parametrize(
    ("shape", "match"),
    [((3, 20), r"inputs.*28, 28.*\[3, 20\]"), ((3, 27, 28), r"\[3, 27, 28\]")],
)
def test_images_of_a_wrong_shape(shape, match, convolutional):
    networks, encoder, _ = convolutional
    with pytest.raises(ValueError, match=match):
        encode(networks, encoder, jnp.zeros(shape, jnp.float32))


@pytest.mark.parametrize("shape", [(3, 5), (3, 6, 1)])
def test_latents_of_a_wrong_shape(shape, convolutional, unchecked):
    networks, _, decoder = convolutional
    with pytest.raises(ValueError, match=f"latents.*{list(shape)}".replace("[", r"\[")):
        decode(networks, decoder, jnp.zeros(shape, jnp.float32))
