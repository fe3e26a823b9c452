"""The Taylor kernel against SciPy's matrix exponential, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet

from vaells_jax.operators import taylor


@pytest.fixture(scope="module")
def tolerance(x64):
    return 1e-12 if x64 else 1e-5


@jax.jit
def expm_action_jet(*arrays):
    return taylor.expm_action_jet(*arrays)


def draw(norm, dtype, seed=0, dim=6, count=4, lanes=5):
    rng = np.random.default_rng(seed)
    operators = rng.normal(size=(count, dim, dim)).astype(dtype)
    coefficients = rng.normal(size=(count, lanes))
    A = np.einsum("mw,mij->wij", coefficients, operators)
    sizes = np.linalg.norm(A, 2, axis=(1, 2))
    coefficients = (coefficients * norm / sizes).astype(dtype)
    return operators, coefficients, rng.normal(size=(dim, lanes)).astype(dtype)


def oracle(operators, coefficients, z):
    """Return value and Jacobian, lane by lane."""
    operators, coefficients, z = (
        np.asarray(x, np.float64) for x in (operators, coefficients, z)
    )
    values, jacobians = [], []
    for c, x in zip(coefficients.T, z.T, strict=True):
        A = np.tensordot(c, operators, 1)
        values.append(expm(A) @ x)
        slopes = [expm_frechet(A, P, compute_expm=False) @ x for P in operators]
        jacobians.append(slopes)
    return np.stack(values, axis=-1), np.stack(jacobians, axis=-1)


@pytest.mark.parametrize("norm", [0.0, 1e-4, 0.3, 2.0, 7.0, 30.0])
@pytest.mark.parametrize("kind", ["general", "rotation", "nilpotent"])
def test_value_and_jacobian_match_scipy(norm, kind, dtype, tolerance):
    operators, coefficients, z = draw(norm, dtype)
    if kind == "rotation":
        operators = operators - np.swapaxes(operators, 1, 2)
    if kind == "nilpotent":
        operators = np.triu(operators, 1)
    A = np.einsum("mw,mij->wij", coefficients, operators)
    sizes = np.linalg.norm(A, 2, axis=(1, 2))
    coefficients = coefficients * (norm / np.maximum(sizes, 1e-30)).astype(dtype)
    found = expm_action_jet(operators, coefficients, z)
    value, jacobian = oracle(operators, coefficients, z)
    scale = np.linalg.norm(value, axis=0)
    assert np.all(np.linalg.norm(found.value - value, axis=0) <= tolerance * scale)
    scale = np.sqrt((jacobian**2).sum(axis=(0, 1)))
    error = np.sqrt(((found.jacobian - jacobian) ** 2).sum(axis=(0, 1)))
    assert np.all(error <= tolerance * scale)


def test_lanes_of_any_size_stand_side_by_side(dtype, tolerance):
    operators, coefficients, z = draw(1.0, dtype)
    coefficients = coefficients * np.asarray([1e-3, 0.5, 3.0, 9.0, 25.0], dtype)
    found = expm_action_jet(operators, coefficients, z)
    value, _ = oracle(operators, coefficients, z)
    error = np.linalg.norm(found.value - value, axis=0)
    assert np.all(error <= tolerance * np.linalg.norm(value, axis=0))


def test_lanes_out_of_range_read_nan_and_leave_the_others_alone(dtype):
    operators, coefficients, z = draw(1.0, dtype)
    alone = expm_action_jet(operators, coefficients, z)
    coefficients[:, 1] *= 100 * taylor.LARGEST_NORM
    coefficients[0, 2] = np.nan
    coefficients[0, 3] = np.inf
    together = expm_action_jet(operators, coefficients, z)
    assert np.all(np.isnan(together.value[:, 1:4]))
    assert np.all(np.isnan(together.jacobian[:, :, 1:4]))
    for lane in (0, 4):
        np.testing.assert_allclose(
            together.value[:, lane], alone.value[:, lane], rtol=1e-5
        )


def test_inactive_lanes_read_nan(dtype):
    operators, coefficients, z = draw(1.0, dtype)
    active = jnp.asarray([True, False, True, True, True])
    found = expm_action_jet(operators, coefficients, z, active)
    np.testing.assert_array_equal(np.isnan(found.value).any(axis=0), ~active)
