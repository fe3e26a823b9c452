import numpy as np
import pytest

from experiments.digits import classifier
from experiments.digits.classifier import digit_classifier
from vaells_jax.data import cache
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.classifier import ClassifierOptions

QUICK = ClassifierOptions(steps=3, batch_size=4)


@pytest.fixture
def data(tmp_path, unchecked, monkeypatch):
    monkeypatch.setattr(classifier, "ClassifierOptions", lambda steps: QUICK)
    monkeypatch.setattr(cache, "_folder", lambda kind: tmp_path / kind)
    return load_images("mnist_5k")


def test_a_classifier_is_trained_once_for_a_data_set(data, monkeypatch):
    first = digit_classifier(data, rotated=True)
    images = data.test.inputs[:50]
    np.testing.assert_array_equal(first.name([0, 6, 9]), [0, 6, 6])
    trained, train = [], classifier.train_classifier
    counted = lambda *args, **kwargs: trained.append(1) or train(*args, **kwargs)
    monkeypatch.setattr(classifier, "train_classifier", counted)
    second = digit_classifier(data, rotated=True)
    assert not trained
    assert second.accuracy == first.accuracy
    np.testing.assert_array_equal(second.classify(images), first.classify(images))
    # Another task, and other digits, want other classifiers.
    third = digit_classifier(data, rotated=False)
    assert len(trained) == 1
    np.testing.assert_array_equal(third.name([0, 6, 9]), [0, 6, 9])
    few = data.train
    few = few._replace(inputs=few.inputs[:100], labels=few.labels[:100])
    digit_classifier(data._replace(train=few), rotated=False)
    assert len(trained) == 2


def test_lengths_of_training(data, monkeypatch):
    asked = []
    stop = lambda steps: asked.append(steps) or QUICK
    monkeypatch.setattr(classifier, "ClassifierOptions", stop)
    for quick in (False, True):
        for rotated in (True, False):
            digit_classifier(data, rotated=rotated, quick=quick)
    assert asked == [3000, 800, 1000, 800]
