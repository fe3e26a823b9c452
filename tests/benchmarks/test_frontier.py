import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import frontier
from benchmarks.frontier import draw, table, variance_at, with_spread
from experiments.digits.classifier import Classifier
from vaells_jax import LossWeights, Model, Params, dense_networks
from vaells_jax.networks.contract import init_networks
from vaells_jax.trained.vaells import TrainedVaells

ROWS = [
    {"spread": 0.5, "identity": 1.0, "variance": 0.01},
    {"spread": 1.0, "identity": 0.9, "variance": 0.02},
    {"spread": 2.0, "identity": 0.8, "variance": 0.04},
]


@pytest.fixture
def trained(dtype):
    """Return a model of images of 4 x 4 pixels, and eight images."""
    networks = dense_networks(2, (4, 4), hidden=8)
    images = jax.random.uniform(jax.random.key(0), (8, 4, 4), dtype)
    pair = init_networks(jax.random.key(1), networks, images)
    encoder, decoder = jax.tree.map(lambda x: x.astype(dtype), pair)
    turn = jnp.array([[[0.0, -0.3], [0.3, 0.0]]], dtype)
    params = Params(encoder, decoder, turn, images[None])
    return TrainedVaells(Model(networks), params, LossWeights()), np.asarray(images)


def test_a_spread_of_one_is_that_of_the_figures(trained):
    model, images = trained
    wide = model.widened()
    draw = lambda model: model.sample_posterior(jax.random.key(0), images, 4)
    np.testing.assert_array_equal(draw(with_spread(model, 1.0)), draw(wide))
    assert with_spread(model, 2.0).rate_factor == wide.rate_factor / 2


def test_samples_lose_their_class_as_they_spread(trained):
    model, images = trained
    still = np.asarray(model.reconstruct(images))
    # A classifier that names the reconstruction that is closest.
    closest = lambda x: np.argmin(
        np.sum((np.asarray(x)[:, None] - still[None]) ** 2, axis=(2, 3)), axis=1
    )
    classifier = Classifier(closest, np.asarray, 1.0)
    done = []
    rows = frontier.frontier(model, images, np.arange(8), classifier, done.append)
    assert [row["spread"] for row in rows] == list(frontier.FACTORS)
    assert len(done) == len(rows)
    variances = [row["variance"] for row in rows]
    assert variances[:3] == sorted(variances[:3])
    assert rows[0]["identity"] > rows[-1]["identity"]


def test_the_variance_at_an_identity_is_interpolated():
    assert variance_at(ROWS, 0.9) == pytest.approx(0.02)
    assert variance_at(ROWS, 0.95) == pytest.approx(0.015)
    assert variance_at(ROWS, 0.85) == pytest.approx(0.03)
    assert variance_at(ROWS[1:], 0.95) is None


def test_the_table_and_the_figure_hold_every_run(tmp_path):
    found = {"mine": ROWS, "another": ROWS[1:]}
    text = table(found)
    pairs = "1.000 (0.0100), 0.900 (0.0200), 0.800 (0.0400)"
    assert f"| mine | {pairs} | 0.0200 | 0.0150 |" in text
    assert "| not reached |" in text
    figure = draw(found)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["mine", "another"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.01, 0.02, 0.04])


def test_something_must_be_measured():
    with pytest.raises(SystemExit, match="name --runs"):
        frontier.main()
