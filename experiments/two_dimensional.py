"""What the swiss roll and the concentric circles share: measures and figures."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import ExperimentConfig
from experiments.problem import Problem, Run, gather
from experiments.records import MetricsLog, merit
from vaells_jax import infer_coefficients, transport, transport_path
from vaells_jax.data.batches import batch_indices
from vaells_jax.data.synthetic import LIFTED_DIM, NOISE_STD, ManifoldDataset
from vaells_jax.evaluation import structure
from vaells_jax.evaluation.figures import (
    operator_eigenvalues,
    operator_magnitudes,
    save_figure,
    training_curves,
)
from vaells_jax.evaluation.figures.planes import (
    anchor_samples,
    embeddings,
    inferred_paths,
    operator_orbits,
)
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.distributions import sample_laplace
from vaells_jax.model.networks import dense_networks
from vaells_jax.model.paths import decode_scaled, encode_scaled

NUM_PATHS = 200
NUM_SAMPLES = 2000
TOLERANCE = 3.0 * NOISE_STD * LIFTED_DIM**0.5
"""Three widths of the noise: its root mean square norm in the space of the data."""


def make_problem(config: ExperimentConfig, name: str, make_data: Callable) -> Problem:
    """Draw a 2-D set for a configuration's seed and make batches of it.

    Raises:
        ValueError: If another data set is asked for.
    """
    if config.data.dataset not in (None, name):
        raise ValueError(
            f"--dataset: {config.experiment} draws its own data, {name!r}; "
            f"got {config.data.dataset!r}."
        )
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, dataset=name)
    )
    data_key, order_key = jax.random.split(jax.random.key(config.seed + 1))
    data = make_data(data_key, num_anchors=config.data.anchors_per_class)

    return Problem(
        config=config,
        networks=dense_networks(config.model.latent_size, LIFTED_DIM),
        example_inputs=data.train.inputs,
        anchors=jnp.copy(data.anchors),  # training donates its own
        next_batch=gather(
            data.train.inputs, data.train.labels, order_key, config.data.batch_size
        ),
        data=data,
        example_indices=functools.partial(
            batch_indices,
            order_key,
            num_examples=len(data.train.labels),
            batch_size=config.data.batch_size,
        ),
    )


class Space(NamedTuple):
    """A trained model as functions of whole batches.

    Attributes:
        encode: From data to latents.
        decode: From latents to data.
        search: From latent starts and ends to coefficients and what they reach, with
            all operators.
        orbit: The same along the orbit of the dominant operator alone.
        path: From latent starts and ends and times to paths.
    """

    encode: Callable
    decode: Callable
    search: Callable
    orbit: Callable
    path: Callable


def latent_space(run: Run) -> Space:
    """Make a run's functions; searches are global, with the prior's L1 weight."""
    params, model = run.state.params, run.model
    options = InferenceOptions(search="global", l1_weight=model.prior_search.l1_weight)
    dominant = structure.spectrum(params.operators).dominant
    # Every search draws from the same key: they are answers, not samples.
    search = lambda operators, starts, ends: _search(
        jax.random.clone(run.key), operators, jnp.asarray(starts), jnp.asarray(ends),
        options=options,
    )  # fmt: skip

    def path(starts, ends, times):
        found, _ = search(params.operators, starts, ends)
        times = jnp.asarray(times, found.dtype)
        return _paths(params.operators, found, jnp.asarray(starts), times)

    return Space(
        encode=lambda x: _encode(params.encoder, jnp.asarray(x), model=model),
        decode=lambda z: _decode(params.decoder, jnp.asarray(z), model=model),
        search=functools.partial(search, params.operators),
        orbit=functools.partial(search, params.operators[dominant : dominant + 1]),
        path=path,
    )


# Functions of their arrays alone, so that the runs of several seeds share compilations.
_encode = jax.jit(encode_scaled, static_argnames="model")
_decode = jax.jit(decode_scaled, static_argnames="model")
_paths = jax.jit(jax.vmap(transport_path, (None, 0, 0, None)))
_orbit_points = jax.jit(
    jax.vmap(jax.vmap(transport_path, (None, None, 0, None)), (None, 0, None, None))
)
_move = jax.jit(jax.vmap(jax.vmap(transport, (None, 0, None)), (None, 0, 0)))


@functools.partial(jax.jit, static_argnames="options")
def _search(key, operators, starts, ends, *, options):
    """Return the best coefficients of each pair and where they lead."""
    fit = infer_coefficients(key, operators, starts, ends, options=options)
    reached = jax.vmap(transport, (None, 0, 0))(operators, fit.coefficients, starts)
    return fit.coefficients, reached


def measure(run: Run, curves: np.ndarray) -> dict[str, Any]:
    """Measure what both experiments have in common.

    Args:
        run: A trained run.
        curves: The noiseless manifold in the space of the data, a curve a class.

    Returns:
        Figures of merit by name, for `results.json`.
    """
    data: ManifoldDataset = run.problem.data
    space = latent_space(run)
    latents = np.asarray(space.encode(data.test.inputs))
    spectrum = structure.spectrum(run.state.params.operators)
    correlations, residual = _orbits(data, space, latents, spectrum)
    starts, ends, labels = draw_pairs(data, NUM_PATHS)
    score = functools.partial(
        structure.path_score, starts, ends, labels,
        encode=space.encode, decode=space.decode, curves=curves,
    )  # fmt: skip
    paths, straight = score(path=space.path), score(path=structure.straight_path)
    samples, spread = prior_samples(run, space, NUM_SAMPLES)
    prior = structure.prior_score(
        np.asarray(space.decode(samples.reshape(-1, samples.shape[-1]))),
        curves, tolerance=TOLERANCE,
    )  # fmt: skip
    outputs = np.asarray(space.decode(space.encode(data.test.inputs)), float)
    return {
        "orbit_rank_correlation": merit(
            float(np.min(correlations)),
            "Spearman of position and coefficient from one anchor of a class along the "
            "dominant operator's orbit, test points (on circles one turn from the "
            "anchor on, 1/40 left out at its ends); the least of the classes",
            per_class=correlations,
        ),
        "transport_residual": merit(
            residual,
            "median distance of encoded test points to the closest anchor's orbit of "
            "the dominant operator, over their norms",
        ),
        "path_error": merit(
            paths.error,
            f"RMS distance of {NUM_PATHS} decoded paths between test points to the "
            "noiseless manifold, over the data's RMS",
        ),
        "linear_path_error": merit(straight.error, "the same of straight latent lines"),
        "path_class_preservation": merit(
            paths.class_preservation,
            "share of the paths that stay nearest to their own curve",
        ),
        "linear_path_class_preservation": merit(
            straight.class_preservation, "the same of straight latent lines"
        ),
        "prior_precision": merit(
            prior.precision,
            f"share of {samples.size // 2:,} decoded prior samples within 3 noise "
            f"widths ({TOLERANCE:.3g}) of the manifold; Laplace scale of the "
            f"coefficients {np.array2string(spread, precision=3)}",
        ),
        "prior_coverage": merit(
            prior.coverage, "share of 100 equal arcs that such samples reach"
        ),
        "reconstruction_error": merit(
            _relative_error(outputs, np.asarray(data.test.inputs, float)),
            "RMS error of decoded latent means, test points, over the data's RMS",
        ),
        "rotation_purity": merit(
            spectrum.rotation_purity, "|Re| / |Im| of the dominant operator"
        ),
        "dominant_operator_share": merit(
            spectrum.dominant_share, "of the sum of the operators' norms"
        ),
        "operator_norms": merit(spectrum.norms.tolist(), "Frobenius norms"),
        "operator_eigenvalues": merit(
            [
                [[float(value.real), float(value.imag)] for value in values]
                for values in spectrum.eigenvalues
            ],
            "of each operator, real and imaginary parts",
        ),
    }


def draw_pairs(data: ManifoldDataset, count: int) -> tuple[np.ndarray, ...]:
    """Pick pairs of test points of one class: starts, ends, labels."""
    labels = np.asarray(data.test.labels)
    generator = np.random.default_rng(0)
    first = generator.integers(len(labels), size=count)
    second = np.array(
        [generator.choice(np.flatnonzero(labels == label)) for label in labels[first]]
    )
    inputs = np.asarray(data.test.inputs)
    return inputs[first], inputs[second], labels[first]


def prior_samples(run: Run, space: Space, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample latents from the prior by eq. 5, `[anchors, samples, d]`.

    The table's rate (zeta_3) gives samples near their anchors. The spread that makes
    them a manifold is the paths' own: the mean |c| of each operator between test points
    and their closest anchors, which is the Laplace scale of greatest likelihood.

    Returns:
        The samples and that scale.
    """
    data, operators = run.problem.data, run.state.params.operators
    anchors = np.asarray(space.encode(data.anchors.reshape(-1, LIFTED_DIM)))
    found = _closest_coefficients(data, space, anchors)
    spread = np.abs(found).mean(axis=0)
    each = count // len(anchors)
    coefficient_key, noise_key = jax.random.split(jax.random.clone(run.key))
    shape = (len(anchors), each, len(operators))
    coefficients = np.asarray(sample_laplace(coefficient_key, shape, 1.0)) * spread
    noise = jax.random.normal(noise_key, (len(anchors), each, anchors.shape[-1]))
    samples = _move(operators, jnp.asarray(coefficients, operators.dtype), anchors)
    return np.asarray(samples + run.model.noise_std * noise), spread


