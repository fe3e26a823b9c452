import dataclasses
import math
from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import InferenceOptions, LossWeights, Model, OptimizerOptions, Schedule
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.checks import (
    as_count,
    as_number,
    check_fields,
    check_finite,
    check_shapes,
)
from vaells_jax.evaluation.classifier import ClassifierOptions
from vaells_jax.evaluation.importance import ImportanceOptions
from vaells_jax.runs.config import DataConfig, EvaluationConfig, LogConfig, ModelConfig

SCALARS = {
    int: (np.int32, np.uint64, np.array, jnp.asarray),
    float: (np.float32, np.float64, np.array, jnp.asarray),
    bool: (np.bool_, np.array, jnp.asarray),
}


@dataclasses.dataclass(frozen=True)
class Everything:
    count: int = 3
    least: int = 0
    number: float = 0.5
    shift: float = -1.0
    switch: bool = True
    word: Literal["a", "b"] = "a"
    maybe: float | None = None
    group: Schedule = Schedule(3)

    def __post_init__(self):
        check_fields(self, zero=("least",), positive=("maybe",), signed=("shift",))


OPTIONS = [
    Everything(), InferenceOptions(), LossWeights(), OptimizerOptions(), Schedule(9),
    BaselineOptions(), Likelihood(), ClassifierOptions(), ImportanceOptions(1.0, 2.0),
    DataConfig(), ModelConfig(), LogConfig(), EvaluationConfig(),
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda x: type(x).__name__)
def test_scalars_of_numpy_and_jax_become_pythons(options, unchecked):
    tried = 0
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        for make in SCALARS.get(type(value), ()):
            found = dataclasses.replace(options, **{field.name: make(value)})
            kept = getattr(found, field.name)
            assert type(kept) is type(value)
            assert kept == pytest.approx(value, rel=1e-2)
            if make(value).dtype == np.asarray(value).dtype:
                assert kept == value
                assert hash(found) == hash(options)
            tried += 1
    assert tried


def test_a_model_of_jax_scalars_can_be_hashed(tiny_model, unchecked):
    found = dataclasses.replace(
        tiny_model, num_samples=jnp.asarray(3), closest_anchor=np.True_
    )
    assert isinstance(found, Model)
    assert found == tiny_model
    assert hash(found) == hash(tiny_model)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", True), ("count", np.True_), ("count", jnp.asarray(True)),
        ("count", 0), ("count", 2.0), ("count", jnp.asarray(2.0)), ("count", "2"),
        ("count", np.array([2])), ("least", -1), ("number", -0.5), ("number", True),
        ("number", math.nan), ("number", jnp.asarray(math.inf)), ("number", 10**400),
        ("number", 1j), ("number", "1"), ("number", None), ("shift", math.nan),
        ("switch", 1), ("switch", None), ("switch", "yes"), ("word", "c"),
        ("word", None), ("word", 1), ("maybe", 0.0), ("group", 3), ("group", None),
    ],
)  # fmt: skip
def test_other_values_are_refused_by_the_fields_name(field, value, unchecked):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Everything(**{field: value})


def test_traced_numbers_are_refused_in_words(unchecked):
    for field in ("count", "number", "switch"):
        with pytest.raises(ValueError, match=f"{field} must be known.*outside of jit"):
            jax.jit(lambda x: Everything(**{field: x}).least)(1)  # noqa: B023


def test_counts_and_numbers():
    assert as_count("n", np.int64(3)) == as_count("n", jnp.asarray(3)) == 3
    assert as_number("x", Fraction(1, 4)) == 0.25
    assert as_number("x", -3, -math.inf) == -3
    assert as_number("x", np.float64(0.1)) == 0.1


def test_shapes_that_only_broadcast_do_not_fit():
    check_shapes(a=(np.ones((3, 2)), "n d"), b=([[1.0, 2.0]], "k d"))
    wrong = [((1, 2), (3, 2)), ((3, 1), (3, 2)), ((3,), (3, 2)), ((0, 2), (0, 2))]
    for first, second in wrong:
        with pytest.raises(ValueError, match="must be numbers of shape"):
            check_shapes(a=(np.ones(first), "n d"), b=(np.ones(second), "n d"))
    with pytest.raises(
        ValueError, match=r"b must be.*\[n, d\].*a \[3, 2\], b \[1, 2\]"
    ):
        check_shapes(a=(np.ones((3, 2)), "n d"), b=(np.ones((1, 2)), "n d"))
    for value in (None, "ab", np.array(["a"])):
        with pytest.raises(ValueError, match="a must be numbers of shape"):
            check_shapes(a=(value, "n"))


def test_constants_inside_jit_are_looked_at():
    good, bad = jnp.ones((2, 3)), jnp.full((2, 3), 7.0)
    look = lambda x, images: check_finite("images", images, unit=True) or 2 * x
    assert jax.jit(lambda x: look(x, good))(1.0) == 2.0
    with pytest.raises(ValueError, match=r"images with values in \[0, 1\]; got 7 to 7"):
        jax.jit(lambda x: look(x, bad))(1.0)
