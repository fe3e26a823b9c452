"""Structured initialisation: a linear encoder and decoder, and rotation generators.

An operator is linear: it leaves the latent origin where it is, and its orbits turn
about it. What latents and operators look like at first therefore decides what training
can find. Freshly drawn ReLU networks make a poor start: as much of them is even as odd
in the data, so that a circle is thrown off the origin by about its own radius. Their
linear part is, from a plane to a plane, a random 2x2 matrix, stretched more than
tenfold in one seed of five. So do Gaussian operators: in the plane seven of ten have
real eigenvalues and no orbit that turns.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.model.types import Params, PyTree

_LAYERS = {"Dense_0", "Dense_1"}


def linear_start(
    params: Params, inputs: Float[Array | np.ndarray, "n x"], *, spread: float
) -> Params:
    """Let the encoder start as principal components and the decoder as its inverse.

    Hidden units stand in pairs of opposite sign, `relu(a) - relu(-a) = a`, so that the
    networks are linear at the start and free to bend from the first step. The drawn
    weights of the first layers' first halves are kept.

    Args:
        params: Drawn parameters of a pair of dense networks.
        inputs: The training data. Their second moments are taken about the origin,
            which goes to the latents' origin.
        spread: Root mean square of each latent coordinate at the start.

    Returns:
        Parameters whose encoder and decoder are linear.

    Raises:
        ValueError: If the networks are not those of Table 2, or their hidden layers
            too narrow, or `spread` is not positive.
    """
    if not 0 < spread < np.inf:
        raise ValueError(f"spread must be positive and finite; got {spread}.")
    latent_size = params.operators.shape[-1]
    data = np.asarray(inputs, float)
    moments, axes = np.linalg.eigh(data.T @ data / len(data))
    moments, axes = moments[-latent_size:], axes[:, -latent_size:]
    if moments[0] <= 1e-12 * moments[-1]:
        raise ValueError(
            f"inputs must spread over at least {latent_size} directions, as many as "
            f"the latents have; their second moments are {moments}."
        )
    deviations = np.sqrt(moments) / spread
    return params._replace(
        encoder=_linear(params.encoder, axes / deviations),
        decoder=_linear(params.decoder, (axes * deviations).T),
    )


def skew(operators: Float[Array, "M d d"]) -> Float[Array, "M d d"]:
    """Take the antisymmetric part, entries keeping their deviation: rotations."""
    return (operators - jnp.swapaxes(operators, 1, 2)) / jnp.sqrt(2.0).astype(
        operators.dtype
    )


def _linear(network: PyTree, matrix: np.ndarray) -> PyTree:
    """Turn a drawn dense network into `x @ matrix`, its hidden units in pairs."""
    layers = network["params"]
    if set(layers) != _LAYERS:
        raise ValueError(
            f"params: a linear start needs dense networks; got layers {sorted(layers)}."
        )
    first = layers["Dense_0"]
    half = first["kernel"].shape[1] // 2
    if half < matrix.shape[0] or first["kernel"].shape[1] % 2:
        raise ValueError(
            f"params: hidden layers must be even and at least {2 * matrix.shape[0]} "
            f"wide; got {first['kernel'].shape[1]}."
        )
    kernel = np.asarray(first["kernel"], float)[:, :half]
    bias = np.asarray(first["bias"], float)[:half]
    # The smallest weights that undo the first layer.
    out = np.linalg.pinv(kernel) @ matrix
    dtype = first["kernel"].dtype
    layers = {
        "Dense_0": {
            "kernel": jnp.asarray(np.concatenate([kernel, -kernel], axis=1), dtype),
            "bias": jnp.asarray(np.concatenate([bias, -bias]), dtype),
        },
        "Dense_1": {
            "kernel": jnp.asarray(np.concatenate([out, -out]), dtype),
            "bias": jnp.asarray(-bias @ out, dtype),
        },
    }
    return {**network, "params": layers}
