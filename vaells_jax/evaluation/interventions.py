"""Measures of disentanglement by intervention: which factor is held fixed?

Examples that share the value of one factor stand for an intervention. Codes `[N, d]`
and discrete factors `[N, K]` are those of `disentanglement.py`.
"""

import numpy as np
from jaxtyping import PRNGKeyArray

from vaells_jax.checks import as_count, check_key
from vaells_jax.evaluation.disentanglement import (
    Codes,
    Discrete,
    discrete_arguments,
    generator_of,
    scikit_learn,
)


def factor_vae_score(
    key: PRNGKeyArray,
    codes: Codes,
    factors: Discrete,
    *,
    num_votes: int = 800,
    batch_size: int = 64,
) -> float:
    """Return FactorVAE's metric: which factor is fixed, by the code that varies least.

    Kim and Mnih, "Disentangling by Factorising", 2018, Section 4. A vote is a batch of
    examples that share the value of one factor; it names the code of the least
    variance, all codes in units of their standard deviation over all examples. A code
    stands for the factor that most votes for it were cast under. The metric is the
    share of as many fresh votes that this rule gets right.

    Args:
        key: Draws the votes.
        codes: One that never varies is left out.
        factors: At least two.
        num_votes: To find the rule, and as many to test it, each factor being fixed
            equally often. Its value is drawn uniformly.
        batch_size: Different examples in a batch, or all that share the value where
            there are fewer. A value of a single example is never drawn: nothing
            varies there.

    Returns:
        1 at best; 1/K for uninformative codes.

    Raises:
        ValueError: If arrays do not fit together, codes are not finite or none varies,
            there is one factor only, or a factor has one value only or no value that
            two examples share.
    """
    check_key("key", key)
    z, v = discrete_arguments(codes, factors, least_codes=1, least_factors=2)
    z, groups = _standardised(z), _groups(v)
    num_votes = as_count("num_votes", num_votes, len(groups))
    batch_size = as_count("batch_size", batch_size, 2)
    generator = generator_of(key)

    def vote(fixed):
        values = groups[fixed]
        rows = values[generator.integers(len(values))]
        size = min(batch_size, len(rows))
        return np.argmin(z[generator.choice(rows, size, replace=False)].var(axis=0))

    fixed = np.arange(num_votes) % len(groups)
    counts = np.zeros((z.shape[1], len(groups)))
    np.add.at(counts, ([vote(k) for k in fixed], fixed), 1)
    rule = np.argmax(counts, axis=1)
    return float(np.mean(rule[[vote(k) for k in fixed]] == fixed))


def beta_vae_score(
    key: PRNGKeyArray,
    codes: Codes,
    factors: Discrete,
    *,
    num_points: int = 2_000,
    num_pairs: int = 64,
) -> float:
    """Return beta-VAE's metric: which factor is fixed, by a linear classifier.

    Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained
    Variational Framework", 2017, Section 3. A point is the mean of `|z - z'|` over
    pairs of examples that share the value of one factor, which is drawn again for
    each pair. The classifier is scikit-learn's multinomial logistic regression
    with its default penalty, |w|^2 / 2; the metric its accuracy on fresh points.

    Args:
        key: Draws the pairs.
        codes: One that never varies is left out.
        factors: At least two.
        num_points: To fit the classifier, and as many to test it, each factor being
            fixed equally often.
        num_pairs: Of each point; the two examples differ, the value is drawn
            uniformly. A value of a single example is never drawn.

    Returns:
        1 at best; 1/K for uninformative codes.

    Raises:
        ValueError: If arrays do not fit together, codes are not finite or none varies,
            there is one factor only, or a factor has one value only or no value that
            two examples share.
        ImportError: Without scikit-learn.

    Note:
        Codes are in units of their standard deviation, which the paper leaves as they
        are, so that the penalty does not depend on their scale.
    """
    check_key("key", key)
    z, v = discrete_arguments(codes, factors, least_codes=1, least_factors=2)
    z, groups = _standardised(z), _groups(v)
    num_points = as_count("num_points", num_points, len(groups))
    num_pairs = as_count("num_pairs", num_pairs)
    _, linear_model = scikit_learn()
    generator = generator_of(key)
    fixed = np.arange(num_points) % len(groups)

    def points():
        found = np.empty((num_points, z.shape[1]))
        for k, values in enumerate(groups):
            count = np.count_nonzero(fixed == k)
            first, second = _pairs(generator, values, (count, num_pairs))
            found[fixed == k] = np.abs(z[first] - z[second]).mean(axis=1)
        return found

    model = linear_model.LogisticRegression(max_iter=10_000).fit(points(), fixed)
    return float(model.score(points(), fixed))


def _standardised(z):
    """Return the codes that vary, in units of their standard deviation."""
    z = z[:, np.ptp(z, axis=0) > 0]
    if not z.size:
        raise ValueError("codes must vary; each column has the same number throughout.")
    return z / z.std(axis=0)


def _groups(v):
    """Return, by factor and value, the rows that share it, where two or more do."""
    groups = []
    for k, column in enumerate(v.T):
        order = np.argsort(column, kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(column))[:-1])
        groups.append([some for some in rows if len(some) > 1])
        if not groups[-1]:
            raise ValueError(
                "factors must have values that at least 2 examples share; column "
                f"{k} has a different value in each of {len(v)} rows."
            )
    return groups


def _pairs(generator, values, shape):
    """Draw two different rows that share a value, as often as `shape` says."""
    rows, sizes = np.concatenate(values), np.array([len(some) for some in values])
    drawn = generator.integers(len(sizes), size=shape)
    size, start = sizes[drawn], (np.cumsum(sizes) - sizes)[drawn]
    first = generator.integers(size)
    second = (first + generator.integers(1, size)) % size
    return rows[start + first], rows[start + second]
