import builtins
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaells_jax.evaluation.disentanglement import dci, mutual_information_gap, sap

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


def rows_of(table):
    """Return codes and factors whose counts are a table's, `[code, factor]`."""
    pairs = np.argwhere(table)
    rows = np.repeat(pairs, table[tuple(pairs.T)], axis=0)
    return rows[:, 0].astype(float), rows[:, 1]


def information(table):
    """Return the mutual information of a table of counts, in nats."""
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    independent = np.outer(rows, columns) / table.sum()
    return scipy.stats.entropy(table.ravel(), independent.ravel())


# The mutual information gap.


@pytest.mark.parametrize("codes", [PERFECT, RESCALED], ids=["factors", "rescaled"])
def test_perfect_codes_have_a_whole_gap(codes):
    assert mutual_information_gap(codes, FACTORS) == pytest.approx(1.0)


def test_the_gap_of_a_small_table_is_the_difference_of_its_informations():
    first = np.array([[9, 1, 2], [0, 7, 3], [1, 2, 5]])
    # The same examples in another order: a second code with the same factor.
    code, factor = rows_of(first)
    other = np.where(factor == 0, RANDOM.permutation(len(factor)) % 2, 1.0)
    second = np.zeros((2, 3), int)
    np.add.at(second, (other.astype(int), factor), 1)
    gap = abs(information(first) - information(second))
    expected = gap / scipy.stats.entropy(first.sum(axis=0))
    codes = np.stack([code, other], axis=1)
    found = mutual_information_gap(codes, factor[:, None])
    assert found == pytest.approx(expected)
    swapped = mutual_information_gap(codes[:, ::-1], factor[:, None])
    assert swapped == pytest.approx(expected)


def test_equal_codes_have_no_gap():
    codes = np.repeat(PERFECT, 2, axis=1)
    assert mutual_information_gap(codes, FACTORS) == 0.0
    assert sap(codes, FACTORS) == 0.0
    assert sap(codes, PERFECT) == 0.0


def test_codes_between_factors_have_no_gap_though_they_are_informed():
    factors = grid(5, 5)
    codes = rotated(factors)
    assert mutual_information_gap(codes, factors) == pytest.approx(0.0, abs=1e-9)
    # Beside a constant, the gap is the information itself. The sum of two fair dice of
    # five faces is triangular, and knows H(sum) - H(sum | face) = H(sum) - log 5.
    alone = np.stack([codes[:, 0], np.ones(25)], axis=1)
    entropy = scipy.stats.entropy([1, 2, 3, 4, 5, 4, 3, 2, 1])
    expected = (entropy - np.log(5)) / np.log(5)
    assert mutual_information_gap(alone, factors) == pytest.approx(expected)


def test_two_bins_keep_one_bit_of_two():
    factors = np.tile(np.arange(4), 5)[:, None]
    codes = np.concatenate([factors, np.zeros((20, 1))], axis=1)
    assert mutual_information_gap(codes, factors, bins=2) == pytest.approx(0.5)
    assert mutual_information_gap(codes, factors, bins=4) == pytest.approx(1.0)


def test_noise_knows_little():
    assert mutual_information_gap(NOISE, FACTORS) < 0.03


# SAP.


@pytest.mark.parametrize("codes", [PERFECT, RESCALED], ids=["factors", "rescaled"])
def test_perfect_codes_are_as_separate_as_guessing_allows(codes):
    expected = np.mean([1 - 1 / n for n in SIZES])
    assert sap(codes, FACTORS) == pytest.approx(expected)
    assert sap(codes, PERFECT) == pytest.approx(1.0)


def test_a_line_explains_what_scipys_regression_says():
    codes, factors = RANDOM.normal(size=(2, 30, 2))
    expected = np.array(
        [[scipy.stats.linregress(c, f).rvalue ** 2 for f in factors.T] for c in codes.T]
    )
    gap = np.mean(np.abs(expected[0] - expected[1]))
    assert sap(codes, factors) == pytest.approx(gap)
    beside = np.stack([codes[:, 0], np.ones(30)], axis=1)
    assert sap(beside, factors) == pytest.approx(np.mean(expected[0]))


def best_by_trial(code, labels):
    """Try every pair of thresholds, and every naming of the three intervals."""
    cuts = np.concatenate([[-np.inf], np.unique(code)])
    best = 0.0
    for low, high in itertools.combinations_with_replacement(cuts, 2):
        place = (code > low).astype(int) + (code > high)
        for names in itertools.product(range(3), repeat=3):
            right = np.array(names)[place] == labels
            best = max(best, np.mean([right[labels == c].mean() for c in range(3)]))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_no_thresholds_do_better(seed):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), random.integers(3, size=9)])
    code = random.integers(8, size=12).astype(float)  # some of them equal
    codes = np.stack([code, np.ones(12)], axis=1)
    expected = best_by_trial(code, labels) - 1 / 3
    assert sap(codes, labels[:, None]) == pytest.approx(expected)


