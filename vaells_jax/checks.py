"""Argument validation with readable errors, before values reach JAX."""

import dataclasses
import math
import numbers
import sys
import types
import typing
from collections.abc import Container
from typing import Any

import jax
import numpy as np

PRECISIONS = ("float32", "float64")


def check_numbers(**arrays: Any) -> None:
    """Raise a ValueError unless each value is an array of float32 or float64 numbers.

    Args:
        arrays: Arguments by name; they may be traced.
    """
    for name, value in arrays.items():
        if not isinstance(value, jax.Array | np.ndarray | np.generic):
            raise ValueError(f"{name} must be an array; got {_shown(value)}.")
        if str(value.dtype) not in PRECISIONS:
            raise ValueError(
                f"{name} must hold float32 or float64 numbers; got {value.dtype}."
            )


def check_examples(name: str, values: Any) -> None:
    """Raise a ValueError unless `values` are numbers `[n, *x]` with no size of 0."""
    check_numbers(**{name: values})
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(
            f"{name} must have shape [n, *x], none of them 0; got {list(values.shape)}."
        )


def check_shapes(**arrays: tuple[Any, str]) -> None:
    """Raise a ValueError unless arrays of numbers fit together, with no size of 0.

    Args:
        arrays: Value and shape by name, `points=(points, "n x")`: axes with the same
            letter have the same size.
    """
    sizes: dict[str, int] = {}
    shapes = {name: np.shape(value) for name, (value, _) in arrays.items()}
    for name, (value, letters) in arrays.items():
        wanted, shape = letters.split(), shapes[name]
        good = len(shape) == len(wanted) and 0 not in shape
        kind = (value if hasattr(value, "dtype") else np.asarray(value)).dtype.kind
        good = good and kind in "biuf"
        if not good or any(
            sizes.setdefault(letter, int(letter) if letter.isdigit() else size) != size
            for letter, size in zip(wanted, shape, strict=True)
        ):
            found = ", ".join(f"{other} {list(shapes[other])}" for other in shapes)
            raise ValueError(
                f"{name} must be numbers of shape [{', '.join(wanted)}], none of them "
                f"0; got {found}."
            )


def check_integers(**arrays: Any) -> None:
    """Raise a ValueError unless each value is an array of integers."""
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


def check_kind(**pairs: tuple[Any, Any]) -> None:
    """Raise a ValueError unless each value is of its type.

    Args:
        pairs: Value and type, by the argument's name.
    """
    for name, (value, kind) in pairs.items():
        if not isinstance(value, kind):
            wanted = getattr(kind, "__name__", kind)
            raise ValueError(f"{name} must be {wanted}; got {_shown(value)}.")


def check_callable(**functions: Any) -> None:
    """Raise a ValueError unless each value can be called."""
    for name, value in functions.items():
        if not callable(value):
            raise ValueError(f"{name} must be a function; got {_shown(value)}.")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise a ValueError unless `value` is an integer and large enough."""
    is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_count or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}; got {_shown(value)}."
        )


def as_count(name: str, value: Any, least: int = 1) -> int:
    """Return a count as an `int`, of NumPy's and JAX's integers too (`check_count`)."""
    value = _plain(name, value)
    check_count(name, value, least)
    return int(value)


def check_member(name: str, value: Any, members: tuple[str, ...]) -> None:
    """Raise a ValueError unless `value` is one of the given words."""
    if not isinstance(value, str) or value not in members:
        raise ValueError(f"{name} must be one of {members}; got {_shown(value)}.")


def check_fields(
    options: Any,
    *,
    zero: Container[str] = (),
    positive: Container[str] = (),
    signed: Container[str] = (),
) -> None:
    """Check a frozen record's fields by their annotations, in its `__post_init__`.

    NumPy's and JAX's scalars become Python's, so that the record can be hashed.

    Args:
        options: The dataclass.
        zero: Integers that may be 0; the others are at least 1.
        positive: Numbers that may not be 0.
        signed: Numbers that may be negative.

    Raises:
        ValueError: Naming the field, what came and what is wanted.
    """
    hints = typing.get_type_hints(type(options))
    for name in (field.name for field in dataclasses.fields(options)):
        hint, value = hints[name], _plain(name, getattr(options, name))
        union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is (
            typing.Union
        )
        kinds = typing.get_args(hint) if union else (hint,)
        if value is None and types.NoneType in kinds:
            continue
        literals = [typing.get_args(k) for k in kinds if _origin(k) is typing.Literal]
        if literals:
            check_member(name, value, sum(literals, ()))
        elif kinds[0] is int:
            check_count(name, value, int(name not in zero))
        elif kinds[0] is float:
            least = -math.inf if name in signed else 0.0
            value = as_number(name, value, least, strict=name in positive)
        elif isinstance(kind := _origin(kinds[0]), type) and kind is not Any:
            check_kind(**{name: (value, kind)})
        object.__setattr__(options, name, value)


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _plain(name: str, value: Any) -> Any:
    """Return NumPy's and JAX's scalars as Python's, and anything else as it is."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be known before tracing because it is static; got a traced "
            f"{_shown(value)}: make it outside of jit, grad and vmap."
        )
    array = isinstance(value, np.generic | np.ndarray | jax.Array)
    scalar = array and value.shape == () and isinstance(value.dtype, np.dtype)
    return value.item() if scalar else value


def check_finite(name: str, values: Any, *, unit: bool = False) -> None:
    """Raise a ValueError unless `values` is an array of finite numbers.

    Args:
        name: The argument.
        values: Its value; only the type of traced and distributed arrays is checked.
        unit: Whether it has to be in [0, 1], to a thousandth, as images are.
    """
    check_numbers(**{name: values})
    if isinstance(values, jax.core.Tracer) or not values.size:
        return
    if not getattr(values, "is_fully_addressable", True):
        return
    values = np.asarray(values)  # inside jit, methods of JAX's arrays would be traced
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
            f"{high:.4g}: divide 0 to 255 by 255, or map -1 to 1 by (x + 1) / 2."
        )


def check_labels(name: str, labels: Any, count: int, kinds: str = "integers") -> None:
    """Raise a ValueError unless `labels` has one class for each example.

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


def check_classes(name: str, labels: Any, classes: int) -> None:
    """Raise a ValueError for labels outside 0..classes - 1, where they are concrete."""
    if isinstance(labels, jax.core.Tracer):
        return
    found = np.asarray(labels)
    if found.min() < 0 or found.max() >= classes:
        raise ValueError(
            f"{name} must lie in 0..{classes - 1}, one of {classes} classes; got "
            f"{found.min()}..{found.max()}."
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
    if isinstance(value, jax.core.Tracer) and value.shape == ():
        return
    value = value if isinstance(value, jax.core.Tracer) else _plain(name, value)
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    finite = real and abs(value) <= sys.float_info.max
    if not finite or value < least or (strict and value == least):
        bound = "greater than" if strict else "at least"
        bound = "" if least == -math.inf else f" and {bound} {least:g}"
        raise ValueError(f"{name} must be finite{bound}; got {_shown(value)}.")


def as_number(
    name: str, value: Any, least: float = 0.0, *, strict: bool = False
) -> float:
    """Return a number as a `float`, of NumPy's and JAX's too (`check_number`)."""
    value = _plain(name, value)
    check_number(name, value, least, strict=strict)
    return float(value)


def _shown(value: Any) -> str:
    """Describe a value in a few words."""
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)[:60]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return f"{value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"
