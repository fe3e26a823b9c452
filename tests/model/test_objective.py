import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import reference
from vaells_jax import Batch, LossWeights, loss
from vaells_jax.model.objective import (
    loss_and_paths,
    operator_objective,
    posterior_term,
    prior_term,
    reconstruction_term,
    warm_up_loss,
)
from vaells_jax.model.paths import encode, infer_paths, sample_latents

WEIGHTS = LossWeights(
    reconstruction=0.7,
    posterior_residual=1.3,
    posterior_l1=0.9,
    prior_residual=1.1,
    prior_l1=0.05,
    operator_norm=0.2,
    reconstruction_factor=0.6,
    prior_factor=0.4,
)
evaluate = jax.jit(loss_and_paths, static_argnames=("model", "weights"))


def dense(parameters, x):
    """Apply the network of Table 2 in NumPy."""
    layers = parameters["params"]
    hidden = x @ np.float64(layers["Dense_0"]["kernel"]) + layers["Dense_0"]["bias"]
    hidden = np.maximum(hidden, 0)
    return hidden @ np.float64(layers["Dense_1"]["kernel"]) + layers["Dense_1"]["bias"]


@pytest.mark.parametrize("closest", [True, False])
def test_terms_agree_with_the_oracle(closest, tiny_model, tiny_params, tiny_batch, x64):
    model = dataclasses.replace(tiny_model, closest_anchor=closest)
    total, terms, paths = evaluate(
        tiny_params, jax.random.key(5), tiny_batch, model=model, weights=WEIGHTS
    )
    everything = dataclasses.replace(tiny_model, closest_anchor=False)
    _, _, every_path = evaluate(
        tiny_params, jax.random.key(5), tiny_batch, model=everything, weights=WEIGHTS
    )
    prior_coefficients = every_path.prior_coefficients
    p = jax.tree.map(np.asarray, tiny_params)
    x, labels = np.float64(tiny_batch.inputs), np.asarray(tiny_batch.labels)
    z = np.float64(paths.latents)
    means = dense(p.encoder, x) / 2.0
    anchors = (dense(p.encoder, p.anchors.reshape(-1, 5)) / 2.0).reshape(2, 3, 2)
    prior = reference.log_prior_closest if closest else reference.log_prior
    rows = []
    for b in range(4):
        for s in range(3):
            error = x[b] - dense(p.decoder, z[b, s] * 2.0)
            own = reference.log_density(
                z[b, s], means[b], p.operators,
                np.asarray(paths.posterior_coefficients)[b, s], 1.3, 0.9,
            )  # fmt: skip
            density = prior(
                z[b, s], anchors[labels[b]], p.operators,
                np.asarray(prior_coefficients)[b, s], 1.1, 0.05,
            )  # fmt: skip
            rows.append([0.5 * 0.7 * error @ error, own, -density])
    wanted = [*np.mean(rows, axis=0), 0.1 * np.sum(p.operators.astype(float) ** 2)]
    tolerance = {"rtol": 1e-9 if x64 else 2e-4, "atol": 1e-9 if x64 else 1e-5}
    np.testing.assert_allclose(np.array(list(terms)), wanted, **tolerance)
    np.testing.assert_allclose(total, np.dot([0.6, 1, 0.4, 1], wanted), **tolerance)


def test_samples_are_of_the_posterior(tiny_model, tiny_params, tiny_batch):
    means = encode(tiny_params, tiny_batch.inputs, model=tiny_model)
    sample = lambda **widths: sample_latents(
        jax.random.key(0), tiny_params.operators, means, num_samples=3, **widths
    )
    still = sample(noise_std=0.0, coefficient_rate=1e6)
    repeated = np.repeat(np.asarray(means)[:, None], 3, axis=1)
    np.testing.assert_allclose(still, repeated, atol=1e-4)
    moved = sample(noise_std=1e-3, coefficient_rate=1.0)
    assert len(np.unique(np.asarray(moved).reshape(-1, 2), axis=0)) == 12


def frozen_loss(params, paths, key, batch, model):
    """Evaluate the loss at coefficients that are given, not inferred."""
    means = encode(params, batch.inputs, model=model)
    latents = sample_latents(
        key, params.operators, means, num_samples=model.num_samples,
        coefficient_rate=WEIGHTS.posterior_l1, noise_std=model.noise_std,
    )  # fmt: skip
    anchors = encode(params, params.anchors.reshape(-1, 5), model=model)
    anchors = anchors.reshape(2, 3, 2)
    index = (batch.labels[:, None], paths.anchor_index)
    paths = paths._replace(
        latent_means=means, latents=latents, anchor_means=anchors[index][:, :, None]
    )
    return (
        WEIGHTS.reconstruction_factor
        * reconstruction_term(params, batch, latents, model=model, weights=WEIGHTS)
        + posterior_term(params.operators, paths, WEIGHTS)
        + WEIGHTS.prior_factor * prior_term(params.operators, paths, WEIGHTS)
        + 0.1 * jnp.sum(params.operators**2)
    )


