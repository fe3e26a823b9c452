import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import reference
from vaells_jax import log_prior, log_prior_closest
from vaells_jax.model.prior import anchor_components, closest_anchor

WEIGHTS = {"residual_weight": 2.0, "l1_weight": 0.1}


@pytest.fixture
def problem(dtype):
    rng = np.random.default_rng(0)
    shapes = {"z": 3, "anchors": (5, 3), "operators": (2, 3, 3), "c": (5, 2)}
    return {name: jnp.array(rng.normal(size=s), dtype) for name, s in shapes.items()}


def components(p):
    return anchor_components(p["z"], p["anchors"], p["operators"], p["c"], **WEIGHTS)


@pytest.mark.parametrize(
    ("found", "oracle"),
    [
        (log_prior, reference.log_prior),
        (log_prior_closest, reference.log_prior_closest),
    ],
)
def test_agrees_with_the_oracle(found, oracle, problem, x64):
    arrays = [np.asarray(problem[k]) for k in ("z", "anchors", "operators", "c")]
    wanted = oracle(*arrays, 2.0, 0.1)
    np.testing.assert_allclose(
        found(components(problem)), wanted, rtol=1e-12 if x64 else 1e-4
    )


def test_order_of_anchors_does_not_matter(problem):
    values = components(problem)
    np.testing.assert_allclose(log_prior(values), log_prior(values[::-1]), rtol=1e-6)


def test_finite_far_away(dtype):
    far = jnp.array([-1e6, -2e6], dtype)
    np.testing.assert_allclose(log_prior(far), -1e6 - np.log(2), rtol=1e-6)
    assert np.isfinite(jax.grad(log_prior)(far)).all()


def test_one_anchor_is_its_own_prior(dtype):
    one = jnp.array([-3.0], dtype)
    np.testing.assert_allclose(log_prior(one), -3.0)
    np.testing.assert_allclose(log_prior_closest(one), -3.0)


def test_closest_anchor_is_the_one_of_largest_density(problem):
    p = {k: np.asarray(v) for k, v in problem.items()}
    searched = jnp.array(
        [
            reference.search_objective(p["operators"], c, a, p["z"], 0.01)
            for a, c in zip(p["anchors"], p["c"], strict=True)
        ]
    ).astype(p["z"].dtype)
    found = closest_anchor(searched, problem["c"], search_l1_weight=0.01, **WEIGHTS)
    assert int(found) == int(jnp.argmax(components(problem)))


def test_no_anchor(unchecked):
    for prior in (log_prior, log_prior_closest):
        with pytest.raises(ValueError, match="at least one anchor"):
            prior(jnp.zeros(0))