def test_codes_between_factors_are_not_separate():
    factors = grid(5, 5)
    assert sap(rotated(factors), factors) == pytest.approx(0.0)
    assert sap(rotated(factors), factors.astype(float)) == pytest.approx(0.0)


def test_noise_is_not_separate():
    assert sap(NOISE, FACTORS) < 0.06
    assert sap(NOISE, PERFECT) < 0.03


# DCI.


@pytest.mark.parametrize("codes", [PERFECT, RESCALED], ids=["factors", "rescaled"])
def test_perfect_codes_have_an_importance_of_one_each(codes):
    score = dci(key(), codes, FACTORS)
    order = [0, 1, 2] if codes is PERFECT else [2, 0, 1]
    np.testing.assert_allclose(score.importance, np.eye(3)[order], atol=1e-12)
    np.testing.assert_allclose(score[:3], 1.0, atol=1e-12)


def test_continuous_factors_are_regressed():
    factors = RANDOM.uniform(size=(400, 2))
    score = dci(key(), factors, factors, num_trees=20)
    assert min(score[:3]) > 0.97


def test_entropies_of_the_importance_are_scipys():
    codes = np.concatenate([rotated(FACTORS[:, 1:]), PERFECT[:, :1]], axis=1)
    codes[:, 2] += 0.5 * NOISE[:, 0]
    score = dci(key(), codes, FACTORS, num_trees=20)
    table = score.importance
    np.testing.assert_allclose(table.sum(axis=0), 1.0)
    weights = table.sum(axis=1) / table.sum()
    rows = 1 - scipy.stats.entropy(table, base=3, axis=1)
    columns = 1 - scipy.stats.entropy(table, base=3, axis=0)
    assert score.disentanglement == pytest.approx(weights @ rows)
    assert score.completeness == pytest.approx(columns.mean())
    assert score.completeness < 0.8


def test_codes_between_factors_are_informed_but_not_disentangled():
    factors = grid(5, 5, copies=20)
    score = dci(key(), rotated(factors), factors, num_trees=20)
    assert max(score[:2]) < 0.05
    assert score.informativeness == 1.0


def test_forests_find_nothing_in_noise():
    score = dci(key(), NOISE, FACTORS, num_trees=50)
    assert max(score[:2]) < 0.02
    assert score.informativeness == pytest.approx(np.mean(1 / np.array(SIZES)), abs=0.1)


def test_constant_codes_are_worth_nothing():
    score = dci(key(), np.ones((60, 2)), FACTORS[:60], num_trees=2)
    assert score[:2] == (0.0, 0.0)
    assert not score.importance.any()


# What comes in.


def test_arrays_of_jax_are_the_same():
    codes = RANDOM.normal(size=(60, 3)).astype(np.float32)
    factors = FACTORS[:60].astype(np.int32)
    both = jnp.asarray(codes), jnp.asarray(factors)
    assert mutual_information_gap(*both) == mutual_information_gap(codes, factors)
    assert sap(*both) == sap(codes, factors)


def test_what_takes_scikit_learn_says_how_to_get_it(monkeypatch):
    load = builtins.__import__

    def missing(name, *more):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return load(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"scikit-learn.*vaells_jax\[experiments"):
        dci(key(), PERFECT, FACTORS)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (FACTORS > 1, "factors must hold integers or floating-point numbers; got bool"),
        (PERFECT * np.nan, "factors must be finite"),
        (FACTORS[:-1], r"factors must be numbers.*N, K.*\[600, 3\].*\[599, 3\]"),
        (0 * FACTORS + 2, "at least 2 values each; column 0 is 2 throughout"),
    ],
)
def test_factors_that_say_nothing(factors, message, unchecked):
    with pytest.raises(ValueError, match=message):
        sap(PERFECT, factors)


def test_a_gap_takes_two_codes(unchecked):
    for measure in (mutual_information_gap, sap):
        with pytest.raises(ValueError, match="codes must have at least 2 columns"):
            measure(PERFECT[:, :1], FACTORS)
    with pytest.raises(ValueError, match="factors must have at least 2 columns"):
        dci(key(), PERFECT, FACTORS[:, :1])


def test_a_split_leaves_two_examples_in_each_part(unchecked):
    for share in (0.001, 0.999, 2.0):
        with pytest.raises(ValueError, match="test_share must leave at least 2 of 600"):
            dci(key(), PERFECT, FACTORS, test_share=share)
