"""Networks of Flax NNX and of Equinox as pairs of pure functions.

Their parameters become one plain dict from a dotted name ("layers.0.weight") to an
array, which checkpoints, safetensors and Optax take as it is, and which can be read
without the module's class. Wherever a module is applied, a new one is made and filled
with the parameters; under `jit` its own draws are not computed.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, PRNGKeyArray

from vaells_jax.checks import check_kind
from vaells_jax.networks.contract import impure


def from_nnx(make: Callable[[Any], Any]) -> "Adapted":
    """Take a Flax NNX module as a network.

    Args:
        make: A function from `nnx.Rngs` to the module, which acts on a batch, or the
            class itself. Networks of the same `make` share compilations.

    Raises:
        ValueError: If `make` is a module, or not a function.
    """
    from flax import nnx

    _check_maker(make, nnx.Module)
    return Adapted(make, _draw_nnx)


def from_equinox(make: Callable[[PRNGKeyArray], Any]) -> "Adapted":
    """Take an Equinox module as a network.

    Args:
        make: A function from a key to the module, which acts on *one* example; the
            adapter maps it over the batch. Networks of the same `make` share
            compilations.

    Raises:
        ImportError: If Equinox is not installed.
        ValueError: If `make` is a module, or not a function.
    """
    try:
        import equinox as eqx
    except ImportError as error:
        raise ImportError("from_equinox needs Equinox: pip install equinox") from error
    _check_maker(make, eqx.Module)
    return Adapted(make, _draw_equinox)


@dataclasses.dataclass(frozen=True)
class Adapted:
    """A network defined by what makes its module; equal if that is equal.

    Attributes:
        make: The user's.
        draw: From `make` and a key to the parameters and a function of others and of
            inputs.
    """

    make: Callable[[Any], Any]
    draw: Callable[..., tuple[Any, Callable[..., Any]]]

    def init(self, key: PRNGKeyArray, inputs: Array) -> dict[str, Array]:
        """Draw the parameters."""
        return _named(self.draw(self.make, key)[0])

    def apply(self, parameters: dict[str, Array], inputs: Array) -> Any:
        """Call the module on a batch."""
        drawn, call = self.draw(self.make, jax.random.key(0))
        return call(_filled(drawn, parameters), inputs)


def _draw_nnx(make, key):
    from flax import nnx

    def call(filled, inputs):
        nnx.update(module, filled)
        return module(inputs)

    module = make(nnx.Rngs(key))
    check_kind(**{"make(rngs)": (module, nnx.Module)})
    parameters, rest = nnx.state(module, nnx.Param, ...)
    leaves = (leaf for _, leaf in nnx.to_flat_state(rest))
    _check_pure(module, (x for x in leaves if isinstance(x, nnx.Variable)))
    return nnx.to_pure_dict(parameters), call


def _draw_equinox(make, key):
    import equinox as eqx

    def more(x):
        dropout = isinstance(x, eqx.nn.Dropout) and x.p != 0 and not x.inference
        return dropout or isinstance(x, eqx.nn.StateIndex)

    module = make(key)
    check_kind(**{"make(key)": (module, eqx.Module)})
    _check_pure(module, filter(more, jax.tree.leaves(module, is_leaf=more)))
    drawn, rest = eqx.partition(module, eqx.is_inexact_array)
    return drawn, lambda filled, x: jax.vmap(eqx.combine(filled, rest))(x)


def _check_maker(make, module):
    """Raise a ValueError unless `make` is a function that makes a module."""
    if isinstance(make, module) or not callable(make):
        raise ValueError(
            "make must be a function that makes a module, or the module's class; got "
            f"{type(make).__name__}."
        )


def _check_pure(module, more):
    """Raise a ValueError for a module that has more than parameters."""
    kinds = ", ".join(sorted({type(x).__name__ for x in more}))
    if kinds:
        raise impure(type(module).__name__, f"has more than parameters ({kinds})")


def _named(tree):
    """Return the leaves by their dotted names."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _filled(tree, parameters):
    """Put named arrays into a tree of the same names and shapes."""
    drawn, given = _named(tree), _named(parameters)
    wanted, found = (
        {name: list(x.shape) for name, x in named.items()} for named in (drawn, given)
    )
    if wanted != found:
        raise ValueError(
            f"parameters must have the names and shapes {wanted}; got {found}."
        )
    return jax.tree.unflatten(jax.tree.structure(tree), [given[name] for name in drawn])
