"""Initial values of loops, as `jax.shard_map` requires them."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def as_varying(first: Tree, *data: Any) -> Tree:
    """Return a loop's first values, varying over a mesh as the data of its body do.

    Under `shard_map` a constant is the same on all devices and what is computed of the
    data is not; a loop wants the type of its values to stay. Bits do not change, and
    outside `shard_map` nothing is computed.

    Args:
        first: The first values, a tree of arrays.
        data: What the loop's body makes of them, trees of arrays.
    """
    never = jnp.asarray(False)
    for x in jax.tree.leaves(data):
        never = never | (jnp.any(x != x) & False)
    return jax.tree.map(lambda x: jnp.where(never, x, x), first)
