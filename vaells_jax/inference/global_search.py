"""The global search: score many starts for every pair, refine the few best.

A fixed bank of scaled coefficients `u_k` is spread over shells of growing length. Its
transports `T_k = expm(A(u_k))` are computed once per call, and every pair is scored
against all of them by one matrix product, since

    ||end - T_k start||^2 = ||end||^2 - 2 <T_k, end start'> + <T_k' T_k, start start'>.

The best member of every shell, and the paper's own start near zero, take a few trial
steps each; the best of those are refined to the end. The shells keep the candidates
apart, and among results of equal objective the shortest path is kept.

With one operator the reachable points are a curve, and a bank on a line is a scan of
that curve: its best point lies in the right valley, and one refinement polishes it. The
scan goes through the Taylor kernel and asks nothing of the operator's eigenvectors.
"""

from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vaells_jax.inference.batches import in_blocks, search_batch
from vaells_jax.inference.energy import Problem
from vaells_jax.operators.taylor import expm_action_jet

# Starts in the bank, starts of a scan, and the shells that the bank is spread over.
# Six shells instead of four cost half as much again and found nothing more.
BANK = 512
SCAN = 128
SHELLS = 4
# Scaled length of the longest start. The transports that training finds have generators
# of norm 2 in the median and 12 at the most; the outermost shell reaches half of that,
# and the refinement may go further.
LARGEST_START = 6.0
# A single operator is scanned further: a whole turn of a rotation generator of unit
# norm takes 2 pi sqrt(d / 2) or, with several frequencies, more. No frequency of it is
# above 1 / sqrt(2), so the objective's shortest period is 4.4: 14 points of the scan.
LONGEST_SCAN = 20.0
# Trial steps before the candidates are compared, and candidates that are refined. Six
# steps would cost two fifths more and improve one pair in two hundred.
FIRST_STEPS = 4
REFINED = 2
# First damping where a start already lies near its minimum.
POLISH_DAMPING = 0.01
# Objectives closer than this share of ||end||^2 count as equal: float32's rounding.
TIE = 1e-6
# Pairs at a time: their scores must fit in the second-level cache.
BLOCK = 1024


