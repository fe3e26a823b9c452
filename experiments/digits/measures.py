"""Measures of any model of digits: reconstruction, identity, likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from experiments.digits.classifier import Classifier, digit_classifier
from experiments.digits.likelihoods import paper_figures
from vaells_jax.data.batches import binarise
from vaells_jax.evaluation.images import identity_preservation, sample_diversity
from vaells_jax.runs.config import BaselineConfig
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.likelihood import marginal_likelihood
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run
from vaells_jax.trained.vaells import TrainedVaells

NUM_DIGITS, NUM_SAMPLES = 200, 24
"""Test digits that are measured, and samples of each."""

REACH, NUM_POINTS = 25.0, 11
"""Coefficients that the paths of Fig. 12 sweep to either side; points of each path."""


def inputs_of(run: Run, images: ArrayLike) -> Array:
    """Return digits as the model takes them: grey, or one draw of their pixels."""
    images = jnp.asarray(images)
    if isinstance(run.config, BaselineConfig) and run.config.binarise:
        return binarise(jax.random.key(0), images)
    return images


def posterior_samples(run: Run, images: ArrayLike) -> tuple[Array, Array]:
    """Decode images' latent means and samples around them, spread as in the figures.

    Returns:
        Decoded means `[n, 28, 28]` and samples `[n, NUM_SAMPLES, 28, 28]`.
    """
    wide, inputs = run.trained.widened(), inputs_of(run, images)
    key = jax.random.fold_in(run.key, 2)
    drawn = wide.sample_posterior(key, inputs, NUM_SAMPLES)
    return wide.reconstruct(inputs), wide.decode(drawn)


def operator_paths(run: Run, images: ArrayLike, sweep: ArrayLike) -> Array:
    """Decode paths of each operator alone through images, `[M, n, T, 28, 28]`."""
    trained, images = run.trained, jnp.asarray(images)
    assert isinstance(trained, TrainedVaells)
    operators = range(len(trained.params.operators))
    # One operator at a time, which bounds the memory.
    return jnp.stack(
        [trained.decode(trained.path(images, m, jnp.asarray(sweep))) for m in operators]
    )


def measure(run: Run) -> Merits:
    """Measure a model of natural digits."""
    test = run.data.source.test
    classifier = digit_classifier(run.data.source, rotated=False)
    found = common_merits(run, classifier)
    count = run.config.evaluation.points
    points = inputs_of(run, test.inputs[:count])
    found |= marginal_likelihood(run, points, test.labels[:count])
    if not run.is_vaells:
        return found
    return paper_figures(run) | found | _operator_merits(run, classifier)


def common_merits(run: Run, classifier: Classifier) -> Merits:
    """Measure what natural and rotated digits have in common, of any model."""
    test = run.data.source.test
    images, labels = test.inputs[:NUM_DIGITS], test.labels[:NUM_DIGITS]
    names = classifier.name(labels)
    still, samples = posterior_samples(run, images)
    kept = identity_preservation(samples, names, classify=classifier.classify)
    centre = identity_preservation(still[:, None], names, classify=classifier.classify)
    paths = _paths_within_classes(run, images, labels)
    along = identity_preservation(paths, names, classify=classifier.classify)
    return {
        "reconstruction_mse": merit(
            float(np.mean((np.asarray(still) - images) ** 2)),
            f"squared error of decoded latent means, a pixel, {NUM_DIGITS} test "
            "digits, against their grey values",
        ),
        "identity_of_samples": merit(
            kept.share,
            f"share of {NUM_SAMPLES} posterior samples of each of {NUM_DIGITS} test "
            "digits, spread as in the figure, that a classifier takes for their digit",
        ),
        "sample_diversity": merit(
            sample_diversity(samples),
            "variance of a pixel over a digit's samples, mean over pixels and digits",
        ),
        "identity_of_reconstructions": merit(
            centre.share, "the same share of the decoded latent means themselves"
        ),
        "identity_along_paths": merit(
            along.share,
            f"share of {NUM_POINTS} points of the model's paths between test digits of "
            "one class that the classifier takes for that class",
            whole_paths=along.whole,
        ),
        "classifier_accuracy": merit(
            classifier.accuracy, "of that classifier, on test digits"
        ),
    }


def _paths_within_classes(run, images, labels):
    """Decode the model's paths between pairs of test digits of one class."""
    generator = np.random.default_rng(0)
    partner = [generator.choice(np.flatnonzero(labels == label)) for label in labels]
    inputs = inputs_of(run, images)
    found = run.trained.interpolate(inputs, inputs[np.array(partner)], NUM_POINTS)
    return run.trained.decode(found.latents)


def _operator_merits(run, classifier):
    """Measure what each operator makes of natural digits."""
    test = run.data.source.test
    sweep = np.linspace(-REACH, REACH, NUM_POINTS)
    paths = np.asarray(operator_paths(run, test.inputs[:NUM_DIGITS], sweep))
    labels, classify = test.labels[:NUM_DIGITS], classifier.classify
    kept = [identity_preservation(path, labels, classify=classify) for path in paths]
    return {
        "identity_along_operators": merit(
            [score.share for score in kept],
            f"the same share along each operator's path, {NUM_POINTS} coefficients up "
            f"to +-{REACH:.3g}",
            per_coefficient=[score.per_view.tolist() for score in kept],
        ),
        "diversity_along_operators": merit(
            [sample_diversity(path) for path in paths],
            "variance of a pixel along each operator's path",
        ),
    }
