import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import bent
from vaells_jax import PairOptions
from vaells_jax.data.symmetries import BENT_SYMMETRIES

SHORT = bent.BentOptions(
    pairs=300, steps=20, hidden=8, keys=1, operators=PairOptions(steps=5, batch_size=50)
)


def learned(learn, **more):
    symmetry = BENT_SYMMETRIES["so2"]
    pairs = symmetry.pairs(jax.random.key(0), 300)
    options = dataclasses.replace(SHORT, **more)
    found = learn(jax.random.key(1), pairs, size=2, num_operators=2, options=options)
    return symmetry, pairs, found


def test_operators_of_a_linear_map_of_the_coordinates_come_out_straight():
    symmetry = BENT_SYMMETRIES["so2"]
    pairs = symmetry.pairs(jax.random.key(0), 50)
    mixed = np.array([[2.0, 1.0], [-1.0, 3.0]])

    class Encoder:
        operators = mixed @ symmetry.base @ np.linalg.inv(mixed)

        def encode(self, points):
            return symmetry.bend.inverse(points) @ symmetry.lift @ mixed.T

    operators, share = bent.straightened(Encoder(), symmetry, pairs)
    np.testing.assert_allclose(operators, symmetry.base, atol=1e-5)
    assert share == pytest.approx(1.0)


def test_an_untrained_encoder_is_the_whitened_principal_components():
    _, pairs, found = learned(bent.learn_on_components)
    z = np.asarray(found.encode(pairs.start), float)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(2), atol=1e-4)
    x = np.asarray(pairs.start, float)
    scores = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, :2]
    scores = scores * np.sqrt(len(x))
    np.testing.assert_allclose(scores @ (scores.T @ z) / len(x), z, atol=1e-3)


@pytest.mark.parametrize("learn", [bent.learn_together, bent.learn_after])
def test_what_is_trained_fits_the_data_better_than_before(learn):
    _, pairs, first = learned(bent.learn_on_components)
    _, _, last = learned(learn, steps=300)
    x = (pairs.start - first.units[0]) / first.units[1]
    error = lambda l: jnp.mean(
        (bent._perceptron(l.networks["decoder"], l.encode(pairs.start)) - x) ** 2
    )
    assert error(last) < 0.5 < error(first)


@pytest.mark.slow
def test_turns_are_found_along_curves():
    angle, count, share = bent.measure("so2", 0, "together")
    assert angle < 5.0
    assert count == 1
    assert share > 0.9
