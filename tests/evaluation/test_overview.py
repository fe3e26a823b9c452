import types
from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy.linalg import expm

from vaells_jax.evaluation import overview
from vaells_jax.evaluation.overview import overview_figures, overview_merits

SHAPES = {"grey": (5, 9, 1), "flat": (5, 9), "colour": (6, 4, 3), "vector": (7,)}
TURN = np.array([[0.0, -0.5], [0.5, 0.0]])
COMMON = {
    "reconstructions",
    "prior_samples",
    "posterior_samples",
    "widened_samples",
    "interpolations",
    "latent_map",
}


class Params(NamedTuple):
    operators: np.ndarray
    anchors: np.ndarray | None


class Copying:
    """A model whose latents are the first two entries, and that keeps only these."""

    def __init__(self, shape, params=None):
        self.shape, self.params = shape, params
        self.pairs, self.labels = [], []

    def encode(self, inputs):
        return np.asarray(inputs).reshape(len(inputs), -1)[:, :2]

    def decode(self, latents):
        flat = np.zeros((*latents.shape[:-1], int(np.prod(self.shape))), np.float32)
        flat[..., :2] = latents
        return flat.reshape(*latents.shape[:-1], *self.shape)

    def reconstruct(self, inputs):
        return self.decode(self.encode(inputs))

    def sample_prior(self, key, count, label=None):
        self.labels.append(label)
        return np.asarray(jax.random.normal(key, (count, 2)))

    def sample_posterior(self, key, inputs, num_samples=1):
        noise = np.asarray(jax.random.normal(key, (len(inputs), num_samples, 2)))
        return self.encode(inputs)[:, None] + noise

    def widened(self):
        return self

    def interpolate(self, first, last, steps):
        self.pairs.append((first, last))
        starts, ends = self.encode(first), self.encode(last)
        distance = np.linalg.norm(ends - starts, axis=1)
        paths = np.stack([starts] * (steps - 1) + [ends], axis=1)
        return types.SimpleNamespace(latents=paths, gap=distance / 4, distance=distance)

    def path(self, inputs, operator, coefficients):
        moves = [expm(c * self.params.operators[operator]) for c in coefficients]
        return np.einsum("tij,nj->nti", moves, self.encode(inputs))


def examples(shape, count=40):
    draw = np.random.default_rng(0)
    inputs = draw.uniform(size=(count, *shape)).astype(np.float32)
    return inputs, draw.integers(0, 3, count)


def transporting(shape, inputs):
    anchors = np.stack([inputs[:4]] * 3)
    return Copying(shape, Params(np.stack([TURN, 0.1 * np.eye(2)]), anchors))


@pytest.mark.parametrize(
    ("kind", "labelled"),
    [("grey", True), ("flat", False), ("colour", False), ("vector", True),
     ("plane", True)],
)  # fmt: skip
def test_data_of_every_shape_have_all_figures(kind, labelled):
    shape = SHAPES.get(kind, (2,))
    inputs, labels = examples(shape)
    model = transporting(shape, inputs)
    found = overview_figures(
        model, jax.random.key(0), inputs, labels if labelled else None, ("a", "b")
    )
    assert set(found) == COMMON | {"operator_paths", "operator_eigenvalues"}
    for figure in found.values():
        figure.draw_without_rendering()
    by_class = labelled and kind != "plane"
    assert set(model.labels) == ({0, 1, 2} if by_class else {None})
    if by_class:
        (axes,) = found["prior_samples"].axes
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["test data", "a", "b", "class 2"]


def test_models_without_operators_or_anchors_lack_only_what_needs_them():
    inputs, labels = examples((7,))
    plain = Copying((7,), params=())
    assert set(overview_figures(plain, jax.random.key(0), inputs, labels)) == COMMON
    assert set(overview_merits(plain, jax.random.key(0), inputs, labels)) == {
        "reconstruction_mse", "explained_variance",
    }  # fmt: skip
    own = Copying((7,), Params(TURN[None], None))
    found = overview_figures(own, jax.random.key(0), inputs, labels)
    assert "prior_samples" not in found


