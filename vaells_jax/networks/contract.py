"""The contract of a network, and the pair of networks of a model.

A network is a pair of pure functions, `init(key, inputs) -> parameters` and
`apply(parameters, inputs) -> outputs`, and hashable. A Flax Linen module is one as it
stands; `adapters.py` makes one of a Flax NNX or an Equinox module; any class with these
two methods is one too. All state is in the parameters, which training changes: there
are no running averages (BatchNorm) and no random numbers (Dropout).
"""

import functools
from typing import Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError, InvalidRngError
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import PRECISIONS, check_kind, check_numbers

PyTree = Any


@runtime_checkable
class Network(Protocol):
    """A pure function with parameters; hashable, so that it is static under `jit`."""

    def init(self, key: PRNGKeyArray, inputs: Array, /) -> PyTree:
        """Draw the parameters, for inputs of this shape."""

    def apply(self, parameters: PyTree, inputs: Array, /) -> Any:
        """Map a batch to a batch, both with the examples' axis first."""


class Networks(NamedTuple):
    """An encoder `f_phi: [B, *x] -> [B, d]` and a decoder `g_theta: [B, d] -> [B, *x]`.

    Hashable, so that it can be a static argument under `jit`.
    """

    encoder: Network
    decoder: Network


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
        latent_size: Size of the decoder's inputs, if it differs from the encoder's.

    Returns:
        Encoder parameters and decoder parameters.

    Raises:
        ValueError: As `check_networks`.
    """
    latents = check_networks(networks, inputs, latent_size=latent_size)
    return _draw(key, inputs, networks=networks, latents=latents)


@functools.partial(jax.jit, static_argnames=("networks", "latents"))
def _draw(key, inputs, *, networks, latents):
    """Draw both networks' parameters in one program; no layer is computed."""
    encoder_key, decoder_key = jax.random.split(key)
    encoder = networks.encoder.init(encoder_key, inputs)
    zeros = jnp.zeros(latents.shape, latents.dtype)
    return encoder, networks.decoder.init(decoder_key, zeros)


def check_networks(
    networks: Networks,
    inputs: Float[Array, "B ..."],
    *,
    latent_size: int | None = None,
) -> jax.ShapeDtypeStruct:
    """Return shape and type of the decoder's inputs; arguments as `init_networks`.

    Raises:
        ValueError: If one of the pair is not a network, has state beside its parameters
            or draws random numbers, the encoder does not return one array `[B, d]`, or
            the decoder one of the inputs' shape.
    """
    check_kind(networks=(networks, Networks))
    check_numbers(inputs=inputs)

    def walk(key, inputs):
        keys = jax.random.split(key)
        encoder = init_network("encoder", networks.encoder, keys[0], inputs)
        latents = apply_encoder(networks, encoder, inputs)
        if latent_size is not None:
            latents = jnp.zeros((inputs.shape[0], latent_size), inputs.dtype)
        decoder = init_network("decoder", networks.decoder, keys[1], latents)
        check_outputs(apply_decoder(networks, decoder, latents).shape, inputs.shape)
        return latents

    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(walk, key, inputs)


def init_network(
    name: str, network: Network, key: PRNGKeyArray, inputs: Array
) -> PyTree:
    """Draw the parameters of one network.

    Raises:
        ValueError: If it is not a network, or has state beside its parameters.
    """
    _check_network(name, network)
    parameters = _run(network.init, name, key, "inputs", inputs)
    if isinstance(network, nn.Module):
        state = ", ".join(sorted(set(parameters) - {"params"}))
        if state:
            raise impure(name, f"keeps state beside its parameters ({state})")
    return parameters


def apply_encoder(
    networks: Networks, parameters: PyTree, inputs: Float[Array, "B ..."]
) -> Float[Array, "B d"]:
    """Map data points to unscaled latent means, `f_phi(x)`.

    Raises:
        ValueError: If the inputs do not fit, or it does not return an array `[B, d]`.
    """
    check_kind(networks=(networks, Networks))
    latents = apply_network("encoder", networks.encoder, parameters, "inputs", inputs)
    check_shape("the encoder's outputs", latents, (None,))
    return latents


