"""Disentanglement measures: how well single codes represent single factors.

Nothing here knows what a model is made of. Codes come as an array `[N, d]`, a row for
each example, and the true factors of variation as an array `[N, K]`. Integers are the
values of discrete factors, floating-point numbers those of continuous ones. A single
code is to stand for each factor, so that gaps close when codes are rotated.
`interventions.py` asks the same of examples that share a factor's value, `symmetry.py`
asks for planes instead.
"""

from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Integer, Num, PRNGKeyArray

from vaells_jax.checks import (
    as_count,
    as_number,
    check_finite,
    check_integers,
    check_key,
    check_shapes,
)

Codes = Float[Array | np.ndarray, "N d"]
Discrete = Integer[Array | np.ndarray, "N K"]
Factors = Num[Array | np.ndarray, "N K"]


class DciScore(NamedTuple):
    """Disentanglement, completeness and informativeness, each 1 at best.

    Attributes:
        disentanglement: How far each code is used for one factor only, from 0 to 1.
        completeness: How far one code suffices for each factor, from 0 to 1.
        informativeness: Held-out accuracy of discrete factors, R^2 of continuous ones,
            averaged over factors; the paper's own figure is an error.
        importance: Of each code for each factor; a column's sum is 1, or 0 where the
            forest found nothing to split on.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "d K"]


def mutual_information_gap(codes: Codes, factors: Discrete, *, bins: int = 20) -> float:
    """Return MIG: how much more one code reveals of each factor than any other.

    Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational
    Autoencoders", 2018, eq. 6: with the mutual information I in nats, the mean over
    factors v of `(I(z_1; v) - I(z_2; v)) / H(v)`, z_1 and z_2 being the two codes that
    reveal most of v.

    Args:
        codes: At least two.
        factors: Discrete.
        bins: Of equal width, from the least to the greatest value of each code.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: If arrays do not fit together, codes are not finite, there is one
            code only, or a factor has one value only.

    Note:
        The paper integrates over the encoder's density; here, as in Locatello et al.,
        "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
        Representations", 2019, I is that of the table of counts, biased upwards by
        about `(bins - 1) (values - 1) / (2 N)` where code and factor are independent.
    """
    z, v = discrete_arguments(codes, factors)
    bins = as_count("bins", bins, 2)
    low, span = z.min(axis=0), np.ptp(z, axis=0)
    binned = (z - low) / np.where(span > 0, span, 1.0) * bins
    binned = np.minimum(binned.astype(int), bins - 1)
    known = [[_mutual_information(a, b) for b in v.T] for a in binned.T]
    return _top_gap(np.array(known) / [_entropy(b) for b in v.T])


def sap(codes: Codes, factors: Factors) -> float:
    """Return SAP: by how much one code predicts each factor better than any other.

    Kumar, Sattigeri and Balakrishnan, "Variational Inference of Disentangled Latent
    Concepts from Unlabeled Observations", 2018, separated attribute predictability:
    the score of each pair of code and factor, then the mean over factors of the gap
    between the two best codes. A continuous factor's score is the R^2 of its regression
    line on the code. A discrete factor's is a balanced accuracy, the mean over values
    of the share of its examples that are named correctly, by thresholds fitted to the
    same examples: one fewer than there are values, which cut the code into intervals
    of one value each. The best thresholds are found exactly.

    Args:
        codes: At least two.
        factors: Integers are discrete, floating-point numbers continuous.

    Returns:
        From 0 to 1; for a discrete factor of V values at most 1 - 1/V, for thresholds
        on any code score 1/V or more.

    Raises:
        ValueError: If arrays do not fit together or are not finite, there is one code
            only, or a factor has one value only.
    """
    z, v, discrete = _either(codes, factors)
    score = _threshold_accuracies if discrete else _squared_correlations
    return _top_gap(np.stack([score(z, column) for column in v.T], axis=1))


def dci(
    key: PRNGKeyArray,
    codes: Codes,
    factors: Factors,
    *,
    num_trees: int = 100,
    test_share: float = 0.25,
) -> DciScore:
    """Return DCI: disentanglement, completeness and informativeness.

    Eastwood and Williams, "A Framework for the Quantitative Evaluation of Disentangled
    Representations", 2018, Section 2. With the importance `R[i, j]` of code i for
    factor j, disentanglement is the mean over codes, weighted by the sums of their
    rows, of `1 - H(row) / log K`; completeness the mean over factors of
    `1 - H(column) / log d`, where H is the entropy of a row or column over its sum.

    Importance is that of scikit-learn's random forests, a classifier for discrete
    factors and a regressor for continuous ones: the decrease of impurity. Every split
    considers all codes and trees are grown in full.

    Args:
        key: Splits the examples and seeds the forests.
        codes: At least two.
        factors: At least two; integers are discrete, floating-point numbers continuous.
        num_trees: Of each forest.
        test_share: Share of the examples that informativeness is measured on and
            forests are not grown on; at least two examples.

    Raises:
        ValueError: If arrays do not fit together or are not finite, there is one code
            or factor only, a factor has one value only, or a part has fewer than two
            examples.
        ImportError: Without scikit-learn.

    Note:
        The paper chooses the depth of trees by cross-validation. A factor that no code
        helps to predict counts as 0 in completeness.
    """
    check_key("key", key)
    z, v, discrete = _either(codes, factors, least_factors=2)
    num_trees = as_count("num_trees", num_trees)
    num_tests = round(as_number("test_share", test_share, strict=True) * len(z))
    if not 2 <= num_tests <= len(z) - 2:
        raise ValueError(
            f"test_share must leave at least 2 of {len(z)} examples in each part; got "
            f"{test_share}."
        )
    ensemble, _ = scikit_learn()
    kind = "RandomForestClassifier" if discrete else "RandomForestRegressor"
    generator = generator_of(key)
    test, train = np.split(generator.permutation(len(z)), [num_tests])
    importance, scores = [], []
    for column in v.T:
        forest = getattr(ensemble, kind)(
            num_trees, max_features=None, random_state=int(generator.integers(2**31))
        ).fit(z[train], column[train])
        importance.append(forest.feature_importances_)
        scores.append(forest.score(z[test], column[test]))
    table = np.stack(importance, axis=1)
    total = table.sum()
    shares = table.sum(axis=1) / total if total > 0 else np.zeros(len(table))
    return DciScore(
        float(shares @ _concentration(table)),
        float(np.mean(_concentration(table.T))),
        float(np.mean(scores)),
        table,
    )


def discrete_arguments(
    codes: Codes, factors: Discrete, *, least_codes: int = 2, least_factors: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return checked codes and the factors' values, numbered from 0."""
    check_integers(factors=factors)
    z, v, _ = _either(
        codes, factors, least_codes=least_codes, least_factors=least_factors
    )
    return z, v