def test_merits_against_their_definitions():
    inputs, labels = examples((7,), 300)
    model = transporting((7,), inputs)
    merits = overview_merits(model, jax.random.key(0), inputs, labels)
    value = {name: value for name, (value, meaning) in merits.items() if meaning}
    error = np.sum(inputs[:, 2:].astype(float) ** 2) / inputs.size
    np.testing.assert_allclose(value["reconstruction_mse"], error, rtol=1e-5)
    variance = np.mean((inputs - inputs.mean(0)) ** 2)
    np.testing.assert_allclose(
        value["explained_variance"], 1 - error / variance, rtol=1e-4
    )
    np.testing.assert_allclose(value["path_gap"], 0.25, rtol=1e-6)
    np.testing.assert_allclose(value["operator_norms"], [0.5**0.5, 0.02**0.5])
    # Eigenvalues 0.5i, -0.5i, 0.1 and 0.1.
    np.testing.assert_allclose(value["operator_rotation"], 0.5 / 0.52)
    np.testing.assert_allclose(value["operator_growth"], 0.1)


def test_pairs_are_different_and_of_one_class():
    inputs, labels = examples((7,), 60)
    model = transporting((7,), inputs)
    key = jax.random.key(0)  # one key for both, as a run has
    overview_merits(model, key, inputs, labels)
    overview_figures(model, key, inputs, labels)
    place = {tuple(x): i for i, x in enumerate(inputs)}
    for first, last in model.pairs:
        a, b = ([place[tuple(x)] for x in part] for part in (first, last))
        assert len(a)
        assert all(i != j for i, j in zip(a, b, strict=True))
        np.testing.assert_array_equal(labels[a], labels[b])
    # The figure shows a pair of each class.
    assert set(labels[[place[tuple(x)] for x in model.pairs[1][0]]]) == {0, 1, 2}


def test_classes_of_one_have_no_pairs():
    inputs, _ = examples((7,), 3)
    model = transporting((7,), inputs)
    assert "path_gap" not in overview_merits(
        model, jax.random.key(0), inputs, np.arange(3)
    )
    found = overview_figures(model, jax.random.key(0), inputs, np.arange(3))
    assert "interpolations" not in found


def test_coefficients_turn_a_latent_by_its_own_length():
    latents = np.random.default_rng(0).normal(size=(50, 2))
    operators = np.stack([TURN, 0.1 * np.eye(2), 1e-6 * TURN])
    sweeps = overview._sweeps(operators, latents)
    # A turn by one radian; growth by e; what is hardly used goes ten times as far.
    np.testing.assert_allclose(sweeps[:, -1], [2.0, 10.0, 20.0])
    np.testing.assert_allclose(sweeps, -sweeps[:, ::-1])
    assert np.isfinite(overview._sweeps(0 * operators, latents)).all()


def test_rare_classes_are_among_the_first():
    classes = np.repeat([0, 1, 2], [2, 5, 100])
    found = classes[overview.balanced(classes)]
    np.testing.assert_array_equal(found[:9], [0, 1, 2, 0, 1, 2, 1, 2, 1])
    assert len(found) == 107


def test_images_beyond_the_unit_range_are_brought_into_it():
    inputs, labels = examples((5, 9))
    model = transporting((5, 9), 255 * inputs)
    found = overview_figures(model, jax.random.key(0), 255 * inputs, labels)
    canvas = np.asarray(found["reconstructions"].axes[0].images[0].get_array())
    shown = canvas[:5, :9] * (255 * np.ptp(inputs)) + 255 * inputs.min()
    assert min(np.abs(shown - 255 * x).max() for x in inputs) < 1e-3


def test_samples_of_a_prior_stand_ten_in_a_row():
    figure = overview.prior_figure(examples((7,), 25)[0])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["1 to 10", "11 to 20"]


@pytest.mark.parametrize("function", [overview_merits, overview_figures])
def test_data_that_do_not_fit_are_named(function, unchecked):
    inputs, labels = examples((7,))
    for bad in ((inputs, labels[1:]), (inputs[:0], labels[:0])):
        with pytest.raises(ValueError, match="inputs and labels must"):
            function(Copying((7,), ()), jax.random.key(0), *bad)