def _closest_coefficients(data, space, anchors):
    """Return c* from the closest anchor of its class to each test point, `[n, M]`."""
    latents = np.asarray(space.encode(data.test.inputs))
    starts, ends = _anchor_pairs(data, anchors, latents)
    found, reached = (np.asarray(x) for x in space.search(starts, ends))
    shape = (len(latents), data.anchors.shape[1])
    distance = np.linalg.norm(reached - ends, axis=-1).reshape(shape)
    length = np.abs(found).sum(axis=-1).reshape(shape)
    # All anchors may reach a point as well: the shortest path says which is closest.
    near = distance <= distance.min(axis=1, keepdims=True) + 0.02 * np.linalg.norm(
        latents, axis=-1, keepdims=True
    )
    closest = np.argmin(np.where(near, length, np.inf), axis=1)
    return found.reshape(*shape, -1)[np.arange(len(latents)), closest]


def _anchor_pairs(data, anchors, latents):
    """Pair each latent with all anchors of its class: starts and ends, flat."""
    classes, count = data.anchors.shape[:2]
    own = anchors.reshape(classes, count, -1)[np.asarray(data.test.labels)]
    ends = np.broadcast_to(latents[:, None], own.shape)
    return own.reshape(-1, own.shape[-1]), ends.reshape(-1, own.shape[-1])


