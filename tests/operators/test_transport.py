import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import reference
from vaells_jax import generator, transport, transport_path


@pytest.fixture
def problem(dtype):
    rng = np.random.default_rng(0)
    operators = 0.3 * rng.normal(size=(3, 4, 4))
    return (
        jnp.array(operators, dtype),
        jnp.array(rng.normal(size=3), dtype),
        jnp.array(rng.normal(size=4), dtype),
    )


def test_recorded_outputs_and_gradients(natural_mnist_reference, x64):
    recorded = natural_mnist_reference
    operators = jnp.array(recorded["operators"])
    c, z = jnp.array(recorded["transport_c"]), jnp.array(recorded["transport_z"])
    cotangent = jnp.array(recorded["transport_cotangent"])
    batch = jax.vmap(transport, (None, 0, 0))
    out, pullback = jax.vjp(batch, operators, c, z)
    gradients = dict(zip(("operators", "c", "z"), pullback(cotangent), strict=True))
    tolerance = 1e-12 if x64 else 1e-5
    np.testing.assert_allclose(out, recorded["transport_out"], rtol=0, atol=tolerance)
    for name, found in gradients.items():
        wanted = recorded[f"transport_grad_{name}"]
        scale = max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def test_agrees_with_scipy(problem):
    operators, c, z = problem
    np.testing.assert_allclose(
        transport(operators, c, z), reference.transport(operators, c, z), rtol=1e-5
    )


def test_group_laws(problem, dtype):
    operators, c, z = problem
    tolerance = {"rtol": 1e3 * np.finfo(dtype).eps, "atol": 1e3 * np.finfo(dtype).eps}
    np.testing.assert_array_equal(transport(operators, 0 * c, z), z)
    back = transport(operators, -c, transport(operators, c, z))
    np.testing.assert_allclose(back, z, **tolerance)
    once = transport(operators, 1.5 * c, z)
    twice = transport(operators, 0.5 * c, transport(operators, c, z))
    np.testing.assert_allclose(once, twice, **tolerance)


def test_path_solves_its_differential_equation(problem, x64):
    if not x64:
        pytest.skip("finite differences need double precision")
    operators, c, z = problem
    step = 1e-5
    before, at, after = transport_path(
        operators, c, z, jnp.array([0.7 - step, 0.7, 0.7 + step])
    )
    velocity = (after - before) / (2 * step)
    np.testing.assert_allclose(velocity, generator(operators, c) @ at, rtol=1e-8)


def test_path_ends_at_transport(problem):
    operators, c, z = problem
    path = transport_path(operators, c, z, jnp.array([0.0, 1.0], z.dtype))
    np.testing.assert_array_equal(path[0], z)
    np.testing.assert_allclose(path[1], transport(operators, c, z), rtol=1e-6)


def test_keeps_float32_even_under_x64():
    operators, c, z = (jnp.ones(s, jnp.float32) for s in ((1, 2, 2), 1, 2))
    assert transport(operators, c, z).dtype == jnp.float32


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        (((3, 4, 5), (3,), (4,)), r"operators.*\[3, 4, 5\]"),
        (((4, 4), (3,), (4,)), r"operators.*\[4, 4\]"),
        (((0, 4, 4), (0,), (4,)), "operators.*at least 1"),
        (((3, 4, 4), (2,), (4,)), r"coefficients.*\[3\].*\[2\]"),
        (((3, 4, 4), (1, 3), (4,)), r"coefficients.*\[1, 3\]"),
        (((3, 4, 4), (3,), (5,)), r"z must have shape \[4\].*\[5\]"),
    ],
)
def test_bad_shapes(shapes, match, unchecked):
    with pytest.raises(ValueError, match=match):
        transport(*(jnp.ones(shape) for shape in shapes))


def test_bad_times(problem, unchecked):
    with pytest.raises(ValueError, match="times"):
        transport_path(*problem, jnp.array(1.0))
