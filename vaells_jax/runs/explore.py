"""The interactive parts of a report: examples, latents, paths, samples.

The page decodes by itself where the decoder is a stock one and small enough. Otherwise
it is given frames that were decoded beforehand, and steps from one to the next.
"""

import base64
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.data_operators import DataOperators
from vaells_jax.data.batches import binarise
from vaells_jax.evaluation.chunks import in_parts
from vaells_jax.evaluation.overview import MAP_POINTS, PART, balanced
from vaells_jax.networks.plain import (
    Layer,
    affine,
    count_numbers,
    count_products,
    plain_layers,
)
from vaells_jax.operators.transport import transport_path
from vaells_jax.runs.config import BaselineConfig
from vaells_jax.runs.curves import operators_of
from vaells_jax.runs.run import Run
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.vaells import SPREAD, TrainedVaells

MOST_NUMBERS, MOST_PRODUCTS = 1_000_000, 120_000_000
"""Of what the page computes by itself: parameters, and products to decode a latent."""

MOST_FRAME_BYTES = 5_000_000
"""Of all frames of a page that does not decode; a third more in base64."""

CLASSES = 10
"""Classes that have colours of their own; more are a scale."""

CHECKED = 3
"""Latents that the library decodes, for the page to check itself by."""

_PIXELS, _ENTRIES = 64, 512  # most rows of an image, entries of a vector, among frames


class Counts(NamedTuple):
    """How much of a run a page holds.

    Attributes:
        examples: Test examples that can be moved.
        operators: Operators that have a slider, the largest.
        path: Points of a path between two examples.
        samples: Samples around each example.
        sweep: Frames along each operator.
        grid: Frames along each side of the latent map.
    """

    examples: int
    operators: int
    path: int
    samples: int
    sweep: int = 0
    grid: int = 0

    def frames(self, num_operators: int) -> int:
        """Count the frames of a page that does not decode, for two spreads."""
        operators = min(self.operators, num_operators)
        each = 1 + operators * self.sweep + 2 * self.samples
        pairs = self.examples * (self.examples - 1)
        return self.examples * each + pairs * self.path + self.grid**2


LIVE, CLOUD = Counts(10, 12, 21, 12), 150
"""Of a page that decodes; samples that are dots among the test data."""

FRAMED = (
    Counts(10, 8, 11, 12, 25, 17),
    Counts(8, 8, 9, 8, 17, 13),
    Counts(6, 6, 7, 6, 13, 11),
    Counts(4, 4, 5, 4, 9, 9),
)
"""From rich to poor: the first whose frames are small enough is taken."""


def packed(values: Any, kind: str = "float32") -> dict[str, Any]:
    """Write an array down as text: its numbers, little end first, in base64.

    Args:
        values: The array.
        kind: "float32" or "uint8".

    Returns:
        `shape`, `kind` and `data`, as JSON knows them.
    """
    array = np.asarray(values).astype(np.dtype(kind).newbyteorder("<"))
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"shape": list(array.shape), "kind": kind, "data": data}


class Plane(NamedTuple):
    """A plane through a space: its first two principal axes, or the space itself.

    Attributes:
        centre: Where its origin lies.
        axes: The two axes, of length 1; a line has one of length 0.
        names: Of the axes.
    """

    centre: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "2 d"]
    names: tuple[str, str]

    def project(self, points: Any) -> np.ndarray:
        """Return points `[..., d]` in the plane, `[..., 2]`."""
        return (np.asarray(points, float) - self.centre) @ self.axes.T

    def lift(self, points: Any) -> np.ndarray:
        """Return points of the plane, `[..., 2]`, in the space."""
        return self.centre + np.asarray(points, float) @ self.axes

    def record(self) -> dict[str, Any]:
        """Return centre, axes and their names, as JSON knows them."""
        named = {"centre": packed(self.centre), "axes": packed(self.axes)}
        return {**named, "axis_names": list(self.names)}


