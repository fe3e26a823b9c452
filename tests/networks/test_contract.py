import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import Batch, LossWeights, Model, Params, init_state, loss
from vaells_jax.baselines.base import BaselineParams
from vaells_jax.baselines.elbo import init_params, negative_elbo
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vae import Vae
from vaells_jax.evaluation.importance import ImportanceOptions, log_marginal_likelihood
from vaells_jax.evaluation.reconstruction import reconstruction_errors
from vaells_jax.networks.contract import (
    Network,
    Networks,
    apply_decoder,
    apply_encoder,
    check_networks,
    check_outputs,
    init_networks,
)
from vaells_jax.networks.stock import dense_networks


class Encoder(nn.Module):
    """Two features of any array, and whatever is wrong with them."""

    spoil: str = "nothing"

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(2)(x.reshape(x.shape[0], -1))
        match self.spoil:
            case "a tuple":
                return y, y
            case "an axis more":
                return y[:, None]
            case "another batch":
                return y[:1]
            case "no features":
                return y[:, :0]
            case "half precision":
                return y.astype(jnp.bfloat16)
            case "integers":
                return y.astype(jnp.int32)
            case "running averages":
                return nn.BatchNorm(use_running_average=True)(y)
            case "random numbers":
                return nn.Dropout(0.5, deterministic=False)(y)
            case "BatchNorm as it comes":
                return nn.BatchNorm()(y)
            case "Dropout as it comes":
                return nn.Dropout(0.5)(y)
        return y


class Decoder(nn.Module):
    shape: tuple

    @nn.compact
    def __call__(self, z):
        y = nn.Dense(math.prod(self.shape))(z)
        return y.reshape(z.shape[0], *self.shape)


@dataclasses.dataclass(frozen=True)
class ByHand:
    """No module at all: `x @ w`."""

    size: int

    def init(self, key, inputs):
        return {"w": jax.random.normal(key, (inputs.shape[1], self.size), inputs.dtype)}

    def apply(self, parameters, inputs):
        return inputs @ parameters["w"]


@dataclasses.dataclass(frozen=True)
class Unhashable(ByHand):
    size: list


@pytest.fixture(scope="module")
def inputs(dtype):
    return jax.random.normal(jax.random.key(0), (4, 5), dtype)


def test_a_pair_of_functions_is_enough(inputs):
    networks = Networks(ByHand(2), ByHand(5))
    assert isinstance(networks.encoder, Network)
    assert isinstance(Encoder(), Network)
    encoder, decoder = init_networks(jax.random.key(1), networks, inputs)
    latents = apply_encoder(networks, encoder, inputs)
    outputs = apply_decoder(networks, decoder, latents)
    wanted = np.asarray(inputs) @ np.asarray(encoder["w"]) @ np.asarray(decoder["w"])
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-5)


