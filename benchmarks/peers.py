"""Other people's ways of solving the same search: the yardsticks of the benchmark."""

import numpy as np
from scipy.linalg import expm, expm_frechet
from scipy.optimize import minimize

from benchmarks.problems import PairProblems


def objective(operators, start, end, coefficients, l1_weight=1e-6) -> np.ndarray:
    """Evaluate `0.5 ||end - expm(A) start||^2 + l1_weight ||c||_1` in float64, [B]."""
    values = []
    operators, start, end, coefficients = (
        np.asarray(x, np.float64) for x in (operators, start, end, coefficients)
    )
    for block in range(0, len(start), 4096):
        part = slice(block, block + 4096)
        A = np.einsum("bm,mij->bij", coefficients[part], operators)
        gap = np.einsum("bij,bj->bi", expm(A), start[part]) - end[part]
        l1 = np.abs(coefficients[part]).sum(axis=1)
        values.append(0.5 * (gap**2).sum(axis=1) + l1_weight * l1)
    return np.concatenate(values)


def conjugate_gradients(
    problems: PairProblems, rng: np.random.Generator, l1_weight=1e-6
) -> tuple[np.ndarray, np.ndarray]:
    """Search as the authors do: SciPy's conjugate gradients, one pair after another.

    Float64, one start in U(-2.5, 0), at most 50 iterations. The gradient is exact: the
    derivative of the matrix exponential in the direction that the residual asks for.

    Returns:
        Coefficients [B M] and objectives [B].
    """
    operators = problems.operators
    coefficients = []
    for start, end in zip(problems.start, problems.end, strict=True):

        def value_and_gradient(c, start=start, end=end):
            A = np.tensordot(c, operators, 1)
            gap = expm(A) @ start - end
            sensitivity = expm_frechet(A.T, np.outer(gap, start), compute_expm=False)
            gradient = np.tensordot(operators, sensitivity, 2)
            value = 0.5 * gap @ gap + l1_weight * np.abs(c).sum()
            return value, gradient + l1_weight * np.sign(c)

        initial = rng.uniform(-2.5, 0.0, size=len(operators))
        found = minimize(
            value_and_gradient, initial, jac=True, method="CG", options={"maxiter": 50}
        )
        coefficients.append(found.x)
    coefficients = np.asarray(coefficients)
    reached = objective(
        operators, problems.start, problems.end, coefficients, l1_weight
    )
    return coefficients, reached
