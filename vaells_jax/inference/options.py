"""The options and the result of the coefficient search."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vaells_jax.checks import as_number, check_fields

Solver = Literal["gauss_newton", "lbfgs"]
Search = Literal["local", "global", "planes"]


class CoefficientFit(NamedTuple):
    """The best coefficients found for every pair, and how the search ended.

    Attributes:
        coefficients: c*, shape [..., M].
        objective: `0.5 ||end - transport(start)||^2 + l1_weight ||c||_1` at c*, shape
            [...]; the largest finite number where no finite objective exists.
        converged: Whether the search met its tolerance, shape [...].
        iterations: Trial steps that the search took, shape [...].
    """

    coefficients: Float[Array, "*pairs M"]
    objective: Float[Array, "*pairs"]
    converged: Bool[Array, "*pairs"]
    iterations: Int[Array, "*pairs"]


@dataclass(frozen=True)
class InferenceOptions:
    """Settings of `infer_coefficients`; hashable, so static under `jit`.

    Attributes:
        solver: "gauss_newton" (damped Gauss-Newton with a curvature correction) or
            "lbfgs" (jaxopt's, for comparison; it needs `check_vma=False` under
            `jax.shard_map`).
        search: "local" follows the paper, from random starts near zero; "global"
            scores many starts and refines the best few; "planes" is exact, if operator
            m turns latents 2m and 2m + 1 alone, or operators 2k and 2k + 1 of M = d
            scale and turn latents 2k and 2k + 1 (`Commuting` with `separate`). With
            other operators no pair converges.
        l1_weight: zeta of the objective's `zeta ||c||_1`.
        restarts: Independent starts per pair; the best result is kept.
        initial_range: Start r of the local search is drawn from
            `U(low + r * restart_shift, high + r * restart_shift)` per coefficient.
        restart_shift: See `initial_range`.
        max_iterations: Maximum number of trial steps of one local search.
        differentiable: Whether `coefficients` have the derivative of the argmin, by the
            implicit function theorem; otherwise they are constants, as in the paper.
    """

    solver: Solver = "gauss_newton"
    search: Search = "local"
    l1_weight: float = 1e-6
    restarts: int = 1
    initial_range: tuple[float, float] = (-2.5, 0.0)
    restart_shift: float = 2.5
    max_iterations: int = 50
    differentiable: bool = False

    def __post_init__(self):
        """Check the settings.

        Raises:
            ValueError: If one is invalid; names the field.
        """
        between: Any = self.initial_range
        if isinstance(between, list | np.ndarray | jax.Array):
            between = tuple(between)
        if not isinstance(between, tuple) or len(between) != 2:
            raise ValueError(f"initial_range must be (low, high); got {between!r}.")
        between = tuple(as_number("initial_range", x, -math.inf) for x in between)
        if between[0] > between[1]:
            raise ValueError(f"initial_range must have low <= high; got {between}.")
        object.__setattr__(self, "initial_range", between)
        check_fields(self, signed=("restart_shift",))
        if self.search != "local" and self.solver != "gauss_newton":
            raise ValueError(
                f'search="{self.search}" needs solver="gauss_newton"; got '
                f"{self.solver!r}."
            )
