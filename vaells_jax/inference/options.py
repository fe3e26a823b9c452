"""What the coefficient search is asked for, and what it answers."""

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
        converged: whether the search met its tolerance, shape [...].
        iterations: trial steps that the search took, shape [...].
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
            "lbfgs" (jaxopt's, as a peer; its own branches want `check_vma=False` under
            `jax.shard_map`).
        search: "local" follows the paper, from random starts near zero; "global"
            scores many starts and refines the few best; "planes" is exact, for
            operator m turning latents 2m and 2m + 1 alone (`Commuting` with `separate`
            and without `scaling`). Of other operators no pair converges.
        l1_weight: zeta of the objective's `zeta ||c||_1`.
        restarts: independent starts per pair, of which the best result is kept.
        initial_range: start r of the local search is drawn from
            `U(low + r * restart_shift, high + r * restart_shift)`, each coefficient.
        restart_shift: see `initial_range`.
        max_iterations: most trial steps of one local search.
        differentiable: give `coefficients` the derivative of the argmin by the implicit
            function theorem; else they are constants, as in the paper.
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
        """Refuse settings that have no meaning.

        Raises:
            ValueError: naming the field, what came and what is wanted.
        """
        between: Any = self.initial_range
        if isinstance(between, list | np.ndarray | jax.Array):
            between = tuple(between)
        if not isinstance(between, tuple) or len(between) != 2:
            raise ValueError(f"initial_range must be (low, high), got {between!r}")
        between = tuple(as_number("initial_range", x, -math.inf) for x in between)
        if between[0] > between[1]:
            raise ValueError(f"initial_range must have low <= high, got {between}")
        object.__setattr__(self, "initial_range", between)
        check_fields(self, signed=("restart_shift",))
        if self.search != "local" and self.solver != "gauss_newton":
            raise ValueError(
                f'search="{self.search}" goes with solver="gauss_newton", got '
                f"{self.solver!r}"
            )
