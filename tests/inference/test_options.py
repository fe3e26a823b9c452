"""Options refuse what has no meaning."""

import pytest

from vaells_jax.inference import InferenceOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("solver", "newton"),
        ("search", "everywhere"),
        ("l1_weight", -1.0),
        ("l1_weight", float("nan")),
        ("restarts", 0),
        ("restarts", 1.5),
        ("max_iterations", 0),
        ("initial_range", (1.0, 0.0)),
        ("initial_range", (0.0, float("inf"))),
        ("initial_range", (0.0,)),
        ("restart_shift", float("inf")),
        ("differentiable", "yes"),
    ],
)
def test_meaningless_settings_are_refused_by_name(field, value, unchecked):
    with pytest.raises(ValueError, match=field):
        InferenceOptions(**{field: value})


def test_the_global_search_has_one_solver():
    with pytest.raises(ValueError, match="solver"):
        InferenceOptions(solver="lbfgs", search="global")


def test_options_are_hashable_and_comparable():
    assert hash(InferenceOptions()) == hash(InferenceOptions())
    assert InferenceOptions(restarts=2) != InferenceOptions()
