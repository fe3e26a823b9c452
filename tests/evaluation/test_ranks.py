import inspect

import numpy as np
import pytest
import scipy.stats

from vaells_jax.evaluation.ranks import spearman
from vaells_jax.evaluation.structure import rank_correlation


@pytest.mark.parametrize("levels", [3, 1000])
def test_scipys_correlation_with_and_without_ties(levels):
    generator = np.random.default_rng(levels)
    first, second = generator.integers(levels, size=(2, 60)).astype(float)
    second -= first
    expected = scipy.stats.spearmanr(first, second).statistic
    assert spearman(first, second) == pytest.approx(expected)
    assert rank_correlation(first, second) == pytest.approx(abs(expected))


def test_what_never_changes_correlates_with_nothing():
    assert spearman(np.arange(5.0), np.ones(5)) == 0.0


def test_lengths_that_differ(unchecked):
    with pytest.raises(ValueError, match=r"second must be.*\[3\].*\[4\]"):
        inspect.unwrap(spearman)(np.ones(3), np.ones(4))
