import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import (
    LossWeights,
    decode,
    encode,
    infer_coefficients,
    log_posterior,
    loss,
    sample_posterior,
    transport,
)
from vaells_jax.evaluation.likelihood import estimate


def stretched(params, factor):
    """Return a pair of networks whose latents are longer by a factor."""
    encoder, decoder = params.encoder["params"], params.decoder["params"]
    last = jax.tree.map(lambda x: factor * x, encoder["Dense_1"])
    first = decoder["Dense_0"]
    first = {**first, "kernel": first["kernel"] / factor}
    return params._replace(
        encoder={"params": {**encoder, "Dense_1": last}},
        decoder={"params": {**decoder, "Dense_0": first}},
        latent_scale=factor * params.latent_scale,
    )


def test_the_scale_undoes_that_of_the_networks(
    tiny_model, tiny_params, tiny_batch, x64
):
    close = {"rtol": 1e-9 if x64 else 1e-4, "atol": 1e-9 if x64 else 1e-5}
    other = stretched(tiny_params, 16.0)
    inputs = tiny_batch.inputs
    z = encode(tiny_params, inputs, model=tiny_model)
    np.testing.assert_allclose(encode(other, inputs, model=tiny_model), z, **close)
    np.testing.assert_allclose(
        decode(other, z, model=tiny_model), decode(tiny_params, z, model=tiny_model),
        **close,
    )  # fmt: skip
    evaluate = jax.jit(
        lambda p: loss(
            p, jax.random.key(0), tiny_batch, model=tiny_model, weights=LossWeights()
        )
    )
    both = [jax.tree.leaves(evaluate(params)) for params in (tiny_params, other)]
    np.testing.assert_allclose(*both, **close)
    assert evaluate._cache_size() == 1


def test_operators_searches_and_samples_share_the_latents_of_encode(
    tiny_model, tiny_params, tiny_batch
):
    params = stretched(tiny_params, 5.0)  # s = 10
    (start,) = encode(params, tiny_batch.inputs[:1], model=tiny_model)
    z, c = sample_posterior(
        jax.random.key(0), params.operators, start, coefficient_rate=3.0,
        noise_std=1e-4,
    )  # fmt: skip
    found = infer_coefficients(jax.random.key(1), params.operators, start, z)
    end = transport(params.operators, found.coefficients, start)
    np.testing.assert_allclose(end, z, atol=2e-3)
    densities = [
        log_posterior(
            z, start, params.operators, x, residual_weight=1e4, l1_weight=1e-6
        )
        for x in (c, found.coefficients)
    ]
    assert densities[1] > densities[0] - 0.1
    # The networks' own latents are ten times as long.
    dense = decode(params._replace(latent_scale=1.0), 10.0 * z, model=tiny_model)
    np.testing.assert_allclose(decode(params, z, model=tiny_model), dense, rtol=1e-4)


def test_latents_may_have_any_leading_axes(tiny_model, tiny_params, dtype):
    latents = jax.random.normal(jax.random.key(0), (3, 2, 2), dtype)
    outputs = decode(tiny_params, latents, model=tiny_model)
    assert outputs.shape == (3, 2, 5)
    one = decode(tiny_params, latents[1, 0], model=tiny_model)
    np.testing.assert_allclose(one, outputs[1, 0], rtol=1e-5, atol=1e-6)


def test_numpy_parameters_and_batches_will_do(
    tiny_model, tiny_params, tiny_batch, unchecked
):
    key = jax.random.key(0)
    given = {"model": tiny_model, "weights": LossWeights()}
    host, batch = jax.device_get((tiny_params, tiny_batch))
    wanted, _ = loss(tiny_params, key, tiny_batch, **given)
    found, _ = loss(host, jax.random.clone(key), batch, **given)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    own = batch._replace(anchors=host.anchors[batch.labels])
    without = host._replace(anchors=None, latent_scale=2.0)
    found, _ = loss(without, jax.random.clone(key), own, **given)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    z = encode(host, batch.inputs, model=tiny_model)
    assert decode(host, np.asarray(z), model=tiny_model).shape == (4, 5)
    estimate(host, jax.random.key(1), batch, model=tiny_model)


def test_scales_that_are_none_are_refused_under_jit_too(
    tiny_model, tiny_params, tiny_batch, unchecked
):
    see = jax.jit(lambda p: encode(p, tiny_batch.inputs, model=tiny_model))
    with pytest.raises(ValueError, match=r"latent_scale.*float.*\[2\]"):
        see(tiny_params._replace(latent_scale=jnp.ones(2)))
    with pytest.raises(ValueError, match=r"latent_scale.*0\.0"):
        encode(
            tiny_params._replace(latent_scale=0.0), tiny_batch.inputs, model=tiny_model
        )
