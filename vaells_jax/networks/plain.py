"""Decoders as lists of plain layers, for programs without JAX.

A layer is a dictionary of its `kind` and what that kind needs; layers act one after
another on one example:

- `dense`: `x kernel + bias`, x flat; `kernel` `[n, m]`, `bias` `[m]`.
- `gated`: `(x kernel + bias) * sigmoid(x gate + gate_bias)`.
- `relu`, `sigmoid`: of each entry.
- `reshape`: to `shape`, rows first.
- `transposed`: a transposed convolution of `[H, W, C]`; input row i and kernel row k
  add to output row `stride i + size - 1 - k - padding`, likewise in columns; `kernel`
  `[size, size, C, F]`, `bias` `[F]`.
- `crop`: to the first `shape` rows and columns.
- `affine`: `scale x + shift`, each of one entry or one for each of the last axis.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaells_jax.networks.contract import Network, PyTree
from vaells_jax.networks.stock import (
    ConvolutionalDecoder,
    DenseNetwork,
    Standardised,
)

Layer = dict[str, Any]


def plain_layers(network: Network, parameters: PyTree) -> list[Layer] | None:
    """Describe a stock decoder by plain layers.

    Args:
        network: The decoder.
        parameters: Its trained parameters.

    Returns:
        The layers, their arrays of float32; None for a network that is not a stock one.
    """
    match network:
        case Standardised(encodes=False):
            layers = plain_layers(network.network, parameters)
            if layers is None:
                return None
            return [*layers, affine(network.scale, network.mean)]
        case DenseNetwork():
            layers = _dense_network(network, parameters["params"])
            return [*layers, {"kind": "reshape", "shape": list(network.outputs)}]
        case ConvolutionalDecoder():
            return _convolutional(network, parameters["params"])
    return None


def affine(scale: Any, shift: Any) -> Layer:
    """Return a layer that scales and shifts entries along the last axis."""
    as_vector = lambda value: np.atleast_1d(np.asarray(value, np.float32))
    return {"kind": "affine", "scale": as_vector(scale), "shift": as_vector(shift)}


def count_numbers(layers: list[Layer]) -> int:
    """Count the numbers that layers hold."""
    return sum(
        value.size
        for layer in layers
        for value in layer.values()
        if isinstance(value, np.ndarray)
    )


def count_products(layers: list[Layer]) -> int:
    """Count the products that one example takes, of dense layers and convolutions."""
    total, shape = 0, [0]
    for layer in layers:
        match layer["kind"]:
            case "dense" | "gated":
                total += layer["kernel"].size + layer.get("gate", np.empty(0)).size
            case "reshape":
                shape = layer["shape"]
            case "transposed":
                total += shape[0] * shape[1] * layer["kernel"].size
                size = len(layer["kernel"]) - 2 * layer["padding"]
                sides = [(n - 1) * layer["stride"] + size for n in shape[:2]]
                shape = [*sides, layer["kernel"].shape[-1]]
    return total


def _dense_network(network: DenseNetwork, arrays: Mapping[str, Any]) -> list[Layer]:
    layers: list[Layer] = []
    for i in range(len(network.hidden)):
        if network.gated:
            gate, linear = (_arrays(arrays[f"Dense_{2 * i + j}"]) for j in (0, 1))
            gates = {"gate": gate["kernel"], "gate_bias": gate["bias"]}
            layers.append({"kind": "gated", **linear, **gates})
        else:
            layers += [_dense(arrays[f"Dense_{i}"]), {"kind": "relu"}]
    last = len(network.hidden) * (2 if network.gated else 1)
    return [*layers, _dense(arrays[f"Dense_{last}"])]


def _convolutional(
    network: ConvolutionalDecoder, arrays: Mapping[str, Any]
) -> list[Layer]:
    count = sum(name.startswith("TransposedConvolution") for name in arrays)
    rows, columns = (math.ceil(side / 2 ** (count - 1)) for side in network.shape[:2])
    layers = [
        _dense(arrays["Dense_0"]),
        {"kind": "reshape", "shape": [rows, columns, 64]},
    ]
    for i in range(count):  # strides and borders as `ConvolutionalDecoder` has them
        found = _arrays(arrays[f"TransposedConvolution_{i}"])
        place = {"stride": min(i + 1, 2), "padding": 2 if i == 1 else 1}
        layers += [{"kind": "relu"}, {"kind": "transposed", **found, **place}]
    layers.append({"kind": "crop", "shape": list(network.shape[:2])})
    if network.dense_end:
        layers.append(_dense(arrays["Dense_1"]))
    layers.append({"kind": "reshape", "shape": list(network.shape)})
    if not network.logits:
        mean = np.clip(network.mean, 0.01, 0.99)
        layers += [affine(1.0, np.log(mean / (1.0 - mean))), {"kind": "sigmoid"}]
    return layers


def _dense(arrays: Mapping[str, Any]) -> Layer:
    return {"kind": "dense", **_arrays(arrays)}


def _arrays(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    names = ("kernel", "bias")
    return {name: np.asarray(arrays[name], np.float32) for name in names}
