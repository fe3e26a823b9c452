"""`infer_coefficients`: the coefficient search for any leading axes."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaells_jax.checks import check_key, check_kind, check_numbers
from vaells_jax.inference.batches import search_batch
from vaells_jax.inference.devices import (
    compiler_options,
    equal_shares,
    in_threads,
    is_traced,
    spread,
    usable_cores,
    usable_devices,
)
from vaells_jax.inference.energy import Problem, operator_norms
from vaells_jax.inference.gauss_newton import CONVERGED, STALLED
from vaells_jax.inference.global_search import global_batch
from vaells_jax.inference.implicit import attach_derivative
from vaells_jax.inference.lbfgs import lbfgs_batch
from vaells_jax.inference.options import CoefficientFit, InferenceOptions
from vaells_jax.inference.planes import plane_batch


def infer_coefficients(
    key: Key[Array, ""],
    operators: Float[Array, "M d d"],
    start: Float[Array, "*start_axes d"],
    end: Float[Array, "*end_axes d"],
    *,
    options: InferenceOptions = InferenceOptions(),  # noqa: B008 (immutable)
) -> CoefficientFit:
    """Find the coefficients that transport each start closest to its end.

    Solves, for every pair of points, the search inside eqs. 5 and 7:
    `c* = argmin_c 0.5 ||end - expm(A(c)) start||^2 + l1_weight ||c||_1`.

    Args:
        key: Randomness of the starting coefficients.
        operators: Transport operators Psi, shape [M d d].
        start: Points to transport, shape [... d].
        end: Points to reach, shape [... d]; leading axes broadcast with those of start.
        options: Solver and its settings.

    Returns:
        The best fit of every pair, with the leading axes of start and end together.

    Raises:
        ValueError: If a shape disagrees with the others, or an argument is not of its
            kind.

    Note:
        The fit is a constant for differentiation, as in the paper, unless
        `options.differentiable` gives its coefficients (alone) a derivative. Pairs
        that start at zero, or hold numbers that are not finite, return
        `converged=False`, zero coefficients and an objective that is finite (the
        largest finite number where none can be computed). The authors search with
        nonlinear conjugate gradients.
    """
    check_key("key", key)
    check_numbers(operators=operators, start=start, end=end)
    check_kind(options=(options, InferenceOptions))
    _check_shapes(operators, start, end)
    count, size = operators.shape[:2]
    if options.search == "planes" and 2 * count > size and (count != size or size % 2):
        raise ValueError(
            "operators must turn a plane of latents each, or scale and turn every "
            f"plane, for search='planes'; got {count} of size {size}."
        )
    leading = jnp.broadcast_shapes(jnp.shape(start)[:-1], jnp.shape(end)[:-1])
    pairs, problem = math.prod(leading), (key, operators, start, end)
    threads = usable_cores(pairs, *problem)
    if threads > 1:
        operators, shares = _shared(*problem, options, threads)
        search = _compiled(_search_share, (4,), traced=False)
        search.lower(operators, *shares[0], options).compile()
        fits = in_threads(lambda *share: search(operators, *share, options), shares)
        return _joined(fits, leading)
    infer = _compiled(_infer, (4, 5), traced=is_traced(*problem))
    return infer(*problem, options, usable_devices(pairs, *problem))


@functools.cache
def _compiled(function, static: tuple[int, ...], *, traced: bool):
    """Return the jitted search; JAX takes compiler options in outermost calls only."""
    return jax.jit(
        function,
        static_argnums=static,
        compiler_options=None if traced else compiler_options(),
    )


def _infer(key, operators, start, end, options, devices) -> CoefficientFit:
    operators, initial, start, end, leading = _flat(key, operators, start, end, options)
    if start.shape[0] == 0:
        return _empty_fit(leading, operators.shape[0], start.dtype)
    search = _batching_search(options)
    search = spread(search, devices) if devices else search
    still = jax.lax.stop_gradient
    fit = search(still(operators), initial, still(start), still(end))
    if options.differentiable:
        fit = _with_derivative(fit, operators, start, end, options)
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), fit)


def _flat(key, operators, start, end, options):
    """Draw starting coefficients; one axis for all pairs, B, and the original axes."""
    dtype = jnp.result_type(operators, start, end)
    operators, start, end = (jnp.asarray(x, dtype) for x in (operators, start, end))
    leading = jnp.broadcast_shapes(start.shape[:-1], end.shape[:-1])
    count, size = math.prod(leading), operators.shape[0]
    start, end = (
        jnp.broadcast_to(x, (*leading, x.shape[-1])).reshape(count, x.shape[-1])
        for x in (start, end)
    )
    initial = _draw_starts(key, options, (*leading, size), dtype)
    initial = initial.reshape(options.restarts, count, size)
    return operators, initial, start, end, leading


@functools.partial(jax.jit, static_argnums=(4, 5))
def _shared(key, operators, start, end, options, count):
    """Return the operators, and initial, start and end of `count` equal shares."""
    operators, *columns, _ = _flat(key, operators, start, end, options)
    initial, start, end = equal_shares(count, *columns)
    shares = zip(
        jnp.split(initial, count, 1), jnp.split(start, count), jnp.split(end, count),
        strict=True,
    )  # fmt: skip
    return operators, list(shares)


def _search_share(operators, initial, start, end, options) -> CoefficientFit:
    return _batching_search(options)(operators, initial, start, end)


@functools.partial(jax.jit, static_argnums=1)
def _joined(fits, leading):
    """Concatenate the pairs of all shares, and restore their leading axes."""
    pairs = math.prod(leading)
    join = lambda *parts: jnp.concatenate(parts)[:pairs].reshape(
        *leading, *parts[0].shape[1:]
    )
    return jax.tree.map(join, *fits)


def _empty_fit(leading, size, dtype) -> CoefficientFit:
    return CoefficientFit(
        coefficients=jnp.zeros((*leading, size), dtype),
        objective=jnp.zeros(leading, dtype),
        converged=jnp.zeros(leading, bool),
        iterations=jnp.zeros(leading, int),
    )


def _with_derivative(fit, operators, start, end, options) -> CoefficientFit:
    """Give the coefficients of converged pairs the derivative of the argmin."""
    converged = fit.converged[:, None]
    # Other pairs may hold anything; ones keep their unused derivatives finite.
    start, end = (jnp.where(converged, x, 1.0) for x in (start, end))
    attach = jax.vmap(attach_derivative, in_axes=(0, None, 0, 0, None))
    moving = attach(fit.coefficients, operators, start, end, options.l1_weight)
    return fit._replace(coefficients=jnp.where(converged, moving, fit.coefficients))


def _draw_starts(key, options, shape, dtype) -> Array:
    """Draw start r uniformly from the initial range moved up by r shifts."""
    low, high = options.initial_range
    uniform = jax.random.uniform(
        key, (options.restarts, *shape), dtype, minval=low, maxval=high
    )
    shift = options.restart_shift * jnp.arange(options.restarts, dtype=dtype)
    return uniform + shift.reshape(-1, *(1 for _ in shape))


def _batching_search(options: InferenceOptions):
    """Return the search with its own batching rule: `vmap` lengthens the batch axis.

    Left to itself `vmap` would run every chunk of every example to the slowest of them,
    with the kernel's layout lost. Only operators that differ between the examples need
    searches of their own; those run one after the other.
    """

    @jax.custom_batching.custom_vmap
    def search(operators, initial, start, end):
        # The kernels keep the batch last and broadcast against it from the left, which
        # a user's strict setting would refuse.
        with jax.numpy_rank_promotion("allow"):
            return _search(operators, initial, start, end, options)

    @search.def_vmap
    def search_examples(examples, in_batched, operators, initial, start, end):
        columns = [
            x if batched else jnp.broadcast_to(x, (examples, *x.shape))
            for x, batched in zip((initial, start, end), in_batched[1:], strict=True)
        ]
        if in_batched[0]:
            fit = jax.lax.map(lambda a: search(*a), (operators, *columns))
            return fit, jax.tree.map(lambda _: True, fit)
        restarts, pairs, size = columns[0].shape[1:]
        initial = jnp.moveaxis(columns[0], 0, 1).reshape(restarts, -1, size)
        flat = lambda x: x.reshape(-1, x.shape[-1])
        fit = search(operators, initial, flat(columns[1]), flat(columns[2]))
        unflat = lambda x: x.reshape(examples, pairs, *x.shape[1:])
        fit = jax.tree.map(unflat, fit)
        return fit, jax.tree.map(lambda _: True, fit)

    return search


def _search(operators, initial, start, end, options) -> CoefficientFit:
    """Search from every start and keep each pair's best result."""
    restarts, pairs, _ = initial.shape
    norms = operator_norms(operators)
    operators_usable = jnp.all(jnp.isfinite(operators)) & jnp.any(operators != 0)
    searchable = (
        jnp.all(jnp.isfinite(start) & jnp.isfinite(end), axis=-1)
        & jnp.any(start != 0, axis=-1)
        & operators_usable
    )
    unit = jnp.where(operators_usable, operators / norms[:, None, None], 0.0)
    clean = lambda x: jnp.where(searchable[:, None], x, 0.0)
    problem = Problem(unit, options.l1_weight / norms, clean(start), clean(end))
    scaled = initial * norms[None, None, :]
    solve = _SOLVE[options.search]
    u, energy, status, iterations = solve(problem, scaled, searchable, options)
    found = jnp.isfinite(energy)
    still = 0.5 * jnp.sum((end - start) ** 2, axis=-1)
    worst = jnp.finfo(energy.dtype).max
    still = jnp.where(jnp.isfinite(still), still, worst)
    return CoefficientFit(
        coefficients=jnp.where(found[:, None], u / norms[None, :], 0.0),
        objective=jnp.where(found, energy, still),
        converged=found & (status == CONVERGED),
        iterations=jnp.where(found, iterations, 0),
    )


