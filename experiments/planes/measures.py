"""Measures of any model of the plane's curves, and of its operators."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from experiments.planes.data import (
    NUM_PATHS,
    NUM_SAMPLES,
    TOLERANCE,
    draw_pairs,
    with_wide_prior,
)
from experiments.planes.orbits import orbit_merits
from experiments.planes.turns import turn_merits
from vaells_jax.data.synthetic import ManifoldDataset
from vaells_jax.evaluation import structure
from vaells_jax.evaluation.alignment import affine_error
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.likelihood import marginal_likelihood
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.vaells import TrainedVaells


def measure(curves: Callable[[ManifoldDataset], np.ndarray], run: Run) -> Merits:
    """Measure a run of any model.

    Args:
        curves: The noiseless manifold in the space of the data, a curve a class.
        run: A trained run.
    """
    data, trained = run.data.source, with_wide_prior(run)
    found: Merits = {}
    if isinstance(trained, TrainedVaells):
        found = orbit_merits(run, trained)
        if len(data.anchors) > 1:
            found |= turn_merits(trained, curves(data))
    found |= model_merits(trained, data, curves(data), run.key)
    if len(data.anchors) > 1:
        found |= class_merits(trained, data)
    return found | marginal_likelihood(run, data.test.inputs)


def model_merits(
    trained: TrainedModel, data: ManifoldDataset, curves: np.ndarray, key: jax.Array
) -> Merits:
    """Measure what any model has: paths, a prior, a picture of the plane.

    Args:
        trained: The model as functions.
        data: The data set.
        curves: The noiseless manifold in the space of the data, a curve a class.
        key: Random key of the prior's samples.
    """
    samples = trained.sample_prior(jax.random.clone(key), NUM_SAMPLES)
    prior = structure.prior_score(
        np.asarray(trained.decode(samples)), curves, tolerance=TOLERANCE
    )
    latents = trained.encode(data.test.inputs)
    outputs = np.asarray(trained.decode(latents), float)
    return {
        **_path_merits(trained, data, curves),
        "prior_precision": merit(
            prior.precision,
            f"share of {NUM_SAMPLES:,} decoded prior samples within 3 noise widths "
            f"({TOLERANCE:.3g}) of the manifold",
        ),
        "prior_coverage": merit(
            prior.coverage, "share of 100 equal arcs that such samples reach"
        ),
        "reconstruction_error": merit(
            _relative_error(outputs, np.asarray(data.test.inputs, float)),
            "RMS error of decoded latent means, test points, over the data's RMS",
        ),
        "affine_error": merit(
            affine_error(np.asarray(latents), np.asarray(data.test.latents)),
            "what the best affine map from test latents leaves of the true points in "
            "the plane: RMS of the rest over the RMS about their mean",
        ),
    }


def _path_merits(trained, data, curves):
    """Measure the model's own paths and straight ones between test points."""
    starts, ends, labels = draw_pairs(data, NUM_PATHS)
    score = functools.partial(
        structure.path_score, starts, ends, labels,
        encode=trained.encode, decode=trained.decode, curves=curves,
    )  # fmt: skip
    paths, straight = score(path=trained.join), score(path=structure.straight_line)
    found = {
        "path_error": merit(
            paths.error,
            f"RMS distance of {NUM_PATHS} decoded paths between test points to the "
            "noiseless manifold, over the data's RMS",
        ),
        "linear_path_error": merit(straight.error, "the same of straight latent lines"),
    }
    if len(curves) > 1:
        found["path_class_preservation"] = merit(
            paths.class_preservation,
            "share of the paths that stay nearest to their own curve",
        )
        found["linear_path_class_preservation"] = merit(
            straight.class_preservation, "the same of straight latent lines"
        )
    return found


def class_merits(trained: TrainedModel, data: ManifoldDataset) -> Merits:
    """Measure how far two circles are apart in any model's latents, and how round.

    Only latents in the plane have a radius.
    """
    train, test = (
        np.asarray(trained.encode(split.inputs)) for split in (data.train, data.test)
    )
    labels = np.asarray(data.test.labels)
    found = {
        "class_separation": merit(
            structure.class_separation(train, data.train.labels, test, labels),
            "share of test points whose nearest training latent is of their own circle",
        )
    }
    if test.shape[1] != 2:
        return found
    spreads = [structure.radius_spread(test[labels == label]) for label in (0, 1)]
    found["radius_spread"] = merit(
        max(spreads),
        "std / mean of the latent radius about the fitted centre, after the linear map "
        "that best rounds it; the larger of the circles",
        per_class=spreads,
    )
    return found


def _relative_error(outputs, inputs):
    return float(np.sqrt(np.sum((outputs - inputs) ** 2) / np.sum(inputs**2)))
