"""Many devices, on one host or several: a mesh of one axis, the batch split along it.

Parameters and optimiser state are replicated. Programs are written for the whole batch
and XLA splits them; the coefficient search, which would otherwise wait for the slowest
pair of all devices in every round, searches each device's share on its own
(`inference/devices.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from vaells_jax.model.types import Batch

AXIS = "batch"


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Make a mesh of one axis.

    Args:
        devices: Those of every host, in the same order everywhere.

    Raises:
        ValueError: If there is none, or one is there twice.
    """
    if not isinstance(devices, Sequence) or isinstance(devices, str):
        raise ValueError(f"devices must be a list; got a {type(devices).__name__}.")
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(
            f"devices must be distinct, and at least one; got {len(devices)} of which "
            f"{len(set(devices))} are distinct."
        )
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding in which every device holds the whole array."""
    return NamedSharding(mesh, Spec())


def split(mesh: Mesh) -> NamedSharding:
    """Return the sharding that splits an array's first axis among the devices."""
    return NamedSharding(mesh, Spec(AXIS))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Place arrays, equal on every host, on a mesh."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def lay_out(x):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = lay_out(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        host = np.asarray(x)
        return jax.make_array_from_callback(
            host.shape, sharding, lambda index: host[index]
        )

    return jax.tree.map(lay_out, tree)


def place_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Split a batch among the devices.

    Raises:
        ValueError: If they cannot have equal shares.
    """
    check_batch_size(batch.inputs.shape[0], mesh)
    return place(batch, split(mesh))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raise a ValueError unless each device gets as many examples as the others."""
    if batch_size % mesh.size:
        below = batch_size // mesh.size * mesh.size
        near = [str(size) for size in (below, below + mesh.size) if size]
        raise ValueError(
            f"batch_size must be a multiple of the number of devices, {mesh.size}; "
            f"got {batch_size}. The nearest are {' and '.join(near)}."
        )


def on_mesh(function: Callable, mesh: Mesh) -> Callable:
    """Trace a function under the mesh that it will run on."""

    def traced(*args, **kwargs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **kwargs)

    return traced
