"""Large batches evaluated in chunks, on one or many devices, without communication."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import PRNGKeyArray

from vaells_jax.model.types import Batch, PyTree
from vaells_jax.sharding import place, replicated, split


def in_chunks(
    evaluate: Callable[[Any, PRNGKeyArray, Batch], Any],
    params: PyTree,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    size: int,
    mesh: Mesh | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Any:
    """Evaluate a function of whole batches on chunks of data points.

    The chunk that starts at data point i draws from `fold_in(key, i)`, wherever it is
    evaluated: any number of devices gives the numbers of one.

    Args:
        evaluate: From parameters, key and a batch to arrays with an entry a data point;
            hashable, because it is compiled once for each function.
        params: What it takes first.
        key: Random key.
        batch: Data points, as many as there are.
        size: Data points of a chunk; bounds the memory of each device.
        mesh: Devices that take a chunk each; None for one device.
        on_done: Called with the number of data points done, after each part.

    Returns:
        What `evaluate` returns, for all data points, as NumPy arrays.

    Raises:
        ValueError: If the batch is empty.
    """
    count = batch.inputs.shape[0]
    if count == 0:
        raise ValueError("batch must hold at least one example; got none.")
    size = max(1, min(count, size))
    devices = 1 if mesh is None else mesh.size
    run = evaluate if mesh is None else _on_mesh(evaluate, mesh)
    if mesh is not None:
        params = place(params, replicated(mesh))
    found = []
    for i in range(0, count, size * devices):
        starts = i + size * np.arange(devices)
        # What lacks is filled up with examples seen before: one shape, one compile.
        index = (starts[:, None] + np.arange(size)) % count
        if mesh is None:
            keys, index = jax.random.fold_in(key, i), index[0]
        else:
            keys = jnp.stack([jax.random.fold_in(key, start) for start in starts])
        part = jax.tree.map(lambda x, index=index: x[index], batch)
        if mesh is not None:
            keys, part = (place(x, split(mesh)) for x in (keys, part))
        values = run(params, keys, part)
        found.append(jax.tree.map(lambda x: np.asarray(x)[: count - i], values))  # noqa: B023
        if on_done is not None:
            on_done(min(size * devices, count - i))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def in_parts(function: Callable[[Any], Any], rows: Any, size: int) -> list[Any]:
    """Apply a function of batches to a few rows at a time, all parts of one shape.

    Args:
        function: Maps `[n, ...]` to `[n, ...]`, each row for itself.
        rows: What it takes, at least one.
        size: Rows of a part; bounds the memory.

    Returns:
        What it makes of each part, to be put together.
    """
    count = len(rows)
    size = min(size, count)
    parts = []
    for i in range(0, count, size):
        # The last part is filled up with the first rows.
        index = (i + np.arange(size)) % count
        parts.append(function(rows[index])[: count - i])
    return parts


@functools.lru_cache(maxsize=16)
def _on_mesh(evaluate, mesh):
    """Compile the evaluation of a chunk on each device."""
    axis = mesh.axis_names[0]

    def own(params, keys, parts):
        return evaluate(params, keys[0], jax.tree.map(lambda x: x[0], parts))

    share = jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(Spec(), Spec(axis), Spec(axis)),
        out_specs=Spec(axis),
        check_vma=False,
    )
    return jax.jit(share, out_shardings=replicated(mesh))
