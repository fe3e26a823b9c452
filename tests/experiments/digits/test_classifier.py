import dataclasses

import jax
import numpy as np
import pytest

from experiments import natural_mnist
from experiments.digits import classifier
from experiments.digits.classifier import digit_classifier
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.classifier import ClassifierOptions
from vaells_jax.runs.run import Run, RunData

QUICK = ClassifierOptions(steps=3, batch_size=4)


@pytest.fixture
def run(tmp_path, unchecked, monkeypatch):
    monkeypatch.setattr(classifier, "ClassifierOptions", lambda steps: QUICK)
    dataset = load_images("mnist_5k")
    data = RunData("mnist_5k", dataset.train.inputs, None, lambda step: None, dataset)
    key = jax.random.key(0)
    return Run(natural_mnist.PAPER, data, None, key, tmp_path / "own", 1)


def test_a_classifier_is_trained_once_for_a_folder(run, tmp_path, monkeypatch):
    first = digit_classifier(run, rotated=True)
    assert (run.workdir / "classifier.npz").is_file()
    images = run.data.source.test.inputs[:50]
    np.testing.assert_array_equal(first.name([0, 6, 9]), [0, 6, 6])
    with monkeypatch.context() as patch:
        refuse = lambda *args, **kwargs: pytest.fail("trained again")
        patch.setattr(classifier, "train_classifier", refuse)
        second = digit_classifier(run, rotated=True)
    assert second.accuracy == first.accuracy
    np.testing.assert_array_equal(second.classify(images), first.classify(images))
    # Another task wants another classifier.
    trained, train = [], classifier.train_classifier
    counted = lambda *args, **kwargs: trained.append(1) or train(*args, **kwargs)
    monkeypatch.setattr(classifier, "train_classifier", counted)
    third = digit_classifier(run, rotated=False)
    assert len(trained) == 1
    np.testing.assert_array_equal(third.name([0, 6, 9]), [0, 6, 9])
    # Runs that share a folder share it.
    shared = dataclasses.replace(run, shared=tmp_path)
    for _ in range(2):
        digit_classifier(shared, rotated=False)
    assert len(trained) == 2
    assert (tmp_path / "classifier.npz").is_file()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_a_file_that_holds_none_is_named(content, run):
    run.workdir.mkdir()
    (run.workdir / "classifier.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"classifier.npz holds no classifier; remove"):
        digit_classifier(run, rotated=False)


def test_lengths_of_training(run, monkeypatch):
    asked = []
    stop = lambda steps: asked.append(steps) or QUICK
    monkeypatch.setattr(classifier, "ClassifierOptions", stop)
    quick = dataclasses.replace(run, config=natural_mnist.QUICK)
    for of, rotated in ((run, True), (run, False), (quick, True), (quick, False)):
        digit_classifier(of, rotated=rotated)
    assert asked == [3000, 800, 1000, 800]