def _solve_from_starts(problem, initial, searchable, options):
    """Search from every start, [R B M], and keep each pair's best result."""
    restarts, pairs, _ = initial.shape
    tile = lambda x: jnp.tile(x, (restarts,) + (1,) * (x.ndim - 1))
    solve = search_batch if options.solver == "gauss_newton" else lbfgs_batch
    found = solve(
        problem._replace(start=tile(problem.start), end=tile(problem.end)),
        initial.reshape(restarts * pairs, -1),
        tile(searchable),
        options.max_iterations,
    )
    found = tuple(x.reshape(restarts, pairs, *x.shape[1:]) for x in found)
    energy = jnp.where(jnp.isfinite(found[1]), found[1], jnp.inf)
    best = jnp.argmin(energy, axis=0)
    return tuple(x[best, jnp.arange(pairs)] for x in (found[0], energy, *found[2:]))


def _solve_globally(problem, initial, searchable, options):
    initial = jnp.moveaxis(initial, 0, 1)
    return global_batch(problem, initial, searchable, options.max_iterations)


def _solve_planes(problem, initial, searchable, options):
    u, energy = plane_batch(problem)
    energy = jnp.where(searchable, energy, jnp.nan)
    status = jnp.where(searchable, CONVERGED, STALLED)
    return u, energy, status, jnp.zeros(searchable.shape, int)


_SOLVE = {
    "local": _solve_from_starts, "global": _solve_globally, "planes": _solve_planes,
}  # fmt: skip


def _check_shapes(operators, start, end):
    shape = jnp.shape(operators)
    if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
        raise ValueError(f"operators must have shape [M d d]; got {shape}.")
    for name, points in (("start", start), ("end", end)):
        if jnp.ndim(points) < 1 or jnp.shape(points)[-1] != shape[-1]:
            raise ValueError(
                f"{name} must have shape [... {shape[-1]}] for operators {shape}; "
                f"got {jnp.shape(points)}."
            )
    try:
        jnp.broadcast_shapes(jnp.shape(start)[:-1], jnp.shape(end)[:-1])
    except ValueError as error:
        raise ValueError(
            "the leading axes of start and end must broadcast together; got "
            f"{jnp.shape(start)} and {jnp.shape(end)}."
        ) from error