def principal_plane(points: Float[Array | np.ndarray, "n d"], word: str) -> Plane:
    """Return the plane to show points in: their own, or that of the most variance.

    Args:
        points: The points.
        word: What a coordinate is called.
    """
    points = np.asarray(points, float)
    size = points.shape[1]
    if size <= 2:
        return Plane(np.zeros(size), np.eye(2, size), (f"{word} 1", f"{word} 2"))
    centre = points.mean(axis=0)
    spread, axes = np.linalg.eigh((points - centre).T @ (points - centre))
    shares = 100 * spread[::-1] / max(spread.sum(), np.finfo(float).tiny)
    first, second = (f"{share:.0f} % of the {word}s' variance" for share in shares[:2])
    names = (f"first component, {first}", f"second component, {second}")
    return Plane(centre, axes[:, :-3:-1].T, names)


@dataclasses.dataclass(frozen=True)
class View:
    """How data points are shown: images as grey levels or colours, others as numbers.

    Attributes:
        shape: Of a data point.
        low: What is black, or the lower end of a curve's tile.
        high: What is white, or the upper end.
        thin: Every how many rows, columns or entries are shown.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    thin: int = 1

    @property
    def is_image(self) -> bool:
        """Tell images from vectors."""
        return len(self.shape) in (2, 3) and min(self.shape[:2]) > 1

    def show(self, data: Any) -> np.ndarray:
        """Return data points `[..., *x]` as the page draws them.

        Returns:
            Images as bytes, `[..., H, W, 1]` or `[..., H, W, 3]`; vectors `[..., n]` of
            float32.
        """
        data = np.asarray(data, np.float32)
        lead = data.shape[: data.ndim - len(self.shape)]
        if not self.is_image:
            return data.reshape(*lead, -1)[..., :: self.thin]
        height, width, channels = (*self.shape, 1)[:3]
        step = self.thin
        rows, columns = height // step, width // step
        data = data.reshape(*lead, height, width, channels)
        data = data[..., : rows * step, : columns * step, : 3 if channels > 2 else 1]
        blocks = data.reshape(*lead, rows, step, columns, step, -1).mean(axis=(-4, -2))
        return self.levels(blocks)

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Return values as grey levels, 0 to 255."""
        span = max(self.high - self.low, 1e-12)
        return np.rint(255 * np.clip((values - self.low) / span, 0, 1)).astype(np.uint8)

    def packed(self, data: Any) -> dict[str, Any]:
        """Write data points down as the page draws them."""
        return packed(self.show(data), "uint8" if self.is_image else "float32")

    def record(self, data: np.ndarray) -> dict[str, Any]:
        """Describe the view, as JSON knows it, with vectors' place among test data."""
        found = {
            "image": self.is_image,
            "shape": list(self.show(data[:1]).shape[1:]),
            "low": self.low,
            "high": self.high,
        }
        if self.is_image:
            return found
        points = self.show(data)
        plane = principal_plane(points, "value")
        places = plane.project(points)
        # Little of long curves lies in any plane: they are drawn as curves.
        inside = places.var(axis=0).sum() >= 0.8 * points.var(axis=0).sum()
        return found | plane.record() | {"points": packed(places), "planar": inside}


def view_of(inputs: np.ndarray) -> View:
    """Choose how data points are shown, by test data."""
    view = View(inputs.shape[1:], float(inputs.min()), float(inputs.max()))
    if view.is_image and 0.0 <= view.low and view.high <= 1.0:
        return dataclasses.replace(view, low=0.0, high=1.0)
    return view


