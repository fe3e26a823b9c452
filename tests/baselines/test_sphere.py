import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.baselines.sphere import great_circle


@pytest.mark.parametrize("dim", [2, 3, 11])
def test_great_circle_is_the_spherical_interpolation(dim, dtype):
    rng = np.random.default_rng(dim)
    starts, ends = rng.normal(size=(2, 50, dim))
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    ends /= np.linalg.norm(ends, axis=1, keepdims=True)
    times = np.linspace(0.0, 1.0, 7)
    angle = np.arccos(np.sum(starts * ends, axis=1))[:, None, None]
    t = times[None, :, None]
    slerp = (
        np.sin((1 - t) * angle) * starts[:, None] + np.sin(t * angle) * ends[:, None]
    )
    found = great_circle(
        jnp.asarray(starts, dtype), jnp.asarray(ends, dtype), jnp.asarray(times, dtype)
    )
    np.testing.assert_allclose(found, slerp / np.sin(angle), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)


def test_great_circle_of_equal_and_of_opposite_points_is_finite(dtype):
    point = jnp.asarray([[0.6, -0.8]], dtype)
    times = jnp.asarray([0.0, 0.5, 1.0], dtype)
    np.testing.assert_allclose(
        great_circle(point, point, times)[0], np.tile(point, (3, 1)), atol=1e-7
    )
    assert np.all(np.isfinite(great_circle(point, -point, times)))
