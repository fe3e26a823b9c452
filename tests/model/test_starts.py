import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.model.starts import linear_start, skew
from vaells_jax.model.types import Params
from vaells_jax.networks.contract import apply_decoder, apply_encoder, init_networks
from vaells_jax.networks.stock import dense_networks

NETWORKS = dense_networks(2, 7, hidden=20)


def plane_data(count=200):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(count, 2)) @ rng.normal(size=(2, 7))
    return jnp.asarray(plane, jnp.float32)


def drawn(networks, inputs):
    encoder, decoder = init_networks(jax.random.key(0), networks, inputs)
    return Params(encoder, decoder, jnp.zeros((1, 2, 2)), None)


def test_networks_start_as_principal_components_and_their_inverse():
    inputs = plane_data()
    params = linear_start(drawn(NETWORKS, inputs), inputs, spread=0.7)
    latents = apply_encoder(NETWORKS, params.encoder, inputs)
    moments = latents.T @ latents / len(latents)
    np.testing.assert_allclose(moments, 0.49 * np.eye(2), atol=1e-4)
    np.testing.assert_allclose(
        apply_decoder(NETWORKS, params.decoder, latents), inputs, atol=1e-4
    )
    doubled = apply_encoder(NETWORKS, params.encoder, 2.0 * inputs)
    np.testing.assert_allclose(doubled, 2.0 * latents, atol=1e-4)


def test_drawn_directions_and_kinks_are_kept():
    inputs = plane_data()
    before = drawn(NETWORKS, inputs)
    after = linear_start(before, inputs, spread=1.0)
    for name in ("encoder", "decoder"):
        old = getattr(before, name)["params"]["Dense_0"]
        new = getattr(after, name)["params"]["Dense_0"]
        for part in ("kernel", "bias"):
            np.testing.assert_array_equal(new[part][..., :10], old[part][..., :10])
            np.testing.assert_array_equal(new[part][..., 10:], -old[part][..., :10])


def test_skew_operators_generate_rotations():
    drawn = jax.random.normal(jax.random.key(1), (400, 3, 3))
    operators = np.asarray(skew(drawn), float)
    np.testing.assert_array_equal(operators, -np.swapaxes(operators, 1, 2))
    assert np.std(operators[:, 0, 1]) == pytest.approx(1.0, rel=0.1)
    assert np.abs(np.linalg.eigvals(operators).real).max() < 1e-6


@pytest.mark.parametrize("spread", [0.0, -1.0, np.inf, np.nan])
def test_a_spread_must_be_positive_and_finite(spread):
    inputs = plane_data()
    with pytest.raises(ValueError, match="spread must be positive"):
        linear_start(drawn(NETWORKS, inputs), inputs, spread=spread)


def test_data_must_fill_the_latent_space():
    inputs = plane_data()
    line = jnp.outer(jnp.arange(20.0), jnp.ones(7))
    with pytest.raises(ValueError, match="inputs must spread over at least 2"):
        linear_start(drawn(NETWORKS, inputs), line, spread=1.0)


def test_only_dense_networks_can_start_linear():
    convolutional = {"params": {"Conv_0": {}, "Dense_0": {}}}
    params = Params(convolutional, convolutional, jnp.zeros((1, 2, 2)), None)
    with pytest.raises(ValueError, match="needs dense networks"):
        linear_start(params, plane_data(), spread=1.0)


def test_hidden_layers_must_hold_the_pairs():
    networks = dense_networks(2, 7, hidden=3)
    with pytest.raises(ValueError, match="hidden layers must be even"):
        linear_start(drawn(networks, plane_data()), plane_data(), spread=1.0)
