"""The coefficient search: quality against the recorded runs, shapes, odd inputs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from vaells_jax.inference import InferenceOptions, infer_coefficients

pytestmark = pytest.mark.filterwarnings("ignore:.*JAXopt.*:DeprecationWarning")

KINDS = {
    "local": InferenceOptions(),
    "lbfgs": InferenceOptions(solver="lbfgs"),
    "global": InferenceOptions(search="global"),
}


def objective(operators, start, end, coefficients, l1_weight=1e-6):
    operators, start, end, c = (
        np.asarray(x, np.float64) for x in (operators, start, end, coefficients)
    )
    A = np.einsum("bm,mij->bij", c, operators)
    gap = np.einsum("bij,bj->bi", expm(A), start) - end
    return 0.5 * (gap**2).sum(1) + l1_weight * np.abs(c).sum(1)


@pytest.fixture(scope="module")
def pairs(dtype):
    """Reachable pairs: operators near rotations, ends that a transport hits."""
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(3, 4, 4))
    operators = 0.1 * (raw - np.swapaxes(raw, 1, 2) + 0.2 * raw)
    start = rng.normal(size=(24, 4))
    truth = rng.normal(size=(24, 3))
    A = np.einsum("bm,mij->bij", truth, operators)
    end = np.einsum("bij,bj->bi", expm(A), start)
    return tuple(jnp.asarray(x, dtype) for x in (operators, start, end))


@pytest.mark.parametrize(
    ("kind", "share"), [("local", 0.95), ("lbfgs", 0.98), ("global", 0.99)]
)
def test_reaches_the_authors_objectives(kind, share, natural_mnist_reference, dtype):
    recorded = natural_mnist_reference
    names = ("operators", "pairs_start", "pairs_end")
    operators, start, end = (jnp.asarray(recorded[name], dtype) for name in names)
    fit = infer_coefficients(
        jax.random.key(0), operators, start, end, options=KINDS[kind]
    )
    reached = objective(operators, start, end, fit.coefficients)
    authors = recorded["pairs_objective"]
    assert np.mean(reached <= authors + 1e-4) >= share
    assert reached.mean() <= 1.05 * authors.mean()
    np.testing.assert_allclose(fit.objective, reached, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_finds_transports_that_exist(kind, pairs):
    # One local start in five ends in another valley: a path that exists takes several.
    options = dataclasses.replace(KINDS[kind], restarts=4)
    fit = infer_coefficients(jax.random.key(1), *pairs, options=options)
    assert np.mean(np.asarray(fit.objective) < 1e-3) >= 0.9
    assert fit.converged.mean() >= 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_no_pair_ends_above_its_start(kind, pairs):
    options = dataclasses.replace(KINDS[kind], initial_range=(7.0, 7.0))
    operators, start, end = pairs
    fit = infer_coefficients(jax.random.key(1), *pairs, options=options)
    first = objective(operators, start, end, np.full(fit.coefficients.shape, 7.0))
    assert np.all(np.asarray(fit.objective) <= first * (1 + 1e-3) + 1e-4)
    reached = objective(operators, start, end, fit.coefficients)
    np.testing.assert_allclose(fit.objective, reached, rtol=1e-3, atol=1e-4)


def test_a_useless_operator_gets_exactly_zero(pairs):
    operators, start, end = pairs
    operators = operators.at[1].set(1e-4 * operators[1])
    options = InferenceOptions(l1_weight=1e-2)
    fit = infer_coefficients(jax.random.key(1), operators, start, end, options=options)
    assert np.mean(np.asarray(fit.coefficients[:, 1]) == 0) > 0.9


def test_leading_axes_broadcast(pairs):
    operators, start, end = pairs
    fit = infer_coefficients(
        jax.random.key(0), operators, start[:6, None], end[None, :4]
    )
    assert fit.coefficients.shape == (6, 4, 3)
    one = infer_coefficients(jax.random.key(0), operators, start[0], end[0])
    assert one.objective.shape == ()
    none = infer_coefficients(jax.random.key(0), operators, start[:0], end[:0])
    assert none.coefficients.shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_and_jit_equal_the_loop(kind, pairs, x64):
    operators, start, end = pairs
    # Short ways from starts close by: between the valleys of longer ones the rounding
    # decides, which no two layouts of a batch share.
    end = start + 0.2 * (end - start)
    options = dataclasses.replace(KINDS[kind], initial_range=(-0.5, 0.0))
    keys = jax.random.split(jax.random.key(0), 3)
    search = jax.jit(
        lambda k, a, b: infer_coefficients(k, operators, a, b, options=options)
    )
    start, end = (x.reshape(3, 8, -1) for x in (start, end))
    together = jax.vmap(search)(keys, start, end)
    loop = [search(k, a, b).objective for k, a, b in zip(keys, start, end, strict=True)]
    np.testing.assert_allclose(together.objective, np.stack(loop), atol=1e-4)


def test_operators_may_differ_between_examples(pairs):
    operators, start, end = pairs
    several = jnp.stack([operators, 2 * operators])
    search = lambda P: infer_coefficients(jax.random.key(0), P, start, end).objective
    together = jax.vmap(search)(several)
    np.testing.assert_allclose(together[1], search(several[1]), atol=1e-5)


def test_gives_no_gradient(pairs):
    operators, start, end = pairs

    def total(operators, start):
        fit = infer_coefficients(jax.random.key(0), operators, start, end)
        return fit.coefficients.sum() + fit.objective.sum()

    for gradient in jax.grad(total, argnums=(0, 1))(operators, start):
        assert not np.any(gradient)


def test_more_restarts_are_never_worse_on_average(pairs):
    first, many = (
        infer_coefficients(
            jax.random.key(2), *pairs, options=InferenceOptions(restarts=r)
        )
        for r in (1, 4)
    )
    assert many.objective.mean() <= first.objective.mean() + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_odd_pairs_say_so_and_harm_no_neighbour(kind, pairs):
    operators, start, end = pairs
    search = lambda *p: infer_coefficients(jax.random.key(0), *p, options=KINDS[kind])
    clean = search(operators, start, end)
    odd_start = start.at[0].set(jnp.nan).at[1].set(0.0).at[2, 0].set(jnp.inf)
    fit = search(operators, odd_start, end.at[3].set(-jnp.inf))
    assert not fit.converged[:4].any()
    assert all(np.isfinite(leaf).all() for leaf in fit)
    still = 0.5 * np.sum(np.asarray(end[1]) ** 2)
    np.testing.assert_allclose(fit.objective[1], still, rtol=1e-5)
    np.testing.assert_allclose(fit.objective[4:], clean.objective[4:], atol=1e-3)


@pytest.mark.parametrize("kind", ["local", "lbfgs"])
def test_operators_without_use_say_so(kind, pairs):
    operators, start, end = pairs
    still = 0.5 * np.sum(np.asarray(end - start) ** 2, axis=1)
    for factor in (0.0, 1e7, jnp.nan):
        fit = infer_coefficients(
            jax.random.key(0), factor * operators, start, end, options=KINDS[kind]
        )
        assert not fit.converged.any()
        np.testing.assert_allclose(fit.objective, still, rtol=1e-5)


def test_global_search_serves_operators_of_any_size(pairs):
    # Its starts are scaled by the operators' norms, so that none is too large for it.
    operators, start, end = pairs
    search = lambda P: infer_coefficients(
        jax.random.key(0), P, start, end, options=KINDS["global"]
    )
    huge = search(1e6 * operators)
    reached = objective(1e6 * operators, start, end, huge.coefficients)
    np.testing.assert_allclose(huge.objective, reached, rtol=1e-3, atol=1e-5)
    for useless in (0.0 * operators, jnp.nan * operators):
        fit = search(useless)
        still = 0.5 * np.sum(np.asarray(end - start) ** 2, axis=1)
        assert not fit.converged.any()
        np.testing.assert_allclose(fit.objective, still, rtol=1e-5)


def test_one_operator_is_searched_around_the_whole_orbit(dtype):
    turn = jnp.asarray([[[0.0, -0.05], [0.05, 0.0]]], dtype)
    angles = np.linspace(-3.0, 3.0, 13)
    end = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), dtype)
    start = jnp.asarray([1.0, 0.0], dtype)
    fit = infer_coefficients(
        jax.random.key(0), turn, start, end, options=KINDS["global"]
    )
    # Among whole turns, which all reach the end point, the shortest way wins.
    np.testing.assert_allclose(0.05 * fit.coefficients[:, 0], angles, atol=2e-3)


@pytest.mark.parametrize(
    ("operators", "start", "end", "named"),
    [
        ((3, 4), (5, 4), (5, 4), "operators"),
        ((3, 4, 5), (5, 4), (5, 4), "operators"),
        ((3, 4, 4), (5, 3), (5, 4), "start"),
        ((3, 4, 4), (5, 4), (), "end"),
        ((3, 4, 4), (5, 4), (6, 4), "leading axes"),
    ],
)
def test_wrong_shapes_are_named(operators, start, end, named, unchecked):
    shapes = (operators, start, end)
    with pytest.raises(ValueError, match=named):
        infer_coefficients(jax.random.key(0), *(jnp.ones(s) for s in shapes))
