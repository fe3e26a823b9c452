import math
from typing import get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.networks.classifier import ImageClassifier
from vaells_jax.networks.contract import (
    Networks,
    apply_decoder,
    apply_encoder,
    check_networks,
    init_networks,
)
from vaells_jax.networks.layers import TransposedConvolution
from vaells_jax.networks.stock import (
    NetworkName,
    convolutional_networks,
    dense_networks,
    make_networks,
    standardised,
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
    latents = apply_encoder(networks, encoder, images)
    outputs = apply_decoder(networks, decoder, latents)
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
    assert apply_decoder(
        networks, decoder, apply_encoder(networks, encoder, inputs)
    ).shape == (4, 20)


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
        apply_encoder(networks, encoder, jnp.zeros(shape, jnp.float32))


@pytest.mark.parametrize("shape", [(3, 5), (3, 6, 1)])
def test_latents_of_a_wrong_shape(shape, convolutional, unchecked):
    networks, _, decoder = convolutional
    with pytest.raises(ValueError, match=f"latents.*{list(shape)}".replace("[", r"\[")):
        apply_decoder(networks, decoder, jnp.zeros(shape, jnp.float32))


SHAPES = [(28, 28), (40, 64), (32, 32, 3), (8, 8, 1), (33, 47, 2), (12, 100)]


@pytest.mark.parametrize("name", ["convolutional", "logits_dense", "dense", "gated"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_any_shape(name, shape, dtype):
    networks = make_networks(name, 3, shape)
    images = jax.random.uniform(jax.random.key(0), (2, *shape), dtype)
    assert check_networks(networks, images).shape == (2, 3)
    if math.prod(shape) > 1600 and name != "convolutional":
        return  # the same layers, and slow
    params = init_networks(jax.random.key(1), networks, images)

    @jax.jit
    def outputs_and_gradients(params, images):
        def error(params):
            latents = apply_encoder(networks, params[0], images)
            outputs = apply_decoder(networks, params[1], latents)
            return jnp.sum((outputs - images) ** 2), outputs

        return jax.grad(error, has_aux=True)(params)

    gradients, outputs = outputs_and_gradients(params, images)
    assert outputs.shape == images.shape
    for leaf in jax.tree.leaves(gradients):
        assert np.any(np.asarray(leaf) != 0)
        assert np.all(np.isfinite(leaf))


def test_maps_shrink_to_about_eight_and_grow_back():
    for side, maps, layers in ((8, 8, 1), (28, 7, 3), (32, 8, 3), (64, 8, 4)):
        networks = convolutional_networks(3, (side, side))
        images = jnp.zeros((1, side, side))
        encoder, decoder = (
            tree["params"]
            for tree in jax.eval_shape(
                lambda images, networks=networks: init_networks(
                    jax.random.key(0), networks, images
                ),
                images,
            )
        )
        assert encoder["Dense_0"]["kernel"].shape == (64 * maps * maps, 3)
        assert decoder["Dense_0"]["kernel"].shape == (3, 64 * maps * maps)
        convolutions = {f"Conv_{i}" for i in range(layers)}
        transposed = {f"TransposedConvolution_{i}" for i in range(layers)}
        assert set(encoder) == {"Dense_0"} | convolutions
        assert set(decoder) == {"Dense_0"} | transposed


def test_every_name_makes_a_pair_whose_encoder_has_the_features_asked_for(dtype):
    images = jnp.zeros((2, 28, 28), dtype)
    for name in get_args(NetworkName):
        networks = make_networks(name, 7, (28, 28))
        assert networks == make_networks(name, 7, (28, 28))
        check_networks(networks, images, latent_size=5)
        latents, _ = jax.eval_shape(
            networks.encoder.init_with_output, jax.random.key(0), images
        )
        assert latents.shape == (2, 7)
    assert make_networks("dense", 2, (20,)) == dense_networks(2, 20)


def test_a_name_that_is_none(unchecked):
    with pytest.raises(ValueError, match="name must be one of.*got 'conv'"):
        make_networks("conv", 7, (28, 28))


@pytest.mark.parametrize("shape", [(7, 28), (28,), (28, 28, 0), (28, 28, 3, 1), ()])
def test_images_that_are_too_small_or_none(shape, unchecked):
    with pytest.raises(ValueError, match="shape must be"):
        convolutional_networks(2, shape)


@pytest.mark.parametrize("vector", [False, True])
def test_standardised_networks_are_given_numbers_about_zero(vector, dtype):
    mean, scale = (np.arange(5.0), np.arange(1.0, 6.0)) if vector else (3.0, 50.0)
    inner = dense_networks(2, 5, hidden=4)
    networks = standardised(inner, mean, scale)
    assert networks == standardised(inner, mean, scale)
    assert hash(networks) == hash(standardised(inner, mean, scale))
    inputs = 100.0 * jax.random.normal(jax.random.key(0), (4, 5), dtype)
    encoder, decoder = init_networks(jax.random.key(1), networks, inputs)
    latents = apply_encoder(networks, encoder, inputs)
    standard = jnp.asarray((np.asarray(inputs) - mean) / scale, dtype)
    wanted = inner.encoder.apply(encoder, standard)
    np.testing.assert_allclose(latents, wanted, rtol=1e-4, atol=1e-5)
    wanted = np.asarray(inner.decoder.apply(decoder, latents)) * scale + mean
    outputs = apply_decoder(networks, decoder, latents)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-4)


def test_standardising_hides_nothing_that_is_wrong(unchecked):
    inner = dense_networks(2, 5, hidden=4)
    for mean, scale in (
        (np.nan, 1.0), (0.0, 0.0), (0.0, -1.0), ("a", 1.0), (0.0, np.ones((2, 2))),
        (None, 1.0), (0.0, ()),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="(mean|scale) must be a finite number"):
            standardised(inner, mean, scale)
    # Three means would make five features of one decoder's feature, or of the data's.
    with pytest.raises(ValueError, match="mean and scale must have 1 or 5 entries"):
        check_networks(standardised(inner, (0.0, 1.0, 2.0), 1.0), jnp.zeros((4, 5)))
    narrow = Networks(inner.encoder, dense_networks(2, 1).decoder)
    with pytest.raises(ValueError, match="must have 1 or 1 entries"):
        check_networks(standardised(narrow, np.zeros(5), 1.0), jnp.zeros((4, 5)))
    normed = Networks(nn.BatchNorm(use_running_average=True), inner.decoder)
    with pytest.raises(ValueError, match="network keeps state.*batch_stats"):
        check_networks(standardised(normed, 0.0, 1.0), jnp.zeros((4, 5)))


@pytest.mark.parametrize("shape", [(28, 28), (20, 30), (16, 16, 3)])
def test_a_classifier_of_any_images(shape, dtype):
    images = jnp.ones((2, *shape), dtype)
    logits, _ = jax.eval_shape(
        ImageClassifier(4).init_with_output, jax.random.key(0), images
    )
    assert logits.shape == (2, 4)
