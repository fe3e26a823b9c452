"""The lane iteration over a whole batch: chunks, rounds and compaction.

On a CPU the batch is cut into chunks of a few dozen lanes, small enough that the
iteration's whole state stays in the first-level cache and that XLA compiles the loop
over trial steps into a single function. A chunk runs until its slowest lane is done, so
the work is given out in rounds of a few trial steps; between rounds the unfinished
lanes are moved together, ordered by the size of their generators (the number of Taylor
terms is a chunk's, not a lane's). Chunks of finished lanes then cost nothing.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vaells_jax.inference.energy import Problem
from vaells_jax.inference.gauss_newton import RUNNING, Lanes, iterate, start_lanes
from vaells_jax.loops import as_varying

# XLA's CPU compiler turns a loop into one function if the loop's state is small (the
# limit lies between 12.8 and 13.4 kB); above it every operation is launched on its own,
# at two to four times the cost. Chunks are as wide as this allows, in powers of two.
SMALL_LOOP_BYTES = 12_800
NARROWEST_CHUNK, WIDEST_CHUNK = 16, 256
# Where even the narrowest chunk is over the limit, launches are best shared by many.
LAUNCHED_CHUNK = 64
# Pairs searched at a time; bounds the memory of the largest batches.
BLOCK = 16384
# Trial steps before the first compaction, and the factor by which rounds lengthen: the
# lanes that are left finish less and less often.
FIRST_ROUND = 4
ROUND_GROWTH = 1.5


def lanes_per_chunk(pairs: int, operators: Float[Array, "M d d"]) -> int:
    """Return the chunk width: everything at once except on a CPU."""
    if jax.default_backend() != "cpu":
        return max(pairs, 1)
    count, dim, _ = operators.shape
    # The series' loop holds the generator, and a point and M tangents twice over.
    lane_bytes = operators.dtype.itemsize * (dim * dim + 2 * dim * (1 + count))
    width = WIDEST_CHUNK
    while width * lane_bytes > SMALL_LOOP_BYTES and width >= NARROWEST_CHUNK:
        width //= 2
    width = width if width >= NARROWEST_CHUNK else LAUNCHED_CHUNK
    return min(width, max(pairs, 1))


def search_batch(
    problem: Problem,
    initial: Float[Array, "B M"],
    searchable: Bool[Array, " B"],
    max_iterations: int,
    damping: float | None = None,
) -> tuple[Array, ...]:
    """Minimise every pair's objective from its start.

    Args:
        problem: Operators and L1 weights, with start and end of shape [B d].
        initial: Scaled coefficients to start from, shape [B M].
        searchable: Pairs worth searching, shape [B].
        max_iterations: Most trial steps of a pair.
        damping: lambda to begin with; None for one that suits any start.

    Returns:
        Scaled coefficients [B M], objectives [B], status codes [B], iterations [B].
    """

    def search_block(initial, start, end, searchable):
        block = problem._replace(start=start, end=end)
        return _search_block(block, initial, searchable, max_iterations, damping)

    columns = (initial, problem.start, problem.end, searchable)
    return in_blocks(search_block, columns, BLOCK)


def in_blocks(search, columns: tuple[Array, ...], size: int) -> tuple[Array, ...]:
    """Apply a search of [size ...] columns to longer ones, one block after another."""
    pairs = columns[0].shape[0]
    blocks = tuple(_split(column, min(size, pairs)) for column in columns)
    found = jax.lax.map(lambda block: search(*block), blocks)
    return tuple(_join(column, pairs) for column in found)


def _split(column: Array, size: int) -> Array:
    """Cut [B ...] into [blocks size ...], zeros (not searchable) filling the last."""
    blocks = math.ceil(column.shape[0] / size)
    missing = blocks * size - column.shape[0]
    padded = jnp.pad(column, [(0, missing)] + [(0, 0)] * (column.ndim - 1))
    return padded.reshape(blocks, size, *column.shape[1:])


def _join(column: Array, pairs: int) -> Array:
    return column.reshape(-1, *column.shape[2:])[:pairs]


def _search_block(problem, initial, searchable, max_iterations, damping):
    pairs = initial.shape[0]
    width = lanes_per_chunk(pairs, problem.operators)
    chunked = lambda column: jnp.moveaxis(_split(column, width), 1, -1)
    start, end, u, usable = map(
        chunked, (problem.start, problem.end, initial, searchable)
    )
    chunk = lambda start, end: problem._replace(start=start, end=end)
    lanes = jax.lax.map(
        lambda a: start_lanes(chunk(a[0], a[1]), a[2], a[3], damping),
        (start, end, u, usable),
    )
    place = jnp.arange(lanes.energy.size).reshape(lanes.energy.shape)

    def unfinished(carry):
        return jnp.any(carry[0].status == RUNNING)

    def one_round(carry):
        *columns, steps = carry
        lanes, start, end, place = _compact(tuple(columns))
        lanes = jax.lax.map(
            lambda a: iterate(
                chunk(a[1], a[2]), a[0], steps.astype(int), max_iterations
            ),
            (lanes, start, end),
        )
        return lanes, start, end, place, steps * ROUND_GROWTH

    first = as_varying((lanes, start, end, place), lanes, problem)
    lanes, _, _, place, _ = jax.lax.while_loop(
        unfinished, one_round, (*first, jnp.float32(FIRST_ROUND))
    )
    index = jnp.arange(place.size, dtype=jnp.int32)
    order = jnp.zeros_like(index).at[place.ravel()].set(index, unique_indices=True)
    flat = lambda x: jnp.moveaxis(x, -1, 1).reshape(order.size, *x.shape[1:-1])
    results = (lanes.u, lanes.energy, lanes.status, lanes.iterations)
    return tuple(flat(x)[order[:pairs]] for x in results)


def _compact(carry: tuple[Lanes, Array, Array, Array]):
    """Order lanes by the size of their generators, the finished ones last."""
    lanes = carry[0]
    size = jnp.sum(lanes.u * lanes.u, axis=1)
    order = _rough_order(jnp.where(lanes.status == RUNNING, size, jnp.inf).ravel())
    leaves, structure = jax.tree.flatten(carry)
    rows = [jnp.moveaxis(x, -1, 1).reshape(order.size, -1) for x in leaves]
    moved = []
    for kind in (jnp.floating, jnp.integer):
        chosen = [i for i, x in enumerate(rows) if jnp.issubdtype(x.dtype, kind)]
        # One gather of whole rows instead of one for every field.
        packed = jnp.concatenate([rows[i] for i in chosen], axis=1)[order]
        ends = list(_running_sum(rows[i].shape[1] for i in chosen))
        parts = jnp.split(packed, ends[:-1], axis=1)
        moved += list(zip(chosen, parts, strict=True))
    restored = [
        jnp.moveaxis(_to_chunks(part, leaves[i]), 1, -1)
        for i, part in sorted(moved, key=lambda m: m[0])
    ]
    return jax.tree.unflatten(structure, restored)


def _rough_order(size: Float[Array, " n"]) -> Int[Array, " n"]:
    """Return the places of numbers from 0 to infinity, ordered by their first bits.

    Such floats order as their bits do. With their last bits replaced by the places, one
    sort of integers does: on a CPU it takes a quarter of the time of a sort of floats.
    """
    index = jnp.arange(size.size, dtype=jnp.uint32)
    used = (1 << (size.size - 1).bit_length()) - 1
    bits = jax.lax.bitcast_convert_type(size.astype(jnp.float32), jnp.uint32)
    ordered = jax.lax.sort((bits & np.uint32(~used & 0xFFFFFFFF)) | index)
    return (ordered & np.uint32(used)).astype(jnp.int32)


def _to_chunks(part: Array, like: Array) -> Array:
    return part.reshape(like.shape[0], like.shape[-1], *like.shape[1:-1])


def _running_sum(sizes):
    total = 0
    for size in sizes:
        total += size
        yield total
