"""Structures of a dictionary of operators, a file each.

A structure is a frozen record (static under `jit`); its parameters are what training
moves, and they are its own: no step leaves the structure. To add one, subclass
`Structure` in a file of its own and add its line to `STRUCTURES`.
"""

from typing import Literal

from vaells_jax.operators.structures.base import Structure
from vaells_jax.operators.structures.basis import Basis
from vaells_jax.operators.structures.blocks import Blocks
from vaells_jax.operators.structures.commuting import Commuting
from vaells_jax.operators.structures.dense import Dense
from vaells_jax.operators.structures.low_rank import LowRank
from vaells_jax.operators.structures.skew import Skew

StructureName = Literal["dense", "skew", "blocks", "commuting", "low_rank"]

STRUCTURES: dict[StructureName, type[Structure]] = {
    "dense": Dense,
    "skew": Skew,
    "blocks": Blocks,
    "commuting": Commuting,
    "low_rank": LowRank,
}
"""Those that a configuration can name; the matrices of `Basis` come from programs."""

__all__ = [
    "STRUCTURES", "Basis", "Blocks", "Commuting", "Dense", "LowRank", "Skew",
    "Structure", "StructureName",
]  # fmt: skip
