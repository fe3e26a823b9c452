"""The prior p(z): paths from the anchors of a class to z (eqs. 7 and 12).

Each function treats one example and its `N` anchors. Densities
that are maxima leave out the constant `C_2`, which the posterior has too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vaells_jax.checks import check_numbers
from vaells_jax.model.integrals import log_component
from vaells_jax.model.types import Density


def log_prior(components: Float[Array, " N"]) -> Float[Array, ""]:
    """Average the anchors' densities, eq. 7: `log 1/N sum_i exp(components_i)`.

    Args:
        components: log q(z|a_i) of each anchor, in nats (`anchor_components`).

    Returns:
        log p(z), finite however far `z` is from every anchor.

    Raises:
        ValueError: If there is no anchor.
    """
    _check_anchors(components)
    return jax.nn.logsumexp(components) - jnp.log(
        jnp.asarray(components.size, components.dtype)
    )


def log_prior_closest(components: Float[Array, " N"]) -> Float[Array, ""]:
    """Return the density of the closest anchor alone, eq. 12: `log q(z|a*)`.

    The closest is the one with the smallest `zeta_4 ||.||^2 + zeta_5 ||c*||_1`, that
    is, with the largest density.

    Raises:
        ValueError: If there is no anchor.
    """
    _check_anchors(components)
    return jnp.max(components)


def anchor_components(
    z: Float[Array, " d"],
    anchor_means: Float[Array, "N d"],
    operators: Float[Array, "M d d"],
    coefficients: Float[Array, "N M"],
    *,
    residual_weight: float,
    l1_weight: float,
    density: Density = "max",
) -> Float[Array, " N"]:
    """Return log q(z|a_i) for each anchor, in nats.

    Args:
        z: The point whose density is asked.
        anchor_means: `f(a_i)`.
        operators: The dictionary Psi.
        coefficients: Inferred coefficients of the path from each anchor.
        residual_weight: zeta_4.
        l1_weight: zeta_5.
        density: The integral over coefficients, or its largest term, at each anchor's
            own inferred ones and without its constant.

    Returns:
        One log-density for each anchor.
    """
    component = lambda mean, c: log_component(
        operators,
        mean,
        z,
        c,
        residual_weight=residual_weight,
        l1_weight=l1_weight,
        density=density,
    )
    return jax.vmap(component)(anchor_means, coefficients)


def closest_anchor(
    objective: Float[Array, " N"],
    coefficients: Float[Array, "N M"],
    *,
    search_l1_weight: float,
    residual_weight: float,
    l1_weight: float,
) -> Int[Array, ""]:
    """Choose `a*` of eq. 12 from what the searches report, without any transport.

    Args:
        objective: `1/2 ||z - T(c_i) f(a_i)||^2 + zeta_p ||c_i||_1` of each search.
        coefficients: The searches' results.
        search_l1_weight: zeta_p, to take the search's own L1 term out again.
        residual_weight: zeta_4.
        l1_weight: zeta_5.

    Returns:
        Index of the anchor with the least `1/2 zeta_4 ||.||^2 + zeta_5 ||c||_1`.
    """
    length = jnp.sum(jnp.abs(coefficients), axis=-1)
    half_squared = objective - search_l1_weight * length
    return jnp.argmin(residual_weight * half_squared + l1_weight * length)


def _check_anchors(components):
    check_numbers(components=components)
    if components.ndim != 1 or components.size == 0:
        raise ValueError(
            "components must have shape [N] with at least one anchor; "
            f"got {list(components.shape)}."
        )
