import dataclasses

import jax
import numpy as np
import pytest

from experiments import natural_mnist
from experiments.digits import classifier
from experiments.digits.classifier import digit_classifier
from vaells_jax.data import cache
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.classifier import ClassifierOptions
from vaells_jax.runs.run import Run, RunData

QUICK = ClassifierOptions(steps=3, batch_size=4)


@pytest.fixture
def run(tmp_path, unchecked, monkeypatch):
    monkeypatch.setattr(classifier, "ClassifierOptions", lambda steps: QUICK)
    monkeypatch.setattr(cache, "_folder", lambda kind: tmp_path / kind)
    dataset = load_images("mnist_5k")
    data = RunData("mnist_5k", dataset.train.inputs, None, lambda step: None, dataset)
    key = jax.random.key(0)
    return Run(natural_mnist.PAPER, data, None, key, tmp_path / "own", 1)


def test_a_classifier_is_trained_once_for_a_data_set(run, monkeypatch):
    first = digit_classifier(run, rotated=True)
    images = run.data.source.test.inputs[:50]
    np.testing.assert_array_equal(first.name([0, 6, 9]), [0, 6, 6])
    trained, train = [], classifier.train_classifier
    counted = lambda *args, **kwargs: trained.append(1) or train(*args, **kwargs)
    monkeypatch.setattr(classifier, "train_classifier", counted)
    second = digit_classifier(run, rotated=True)
    assert not trained
    assert second.accuracy == first.accuracy
    np.testing.assert_array_equal(second.classify(images), first.classify(images))
    # Another task, and other digits, want other classifiers.
    third = digit_classifier(run, rotated=False)
    assert len(trained) == 1
    np.testing.assert_array_equal(third.name([0, 6, 9]), [0, 6, 9])
    few = run.data.source.train
    few = few._replace(inputs=few.inputs[:100], labels=few.labels[:100])
    source = run.data.source._replace(train=few)
    data = dataclasses.replace(run.data, inputs=few.inputs, source=source)
    digit_classifier(dataclasses.replace(run, data=data), rotated=False)
    assert len(trained) == 2


def test_lengths_of_training(run, monkeypatch):
    asked = []
    stop = lambda steps: asked.append(steps) or QUICK
    monkeypatch.setattr(classifier, "ClassifierOptions", stop)
    quick = dataclasses.replace(run, config=natural_mnist.QUICK)
    for of, rotated in ((run, True), (run, False), (quick, True), (quick, False)):
        digit_classifier(of, rotated=rotated)
    assert asked == [3000, 800, 1000, 800]
