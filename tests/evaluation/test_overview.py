import jax
import numpy as np
import pytest

from vaells_jax.evaluation.figures.points import latent_map, point_rows
from vaells_jax.evaluation.overview import overview_figures, overview_merits
from vaells_jax.evaluation.structure import straight_line
from vaells_jax.trained.base import Interpolation


class Halving:
    """Latents are the data, decoded at half their size; paths end halfway."""

    encode = staticmethod(np.asarray)

    def decode(self, latents):
        return 0.5 * np.asarray(latents)

    def reconstruct(self, inputs):
        return self.decode(inputs)

    def widened(self):
        return self

    def sample_posterior(self, key, inputs, num_samples):
        return np.repeat(inputs[:, None], num_samples, axis=1)

    def sample_prior(self, key, count):
        return np.asarray(jax.random.normal(key, (count, 6)))

    def interpolate(self, first, last, steps):
        times = np.linspace(0.0, 0.5, steps)
        distance = np.linalg.norm(last - first, axis=1)
        return Interpolation(straight_line(first, last, times), distance / 2, distance)


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(50, 6)), np.repeat([0, 1], [1, 49])


def test_merits_of_a_model_that_halves(data):
    found = overview_merits(Halving(), jax.random.key(0), *data)
    squared = np.mean(data[0] ** 2)
    assert found["reconstruction_mse"][0] == pytest.approx(0.25 * squared)
    variance = np.var(data[0], axis=0).mean()
    assert found["explained_variance"][0] == pytest.approx(
        1 - 0.25 * squared / variance
    )
    assert found["path_gap"][0] == pytest.approx(0.5)


def test_figures_of_any_model(data):
    figures = overview_figures(Halving(), jax.random.key(0), *data)
    assert set(figures) == {
        "reconstructions", "prior_samples", "posterior_samples", "interpolations",
        "latent_map",
    }  # fmt: skip


def test_colour_grey_and_vectors_are_drawn_as_they_are():
    colours = np.random.default_rng(0).uniform(size=(2, 4, 6, 3))
    (axes,) = point_rows({"a": colours, "b": colours[::-1]}, title="").axes
    (image,) = axes.images
    drawn = np.asarray(image.get_array())
    assert drawn.shape == (2 * 4 + 2, 2 * 6 + 2, 3)
    np.testing.assert_allclose(drawn[:4, :6], colours[0])
    np.testing.assert_allclose(drawn[-4:, :6], colours[1])
    (axes,) = point_rows({"a": colours[..., :1]}, title="").axes
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(drawn[:, -6:], colours[1, ..., 0])
    vectors = np.array([[0.0, 1.0], [0.5, 0.25]])
    (axes,) = point_rows({"a": vectors}, title="").axes
    heights = np.stack([line.get_ydata() for line in axes.lines])
    np.testing.assert_allclose((heights - 0.1) / 0.8, vectors)


def test_latents_are_shown_in_their_principal_components():
    latents = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 5.0, 0.1]
    (axes,) = latent_map(latents, np.zeros(200, int), title="").axes
    places = np.asarray(axes.collections[0].get_offsets())
    spread = np.linalg.svd(latents - latents.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(places, axis=0), spread[:2])
