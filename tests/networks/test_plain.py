"""Stock decoders as plain layers, evaluated by NumPy alone."""

import jax
import numpy as np
import pytest

from vaells_jax.networks.contract import Networks
from vaells_jax.networks.plain import (
    affine,
    count_numbers,
    count_products,
    plain_layers,
)
from vaells_jax.networks.stock import dense_networks, make_networks, standardised

EXP = lambda x: 1.0 / (1.0 + np.exp(-x))


def transposed(x, layer):
    """Add each input pixel's share to the output, as the definition says."""
    kernel, stride, cut = layer["kernel"], layer["stride"], layer["padding"]
    size, (height, width, _) = len(kernel), x.shape
    rows, columns = ((n - 1) * stride + size for n in (height, width))
    y = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            share = np.einsum("c,abcf->abf", x[i, j], kernel[::-1, ::-1])
            y[stride * i :, stride * j :][:size, :size] += share
    return y[cut : rows - cut, cut : columns - cut] + layer["bias"]


def evaluate(layers, x):
    for layer in layers:
        match layer["kind"]:
            case "dense":
                x = x.ravel() @ layer["kernel"] + layer["bias"]
            case "gated":
                gate = EXP(x.ravel() @ layer["gate"] + layer["gate_bias"])
                x = (x.ravel() @ layer["kernel"] + layer["bias"]) * gate
            case "relu":
                x = np.maximum(x, 0.0)
            case "sigmoid":
                x = EXP(x)
            case "reshape":
                x = x.reshape(layer["shape"])
            case "transposed":
                x = transposed(x, layer)
            case "crop":
                x = x[: layer["shape"][0], : layer["shape"][1]]
            case "affine":
                x = x * layer["scale"] + layer["shift"]
    return x


def drawn(networks, size):
    """Draw parameters of a decoder, biases too, and latents."""
    keys = jax.random.split(jax.random.key(0), 2)
    z = 2.0 * jax.random.normal(keys[1], (3, size))
    return networks.decoder.init(keys[0], z), z


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dense", (7,)), ("dense", (4, 5, 3)), ("gated", (6,)), ("plain", (3, 3)),
        ("convolutional", (28, 28)), ("convolutional", (19, 30, 3)),
        ("convolutional", (8, 9, 1)), ("convolutional", (64, 40, 2)),
        ("logits", (16, 16, 1)), ("logits_dense", (12, 14)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own_units", [False, True])
def test_plain_layers_are_the_network(name, shape, own_units):
    networks = make_networks(name, 4, shape)
    if own_units:
        channels = shape[-1] if len(shape) in (1, 3) else 1
        mean = tuple(np.linspace(0.1, 0.6, channels).tolist())
        networks = standardised(networks, mean, 0.3)
    parameters, z = drawn(networks, 4)
    wanted = np.asarray(networks.decoder.apply(parameters, z))
    layers = plain_layers(networks.decoder, parameters)
    for latent, output in zip(np.asarray(z, float), wanted, strict=True):
        found = evaluate(layers, latent)
        assert found.shape == shape
        np.testing.assert_allclose(found, output, atol=2e-5 * max(1, abs(output).max()))
    assert all(
        value.dtype == np.float32
        for layer in layers
        for value in layer.values()
        if isinstance(value, np.ndarray)
    )


def test_a_network_of_ones_own_is_not_described():
    class Own:
        def init(self, key, inputs):
            return {}

        def apply(self, parameters, inputs):
            return inputs

    assert plain_layers(Own(), {}) is None
    pair = standardised(Networks(Own(), Own()), 0.5, 2.0)
    assert plain_layers(pair.decoder, {}) is None
    encoder = standardised(dense_networks(2, 5), 0.5, 2.0).encoder
    assert plain_layers(encoder, {}) is None


def test_sizes_are_counted():
    networks = make_networks("convolutional", 3, (28, 28))
    layers = plain_layers(networks.decoder, drawn(networks, 3)[0])
    dense = 3 * 3136
    kernels = [16 * 64 * 64, 16 * 64 * 64, 16 * 64]
    biases = 3136 + 64 + 64 + 1
    assert count_numbers(layers) == dense + sum(kernels) + biases + 2
    # Each pixel of the maps, 7x7, 8x8 and 14x14, meets a whole kernel.
    products = dense + 49 * kernels[0] + 64 * kernels[1] + 196 * kernels[2]
    assert count_products(layers) == products
    layers = plain_layers(dense_networks(2, 5, hidden=4).decoder, drawn_dense())
    assert count_products(layers) == 2 * 4 + 4 * 5
    assert affine(2.0, (1.0, 3.0))["scale"].tolist() == [2.0]


def drawn_dense():
    return drawn(dense_networks(2, 5, hidden=4), 2)[0]
