"""New examples out of a few: walks from their latents that keep their class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.checks import (
    as_count,
    as_number,
    check_callable,
    check_integers,
    check_key,
    check_kind,
    check_labels,
)
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.operators.transport import transport
from vaells_jax.trained.base import Points, TrainedModel
from vaells_jax.trained.vaells import TrainedVaells

Labels = Int[Array | np.ndarray, " n"]

HALVINGS = 2
"""Times that a walk that leaves its class is halved before it is given up."""


def augment(
    run: TrainedModel,
    key: PRNGKeyArray,
    inputs: Points,
    labels: Labels,
    n: int,
    *,
    scale: float = 1.0,
    steps: int = 1,
    classify: Callable[[Array], Array | np.ndarray] | None = None,
) -> tuple[Float[Array, "m ..."], Int[Array, " m"]]:
    """Make new examples: random walks from the latents of given ones, decoded.

    The new examples start at the given ones in turn, so that all have equally many,
    give or take one. A VAELLS walks along its operators,
    `z <- expm(sum_m c_m Psi_m) z` (eq. 5 without its noise), with Laplace coefficients
    of the spread that its samples of the prior have (with `Model.point_spread`, the
    example's own). Another model goes to a sample of its posterior, along its own
    paths.

    Args:
        run: A trained model.
        key: Random key.
        inputs: Examples to start from.
        labels: Their classes, which the new examples get.
        n: Number of new examples.
        scale: Length of the walks in units of the model's own spread; 0 gives
            reconstructions.
        steps: Steps of a walk along operators, each shorter by the root of their
            number, so that walks of more steps bend more and lead about as far.
        classify: From decoded examples `[n, *x]` to their classes `[n]`. A walk whose
            end is of another class is halved, twice at most, and then given up for the
            reconstruction. None for walks of full length; these can be compiled.

    Returns:
        Decoded examples, and the label of each.

    Raises:
        ValueError: If an argument is not what is wanted; names it.
    """
    check_kind(run=(run, TrainedModel))
    check_key("key", key)
    check_integers(labels=labels)
    n, steps = as_count("n", n), as_count("steps", steps)
    scale = as_number("scale", scale)
    if classify is not None:
        check_callable(classify=classify)
    starts = run.encode(inputs)
    check_labels("labels", labels, len(starts))
    index = np.arange(n) % len(starts)
    labels = jnp.asarray(labels)[index]
    walk = _walks(run, key, inputs, starts, index, steps)
    found = run.decode(walk(scale))
    if classify is None:
        return found, labels
    for share in (*(0.5 ** np.arange(1, HALVINGS + 1)), 0.0):
        wrong = _classes(classify, found) != np.asarray(labels)
        if not wrong.any():
            break
        shorter = run.decode(walk(scale * share))
        found = jnp.where(wrong.reshape(-1, *(1,) * (found.ndim - 1)), shorter, found)
    return found, labels


def _classes(classify, found):
    classes = np.asarray(classify(found))
    if classes.shape != found.shape[:1]:
        raise ValueError(
            f"classify must return {len(found)} classes, one for each example; got "
            f"shape {list(classes.shape)}."
        )
    return classes


def _walks(run, key, inputs, starts, index, steps):
    """Return the ends of the walks as a function of their length."""
    if isinstance(run, TrainedVaells):
        unit = run.coefficient_scale
        if unit is None:
            unit = np.full(len(run.params.operators), 1.0 / run.weights.posterior_l1)
        shape = (len(index), steps, len(unit))
        coefficients = sample_laplace(key, shape, steps**0.5).astype(starts.dtype)
        coefficients = coefficients * jnp.asarray(unit, starts.dtype)[None, None]
        coefficients = coefficients * run.point_spread(starts)[index, None]
        return lambda scale: _along(
            run.params.operators, scale * coefficients, starts[index]
        )
    times = -(-len(index) // len(starts))  # samples of each example, in turns
    ends = run.sample_posterior(key, inputs, times)
    ends = ends.swapaxes(0, 1).reshape(-1, ends.shape[-1])[: len(index)]
    return lambda scale: run.join(starts[index], ends, np.array([scale]))[:, 0]


@jax.jit
def _along(operators, coefficients, starts):
    """Move each start by its coefficients, a step after the other."""

    def walk(coefficients, start):
        step = lambda z, c: (transport(operators, c, z), None)
        return jax.lax.scan(step, start, coefficients)[0]

    return jax.vmap(walk)(coefficients, starts)
