import collections

import pytest

from vaells_jax import LossWeights
from vaells_jax.training.schedule import Schedule, phase_at, phase_weights

ALTERNATING = Schedule(
    steps=200, warm_up_steps=30, network_steps=20, operator_steps=60,
    network_prior_factor=1e-4, operator_reconstruction_factor=1e-3,
)  # fmt: skip


def test_phases_alternate_after_the_warm_up():
    phases = [phase_at(step, ALTERNATING) for step in range(200)]
    assert phases[:30] == ["warm_up"] * 30
    assert phases[30:50] == ["network"] * 20
    assert phases[50:110] == ["operators"] * 60
    assert phases[110:130] == ["network"] * 20
    counts = collections.Counter(phases)
    assert counts == {"warm_up": 30, "network": 50, "operators": 120}


def test_everything_at_once():
    schedule = Schedule(steps=5, network_steps=0, operator_steps=0)
    assert {phase_at(step, schedule) for step in range(5)} == {"joint"}


def test_weights_of_each_phase():
    weights = LossWeights(reconstruction=0.3)
    network = phase_weights("network", weights, ALTERNATING)
    operators = phase_weights("operators", weights, ALTERNATING)
    assert (network.prior_factor, network.reconstruction_factor) == (1e-4, 1.0)
    assert (operators.prior_factor, operators.reconstruction_factor) == (1.0, 1e-3)
    assert phase_weights("joint", weights, ALTERNATING) == weights
    assert phase_weights("warm_up", weights, ALTERNATING) == weights


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": -1}, "steps.*-1"),
        ({"steps": 10, "warm_up_steps": 11}, "warm_up_steps.*10.*11"),
        ({"steps": 10, "network_steps": 0}, "network_steps and operator_steps"),
        ({"steps": 10, "network_prior_factor": float("nan")}, "network_prior_factor"),
    ],
)
def test_bad_schedules(options, match):
    with pytest.raises(ValueError, match=match):
        Schedule(**options)