def test_draws_are_those_of_the_modules_own_init(inputs):
    networks = Networks(Encoder(), Decoder((5,)))
    drawn = init_networks(jax.random.key(1), networks, inputs)
    encoder_key, decoder_key = jax.random.split(jax.random.key(1))
    latents, encoder = networks.encoder.init_with_output(encoder_key, inputs)
    decoder = networks.decoder.init(decoder_key, latents)
    for one, two in zip(
        jax.tree.leaves(drawn), jax.tree.leaves((encoder, decoder)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_the_decoder_can_take_another_size_than_the_encoder_gives(inputs, dtype):
    networks = dense_networks(6, 5, hidden=4)
    found = check_networks(networks, inputs, latent_size=3)
    assert (found.shape, found.dtype) == ((4, 3), dtype)
    _, decoder = init_networks(jax.random.key(0), networks, inputs, latent_size=3)
    assert decoder["params"]["Dense_0"]["kernel"].shape == (3, 4)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        ("a tuple", "encoder must return one array; got tuple.*log-variance"),
        ("an axis more", r"encoder's outputs.*\[batch, size\]; got \[4, 1, 2\]"),
        ("another batch", r"encoder.*one row for each of 4.*\[1, 2\]"),
        ("no features", r"encoder's outputs.*got \[4, 0\]"),
        ("half precision", "encoder.*float32 or float64.*bfloat16"),
        ("integers", "encoder.*float32 or float64.*int32"),
        ("running averages", "encoder keeps state.*batch_stats.*LayerNorm"),
        ("random numbers", "encoder draws random numbers.*Dropout"),
        ("BatchNorm as it comes", "encoder is different in training.*LayerNorm"),
        ("Dropout as it comes", "encoder is different in training.*leave Dropout"),
    ],
)
def test_encoders_that_are_refused(spoil, match, inputs, unchecked):
    networks = Networks(Encoder(spoil), Decoder((5,)))
    with pytest.raises(ValueError, match=match):
        init_state(
            jax.random.key(0), model=Model(networks), num_operators=2, inputs=inputs,
            anchors=None,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (Encoder, "encoder must be a Flax Linen module.*got a class"),
        (lambda x: x, "from_nnx.*from_equinox.*init.*apply.*got function"),
        (None, "got NoneType"),
        (Unhashable([2]), "hashable.*Unhashable"),
    ],
)
def test_what_is_no_network(wrong, match, inputs, unchecked):
    with pytest.raises(ValueError, match=match):
        check_networks(Networks(wrong, Decoder((5,))), inputs)


def test_a_pair_that_is_no_pair(inputs, unchecked):
    with pytest.raises(ValueError, match="networks must be Networks; got a tuple"):
        check_networks((Encoder(), Decoder((5,))), inputs)


@pytest.mark.parametrize("shape", [(1,), (4,), (5, 1), ()])
def test_decoders_of_another_shape(shape, inputs, unchecked):
    networks = Networks(Encoder(), Decoder(shape))
    wanted = rf"inputs' shape, \[4, 5\]; got \[{', '.join(map(str, (4, *shape)))}\]"
    with pytest.raises(ValueError, match=wanted):
        init_networks(jax.random.key(0), networks, inputs)
    with pytest.raises(ValueError, match="decoder must return the inputs' shape"):
        init_params(jax.random.key(0), inputs, model=Vae(networks, 1))


def test_whatever_compares_outputs_with_inputs_compares_their_shapes_first(
    dtype, unchecked
):
    # A missing channel axis: [n, 6, 6] broadcasts against [n, 6, 6, 1].
    inputs = jnp.ones((3, 6, 6, 1), dtype)
    networks = Networks(Encoder(), Decoder((6, 6)))
    encoder = networks.encoder.init(jax.random.key(0), inputs)
    decoder = networks.decoder.init(jax.random.key(1), jnp.ones((3, 2), dtype))
    operators = jnp.ones((1, 2, 2), dtype)
    params = Params(encoder, decoder, operators, inputs[None, :2])
    model = Model(networks)
    key, batch = lambda: jax.random.key(2), Batch(inputs, jnp.zeros(3, int))
    vae = Vae(networks, 1)
    vae_decoder = networks.decoder.init(jax.random.key(1), jnp.ones((3, 1), dtype))
    vae_params = BaselineParams(encoder, vae_decoder, None)
    importance = ImportanceOptions(0.1, 1.0, num_samples=2)
    for call in (
        lambda: loss(params, key(), batch, model=model, weights=LossWeights()),
        lambda: reconstruction_errors(
            key(), params, inputs, model=model, weights=LossWeights()
        ),
        lambda: log_marginal_likelihood(
            params, key(), batch, model=model, options=importance
        ),
        lambda: negative_elbo(vae_params, key(), inputs, model=vae),
        lambda: Likelihood("bernoulli").log_prob(inputs[0], inputs[0, ..., 0]),
        functools.partial(check_outputs, (6, 6), (6, 6, 1)),
    ):
        with pytest.raises(ValueError, match=r"\[6, 6, 1\]; got \[6, 6\]"):
            call()