def thinned(view: View) -> View:
    """Show no more of each data point than a page of many frames can hold."""
    if view.is_image:
        return dataclasses.replace(view, thin=-(-max(view.shape[:2]) // _PIXELS))
    return dataclasses.replace(view, thin=-(-int(np.prod(view.shape)) // _ENTRIES))


def choose_counts(frame_bytes: int, num_operators: int) -> Counts:
    """Choose how many frames a page holds that does not decode."""
    for counts in FRAMED:
        if counts.frames(num_operators) * frame_bytes <= MOST_FRAME_BYTES:
            return counts
    return FRAMED[-1]


def page_decoder(trained: TrainedModel) -> list[Layer] | None:
    """Describe a model's `decode` by plain layers.

    Returns:
        The layers; None where the page cannot evaluate them, or not quickly enough.
    """
    model, params = trained.model, trained.params
    # Codes that are data need no decoding.
    alone = isinstance(model, DataOperators)
    layers = [] if alone else plain_layers(model.networks.decoder, params.decoder)
    if layers is None:
        return None
    if isinstance(trained, TrainedVaells):
        layers = [affine(params.latent_scale, 0.0), *layers]
    elif type(model).decoder_inputs is not Baseline.decoder_inputs:
        return None
    elif model.likelihood.kind == "bernoulli":
        layers = [*layers, {"kind": "sigmoid"}]
    if count_numbers(layers) + operators_of(trained).size > MOST_NUMBERS:
        return None
    return layers if count_products(layers) <= MOST_PRODUCTS else None


def explorer(run: Run) -> dict[str, Any]:
    """Collect what the page's moving parts need, as JSON knows it.

    Args:
        run: A trained run of any model.

    Returns:
        How data are shown, the latent map, examples, and where the model has them
        operators; paths between examples, samples around them, and the decoder or
        frames.
    """
    inputs, values, legend = _test_data(run)
    trained, view = run.trained, view_of(inputs)
    layers = page_decoder(trained)
    if layers is None:
        view = thinned(view)
    shown = view.record(inputs)
    if layers is None:
        frame = view.show(inputs[:1])
        counts = choose_counts(frame.nbytes, len(operators_of(trained)))
    else:
        counts = LIVE._replace(
            examples=20 if len(legend["names"]) > 5 else LIVE.examples,
            samples=CLOUD if shown.get("planar") else LIVE.samples,
        )
    latents = np.concatenate(in_parts(trained.encode, inputs, PART))
    chosen = _examples(values, legend, counts.examples)
    plane = principal_plane(latents, "latent")
    places = plane.project(latents)
    names = legend["names"]
    found = {
        "view": shown,
        "map": {
            **plane.record(),
            **legend,
            "extent": _square(places),
            "points": packed(places),
            "values": packed(values),
            "anchors": packed(plane.project(_anchors(trained, latents))),
        },
        "examples": {
            "data": view.packed(inputs[chosen]),
            "latents": packed(latents[chosen]),
            "values": packed(values[chosen]),
            "names": [names[int(v)] if names else "" for v in values[chosen]],
        },
    }
    sources = Sources(inputs[chosen], latents[chosen])
    if len(operators_of(trained)):
        found["operators"] = _operator_part(trained, latents, counts)
    if layers is not None:
        return found | {
            "paths": _path_part(trained, sources, counts),
            "samples": _sample_part(run, sources, counts),
            "decoder": _decoder_part(trained, layers, sources),
        }
    return found | _frame_parts(run, sources, view, found, plane, counts)


class Sources(NamedTuple):
    """The examples that can be moved.

    Attributes:
        inputs: The data points.
        latents: Where they are encoded.
    """

    inputs: np.ndarray
    latents: Float[np.ndarray, "K d"]

    @property
    def pairs(self) -> np.ndarray:
        """Return the ordered pairs of different examples, `[P, 2]`."""
        both = np.indices((len(self.latents),) * 2).reshape(2, -1).T
        return both[both[:, 0] != both[:, 1]]


def _test_data(run):
    """Return test data of the map, what colours them, and its legend."""
    split = getattr(run.data.source, "test", None)
    inputs = np.asarray(run.data.inputs if split is None else split.inputs)
    labels = getattr(split, "labels", None)
    values = np.zeros(len(inputs)) if labels is None else np.asarray(labels, float)
    drawn = np.random.default_rng(0).permutation(len(inputs))[:MAP_POINTS]
    count, positions = len(np.unique(values)), getattr(split, "positions", None)
    legend: dict[str, Any] = {"names": [], "scale": "class" if count > 1 else None}
    if count == 1 and positions is not None:
        values, legend["scale"] = np.asarray(positions, float), "place along the curve"
    elif 1 < count and values.max() < CLASSES:
        given = run.data.class_names
        numbers = range(int(values.max()) + 1)
        names = [given[c] if c < len(given) else str(c) for c in numbers]
        legend = {"names": names, "scale": None}
    inputs = inputs[drawn]
    if isinstance(run.config, BaselineConfig) and run.config.binarise:
        inputs = np.asarray(binarise(jax.random.key(0), jnp.asarray(inputs)))
    return inputs, values[drawn], legend


def _examples(values, legend, count):
    """Choose examples: classes take turns, and along a scale they are evenly spread."""
    if legend["scale"]:
        places = np.linspace(0, len(values) - 1, min(count, len(values)))
        return np.argsort(values, kind="stable")[places.astype(int)]
    return balanced(values.astype(int))[:count]


def _anchors(trained, latents):
    """Return encoded anchors, none where a model has none of its own."""
    anchors = getattr(trained.params, "anchors", None)
    if anchors is None:
        return np.empty((0, latents.shape[1]))
    points = np.asarray(anchors).reshape(-1, *anchors.shape[2:])
    return np.concatenate(in_parts(trained.encode, points, PART))


def _square(places):
    """Return the least square about points with a margin: left, right, low, high."""
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, 0.54 * max(float(np.max(high - low)), 1e-6)
    return [float(x) for m in middle for x in (m - half, m + half)]


def _operator_part(trained, latents, counts):
    """Return all operators, and which of them have a slider that reaches how far."""
    operators = operators_of(trained).astype(float)
    norms = np.linalg.norm(operators, axis=(1, 2))
    shown = np.sort(np.argsort(-norms, kind="stable")[: counts.operators])
    return {
        "matrices": packed(operators),
        "shown": shown.tolist(),
        "norms": norms[shown].tolist(),
        "reach": reaches(operators[shown], latents).tolist(),
    }


def reaches(
    operators: Float[np.ndarray, "M d d"], latents: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " M"]:
    """Return how far each operator's slider goes: a turn, or 1.5 e-folds.

    An operator that hardly moves latents goes ten times as far as the quickest.
    """
    moved = np.linalg.norm(np.einsum("mij,nj->mni", operators, latents), axis=2)
    lengths = np.maximum(np.linalg.norm(latents, axis=1), 1e-12)
    turning = np.median(moved / lengths[None], axis=1) / (2 * np.pi)
    growing = np.abs(np.linalg.eigvals(operators).real).max(axis=1) / 1.5
    rate = np.maximum(turning, growing)
    return 1.0 / np.maximum(rate, max(0.1 * rate.max(), 1e-6))


def _sweeps(trained, sources, part, counts):
    """Move the examples' latents along each operator that is shown, both ways."""
    latents = jnp.asarray(sources.latents)
    operators = jnp.asarray(operators_of(trained), latents.dtype)
    unit = jnp.ones(1, latents.dtype)
    move = jax.jit(jax.vmap(transport_path, (None, None, 0, None)))
    sweep = jnp.linspace(-1.0, 1.0, counts.sweep, dtype=latents.dtype)
    return np.stack(
        [
            move(operators[m : m + 1], unit, latents, reach * sweep)
            for m, reach in zip(part["shown"], part["reach"], strict=True)
        ]
    )


def _path_part(trained, sources, counts):
    """Return the paths between all pairs of examples: coefficients, or latents."""
    pairs = sources.pairs
    if not len(pairs):
        return {"pairs": []}
    starts, ends = (sources.latents[column] for column in pairs.T)
    if isinstance(trained, TrainedVaells):
        coefficients, reached = map(np.asarray, trained.search(starts, ends))
        path = {"coefficients": packed(coefficients)}
    else:
        times = np.linspace(0.0, 1.0, counts.path, dtype=starts.dtype)
        latents = np.asarray(trained.join(starts, ends, times))
        path, reached = {"latents": packed(latents)}, latents[:, -1]
    distance = np.maximum(np.linalg.norm(ends - starts, axis=1), 1e-12)
    gaps = np.linalg.norm(reached - ends, axis=1) / distance
    return {"pairs": pairs.tolist(), "gaps": gaps.tolist(), **path}


def _sample_part(run, sources, counts):
    """Return what the page draws samples by, or the samples of a baseline."""
    trained = run.trained
    if isinstance(trained, TrainedVaells):
        return {
            "count": counts.samples,
            "rate": trained.weights.posterior_l1,
            "own": packed(trained.point_spread(sources.latents)),
            "noise": trained.model.noise_std,
            "usual": SPREAD,
        }
    spreads, latents = _drawn(run, sources, counts)
    return {"count": counts.samples, "spreads": spreads, "latents": packed(latents)}


def _drawn(run, sources, counts):
    """Draw samples around examples: the posterior's own, and the figures' wide ones."""
    models = {1.0: run.trained}
    wide = run.trained.widened()
    factor = SPREAD if isinstance(wide, TrainedVaells) else wide.spread
    models[factor] = wide
    latents = [
        model.sample_posterior(jax.random.fold_in(run.key, i), sources.inputs, 
                               counts.samples)
        for i, model in enumerate(models.values(), start=3)
    ]  # fmt: skip
    return list(models), np.stack([np.asarray(drawn) for drawn in latents])


def _decoder_part(trained, layers, sources):
    """Return the decoder's layers, and latents that the library has decoded."""
    plain = lambda layer: {
        name: packed(value) if isinstance(value, np.ndarray) else value
        for name, value in layer.items()
    }
    latents = sources.latents[:CHECKED]
    outputs = np.asarray(trained.decode(latents)).reshape(len(latents), -1)
    check = {"latents": packed(latents), "outputs": packed(outputs)}
    return {"layers": [plain(layer) for layer in layers], "check": check}


def _frame_parts(run, sources, view, found, plane, counts):
    """Decode everything that the page shows, for one that does not decode."""
    trained = run.trained
    size = sources.latents.shape[1]

    def frames(latents):
        latents = np.asarray(latents, sources.latents.dtype)
        show, flat = lambda z: view.show(trained.decode(z)), latents.reshape(-1, size)
        outputs = np.concatenate(in_parts(show, flat, PART))
        kind = "uint8" if view.is_image else "float32"
        return packed(outputs.reshape(*latents.shape[:-1], *outputs.shape[1:]), kind)

    paths = _path_part(trained, sources, counts)
    spreads, samples = _drawn(run, sources, counts)
    left, right, low, high = found["map"]["extent"]
    # Row after row from above, as a picture is.
    rows, columns = (
        np.linspace(high, low, counts.grid),
        np.linspace(left, right, counts.grid),
    )
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    parts = {"centres": frames(sources.latents), "grid": frames(plane.lift(grid))}
    if paths["pairs"]:
        times = np.linspace(0.0, 1.0, counts.path, dtype=sources.latents.dtype)
        starts, ends = (sources.latents[column] for column in sources.pairs.T)
        parts["paths"] = frames(trained.join(starts, ends, times))
    parts["samples"] = frames(samples)
    if "operators" in found:
        parts["sweeps"] = frames(_sweeps(trained, sources, found["operators"], counts))
    return {
        "paths": paths,
        "samples": {"count": counts.samples, "spreads": spreads},
        "frames": parts,
    }