def _orbits(data, space, latents, spectrum):
    """Return each class's rank correlation and the median transport residual."""
    turning = abs(spectrum.eigenvalues[spectrum.dominant, 0].imag)
    anchors = np.asarray(space.encode(data.anchors.reshape(-1, LIFTED_DIM)))
    starts, ends = _anchor_pairs(data, anchors, latents)
    found, reached = (np.asarray(x) for x in space.orbit(starts, ends))
    count = data.anchors.shape[1]
    residuals = structure.relative_residuals(latents, reached.reshape(-1, count, 2))
    middle = count // 2
    coefficients = found.reshape(-1, count)[:, middle]
    labels, positions = np.asarray(data.test.labels), np.asarray(data.test.positions)
    closed = data.anchors.shape[0] > 1
    if closed and turning:
        # Whole turns lead to the same point: count from the anchor on, one way round.
        coefficients = coefficients % (2 * np.pi / turning)
    correlations = []
    for label in np.unique(labels):
        chosen = labels == label
        offset = positions[chosen] - float(data.anchor_positions[label, middle])
        kept = np.full(offset.shape, True)
        if closed:
            offset = offset % (2 * np.pi)
            # Beside the anchor, noise decides whether a point comes first or last.
            kept = np.abs(offset - np.pi) < 0.95 * np.pi
        correlations.append(
            structure.rank_correlation(offset[kept], coefficients[chosen][kept])
        )
    return correlations, float(np.median(residuals))


def _relative_error(outputs, inputs):
    return float(np.sqrt(np.sum((outputs - inputs) ** 2) / np.sum(inputs**2)))


