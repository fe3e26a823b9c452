"""Descriptions of operators in readable numbers: planes, commutators, closure."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from vaells_jax.checks import as_number, check_numbers, check_shapes


class Plane(NamedTuple):
    """A real invariant subspace of one operator: a plane, or a line.

    Attributes:
        growth: Real part of its eigenvalue, per unit of the coefficient.
        frequency: Imaginary part, radians per unit; 0 of a line.
        energy: Share of the latents' energy that lies in it.
    """

    growth: float
    frequency: float
    energy: float


class OperatorDescription(NamedTuple):
    """A description of a dictionary of operators.

    Attributes:
        norms: Frobenius norm of each.
        planes: Of each operator, the most energy first.
        frequency_ratios: Frequencies of each operator's planes that hold a hundredth of
            the energy or more, over that of the plane with most of it.
        commutators: `|[A, B]| / (2 |A| |B|)` of each pair: 0 where they commute.
        closure: Share of each bracket's norm outside the span of all operators: 0 where
            they are a Lie algebra; NaN where a bracket is zero to rounding.
        order_swap: Root mean square of `exp(A) exp(B) z - exp(B) exp(A) z` over that of
            z, each operator at `reach` radians or e-folds.
    """

    norms: Float[np.ndarray, " M"]
    planes: list[list[Plane]]
    frequency_ratios: list[list[float]]
    commutators: Float[np.ndarray, "M M"]
    closure: Float[np.ndarray, "M M"]
    order_swap: Float[np.ndarray, "M M"]


def describe_operators(
    operators: Float[Array | np.ndarray, "M d d"],
    latents: Float[Array | np.ndarray, "n d"],
    *,
    reach: float = 0.5,
) -> OperatorDescription:
    """Describe operators by what they do to latents.

    Args:
        operators: The dictionary Psi.
        latents: Points that they act on.
        reach: Size of the largest eigenvalue of the generators that `order_swap`
            composes.

    Returns:
        The description; an operator of zeros has planes without growth or frequency.

    Raises:
        ValueError: If shapes disagree, there are no latents, or numbers are not finite.
    """
    check_numbers(operators=operators, latents=latents)
    check_shapes(operators=(operators, "M d d"), latents=(latents, "n d"))
    reach = as_number("reach", reach, strict=True)
    Psi, z = np.asarray(operators, float), np.asarray(latents, float)
    if not (
        len(Psi) and len(z) and np.all(np.isfinite(Psi)) and np.all(np.isfinite(z))
    ):
        raise ValueError(
            "operators, latents: there must be some of both, and finite; got shapes "
            f"{list(Psi.shape)} and {list(z.shape)}."
        )
    norms = np.linalg.norm(Psi, axis=(1, 2))
    planes = [_planes(A, z) for A in Psi]
    brackets = np.einsum("aij,bjk->abik", Psi, Psi)
    brackets = brackets - brackets.swapaxes(0, 1)
    sizes = np.linalg.norm(brackets, axis=(2, 3))
    products = 2.0 * np.outer(norms, norms)
    commutators = np.divide(
        sizes, products, out=np.zeros_like(sizes), where=products > 0
    )
    return OperatorDescription(
        norms=norms,
        planes=planes,
        frequency_ratios=[_ratios(found) for found in planes],
        commutators=commutators,
        closure=_closure(Psi, brackets, sizes, commutators),
        order_swap=_order_swap(Psi, z, reach),
    )


def _planes(A, z):
    """Return an operator's planes and lines, by energy."""
    values, vectors = np.linalg.eig(A)
    # Defective operators have parallel eigenvectors, which share what is between them.
    parts = np.linalg.lstsq(vectors, z.T.astype(complex), rcond=1e-10)[0]
    found, energies = [], []
    for k, value in enumerate(values):
        if value.imag < 0:
            continue  # the conjugate of one that counts
        part = np.outer(vectors[:, k], parts[k])
        real = part.real if value.imag == 0 else 2.0 * part.real
        found.append((float(value.real), float(value.imag)))
        energies.append(np.sum(real**2))
    shares = np.array(energies) / max(np.sum(energies), np.finfo(float).tiny)
    order = np.argsort(-shares, kind="stable")
    return [Plane(found[k][0], found[k][1], float(shares[k])) for k in order]


def _ratios(planes):
    """Return frequencies over that of the plane with the most energy."""
    turning = [p.frequency for p in planes if p.frequency > 0 and p.energy >= 0.01]
    return [frequency / turning[0] for frequency in turning]


def _closure(Psi, brackets, sizes, commutators):
    """Return the share of each bracket outside the operators' span."""
    from scipy.linalg import orth

    count = len(Psi)
    span = orth(Psi.reshape(count, -1).T)
    flat = brackets.reshape(count, count, -1)
    outside = np.linalg.norm(flat - flat @ span @ span.T, axis=-1)
    rounding = commutators <= 1e-6  # operators are often of single precision
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rounding, np.nan, outside / sizes)


def _order_swap(Psi, z, reach):
    """Return how far apart two orders of two transports end."""
    from scipy.linalg import expm

    radii = np.max(np.abs(np.linalg.eigvals(Psi)), axis=1)
    scale = np.divide(reach, radii, out=np.zeros_like(radii), where=radii > 0)
    moves = [expm(s * A) for s, A in zip(scale, Psi, strict=True)]
    size = max(np.sqrt(np.mean(z**2)), np.finfo(float).tiny)
    apart = lambda a, b: np.sqrt(np.mean(((a @ b - b @ a) @ z.T) ** 2)) / size
    return np.array([[apart(a, b) for b in moves] for a in moves])


def as_record(found: OperatorDescription) -> dict[str, Any]:
    """Return a description as lists and numbers, for `results.json`."""
    matrix = lambda x: [[None if np.isnan(v) else float(v) for v in row] for row in x]
    return {
        "norms": found.norms.tolist(),
        "planes": [[p._asdict() for p in planes] for planes in found.planes],
        "frequency_ratios": found.frequency_ratios,
        "commutators": matrix(found.commutators),
        "closure": matrix(found.closure),
        "order_swap": matrix(found.order_swap),
    }