def apply_decoder(
    networks: Networks, parameters: PyTree, latents: Float[Array, "B d"]
) -> Float[Array, "B ..."]:
    """Map unscaled latents to data points, `g_theta(z)`.

    Raises:
        ValueError: If the latents do not fit, or it does not return an array `[B, *x]`.
    """
    check_kind(networks=(networks, Networks))
    check_numbers(latents=latents)
    check_shape("latents", latents, (None,))
    return apply_network("decoder", networks.decoder, parameters, "latents", latents)


def check_shape(name: str, values: Array, wanted: tuple[int | None, ...]) -> None:
    """Raise a ValueError unless `values` is a batch of a shape, None for any size."""
    fits = len(values.shape) == len(wanted) + 1 and all(
        found == size or (size is None and found > 0)
        for size, found in zip(wanted, values.shape[1:], strict=True)
    )
    if not fits:
        shape = ", ".join("size" if size is None else str(size) for size in wanted)
        raise ValueError(
            f"{name} must have shape [batch, {shape}]; got {list(values.shape)}."
        )


def check_outputs(outputs: tuple[int, ...], inputs: tuple[int, ...]) -> None:
    """Raise a ValueError unless a decoder's outputs have the inputs' shape.

    Called before the two are compared, because shapes that only broadcast against each
    other (a missing channel axis, a decoder of one feature) would give a number too.
    """
    if outputs != inputs:
        raise ValueError(
            f"decoder must return the inputs' shape, {list(inputs)}; got "
            f"{list(outputs)}."
        )


def impure(name: str, what: str) -> ValueError:
    """Return the error for a network that is not a function of its parameters."""
    return ValueError(
        f"{name} {what}; a network must be a function of its parameters and inputs "
        "alone. Take LayerNorm or GroupNorm for BatchNorm, and leave Dropout out or "
        "make it deterministic (in NNX, without rngs)."
    )


def apply_network(
    name: str, network: Network, parameters: PyTree, what: str, values: Array
) -> Array:
    """Run a network, with the errors that users of this library expect."""
    _check_network(name, network)
    check_numbers(**{what: values})
    outputs = _run(network.apply, name, parameters, what, values)
    if not isinstance(outputs, jax.Array):
        raise ValueError(
            f"{name} must return one array; got {type(outputs).__name__}. Of mean and "
            "log-variance, return only the mean for VAELLS, both in one array for a "
            "baseline."
        )
    if str(outputs.dtype) not in PRECISIONS or outputs.shape[:1] != values.shape[:1]:
        raise ValueError(
            f"{name} must return float32 or float64 numbers, one row for each of "
            f"{len(values)} examples; got {outputs.dtype}{list(outputs.shape)}."
        )
    return outputs


def _run(function, name, first, what, values):
    """Call a method of a network; errors name what it was called with."""
    try:
        return function(first, values)
    except InvalidRngError as error:
        raise impure(name, "draws random numbers") from error
    except ValueError as error:
        if "must be passed" in str(error):  # a switch of BatchNorm's or Dropout's
            raise impure(name, "is different in training and after it") from error
        raise
    except (FlaxError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{what} of shape {list(values.shape)} do not fit the {name}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _check_network(name, network):
    """Raise a ValueError unless a value has the methods of a network."""
    if isinstance(network, type) or not isinstance(network, Network):
        kind = "a class" if isinstance(network, type) else type(network).__name__
        raise ValueError(
            f"{name} must be a Flax Linen module, from_nnx(make) of what makes an NNX "
            "module, from_equinox(make) of what makes an Equinox module, or an object "
            f"with init(key, inputs) and apply(parameters, inputs); got {kind}."
        )
    try:
        hash(network)
    except TypeError as error:
        raise ValueError(
            f"{name} must be hashable, its fields numbers, strings and tuples; got "
            f"{type(network).__name__}: {error}."
        ) from error
