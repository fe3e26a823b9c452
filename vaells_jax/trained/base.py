"""The interface of a trained model: functions of whole batches."""

import abc
import dataclasses
import json
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.checks import as_count, check_examples, check_kind, check_numbers
from vaells_jax.evaluation.chunks import in_parts
from vaells_jax.evaluation.importance import ImportanceEstimate
from vaells_jax.inference.devices import is_traced

Points = Float[Array | np.ndarray, "n ..."]
Latents = Float[Array | np.ndarray, "P d"]

FEW_SAMPLES = 10
"""Effective samples below which an estimate of log p(x) is unreliable."""

ROWS = 512
"""Points that networks work on at once, which bounds the memory."""


class Interpolation(NamedTuple):
    """Paths between pairs of data points, and how close they come to their goals.

    Attributes:
        latents: The paths, from the first points' latents on.
        gap: Distance of each path's end from the latent that it should reach.
        distance: Distance between the two latents, for comparison.
    """

    latents: Float[Array, "P T d"]
    gap: Float[np.ndarray, " P"]
    distance: Float[np.ndarray, " P"]


@dataclasses.dataclass(frozen=True)
class TrainedModel(abc.ABC):
    """A trained model; its subclasses are VAELLS and the baselines.

    Methods that encode, sample or move points return latents; `decode` turns any
    latents into data.

    Attributes:
        model: The static part.
        params: The trained parameters, a NamedTuple.
        record: Configuration and data set as JSON values, for `export`.
    """

    model: Any
    params: Any
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict, kw_only=True)

    @property
    def has_density(self) -> bool:
        """Return whether the model has log p(x)."""
        return True

    @abc.abstractmethod
    def encode(self, inputs: Points) -> Float[Array, "n d"]:
        """Return the centre of each data point's posterior."""

    @abc.abstractmethod
    def decode(self, latents: Float[Array | np.ndarray, "*n d"]) -> Array:
        """Return the mean data point of each latent, any leading axes."""

    @abc.abstractmethod
    def sample_posterior(
        self, key: PRNGKeyArray, inputs: Points, num_samples: int = 1
    ) -> Float[Array, "n S d"]:
        """Draw latents of each data point from q(z|x)."""

    @abc.abstractmethod
    def sample_prior(
        self, key: PRNGKeyArray, count: int, label: int | None = None
    ) -> Float[Array, "n d"]:
        """Draw latents from p(z), or of one class if the prior has classes."""

    @abc.abstractmethod
    def join(
        self, starts: Latents, ends: Latents, times: Float[Array | np.ndarray, " T"]
    ) -> Float[Array, "P T d"]:
        """Join pairs of latents in the model's own way, at times from 0 to 1."""

    @abc.abstractmethod
    def widened(self) -> "TrainedModel":
        """Return the model with its posterior as wide as the paper's figures show."""

    @abc.abstractmethod
    def log_marginal_likelihood(
        self,
        inputs: Points,
        *,
        num_samples: int = 1000,
        key: PRNGKeyArray | None = None,
        on_done: Callable[[int], None] | None = None,
    ) -> ImportanceEstimate:
        """Estimate log p(x) of each data point by importance sampling.

        Args:
            inputs: Data points.
            num_samples: Importance samples of each.
            key: Random key; None for one that is always the same.
            on_done: Called with the number of data points done, after each part.

        Returns:
            The estimate for each data point in nats, with its effective samples.

        Warns:
            UserWarning: If some have few effective samples.
        """

    def reconstruct(self, inputs: Points) -> Array:
        """Return the decoded centre of each data point's posterior."""
        return self.decode(self.encode(inputs))

    def interpolate(
        self, first: Points, last: Points, steps: int = 11
    ) -> Interpolation:
        """Join pairs of data points in the model's own way.

        Args:
            first: Data points where the paths start.
            last: Data points where they should lead, one for each.
            steps: Points of each path, both ends included.

        Raises:
            ValueError: If the numbers of first and last points differ, or there are
                fewer steps than 2.
        """
        steps = as_count("steps", steps, 2)
        check_examples("first", first)
        check_numbers(last=last)
        if first.shape != last.shape:
            raise ValueError(
                f"first and last must have the same shape; got {list(first.shape)} and "
                f"{list(last.shape)}."
            )
        starts, ends = self.encode(first), self.encode(last)
        paths = self.join(starts, ends, np.linspace(0.0, 1.0, steps))
        length = lambda offset: np.linalg.norm(np.asarray(offset), axis=-1)
        return Interpolation(paths, length(paths[:, -1] - ends), length(ends - starts))

    def _points(self, inputs: Points) -> Array:
        """Check data points; grey images may lack their channel, as in training."""
        check_examples("inputs", inputs)
        shape = self.record.get("data", {}).get("shape", ())
        if tuple(shape) == (*inputs.shape[1:], 1):
            inputs = inputs[..., None]
        return jnp.asarray(inputs)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write one `.npz` of arrays by name, and the record beside it as `.json`.

        `load_run` reads both; NumPy alone reads the arrays.
        """
        check_kind(path=(path, str | os.PathLike))
        path = pathlib.Path(path).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **named_arrays(self.params))  # type: ignore[arg-type]
        path.with_suffix(".json").write_text(json.dumps(self.record, indent=2) + "\n")


def through(network: Callable[[Array], Array], rows: Array, axes: int) -> Array:
    """Apply a network to rows, a few hundred at a time where there are many.

    Args:
        network: Maps `[n, *shape]` to `[n, *outputs]`, each row for itself.
        rows: What it takes, with any leading axes in place of n.
        axes: The number of axes of one row.
    """
    leading = rows.shape[: rows.ndim - axes]
    if math.prod(leading) <= ROWS or is_traced(rows):
        return network(rows)
    flat = rows.reshape(-1, *rows.shape[rows.ndim - axes :])
    found = jnp.concatenate(in_parts(network, flat, ROWS))
    return found.reshape(*leading, *found.shape[1:])


def check_pairs(starts: Any, ends: Any, size: int | None = None) -> None:
    """Raise a ValueError unless starts and ends are both latents `[P, d]`.

    Args:
        starts: Latents.
        ends: Latents.
        size: d, if it is known.
    """
    check_examples("starts", starts)
    check_numbers(ends=ends)
    if starts.shape != ends.shape or starts.shape[1:] != (size or starts.shape[1],):
        raise ValueError(
            f"starts and ends must have the same shape [P, {size or 'd'}]; got "
            f"{list(starts.shape)} and {list(ends.shape)}."
        )


def check_times(times: Any, name: str = "times") -> np.ndarray | Array:
    """Return numbers along a path as an array `[T]`, or raise a ValueError."""
    times = times if isinstance(times, jax.Array) else np.asarray(times)
    if times.dtype.kind not in "fiu" or times.ndim != 1:
        raise ValueError(
            f"{name} must be numbers of shape [T]; got {times.dtype}"
            f"{list(times.shape)}."
        )
    return times


def named_arrays(params: Any) -> dict[str, np.ndarray]:
    """Return a model's arrays by their paths, `decoder/params/Dense_0/bias`.

    Args:
        params: A NamedTuple, or a dictionary of its fields.
    """
    given = params if isinstance(params, dict) else params._asdict()
    fields = {k: jax.device_get(v) for k, v in given.items() if v is not None}
    flat = flatten_dict(fields, keep_empty_nodes=False, sep="/")
    return {name: np.asarray(value) for name, value in flat.items()}


def from_named_arrays(kind: type, arrays: Mapping[str, np.ndarray]) -> Any:
    """Rebuild a model's parameters from `named_arrays`."""
    fields = unflatten_dict(dict(arrays), sep="/")
    missing = {name: None for name in kind._fields if name not in fields}  # type: ignore[attr-defined]
    return kind(**jax.tree.map(jnp.asarray, fields), **missing)


def warn_of_few_samples(
    effective_samples: Float[np.ndarray, " B"], num_samples: int
) -> None:
    """Warn where weights are so uneven that an estimate rests on a few of them."""
    few = effective_samples < FEW_SAMPLES
    if np.any(few):
        warnings.warn(
            f"{np.sum(few)} of {len(few)} data points have fewer than {FEW_SAMPLES} "
            f"effective samples of {num_samples}; their estimates are likely to be too "
            "low. More samples tighten them.",
            stacklevel=3,
        )