def draw_plane(
    run: Run, folder: pathlib.Path, *, values: np.ndarray, value_name: str
) -> list[pathlib.Path]:
    """Draw the figures that both experiments share.

    Args:
        run: A trained run.
        folder: Where the files go.
        values: What colours the test points.
        value_name: What that is.
    """
    data, space = run.problem.data, latent_space(run)
    latents = np.asarray(space.encode(data.test.inputs))
    anchors = np.asarray(space.encode(data.anchors.reshape(-1, LIFTED_DIM)))
    samples, spread = prior_samples(run, space, NUM_SAMPLES)
    scale = ", ".join(f"{value:.3g}" for value in spread)
    figures = {
        "embedding": embeddings(
            {"ground truth": np.asarray(data.test.latents), "encoded": latents},
            values, title=f"Test points ({run.label})", value_name=value_name,
        ),
        "operator_orbits": _orbit_figure(run, latents, anchors),
        "prior_samples": anchor_samples(
            samples, anchors,
            title=f"Prior samples, coefficients' Laplace scale {scale} ({run.label})",
        ),
        "inferred_paths": _path_figure(run, space, latents),
        **_curves(run),
    }  # fmt: skip
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths


def _orbit_figure(run, latents, anchors):
    """Draw each operator's orbit from one anchor of each class, over one turn."""
    operators, data = run.state.params.operators, run.problem.data
    spectrum = structure.spectrum(operators)
    classes, count = data.anchors.shape[:2]
    starts = anchors.reshape(classes, count, -1)[:, count // 2]
    turning = abs(spectrum.eigenvalues[spectrum.dominant, 0].imag)
    # The same reach for all: what the dominant operator needs for a turn.
    reach = 2 * np.pi / turning if turning else 4.0 / spectrum.norms.max()
    reach = reach if classes > 1 else 1.6 * reach
    times = jnp.linspace(-reach / 2, reach / 2, 400, dtype=operators.dtype)
    unit = jnp.eye(len(operators), dtype=operators.dtype)
    orbits = _orbit_points(operators, unit, starts, times)
    names = [
        f"operator {m + 1}, norm {norm:.3g}" for m, norm in enumerate(spectrum.norms)
    ]
    return operator_orbits(
        latents, np.asarray(orbits), names=names,
        title=f"Orbits for coefficients up to ±{reach / 2:.3g} ({run.label})",
    )  # fmt: skip


def _path_figure(run, space, latents):
    """Draw two inferred paths, long ones, of different classes where there are any."""
    data = run.problem.data
    labels, positions = np.asarray(data.test.labels), np.asarray(data.test.positions)
    pairs: list[list[int]] = []
    for label in (0, len(data.anchors) - 1):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(positions[members])]
        low, high = ((0.15, 0.85), (0.6, 0.2))[len(pairs)]
        if len(data.anchors) > 1:
            low, high = ((0.1, 0.5), (0.75, 0.4))[len(pairs)]
        pairs.append([order[int(low * len(order))], order[int(high * len(order))]])
    first, second = np.array(pairs).T
    paths = space.path(latents[first], latents[second], np.linspace(0.0, 1.0, 200))
    return inferred_paths(
        latents, np.asarray(paths), title=f"Inferred paths ({run.label})"
    )


def _curves(run):
    """Draw what `metrics.jsonl` holds."""
    lines = MetricsLog.read(run.workdir / "metrics.jsonl")
    moving = [line for line in lines if line["phase"] != "network"]
    column = lambda rows, name: np.array([row[name] for row in rows])
    names = {
        "-log p(z) [nats]": "prior",
        "operator rate": "operator_rate",
        "accepted steps": "operator_step_accepted",
        "prior path length |c|": "prior_path_length",
    }
    figures = {
        "operator_eigenvalues": operator_eigenvalues(
            run.state.params.operators, title=f"Operator eigenvalues ({run.label})"
        )
    }
    if lines:
        figures["operator_magnitudes"] = operator_magnitudes(
            column(lines, "step"), column(lines, "operator_norms"),
            title=f"Operator norms ({run.label})",
        )  # fmt: skip
        figures["reconstruction_curve"] = training_curves(
            column(lines, "step"),
            {"reconstruction [nats]": column(lines, "reconstruction")},
            title=f"Reconstruction ({run.label})",
        )
    if moving:
        figures["transport_curves"] = training_curves(
            column(moving, "step"),
            {title: column(moving, name) for title, name in names.items()},
            title=f"Operator steps ({run.label})",
        )
    return figures
