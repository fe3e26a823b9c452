"""The derivative of the argmin against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.inference import InferenceOptions, infer_coefficients


@pytest.mark.parametrize("l1_weight", [1e-6, 5e-2])
def test_derivative_of_the_argmin(l1_weight, x64):
    if not x64:
        pytest.skip("finite differences of a search need float64")
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(3, 4, 4))
    problem = [0.3 * (raw - np.swapaxes(raw, 1, 2)), *rng.normal(size=(2, 10, 4))]
    problem = tuple(jnp.asarray(x) for x in problem)
    options = InferenceOptions(l1_weight=l1_weight, differentiable=True)
    search = lambda *p: infer_coefficients(jax.random.key(0), *p, options=options)
    argmin = lambda *p: search(*p).coefficients
    forward = jax.jit(lambda tangents: jax.jvp(argmin, problem, tangents)[1])
    reverse = jax.jit(lambda weights: jax.vjp(argmin, *problem)[1](weights))
    fit = search(*problem)
    zeros = np.asarray(fit.coefficients == 0)
    assert fit.converged.mean() > 0.8
    assert zeros.any() == (l1_weight > 1e-3)
    for place in range(3):
        tangents = [jnp.zeros_like(x) for x in problem]
        tangents[place] = jnp.asarray(rng.normal(size=problem[place].shape))

        def difference(step, tangents=tangents):
            moved = [
                argmin(*(x + t * v for x, v in zip(problem, tangents, strict=True)))
                for t in (step, -step)
            ]
            return (moved[0] - moved[1]) / (2 * step)

        slope, near, far = forward(tuple(tangents)), difference(1e-5), difference(2e-5)
        # Where the argmin bends within a step, differences of it prove nothing.
        straight = np.all(np.isclose(near, far, 1e-3, 1e-4), axis=-1)
        smooth = np.asarray(fit.converged) & straight
        assert smooth.mean() >= 0.8
        np.testing.assert_allclose(slope[smooth], near[smooth], rtol=1e-4, atol=1e-5)
        assert not np.any(np.asarray(slope)[zeros & smooth[:, None]])

        weights = jnp.asarray(rng.normal(size=slope.shape))
        backward = sum(
            jnp.vdot(g, v) for g, v in zip(reverse(weights), tangents, strict=True)
        )
        np.testing.assert_allclose(backward, jnp.sum(weights * slope), rtol=1e-9)


def test_unconverged_pairs_have_finite_gradients(dtype):
    operators = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3)), dtype)
    start = jnp.asarray([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype)
    options = InferenceOptions(differentiable=True)
    total = lambda P: infer_coefficients(
        jax.random.key(0), P, start, start[::-1], options=options
    ).coefficients.sum()
    assert np.isfinite(jax.grad(total)(operators)).all()


def test_second_derivatives_of_the_argmin(x64):
    if not x64:
        pytest.skip("finite differences of a search need float64")
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(2, 3, 3))
    operators = jnp.asarray(0.3 * (raw - np.swapaxes(raw, 1, 2)))
    start, way = jnp.asarray(rng.normal(size=(2, 3)))
    goal = start + 0.3 * way
    options = InferenceOptions(l1_weight=1e-2, differentiable=True)

    @jax.jit
    def argmin(t):
        """Move operators and goal at once."""
        psi, end = operators * (1.0 + 0.2 * t), goal + 0.1 * t * way
        fit = infer_coefficients(jax.random.key(0), psi, start, end, options=options)
        return fit.coefficients

    slope, step = jax.jit(jax.jacfwd(argmin)), 1e-5
    wanted = (slope(step) - slope(-step)) / (2 * step)
    assert np.abs(wanted).max() > 1e-3
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            found = outer(inner(argmin))(0.0)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    third = jax.jacfwd(jax.jacfwd(jax.jacfwd(argmin)))(0.0)
    second = jax.jit(jax.jacfwd(slope))
    wanted = (second(step) - second(-step)) / (2 * step)
    np.testing.assert_allclose(third, wanted, rtol=1e-3, atol=1e-5)
