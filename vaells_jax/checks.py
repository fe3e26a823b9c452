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


def as_count(name: str, value: Any, least: int = 1) -> int:
    """Return a count as an `int`, of NumPy's and JAX's integers too (`check_count`)."""
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
        value = np.asarray(value)
    value = value[()] if isinstance(value, np.ndarray) else value
    check_count(name, value, least)
    return int(value)


def check_finite(name: str, values: Any, *, unit: bool = False) -> None:
    """Raise a ValueError for what is no array of finite numbers.

    Args:
        name: The argument.
        values: Its value; while traced, its kind alone is looked at.
        unit: Whether it has to be in [0, 1], to a thousandth, as images are.
    """
    check_numbers(**{name: values})
    if isinstance(values, jax.core.Tracer) or not values.size:
        return
    bad = ~np.isfinite(values)
    if bad.any():
        first = [int(i) for i in np.unravel_index(bad.argmax(), bad.shape)]
        raise ValueError(
            f"{name} must be finite; got {bad.sum()} values that are not, the first at "
            f"{first}."
        )
    low, high = float(values.min()), float(values.max())
    if unit and (low < -1e-3 or high > 1.001):
        raise ValueError(
            f"{name} must be images with values in [0, 1]; got {low:.4g} to "
            f"{high:.4g}: divide 0 to 255 by 255, and of -1 to 1 take (x + 1) / 2."
        )


def check_labels(name: str, labels: Any, count: int, kinds: str = "integers") -> None:
    """Raise a ValueError for an array that is not a class for each example.

    Args:
        name: The argument.
        labels: An array.
        count: The number of examples.
        kinds: "integers", or "integers or names".
    """
    kind = "iu" if kinds == "integers" else "iuU"
    if labels.dtype.kind not in kind or labels.shape != (count,):
        hint = "; take the argmax of one-hot labels" if labels.ndim == 2 else ""
        raise ValueError(
            f"{name} must be {count} {kinds}, one for each example; got "
            f"{_shown(labels)}{hint}."
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