def test_no_gradient_passes_through_the_search(
    tiny_model, tiny_params, tiny_batch, x64
):
    if not x64:
        pytest.skip("finite differences need double precision")
    key = jax.random.key(5)
    sample_key = jax.random.split(jax.random.clone(key), 3)[0]
    scalar = lambda p: loss(p, key, tiny_batch, model=tiny_model, weights=WEIGHTS)[0]
    gradient = jax.jit(jax.grad(scalar))(tiny_params)
    paths = jax.jit(
        functools.partial(infer_paths, model=tiny_model, weights=WEIGHTS)
    )(tiny_params, jax.random.clone(key), tiny_batch)  # fmt: skip
    leaves, structure = jax.tree.flatten(tiny_params)
    rng = np.random.default_rng(0)
    direction = jax.tree.unflatten(
        structure, [rng.normal(size=x.shape) for x in leaves]
    )
    along = jax.jit(
        lambda t: frozen_loss(
            jax.tree.map(lambda x, d: x + t * d, tiny_params, direction),
            paths,
            sample_key,
            tiny_batch,
            tiny_model,
        )  # fmt: skip
    )
    step = 1e-6
    with jax.debug_key_reuse(False):  # the same samples on both sides, on purpose
        wanted = (along(step) - along(-step)) / (2 * step)
    found = sum(
        jnp.sum(g * d)
        for g, d in zip(
            jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True
        )
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert all(np.any(np.asarray(g) != 0) for g in jax.tree.leaves(gradient))


def test_operator_objective_is_the_loss_without_what_does_not_depend_on_psi(
    tiny_model, tiny_params, tiny_batch, dtype
):
    _, terms, paths = evaluate(
        tiny_params, jax.random.key(5), tiny_batch, model=tiny_model, weights=WEIGHTS
    )
    length = np.abs(np.asarray(paths.posterior_coefficients)).sum(-1).mean()
    prior_length = np.abs(np.asarray(paths.prior_coefficients)).sum(-1).mean()
    prior = terms.prior - 0.05 * prior_length  # the closest anchor's: one path a sample
    wanted = terms.posterior + 0.9 * length + 0.4 * prior + terms.operator_norm
    found = operator_objective(tiny_params.operators, paths, WEIGHTS)
    np.testing.assert_allclose(found, wanted, rtol=1e3 * np.finfo(dtype).eps)


def test_warm_up_is_plain_reconstruction(tiny_model, tiny_params, tiny_batch):
    total, terms = warm_up_loss(
        tiny_params, jax.random.key(0), tiny_batch, model=tiny_model,
        weights=WEIGHTS, coefficient_rate=1e6,
    )  # fmt: skip
    p = jax.tree.map(np.asarray, tiny_params)
    x = np.asarray(tiny_batch.inputs)
    error = x - dense(p.decoder, dense(p.encoder, x))
    wanted = 0.5 * 0.7 * np.mean(np.sum(error**2, axis=1))
    np.testing.assert_allclose(total, wanted, rtol=1e-4)
    assert float(terms.prior) == float(terms.posterior) == 0.0


def test_examples_may_bring_their_own_anchors(tiny_model, tiny_params, tiny_batch):
    own = tiny_batch._replace(anchors=tiny_params.anchors[tiny_batch.labels])
    without = tiny_params._replace(anchors=None)
    key = jax.random.key(3)
    shared_terms = evaluate(
        tiny_params, key, tiny_batch, model=tiny_model, weights=WEIGHTS
    )[1]
    own_terms = evaluate(
        without, jax.random.clone(key), own, model=tiny_model, weights=WEIGHTS
    )[1]
    np.testing.assert_allclose(np.array(own_terms), np.array(shared_terms), rtol=1e-5)


def bad_batches(params, batch):
    """Name what is wrong, the parameters, the batch and the error's words."""
    empty = Batch(batch.inputs[:0], batch.labels[:0])
    return {
        "label too large": (params, batch._replace(labels=batch.labels + 1), "1..2"),
        "label negative": (params, batch._replace(labels=batch.labels - 1), "labels"),
        "labels too few": (params, batch._replace(labels=batch.labels[:2]), r"\[2\]"),
        "no example": (params, empty, "at least one example"),
        "no anchors": (params._replace(anchors=None), batch, "neither"),
        "zero anchors": (
            params._replace(anchors=params.anchors[:, :0]), batch, r"\[2, 0, 5\]",
        ),
        "zero own anchors": (
            params, batch._replace(anchors=batch.inputs[:, None][:, :0]), "anchors",
        ),
        "anchors of other examples": (
            params, batch._replace(anchors=batch.inputs[:2, None]), "4 examples",
        ),
        "latent size": (
            params._replace(operators=jnp.zeros((2, 3, 3))), batch, "size 3.*size 2",
        ),
        "data size": (params, batch._replace(inputs=batch.inputs[:, :4]), "inputs"),
        "data rank": (params, batch._replace(inputs=batch.inputs[:, None]), "inputs"),
    }  # fmt: skip


def test_bad_batches(tiny_model, tiny_params, tiny_batch, unchecked):
    for params, batch, match in bad_batches(tiny_params, tiny_batch).values():
        with pytest.raises(ValueError, match=match):
            loss(params, jax.random.key(0), batch, model=tiny_model, weights=WEIGHTS)


def test_labels_outside_the_classes_are_flagged_under_jit(
    tiny_model, tiny_params, tiny_batch
):
    batch = tiny_batch._replace(labels=tiny_batch.labels - 1)
    total, _, _ = evaluate(
        tiny_params, jax.random.key(0), batch, model=tiny_model, weights=WEIGHTS
    )
    assert np.isnan(total)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(LossWeights)])
def test_bad_weights(field, value):
    with pytest.raises(ValueError, match=field):
        LossWeights(**{field: value})
    with pytest.raises(ValueError, match=r"posterior_l1.*greater than 0"):
        LossWeights(posterior_l1=0.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_samples", 0), ("noise_std", -1.0), ("noise_std", float("inf"))],
)
def test_bad_models(field, value, tiny_model):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(tiny_model, **{field: value})
