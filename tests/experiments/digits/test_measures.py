"""What is measured of any model of digits, of a model known by hand."""

import dataclasses

import numpy as np
import pytest

from experiments.digits import measures
from experiments.digits.classifier import Classifier

NUM_DIGITS = 12


@pytest.fixture
def measured(digits, monkeypatch):
    """Return what measures a run with a classifier that takes the nearest digit."""
    known = digits.test.inputs[:NUM_DIGITS].reshape(-1, 784)

    def classify(images):
        flat = np.asarray(images).reshape(-1, 1, 784)
        nearest = [np.argmin(np.sum((x - known) ** 2, axis=1)) for x in flat]
        return digits.test.labels[nearest].reshape(np.shape(images)[:-2])

    perfect = Classifier(classify, np.asarray, 1.0)
    monkeypatch.setattr(measures, "NUM_DIGITS", NUM_DIGITS)
    monkeypatch.setattr(measures, "digit_classifier", lambda run, rotated: perfect)
    return lambda run: {
        name: merit["value"] for name, merit in measures.measure(run).items()
    }


def test_a_copying_model_measures_as_it_must(measured, copying_run):
    found = measured(copying_run(0.0))
    assert found["reconstruction_mse"] == 0.0
    assert found["identity_of_samples"] == 1.0
    assert found["identity_of_reconstructions"] == 1.0
    assert found["classifier_accuracy"] == 1.0
    assert found["sample_diversity"] == pytest.approx(0.0, abs=1e-12)
    assert found["log_marginal_likelihood"] == -1.5
    # Ends of every path are digits of its class.
    assert 2 / measures.NUM_POINTS <= found["identity_along_paths"] <= 1.0
    # Widened threefold: the variance of a pixel is nine times 0.01, here of 24 samples.
    wide = measured(copying_run(0.1))["sample_diversity"]
    assert wide == pytest.approx(0.09, rel=0.06)


def test_inputs_are_binary_where_the_model_was_trained_so(copying_run, digits):
    run, images = copying_run(0.0), digits.test.inputs[:5]
    np.testing.assert_array_equal(measures.inputs_of(run, images), images)
    binary = dataclasses.replace(run.config, binarise=True)
    pixels = measures.inputs_of(dataclasses.replace(run, config=binary), images)
    assert set(np.unique(pixels)) == {0.0, 1.0}
    assert np.all(np.asarray(pixels)[images == 0.0] == 0.0)