def make_bank(size: int, dtype) -> np.ndarray:
    """Return the bank's scaled coefficients, shape [K size], shortest first.

    Directions come from the Kronecker sequence of the generalised golden ratio, which
    fills the cube evenly for any number of points, through the normal quantile
    function; so the bank needs no random numbers and is the same in every call.
    """
    if size == 1:
        return np.linspace(-LONGEST_SCAN, LONGEST_SCAN, SCAN, dtype=dtype)[:, None]
    ratio = 2.0
    for _ in range(64):
        ratio = (1.0 + ratio) ** (1.0 / (size + 1))
    steps = ratio ** -np.arange(1.0, size + 1)
    points = (0.5 + np.arange(1, BANK + 1)[:, None] * steps) % 1.0
    quantile = np.vectorize(NormalDist().inv_cdf)
    directions = quantile(np.clip(points, 1e-6, 1 - 1e-6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = LARGEST_START * np.arange(1, BANK + 1)[:, None] / BANK
    return (directions * lengths).astype(dtype)


def score_bank(problem: Problem, bank: Float[Array, "K M"]) -> Float[Array, "B K"]:
    """Return the objective of every pair at every start, less `0.5 ||end||^2`."""
    size, dim = bank.shape[0], problem.start.shape[1]
    basis = jnp.repeat(jnp.eye(dim, dtype=bank.dtype), size, axis=1)
    columns = expm_action_jet(problem.operators, jnp.tile(bank.T, (1, dim)), basis)
    transports = columns.value.reshape(dim, dim, size)
    gram = jnp.einsum("ijk,ilk->jlk", transports, transports, precision="highest")
    weights = jnp.concatenate(
        [-transports.reshape(-1, size), 0.5 * gram.reshape(-1, size)]
    )
    start, end = problem.start, problem.end
    outer = lambda x, y: (x[:, :, None] * y[:, None]).reshape(len(x), -1)
    features = jnp.concatenate([outer(end, start), outer(start, start)], axis=1)
    scores = jnp.matmul(features, weights, precision="highest")
    scores = scores + jnp.sum(problem.l1_weights * jnp.abs(bank), axis=1)[None]
    return jnp.where(jnp.isfinite(scores), scores, jnp.inf)


def global_batch(
    problem: Problem,
    initial: Float[Array, "B R M"],
    searchable: Bool[Array, " B"],
    max_iterations: int,
) -> tuple[Array, ...]:
    """Search every pair from the bank's best starts and from its own ones.

    Args:
        problem: Operators and L1 weights, with start and end of shape [B d].
        initial: The paper's starts, scaled, shape [B R M].
        searchable: Pairs worth searching, shape [B].
        max_iterations: Most trial steps of one refinement.

    Returns:
        Scaled coefficients [B M], objectives [B], status codes [B], iterations [B].
    """
    bank = jnp.asarray(make_bank(initial.shape[-1], initial.dtype))
    search = _scan_and_polish if initial.shape[-1] == 1 else _score_and_refine

    def search_block(start, end, initial, searchable):
        block = problem._replace(start=start, end=end)
        return search(block, bank, initial, searchable, max_iterations)

    columns = (problem.start, problem.end, initial, searchable)
    return in_blocks(search_block, columns, BLOCK)


def _scan_and_polish(problem, bank, initial, searchable, max_iterations):
    """Polish the scan's lowest valley, and the nearest that might be as low."""
    del initial
    scores = score_bank(problem, bank)
    lowest = jnp.min(scores, axis=1, keepdims=True)
    # A minimum between two points of the scan may look this much worse than it is.
    spacing = 2 * LONGEST_SCAN / (SCAN - 1)
    blur = 0.5 * (0.5 * spacing) ** 2 * jnp.sum(problem.end**2, axis=1, keepdims=True)
    beside = jnp.pad(scores, [(0, 0), (1, 1)], constant_values=jnp.inf)
    valley = (scores <= beside[:, :-2]) & (scores <= beside[:, 2:])
    best = _shortest(bank, scores <= lowest)
    near = _shortest(bank, valley & (scores <= lowest + blur))
    different = jnp.any(near != best, axis=1)
    found = _search_candidates(
        problem,
        jnp.stack([best, near], axis=1),
        jnp.stack([searchable, searchable & different], axis=1),
        max_iterations,
        POLISH_DAMPING,
    )
    return _choose(problem, found)


def _shortest(bank, chosen):
    """Return each pair's shortest coefficient among the chosen points of the scan."""
    order = np.argsort(np.abs(np.linspace(-1, 1, SCAN)), kind="stable")
    rank = np.argsort(order)  # of every point by its length
    # The least rank is found several times faster than the place of a least length.
    first = jnp.min(jnp.where(chosen, rank[None], SCAN - 1), axis=1)
    return bank[order][first]


def _score_and_refine(problem, bank, initial, searchable, max_iterations):
    pairs = initial.shape[0]
    scores = score_bank(problem, bank)
    edges = np.linspace(0, BANK, SHELLS + 1).astype(int)
    shells = [
        low + jnp.argmin(scores[:, low:high], axis=1)
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    starts = jnp.concatenate([initial, bank[jnp.stack(shells, axis=1)]], axis=1)
    first = _search_candidates(problem, starts, searchable, FIRST_STEPS)
    order = _least(first[1], REFINED)
    rows = jnp.arange(pairs)[:, None]
    u, energy, status, iterations = _search_candidates(
        problem, first[0][rows, order], searchable, max_iterations
    )
    spent = iterations + first[3][rows, order]
    return _choose(problem, (u, energy, status, spent))


def _least(energy, count):
    """Return the places of each pair's least energies; a few beat a sort of all."""
    places = []
    for _ in range(count):
        places.append(jnp.argmin(energy, axis=1))
        taken = jnp.arange(energy.shape[1])[None] == places[-1][:, None]
        energy = jnp.where(taken, jnp.inf, energy)
    return jnp.stack(places, axis=1)


def _choose(problem, found):
    """Keep every pair's best candidate, and among equals the shortest path."""
    u, energy, status, iterations = found
    best = jnp.min(energy, axis=1, keepdims=True)
    tie = TIE * jnp.sum(problem.end * problem.end, axis=1, keepdims=True)
    length = jnp.where(energy <= best + tie, jnp.sum(jnp.abs(u), axis=2), jnp.inf)
    chosen = jnp.argmin(length, axis=1)
    rows = jnp.arange(energy.shape[0])
    return tuple(x[rows, chosen] for x in (u, energy, status, iterations))


def _search_candidates(problem, starts, searchable, max_iterations, damping=None):
    """Run the local search from every searchable candidate of every pair, [B R M]."""
    pairs, count, size = starts.shape
    each = lambda x: jnp.repeat(x, count, axis=0)
    searched = jnp.broadcast_to(searchable.reshape(pairs, -1), (pairs, count))
    candidates = problem._replace(start=each(problem.start), end=each(problem.end))
    found = search_batch(
        candidates, starts.reshape(-1, size), searched.ravel(), max_iterations, damping
    )
    u, energy, *rest = (x.reshape(pairs, count, *x.shape[1:]) for x in found)
    return u, jnp.where(jnp.isfinite(energy), energy, jnp.inf), *rest
