"""A search spread over the local devices, or over the cores of a single CPU.

XLA runs one program's loops on one core. A call with arrays shares its pairs among
threads, a core each. Inside a program this is not possible: there a CPU's cores are
used if JAX treats them as devices, by `jax.config.update("jax_num_cpu_devices", n)`
before the first array.
"""

import concurrent.futures
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array

# Below this many pairs a device, or a core, the hand-over costs more than it saves.
PAIRS_PER_DEVICE = 256


def is_traced(*arrays) -> bool:
    """Return whether a call is part of a transformation: `jit`, `vmap`, `grad`."""
    return any(isinstance(x, jax.core.Tracer) for x in arrays)


def compiler_options() -> dict[str, int] | None:
    """Return how to compile a search: on a CPU with the widest vectors it has.

    XLA halves them by default for the sake of the clock rate, which costs this code a
    sixth of its speed. The numbers do not change.
    """
    if jax.default_backend() != "cpu":
        return None
    return {"xla_cpu_prefer_vector_width": 512}


def usable_devices(pairs: int, *arrays) -> tuple[jax.Device, ...] | AbstractMesh | None:
    """Return the devices worth using, or none to stay where the arrays are.

    Those are the local ones, or inside a program for a mesh of one axis that mesh's.
    Inside any other transformation, and for arrays that the caller has placed on a
    device, the placement is the caller's affair.
    """
    if is_traced(*arrays):
        return _mesh_of_program()
    if any(getattr(x, "committed", False) for x in arrays):
        return None
    devices = jax.local_devices()
    wanted = min(len(devices), pairs // PAIRS_PER_DEVICE)
    return tuple(devices[:wanted]) if wanted > 1 else None


def usable_cores(pairs: int, *arrays) -> int:
    """Return how many cores of a single CPU are worth using, a thread each.

    One inside any transformation, and where settings of JAX hold in this thread alone
    (`with jax.enable_x64(True)`): the other threads would not have them.
    """
    alone = jax.default_backend() == "cpu" and jax.local_device_count() == 1
    if not alone or is_traced(*arrays) or not _settings_are_everybodys():
        return 1
    return max(1, min(cores(), pairs // PAIRS_PER_DEVICE))


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _settings_are_everybodys():
    """Return whether no setting of JAX is this thread's own."""
    settings = lambda: [getattr(jax.config, name, None) for name in jax.config.values]
    with concurrent.futures.ThreadPoolExecutor(1) as another:
        same = another.submit(settings).result() == settings()
    return same and jax.sharding.get_abstract_mesh().empty


def in_threads(work: Callable, shares: list) -> list:
    """Run a function in a thread for each share; return the results in order.

    It must be compiled: two threads cannot trace at once.
    """
    with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(lambda share: jax.block_until_ready(work(*share)), shares))


def _mesh_of_program() -> AbstractMesh | None:
    """Return the mesh that XLA will split the traced program over, if it has one axis.

    Left to itself XLA would split the search's loops too: every round would ask all
    devices whether they are done, and sort the pairs of all of them.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or mesh.axis_types != (AxisType.Auto,):
        return None
    return mesh


def spread(
    search: Callable, devices: tuple[jax.Device, ...] | AbstractMesh
) -> Callable:
    """Split the pair axis of a search among devices, each searching its own share.

    Args:
        search: Maps operators, initial [R B M], start [B d] and end [B d] to arrays
            whose first axis is the pairs'.
        devices: Where to run: devices, or the mesh of the program around the search.
    """
    mesh: Mesh | AbstractMesh
    if isinstance(devices, AbstractMesh):
        mesh = devices
    else:
        mesh = Mesh(np.asarray(devices), ("pairs",))
    axis = mesh.axis_names[0]
    share = jax.shard_map(
        search,
        mesh=mesh,
        in_specs=(Spec(), Spec(None, axis), Spec(axis), Spec(axis)),
        out_specs=Spec(axis),
        check_vma=False,
    )

    def spread_search(operators, initial, start, end):
        found = share(operators, *equal_shares(mesh.size, initial, start, end))
        return jax.tree.map(lambda x: x[: len(start)], found)

    return spread_search


def equal_shares(count: int, initial: Array, start: Array, end: Array) -> tuple:
    """Lengthen initial [R B M], start [B d], end [B d] until `count` divides B."""
    missing = -len(start) % count
    pad = lambda x, axis: jnp.pad(
        x, [(0, missing if a == axis else 0) for a in range(x.ndim)]
    )
    return pad(initial, 1), pad(start, 0), pad(end, 0)
