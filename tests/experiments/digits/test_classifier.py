import jax
import numpy as np
import pytest

from experiments import identity
from experiments.identity import digit_judge
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.classifier import ClassifierOptions

OPTIONS = ClassifierOptions(steps=3, batch_size=4)


def test_a_judge_is_trained_once_for_a_folder(tmp_path, monkeypatch):
    data = load_images("digits")
    first = digit_judge(tmp_path, data, rotated=True, options=OPTIONS)
    images = data.test.images[:50]
    np.testing.assert_array_equal(first.name([0, 6, 9]), [0, 6, 6])
    with monkeypatch.context() as patch:
        refuse = lambda *args, **kwargs: pytest.fail("trained again")
        patch.setattr(identity, "train_classifier", refuse)
        second = digit_judge(tmp_path, data, rotated=True, options=OPTIONS)
    assert second.accuracy == first.accuracy
    np.testing.assert_array_equal(second.classify(images), first.classify(images))
    # Another task wants another judge.
    trained = []
    monkeypatch.setattr(
        identity, "train_classifier",
        lambda key, *args, **kwargs: trained.append(key) or first_parameters(data),
    )  # fmt: skip
    third = digit_judge(tmp_path, data, rotated=False, options=OPTIONS)
    assert len(trained) == 1
    np.testing.assert_array_equal(third.name([0, 6, 9]), [0, 6, 9])


def first_parameters(data):
    from vaells_jax.evaluation.classifier import _NETWORK

    return _NETWORK.init(jax.random.key(0), data.train.images[:1])
