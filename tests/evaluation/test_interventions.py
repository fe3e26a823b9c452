import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.evaluation.interventions import beta_vae_score, factor_vae_score

SIZES = (3, 4, 5)
RANDOM = np.random.default_rng(0)


def grid(*sizes, copies=1):
    """Return every combination of the factors' values, equally often."""
    values = np.meshgrid(*(np.arange(n) for n in sizes), indexing="ij")
    return np.tile(np.stack([x.ravel() for x in values], axis=1), (copies, 1))


FACTORS = grid(*SIZES, copies=10)
PERFECT = FACTORS.astype(float)
RESCALED = PERFECT[:, [2, 0, 1]] * [-3.0, 0.02, 700.0] + [5.0, 0.0, -1.0]
NOISE = RANDOM.normal(size=(len(FACTORS), 4))


def rotated(factors):
    """Turn the plane of two centred factors by 45 degrees."""
    u, v = (factors - factors.mean(axis=0)).T
    return np.stack([u + v, u - v], axis=1) / np.sqrt(2.0)


def key(seed=0):
    return jax.random.key(seed)


FIXING = pytest.mark.parametrize("measure", [factor_vae_score, beta_vae_score])


@FIXING
@pytest.mark.parametrize("codes", [PERFECT, RESCALED], ids=["factors", "rescaled"])
def test_a_fixed_factor_is_seen_in_perfect_codes(measure, codes):
    assert measure(key(), codes, FACTORS) == 1.0


@FIXING
def test_the_scale_of_codes_does_not_matter(measure):
    codes = PERFECT + RANDOM.normal(size=PERFECT.shape)
    scores = [measure(key(), codes * s, FACTORS) for s in (1.0, [2.0**9, 1.0, 2.0**-9])]
    assert scores[0] == scores[1]
    assert 0.5 < scores[0] <= 1.0


@FIXING
def test_a_fixed_factor_is_not_seen_in_noise(measure):
    # Four standard errors of a share of 1/3 among 3,000.
    count = {factor_vae_score: "num_votes", beta_vae_score: "num_points"}[measure]
    score = measure(key(), RANDOM.normal(size=(6_000, 4)), grid(*SIZES, copies=100),
                    **{count: 3_000})  # fmt: skip
    assert score == pytest.approx(1 / 3, abs=0.035)


def test_one_code_can_name_one_factor_only():
    factors = grid(5, 5)
    codes = np.stack([factors[:, 0], np.full(25, 3.0)], axis=1).astype(float)
    assert factor_vae_score(key(), codes, factors, num_votes=100) == 0.5
    # The classifier sees more: whether the code differs between the two of a pair.
    assert beta_vae_score(key(), codes, factors, num_points=100) == 1.0


def test_codes_between_factors_name_neither():
    factors = grid(5, 5, copies=40)
    score = factor_vae_score(key(), rotated(factors), factors, num_votes=2_000)
    assert score == pytest.approx(0.5, abs=0.05)


@FIXING
def test_values_of_a_single_example_are_never_drawn(measure):
    # Were they drawn, every code would be constant in a batch of one, and none named.
    alone = 7 + np.arange(60).reshape(20, 3)
    factors = np.concatenate([FACTORS, alone])
    assert measure(key(), factors.astype(float), factors) == 1.0
    with pytest.raises(ValueError, match="factors must have values.*column 1"):
        measure(key(), NOISE[:6], np.stack([np.arange(6) % 2, np.arange(6)], axis=1))


def test_two_different_examples_are_drawn_where_there_are_but_two():
    factors = grid(4, 2)  # two examples for each value of the first
    codes = factors.astype(float)
    assert factor_vae_score(key(), codes, factors, batch_size=2) == 1.0
    assert beta_vae_score(key(), codes, factors, num_pairs=1) == 1.0


@FIXING
def test_a_key_decides(measure):
    few = {factor_vae_score: "num_votes", beta_vae_score: "num_points"}[measure]
    scores = [measure(key(i), NOISE, FACTORS, **{few: 60}) for i in (1, 1, 2, 3)]
    assert scores[0] == scores[1]
    assert len(set(scores)) > 1


@FIXING
def test_arrays_of_jax_are_the_same(measure):
    codes, factors = NOISE.astype(np.float32), FACTORS.astype(np.int32)
    found = measure(key(), jnp.asarray(codes), jnp.asarray(factors))
    assert found == measure(key(), codes, factors)


@FIXING
def test_one_factor_leaves_nothing_to_name(measure, unchecked):
    with pytest.raises(ValueError, match="factors must have at least 2 columns"):
        measure(key(), PERFECT, FACTORS[:, :1])