def _either(codes, factors, *, least_codes=2, least_factors=1):
    """Return checked codes, factors, and whether these are discrete."""
    check_finite("codes", codes)
    kind = getattr(getattr(factors, "dtype", None), "kind", "f")
    if kind not in "iuf":
        raise ValueError(
            "factors must hold integers or floating-point numbers; got "
            f"{factors.dtype}."
        )
    discrete = kind in "iu"
    if not discrete:
        check_finite("factors", factors)
    check_shapes(codes=(codes, "N d"), factors=(factors, "N K"))
    z, v = np.asarray(codes, float), np.asarray(factors)
    for name, x, least in (("codes", z, least_codes), ("factors", v, least_factors)):
        if x.shape[1] < least:
            raise ValueError(
                f"{name} must have at least {least} columns; got {x.shape[1]}."
            )
    for k, column in enumerate(v.T):
        if column.min() == column.max():
            raise ValueError(
                f"factors must take at least 2 values each; column {k} is {column[0]} "
                "throughout."
            )
    if not discrete:
        return z, v.astype(float), False
    return z, np.stack([np.unique(c, return_inverse=True)[1] for c in v.T], 1), True


def _entropy(values):
    """Return the entropy of non-negative integers' frequencies, in nats."""
    counts = np.bincount(values)
    shares = counts[counts > 0] / len(values)
    return float(-np.sum(shares * np.log(shares)))


def _mutual_information(a, b):
    return _entropy(a) + _entropy(b) - _entropy(a * (b.max() + 1) + b)


def _top_gap(scores):
    """Return the best minus the second-best score of each factor, averaged."""
    second, first = np.sort(scores, axis=0)[-2:]
    return float(np.mean(first - second))


def _concentration(table):
    """Return 1 minus each row's entropy over its largest value; 0 for rows of zeros."""
    sums = table.sum(axis=1, keepdims=True)
    shares = table / np.where(sums > 0, sums, 1.0)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropies = -np.sum(shares * logs, axis=1) / np.log(table.shape[1])
    return np.where(sums[:, 0] > 0, 1.0 - entropies, 0.0)


def _squared_correlations(z, column):
    """Return R^2 of a factor's regression line on each code; 0 where it is constant."""
    z, column = z - z.mean(axis=0), column - column.mean()
    sizes = np.sum(z**2, axis=0) * np.sum(column**2)
    return (column @ z) ** 2 / np.where(sizes > 0, sizes, 1.0)


def _threshold_accuracies(z, column):
    """Return the best balanced accuracy that thresholds on each code can have.

    Rows are passed in the order of each code. `best[i, m, c]` is the accuracy so far on
    code i, with m thresholds behind and c the value that the present interval names.
    """
    codes, values = np.arange(z.shape[1]), int(column.max()) + 1
    order = np.argsort(z, axis=0, kind="stable")
    ranked = np.take_along_axis(z, order, axis=0)
    tied = np.diff(ranked, axis=0, prepend=ranked[:1]) == 0
    gain = 1.0 / (values * np.bincount(column))
    best = np.full((len(codes), values, values), -np.inf)
    best[:, 0] = 0.0
    for rows, stay in zip(order, tied, strict=True):
        cut = np.where(stay[:, None], -np.inf, best[:, :-1].max(axis=2))
        best[:, 1:] = np.maximum(best[:, 1:], cut[:, :, None])
        best[codes, :, column[rows]] += gain[column[rows]][:, None]
    return best.max(axis=(1, 2))


def generator_of(key: PRNGKeyArray) -> np.random.Generator:
    """Return NumPy's generator that a key decides."""
    return np.random.default_rng(int(jax.random.bits(key)))


def scikit_learn() -> tuple[ModuleType, ModuleType]:
    """Import scikit-learn's ensembles and linear models where they are needed."""
    try:
        from sklearn import ensemble, linear_model
    except ImportError as error:
        raise ImportError(
            "dci and beta_vae_score need scikit-learn: pip install "
            "'vaells_jax[experiments]'"
        ) from error
    return ensemble, linear_model
