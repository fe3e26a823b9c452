"""Argument validation with readable errors, before values reach JAX."""

import math
import numbers
from typing import Any

import jax
import numpy as np

PRECISIONS = ("float32", "float64")


def check_numbers(**arrays: Any) -> None:
    """Raise a ValueError for what is no array of float32 or float64 numbers.

    Args:
        arrays: Arguments by their names; traced arrays will do.
    """
    for name, value in arrays.items():
        if not isinstance(value, jax.Array | np.ndarray | np.generic):
            raise ValueError(f"{name} must be an array; got {_shown(value)}.")
        if str(value.dtype) not in PRECISIONS:
            raise ValueError(
                f"{name} must hold float32 or float64 numbers; got {value.dtype}."
            )


def check_integers(**arrays: Any) -> None:
    """Raise a ValueError for what is no array of integers."""
    for name, value in arrays.items():
        if not isinstance(value, jax.Array | np.ndarray | np.generic):
            raise ValueError(f"{name} must be an array; got {_shown(value)}.")
        if not np.issubdtype(value.dtype, np.integer):
            raise ValueError(f"{name} must hold integers; got {value.dtype}.")


def check_key(name: str, key: Any) -> None:
    """Raise a ValueError unless `key` is one key of `jax.random.key`."""
    good = isinstance(key, jax.Array) and jax.dtypes.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    if not good or key.shape:
        found = _shown(key)
        if isinstance(key, jax.Array | np.ndarray):
            found = f"{key.dtype}{list(key.shape)}"
        raise ValueError(
            f"{name} must be a single key, jax.random.key(seed); got {found}."
        )


def check_kind(**pairs: tuple[Any, type]) -> None:
    """Raise a ValueError unless each value is of its type.

    Args:
        pairs: Value and type, by the argument's name.
    """
    for name, (value, kind) in pairs.items():
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be {kind.__name__}; got {_shown(value)}.")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise a ValueError unless `value` is an integer and large enough."""
    is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_count or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}; got {_shown(value)}."
        )


def check_number(
    name: str, value: Any, least: float = 0.0, *, strict: bool = False
) -> None:
    """Raise a ValueError for a number that is too small or not finite.

    Args:
        name: The argument.
        value: A Python or NumPy number, or a scalar array, which may be traced.
        least: Its lower bound.
        strict: Whether the bound itself is too small.
    """
    if isinstance(value, jax.Array | np.ndarray) and value.shape == ():
        if isinstance(value, jax.core.Tracer):
            return
        value = value.item()
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < least:
        good = False
    else:
        good = value > least if strict else True
    if not good:
        bound = "greater than" if strict else "at least"
        raise ValueError(
            f"{name} must be finite and {bound} {least:g}; got {_shown(value)}."
        )


def _shown(value: Any) -> str:
    """Say what came, briefly."""
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)[:60]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return f"{value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"
