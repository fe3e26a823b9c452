"""Whatever comes, the answer is right, flagged or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaells_jax import (
    InferenceOptions,
    generator,
    infer_coefficients,
    log_prior,
    log_prior_closest,
    transport,
    transport_path,
)
from vaells_jax.operators.matrix_exponential import expm_action

relaxed = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
kinds = st.sampled_from(
    [jnp.float32] * 6 + [jnp.float16, jnp.bfloat16, jnp.int32, jnp.bool_, jnp.complex64]
)


@st.composite
def arrays(draw):
    return jax.ShapeDtypeStruct(draw(shapes), draw(kinds))


@st.composite
def near_right(draw, *wanted):
    """Draw arrays of the right shapes, of which one or none is replaced."""
    count, size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    sizes = {"M": count, "d": size, "T": draw(st.integers(0, 3))}
    good = [
        jax.ShapeDtypeStruct(tuple(sizes[c] for c in names), jnp.float32)
        for names in wanted
    ]
    place = draw(st.integers(0, 2 * len(good)))
    return [draw(arrays()) if i == place else x for i, x in enumerate(good)]


def answer(function, *given):
    """Return the shapes of an answer, or None where a ValueError refuses."""
    refused = ""
    try:
        return jax.eval_shape(function, *given)
    except ValueError as error:
        refused = str(error)
    assert any(word in refused for word in ("shape", "numbers", "axes", "size"))
    return None


@pytest.mark.parametrize(
    ("function", "wanted", "gives"),
    [
        (generator, ("Mdd", "M"), "dd"),
        (transport, ("Mdd", "M", "d"), "d"),
        (transport_path, ("Mdd", "M", "d", "T"), "Td"),
        (expm_action, ("dd", "d"), "d"),
        (log_prior, ("M",), ""),
        (log_prior_closest, ("M",), ""),
    ],
)
def test_any_arrays_fit_or_are_refused(function, wanted, gives, unchecked):
    @settings(relaxed, max_examples=50)
    @given(near_right(*wanted))
    def check(given):
        found = answer(function, *given)
        sizes: dict = {}
        fits = all(x.dtype == jnp.float32 for x in given)
        for names, x in zip(wanted, given, strict=True):
            fits &= len(names) == len(x.shape) and all(
                sizes.setdefault(name, size) == size and (size > 0 or name == "T")
                for name, size in zip(names, x.shape, strict=True)
            )
        assert (found is not None) == fits
        if fits:
            assert found.shape == tuple(sizes[name] for name in gives)

    check()


def test_any_pairs_are_searched_or_refused(unchecked):
    @settings(relaxed, max_examples=40)
    @given(arrays(), arrays(), arrays(), st.booleans(), st.integers(1, 3))
    def check(operators, start, end, mend, size):
        if mend:  # else nearly all are refused for their last axis
            operators = jax.ShapeDtypeStruct((2, size, size), jnp.float32)
            lengthen = lambda x: jax.ShapeDtypeStruct((*x.shape[:2], size), x.dtype)
            start, end = lengthen(start), lengthen(end)
        found = answer(
            lambda *a: infer_coefficients(jax.random.key(0), *a), operators, start, end
        )
        try:
            leading = np.broadcast_shapes(start.shape[:-1], end.shape[:-1])
        except ValueError:
            leading = None
        if found is not None:
            assert found.coefficients.shape == (*leading, operators.shape[0])
            assert found.objective.shape == found.converged.shape == leading
        elif mend:
            numbers = {start.dtype, end.dtype} == {jnp.dtype(jnp.float32)}
            assert not numbers or leading is None

    check()


PAIRS, SIZE = 16, 2
LARGE = float(np.float32(3e38))
entries = st.one_of(
    st.floats(width=32),  # with infinities, NaN and subnormal numbers
    st.floats(-10, 10, width=32),
    st.sampled_from([0.0, 1e-30, -1e30, 3e38, 1e-45, 1e6]),
)


@settings(relaxed, max_examples=25)
@given(hnp.arrays(np.float32, (2, PAIRS, SIZE), elements=entries), st.floats(0.0, 3.0))
def test_pairs_of_any_size_are_answered_or_flagged(pairs, scale):
    base = np.array([[[0.1, -0.9], [1.0, 0.2]], [[0.5, 0.0], [0.3, -0.4]]], np.float32)
    operators = base * np.float32(scale)
    fit = jax.tree.map(
        np.asarray,
        infer_coefficients(
            jax.random.key(0), jnp.asarray(operators), *map(jnp.asarray, pairs),
            options=InferenceOptions(restarts=2),
        ),
    )  # fmt: skip
    assert np.all(np.isfinite(fit.coefficients))
    assert np.all(np.isfinite(fit.objective))
    usable = np.isfinite(pairs).all(axis=(0, 2)) & np.any(pairs[0] != 0, axis=-1)
    assert not np.any(fit.converged & ~(usable & (scale > 0)))
    for i in np.flatnonzero(fit.converged):
        A = np.einsum("m,mij->ij", fit.coefficients[i].astype(float), operators)
        start, end = pairs[:, i].astype(float)
        distance = np.linalg.norm(end - scipy.linalg.expm(A) @ start)
        claimed = np.sqrt(2 * float(fit.objective[i]))
        length = (1 + 1e-5) * np.sqrt(2e-6 * np.abs(fit.coefficients[i]).sum())
        reached = np.linalg.norm(start) * np.exp(np.linalg.norm(A))
        size = reached + np.linalg.norm(end)
        assert abs(distance - claimed) <= length + 1e-4 * size


@relaxed
@given(hnp.arrays(np.float32, 5, elements=st.floats(-LARGE, LARGE, width=32)))
def test_log_priors_of_any_size_do_not_underflow(components):
    wanted = scipy.special.logsumexp(components.astype(float)) - np.log(5)
    found = float(log_prior(jnp.asarray(components)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert float(log_prior_closest(jnp.asarray(components))) == components.max()


@relaxed
@given(
    hnp.arrays(np.float32, (3, 3), elements=st.floats(-1e3, 1e3, width=32)),
    hnp.arrays(np.float32, 3, elements=st.floats(-1e3, 1e3, width=32)),
)
def test_transports_are_right_or_nan(A, z):
    found = np.asarray(expm_action(jnp.asarray(A), jnp.asarray(z)), float)
    if np.any(np.isnan(found)):
        assert np.abs(A - np.trace(A) / 3 * np.eye(3)).sum(axis=0).max() > 100
        return
    A, z = A.astype(float), z.astype(float)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = scipy.linalg.expm(A) @ z
    norm = np.linalg.norm(A, 1)
    size = np.exp(min(np.linalg.norm((A + A.T) / 2, 2), 700.0)) * np.linalg.norm(z)
    good = np.isclose(found, wanted, rtol=1e-4, atol=1e-5 * (1 + norm) * size + 1e-30)
    overflowed = ~np.isfinite(found) | (np.abs(wanted) > 1e37)
    assert np.all(good | overflowed)
