import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests import reference
from tests.conftest import load_reference
from vaells_jax import Batch, Model, dense_networks, loss
from vaells_jax.evaluation.likelihood import (
    ImportanceTerms,
    describe,
    estimate,
    image_constant,
    importance_terms,
    log_likelihood,
)
from vaells_jax.model.objective import log_posteriors, log_priors
from vaells_jax.model.paths import Paths
from vaells_jax.model.types import LossWeights

UNIT = LossWeights(prior_l1=1.0)


@pytest.fixture(scope="module")
def recorded():
    return load_reference("natural_mnist_likelihood.npz")


def recorded_paths(recorded, published, closest):
    """Put the recorded samples and coefficients into our record."""
    anchors = published["batch_anchor_latents"].reshape(10, 8, 6)[recorded["labels"]]
    coefficients = recorded["prior_coefficients"]
    anchors = np.broadcast_to(anchors[:, None], (*coefficients.shape[:3], 6))
    index = None
    if closest:
        index = recorded["prior_objectives"].argmin(-1)
        chosen = index[..., None, None]
        anchors = np.take_along_axis(anchors, chosen, axis=2)
        coefficients = np.take_along_axis(coefficients, chosen, axis=2)
    return Paths(
        latent_means=jnp.array(recorded["latent_means"]),
        latents=jnp.array(recorded["samples"]),
        posterior_coefficients=jnp.array(recorded["posterior_coefficients"]),
        anchor_means=jnp.array(anchors),
        prior_coefficients=jnp.array(coefficients),
        anchor_index=index if index is None else jnp.array(index),
        converged=jnp.ones(()),
    )


@pytest.mark.parametrize("closest", [False, True])
def test_recorded_latent_terms(closest, recorded, natural_mnist_reference, x64):
    operators = jnp.array(natural_mnist_reference["operators"])
    paths = recorded_paths(recorded, natural_mnist_reference, closest)
    tolerance = 1e-6 if x64 else 1e-4
    np.testing.assert_allclose(
        jax.jit(lambda: log_posteriors(operators, paths, UNIT))(),
        recorded["log_posterior"], rtol=tolerance, atol=tolerance,
    )  # fmt: skip
    np.testing.assert_allclose(
        jax.jit(lambda: log_priors(operators, paths, UNIT))(),
        recorded["log_prior_closest" if closest else "log_prior"],
        rtol=tolerance,
        atol=tolerance,
    )


def test_recorded_estimates(recorded):
    terms = ImportanceTerms(
        *(
            jnp.array(recorded[name])
            for name in ("log_likelihood_of_image", "log_prior", "log_posterior")
        )
    )
    np.testing.assert_allclose(terms.log_likelihood(), recorded["LL"], rtol=1e-6)


def test_terms_of_the_image_agree_with_the_oracle(tiny_model, tiny_params, tiny_batch):
    model = dataclasses.replace(tiny_model, closest_anchor=False)
    from vaells_jax.model.paths import decode, infer_paths

    paths = jax.jit(lambda p: infer_paths(
        p, jax.random.key(0), tiny_batch, model=model, weights=UNIT
    ))(tiny_params)  # fmt: skip
    terms = importance_terms(tiny_params, tiny_batch, paths, model=model)
    outputs = np.asarray(decode(tiny_params, paths.latents, model=model))
    errors = outputs - np.asarray(tiny_batch.inputs)[:, None]
    wanted = -0.5 * (errors**2).sum(-1) - 2.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(terms.log_image, wanted, rtol=1e-4)
    b, s = 2, 1
    own = reference.log_density(
        *(np.asarray(x) for x in (paths.latents[b, s], paths.latent_means[b],
          tiny_params.operators, paths.posterior_coefficients[b, s])), 1.0, 1.0,
    )  # fmt: skip
    np.testing.assert_allclose(terms.log_posterior[b, s], own, rtol=1e-3, atol=1e-4)
    logs = np.asarray(terms.log_image + terms.log_prior - terms.log_posterior)
    wanted = scipy.special.logsumexp(logs, axis=1) - np.log(3)
    np.testing.assert_allclose(terms.log_likelihood(), wanted, rtol=1e-5)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    effective = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
    np.testing.assert_allclose(terms.effective_samples(), effective, rtol=1e-3)


def test_chunks_change_no_shape_and_few_digits(tiny_params, tiny_batch, monkeypatch):
    model = Model(dense_networks(2, 5, hidden=4), num_samples=200)
    short = LossWeights(posterior_l1=20.0)
    batch = Batch(
        jnp.concatenate([tiny_batch.inputs] * 2)[:7],
        jnp.concatenate([tiny_batch.labels] * 2)[:7],
    )
    monkeypatch.setattr("vaells_jax.evaluation.likelihood.PATHS_AT_ONCE", 2_400)
    found = log_likelihood(
        tiny_params, jax.random.key(1), batch, model=model, objective=short
    )
    assert found.shape == (7,)
    assert np.isfinite(found).all()
    # The same data points again, with other samples: equal but for Monte-Carlo noise.
    np.testing.assert_allclose(found[:3], found[4:], atol=1.0)


def test_the_elbo_is_the_negative_loss(tiny_model, tiny_params, tiny_batch):
    weights = LossWeights(reconstruction=0.3, posterior_l1=2.0, prior_l1=0.01)
    key = jax.random.key(3)
    found = estimate(tiny_params, key, tiny_batch, model=tiny_model, objective=weights)
    total, terms = jax.jit(
        lambda params: loss(
            params, jax.random.fold_in(key, 0), tiny_batch, model=tiny_model,
            weights=weights,
        )
    )(tiny_params)  # fmt: skip
    wanted = image_constant(5, weights) - (total - terms.operator_norm)
    np.testing.assert_allclose(np.mean(found.elbo), wanted, rtol=1e-4)
    assert image_constant(5, weights) == pytest.approx(2.5 * np.log(0.3 / (2 * np.pi)))


def test_all_that_decides_is_recorded(tiny_model):
    settings = describe(tiny_model, "all")
    assert settings["samples"] == 3
    assert settings["sample_noise_std"] == tiny_model.noise_std
    assert settings["density_noise_std"] == settings["pixel_std"] == 1.0
    assert settings["labels_used"] is False
    assert settings["prior_search"]["l1_weight"] == 1e-6
    assert describe(tiny_model, "closest")["labels_used"] is True


def test_anchors_that_are_not_to_be_had(tiny_model, tiny_params, tiny_batch, unchecked):
    ask = lambda params, anchors: log_likelihood(
        params, jax.random.key(0), tiny_batch, model=tiny_model, anchors=anchors
    )
    with pytest.raises(ValueError, match="'closest'.*'near'"):
        ask(tiny_params, "near")
    with pytest.raises(ValueError, match="anchors by class"):
        ask(tiny_params._replace(anchors=None), "all")


def test_empty_batch(tiny_model, tiny_params, tiny_batch):
    empty = Batch(tiny_batch.inputs[:0], tiny_batch.labels[:0])
    with pytest.raises(ValueError, match="at least one example"):
        log_likelihood(tiny_params, jax.random.key(0), empty, model=tiny_model)
