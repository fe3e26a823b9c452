"""The phase of each training step (Appendix B): pure functions of its number."""

import dataclasses
from typing import Literal

from vaells_jax.checks import check_fields
from vaells_jax.model.types import LossWeights

Phase = Literal["warm_up", "network", "operators", "joint"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The length of a run, and how its steps alternate.

    Attributes:
        steps: Steps of the whole run, warm-up included.
        warm_up_steps: First steps, on the reconstruction alone.
        network_steps: Steps on networks and anchors before the operators' turn; 0
            together with `operator_steps = 0` updates everything at once.
        operator_steps: Steps on the operators before the networks' next turn.
        network_prior_factor: Factor on the prior term in network steps.
        operator_reconstruction_factor: Factor on the reconstruction in operator steps.
    """

    steps: int
    warm_up_steps: int = 0
    network_steps: int = 20
    operator_steps: int = 60
    network_prior_factor: float = 1e-4
    operator_reconstruction_factor: float = 1e-4

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a count is no integer or negative, the warm-up longer than
                the run, or only one of the alternating counts zero.
        """
        check_fields(
            self, zero=("steps", "warm_up_steps", "network_steps", "operator_steps")
        )
        if self.warm_up_steps > self.steps:
            raise ValueError(
                f"warm_up_steps must be at most steps = {self.steps}; "
                f"got {self.warm_up_steps}."
            )
        if (self.network_steps == 0) != (self.operator_steps == 0):
            raise ValueError(
                "network_steps and operator_steps must both be positive, or both 0 to "
                f"update everything at once; got {self.network_steps} and "
                f"{self.operator_steps}."
            )


def phase_at(step: int, schedule: Schedule) -> Phase:
    """Name the phase of a step, counted from 0.

    After the warm-up, `network_steps` on networks and anchors come first, then
    `operator_steps` on the operators, and so on in turn.
    """
    if step < schedule.warm_up_steps:
        return "warm_up"
    if schedule.network_steps == 0:
        return "joint"
    turn = (step - schedule.warm_up_steps) % (
        schedule.network_steps + schedule.operator_steps
    )
    return "network" if turn < schedule.network_steps else "operators"


def phase_weights(
    phase: Phase, weights: LossWeights, schedule: Schedule
) -> LossWeights:
    """Vary the terms' weights as Appendix B does.

    Network steps weigh the prior less, operator steps the reconstruction.

    Note:
        The paper's tables call the second factor "weight on reconstruction term during
        network update steps"; its text and the authors' program apply it in operator
        steps.
    """
    if phase == "network":
        return dataclasses.replace(weights, prior_factor=schedule.network_prior_factor)
    if phase == "operators":
        return dataclasses.replace(
            weights, reconstruction_factor=schedule.operator_reconstruction_factor
        )
    return weights
