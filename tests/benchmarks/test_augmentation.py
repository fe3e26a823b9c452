import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from benchmarks import augmentation, few_labels, unlabelled
from benchmarks.augmentation import QUICK, TITLES
from benchmarks.few_labels import Recipe
from vaells_jax.data.arrays import Split
from vaells_jax.evaluation.classifier import ClassifierOptions


@pytest.fixture
def squares(dtype):
    """Return 40 noisy images of ten classes, each a bright row of its own."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(40) % 10)
    images = 0.2 * draw.random((40, 28, 28))
    images[np.arange(40), 2 + 2 * labels] = 1.0
    return Split(images.astype(dtype), labels)


def test_few_digits_are_as_many_of_each_class_and_drawn_by_key(squares):
    found = few_labels.few(jax.random.key(0), squares, 3)
    np.testing.assert_array_equal(found.labels, np.tile(np.arange(10), 3))
    brightest = found.inputs.mean(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(brightest, 2 + 2 * found.labels)
    assert len(np.unique(found.inputs, axis=0)) == 30
    other = few_labels.few(jax.random.key(1), squares, 3)
    assert np.abs(found.inputs - other.inputs).max() > 0.1


def test_jitter_is_bounded_affine_and_grows_with_its_strength(dtype):
    image = np.zeros((28, 28))
    image[8:20, 10:18] = 1.0
    image = scipy.ndimage.gaussian_filter(image, 1.0).astype(dtype)
    images = np.broadcast_to(image, (200, 28, 28))
    jitter = lambda strength: np.asarray(
        few_labels.jittered(jax.random.key(0), jnp.asarray(images), strength)
    )
    np.testing.assert_allclose(jitter(0.0), images, atol=1e-5)
    centres = np.array([scipy.ndimage.center_of_mass(x) for x in jitter(1.0)])
    away = centres - scipy.ndimage.center_of_mass(image)
    # Two pixels, uniform in each direction, and a little for what else is done.
    assert 1.5 < np.abs(away).max() < 3.0
    np.testing.assert_allclose(away.std(axis=0), 2.0 / 3**0.5, rtol=0.2)
    inks = jitter(1.0).sum(axis=(1, 2)) / image.sum()
    assert 0.7 < inks.min() < 0.9 < 1.1 < inks.max() < 1.45  # 1.15^2, 1 / 0.85^2
    change = [np.abs(jitter(s) - images).mean() for s in (0.25, 0.5, 1.0)]
    assert change[0] < change[1] < change[2]


def test_a_pool_repeats_what_it_is_given(squares):
    found = few_labels.pool(jax.random.key(0), squares, 100, 0.0)
    np.testing.assert_array_equal(found.inputs[40:80], squares.inputs)
    np.testing.assert_array_equal(found.labels, np.resize(squares.labels, 100))
    moved = few_labels.pool(jax.random.key(0), squares, 100, 1.0)
    assert np.abs(moved.inputs[:40] - moved.inputs[40:80]).max() > 0.1
    np.testing.assert_array_equal(moved.labels, found.labels)


def learn(real, made, **recipe):
    training = ClassifierOptions(steps=40, batch_size=20)
    params = few_labels.fit(
        jax.random.key(0), real, made, recipe=Recipe(**recipe), training=training
    )
    return few_labels.accuracy(params, real)


def test_the_classifier_learns_from_what_the_recipe_says(squares):
    wrong = squares._replace(labels=(squares.labels + 1) % 10)
    assert learn(squares, wrong) > 0.9
    assert learn(squares, wrong, share=1.0) < 0.1


def test_mixed_images_have_mixed_targets():
    first, second = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    found = few_labels._mixed(first, second, jnp.array([[0.25]]))
    np.testing.assert_allclose(found, [[0.25, 0.75]])


def test_models_see_no_labels(monkeypatch):
    config = unlabelled.config_of("vaells", 3, "mnist_5k", True)
    assert (config.seed, config.data.anchors_per_class) == (3, 80)
    data = unlabelled.without_labels(config)
    assert data.anchors.shape == (1, 80, 28, 28)
    batch = data.next_batch(0)
    assert batch.inputs.shape == (32, 28, 28)
    assert not np.asarray(batch.labels).any()


def test_methods_with_jitter_take_what_jitter_chose():
    chosen = {"jitter": {"jitter": 1.5}}
    found = augmentation.candidates("vaells_jitter", chosen)
    assert {recipe.jitter for recipe in found} == {1.5}
    assert [recipe.scale for recipe in found] == [
        recipe.scale for recipe in augmentation.candidates("vaells", chosen)
    ]


@pytest.fixture
def measured(monkeypatch):
    """Replace models and trainings by a list of what was asked."""
    asked = []

    def measure(shop, seed, count, recipe, split):
        asked.append((seed, count, recipe, split))
        return 0.5 + 0.01 * seed * (split == "test") + 0.1 * recipe.jitter

    monkeypatch.setattr(augmentation, "measure", measure)
    monkeypatch.setattr(augmentation, "Workshop", lambda settings, folder: _Shop)
    return asked


class _Shop:
    settings = dataclasses.replace(QUICK, quick=False)


def test_settings_are_chosen_on_validation_digits_alone(tmp_path, measured):
    assert augmentation.main(tmp_path, 2, quick=True) == 0
    chosen = json.loads((tmp_path / "augmentation.json").read_text())["chosen"]
    assert chosen["jitter"]["jitter"] == 2.0  # the strongest, by the measure above
    assert chosen["vaells_jitter"]["jitter"] == 2.0
    choosing = [ask for ask in measured if ask[3] == "validation"]
    assert {ask[0] for ask in choosing} == {augmentation.FIRST_VALIDATED}
    tested = [ask for ask in measured if ask[3] == "test"]
    assert len(tested) == 2 * len(TITLES)
    assert {ask[0] for ask in tested} == {0, 1}


def test_finished_cells_are_read_and_other_settings_refused(tmp_path, measured, capsys):
    assert augmentation.main(tmp_path, 1, quick=True) == 0
    before = len(measured)
    assert augmentation.main(tmp_path, 3, quick=True) == 0
    assert len(measured) == before + 2 * len(TITLES)
    assert augmentation.main(tmp_path, 3) == 2
    assert "other settings" in capsys.readouterr().err
    assert augmentation.main(tmp_path / "out", 0) == 2
    assert "wanted seeds >= 1; got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_gains_are_over_jitter_on_the_same_digits():
    cells = {
        "10": {
            "jitter": {"0": 0.5, "1": 0.7, "2": 0.9},
            "vaells_jitter": {"0": 0.52, "1": 0.73, "2": 0.94},
        },
        "5": {"jitter": {"0": 0.4}, "vaells_jitter": {"0": 0.5}},
    }
    mean, error = augmentation.gains(cells, "10", "vaells_jitter")
    assert mean == pytest.approx(0.03)
    assert error == pytest.approx(0.01 / 3**0.5)
    heads, _, *rows = augmentation.table(cells).splitlines()
    assert heads == "| labels a class | 5 | 10 |"
    assert rows == [
        "| affine jitter | 40.00 +- 0.00 | 70.00 +- 11.55 |",
        "| VAELLS's walks and jitter | 50.00 +- 0.00 | 73.00 +- 12.12 |",
        "| over jitter | +10.00 +- 0.00 | +3.00 +- 0.58 |",
    ]


@pytest.mark.slow
def test_the_quick_run_measures_every_method(tmp_path):
    assert augmentation.main(tmp_path, 1, quick=True) == 0
    cells = json.loads((tmp_path / "augmentation.json").read_text())["cells"]
    assert list(cells) == ["5"]
    assert list(cells["5"]) == list(TITLES)
    assert cells["5"]["nothing"]["0"] > 0.25  # chance is 0.1
    assert (tmp_path / "augmentation.png").stat().st_size > 10_000
