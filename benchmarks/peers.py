"""Other solvers of the same search, as yardsticks for the benchmark."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import expm, expm_frechet
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from benchmarks.problems import PairProblems
from vaells_jax.operators.transport import transport


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


# BLAS's threads only get in each other's way on matrices of this size.
@threadpool_limits.wrap(limits=1)
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
    found_all = np.asarray(coefficients)
    return found_all, objective(
        operators, problems.start, problems.end, found_all, l1_weight
    )


def lbfgs_of_optax(key, max_iterations: int = 50):
    """Return optax's L-BFGS as a search of whole batches: a modern general solver.

    It gets the scaled variables and the dense matrix exponential's exact gradient, one
    pair under `vmap`, in chunks, as one would write it without knowing the problem.
    """

    @jax.jit
    def search(operators, start, end):
        norms = jnp.sqrt(jnp.sum(operators**2, axis=(1, 2)))
        solver = optax.lbfgs(memory_size=5)

        def one_pair(pair):
            initial, start, end = pair

            def energy(u):
                gap = end - transport(operators, u / norms, start)
                return 0.5 * jnp.sum(gap**2) + 1e-6 * jnp.sum(jnp.abs(u / norms))

            value_and_gradient = optax.value_and_grad_from_state(energy)

            def step(carry):
                u, state, i, _ = carry
                value, gradient = value_and_gradient(u, state=state)
                updates, state = solver.update(
                    gradient, state, u, value=value, grad=gradient, value_fn=energy
                )
                return optax.apply_updates(u, updates), state, i + 1, gradient

            running = lambda carry: (
                (carry[2] < max_iterations) & (jnp.linalg.norm(carry[3]) > 1e-3)
            )
            carry = (initial, solver.init(initial), 0, jnp.full_like(initial, jnp.inf))
            return jax.lax.while_loop(running, step, carry)[0]

        shape = (len(start), len(norms))
        initial = jax.random.uniform(key, shape, start.dtype, -2.5, 0.0) * norms
        found = jax.lax.map(one_pair, (initial, start, end), batch_size=64)
        return found / norms

    return search
