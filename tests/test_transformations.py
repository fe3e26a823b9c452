"""Every public function of arrays under every transformation of JAX."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import vaells_jax as vj
from vaells_jax import InferenceOptions, infer_coefficients

NO_ARRAYS = {
    "convolutional_networks", "dense_networks", "make_networks", "standardised",
    "from_nnx", "from_equinox", "load_published", "load_run", "train", "from_arrays",
    "fit", "choose_scale", "make_train_step", "init_state", "draw_anchors",
    "spread_anchors", "log_likelihood", "log_marginal_likelihood",
    "fit_operators", "describe_operators",
}  # fmt: skip
"""Functions that make networks or steps, read files, draw before, describe after."""


@pytest.fixture(autouse=True)
def one_key_for_all():
    """Let the same draws be made again, to be compared."""
    with jax.debug_key_reuse(False):
        yield


@pytest.fixture(scope="module")
def cases(tiny_model, tiny_params, tiny_batch, dtype):
    """Return a function and its arguments by the name of each public function."""
    keys = jax.random.split(jax.random.key(5), 4)
    operators = 0.3 * jax.random.normal(keys[0], (2, 2, 2), dtype)
    start, end = 0.5 + jax.random.normal(keys[1], (2, 3, 2), dtype)
    c = jnp.asarray([0.4, -0.2], dtype)
    key, times = jax.random.key(7), jnp.linspace(0.0, 1.0, 3, dtype=dtype)
    weights = vj.LossWeights()
    search = lambda **options: (
        lambda *problem: (
            infer_coefficients(
                key, *problem, options=InferenceOptions(**options)
            ).coefficients
        )
    )
    posterior = {"coefficient_rate": 1.0, "noise_std": 0.1}
    return {
        "generator": (vj.generator, (operators, c)),
        "transport": (vj.transport, (operators, c, start[0])),
        "transport_path": (vj.transport_path, (operators, c, start[0], times)),
        "infer_coefficients": (search(), (operators, start, end)),
        "infer_coefficients, global": (
            search(search="global"), (operators, start, end),
        ),
        "infer_coefficients, differentiable": (
            # Directions at right angles: the derivative is a well-posed linear solve.
            search(differentiable=True),
            (jnp.asarray([[[0.0, -0.7], [0.7, 0.0]], [[0.7, 0.0], [0.0, 0.7]]], dtype),
             start, 1.1 * start + jnp.asarray([[0.2, -0.1]], dtype)),
        ),
        "sample_posterior": (
            lambda *a: vj.sample_posterior(key, *a, **posterior)[0],
            (operators, start[0]),
        ),
        "log_posterior": (
            lambda *a: vj.log_posterior(*a, residual_weight=1.0, l1_weight=0.5),
            (end[0], start[0], operators, c),
        ),
        "log_posterior_integral": (
            lambda *a: vj.log_posterior_integral(
                *a, residual_weight=4.0, l1_weight=0.5
            ),
            (end[0], start[0], jnp.asarray([[[0.0, -0.7], [0.7, 0.0]]], dtype)),
        ),
        "log_prior": (vj.log_prior, (start[:, 0],)),
        "log_prior_closest": (vj.log_prior_closest, (start[:, 0],)),
        "encode": (
            lambda p, x: vj.encode(p, x, model=tiny_model),
            (tiny_params, tiny_batch.inputs),
        ),
        "decode": (
            lambda p, z: vj.decode(p, z, model=tiny_model), (tiny_params, start),
        ),
        "augment": (
            lambda p, b: vj.augment(
                vj.TrainedVaells(tiny_model, p, weights), key, b.inputs, b.labels, 5,
                scale=0.1, steps=2,
            )[0],
            (tiny_params, tiny_batch),
        ),
        "loss": (
            lambda p, b: vj.loss(p, key, b, model=tiny_model, weights=weights)[0],
            (tiny_params, tiny_batch),
        ),
        "batch_indices": (
            lambda step: vj.batch_indices(key, step, num_examples=20, batch_size=4),
            (jnp.asarray(3),),
        ),
    }  # fmt: skip


def test_every_public_function_is_walked_through(cases):
    named = {name for name in vj.__all__ if inspect.isfunction(getattr(vj, name))}
    walked = {name.split(",")[0] for name in cases}
    assert named - {"load_published"} <= walked | NO_ARRAYS
    assert not walked & NO_ARRAYS


NAMES = [
    "generator", "transport", "transport_path", "infer_coefficients",
    "infer_coefficients, global", "infer_coefficients, differentiable",
    "sample_posterior", "log_posterior", "log_posterior_integral", "log_prior",
    "log_prior_closest", "encode", "decode", "augment", "loss", "batch_indices",
]  # fmt: skip


COMPILED_LONG = ("loss", "infer_coefficients, global")
RUN_LONG = ("loss", "infer_coefficients, differentiable")


def test_the_names_are_those_of_the_cases(cases):
    assert set(NAMES) == set(cases)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in RUN_LONG else name
        for name in NAMES
    ],
)
def test_transformations_change_no_value(name, cases, unchecked):
    function, arguments = cases[name]
    tolerance = {"rtol": 1e-3, "atol": 1e-4}
    wanted = np.asarray(jax.jit(function)(*arguments))
    same = lambda found: np.testing.assert_allclose(found, wanted, **tolerance)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        same(function(*arguments))
    same(function(*jax.device_get(arguments)))  # NumPy's arrays
    two = jax.tree.map(lambda x: jnp.stack([x, x]), arguments)
    stacked = np.stack([wanted, wanted])

    def everywhere(*two):
        """Apply several transformations in one compilation."""
        mesh = Mesh(np.array(jax.devices()[:1]), ("devices",))
        split = PartitionSpec("devices")
        one = lambda *a: function(*jax.tree.map(lambda x: x[0], a))[None]
        scan = lambda *two: jax.lax.scan(lambda _, a: (0, function(*a)), 0, two)[1]
        shards = jax.shard_map(one, mesh=mesh, in_specs=split, out_specs=split)
        return (
            jax.checkpoint(jax.vmap(function))(*two),
            shards(*jax.tree.map(lambda x: x[:1], two)),
            *(() if name in COMPILED_LONG else (scan(*two),)),
        )

    for found in jax.jit(everywhere)(*two):
        np.testing.assert_allclose(found, stacked[: len(found)], **tolerance)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "batch_indices"])
def test_derivatives_are_finite_and_of_both_modes_alike(name, cases):
    function, arguments = cases[name]
    draw = np.random.default_rng(0)
    way = jax.tree.map(
        lambda x: (
            jnp.asarray(draw.normal(size=x.shape), x.dtype)
            if jnp.issubdtype(x.dtype, jnp.floating)
            else np.zeros(x.shape, jax.dtypes.float0)
        ),
        arguments,
    )

    @jax.jit
    def both(arguments):
        value, back = jax.vjp(function, *arguments)
        weights = jnp.cos(jnp.arange(value.size, dtype=value.dtype))
        weights = weights.reshape(value.shape)
        forward = jax.jvp(function, arguments, way)[1]
        return jnp.vdot(weights, forward), back(weights)

    forward, backward = both(arguments)
    pairs = zip(jax.tree.leaves(backward), jax.tree.leaves(way), strict=True)
    total = sum(
        np.vdot(g, v) for g, v in pairs if jnp.issubdtype(g.dtype, jnp.floating)
    )
    assert np.isfinite(total)
    np.testing.assert_allclose(forward, total, rtol=2e-3, atol=1e-4)
