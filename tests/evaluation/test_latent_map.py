import numpy as np
import pytest

from vaells_jax.evaluation.figures import latent_map


def offsets(figure):
    return [np.asarray(c.get_offsets()) for c in figure.axes[0].collections]


def legend(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def test_many_dimensions_are_shown_by_their_principal_components():
    draw = np.random.default_rng(0)
    latents = draw.normal(size=(200, 6)) * [0.1, 3, 0.2, 1, 0.1, 0.1] + 5
    figure = latent_map(latents, anchors=latents[:3], title="latents")
    points, anchors = offsets(figure)
    left, sizes, _ = np.linalg.svd(latents - latents.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left * sizes)[:, :2], rtol=1e-6)
    np.testing.assert_allclose(anchors, points[:3])
    share = 100 * sizes**2 / np.sum(sizes**2)
    axes = figure.axes[0]
    assert axes.get_xlabel() == f"first component ({share[0]:.0f} % of variance)"
    assert axes.get_ylabel() == f"second component ({share[1]:.0f} % of variance)"
    assert legend(figure) == ["anchors"]


def test_two_dimensions_are_shown_as_they_are():
    latents = np.random.default_rng(0).normal(size=(20, 2))
    figure = latent_map(latents, title="")
    np.testing.assert_array_equal(offsets(figure)[0], latents)
    assert figure.axes[0].get_xlabel().startswith("latent 1 (")
    assert not legend(figure)


def test_one_dimension_is_counted_by_class():
    latents = np.random.default_rng(0).normal(size=(30, 1))
    labels = np.arange(30) % 3
    figure = latent_map(latents, labels, anchors=latents[:2], title="")
    bars = figure.axes[0].containers
    assert [sum(bar.get_height() for bar in part) for part in bars] == [10, 10, 10]
    assert legend(figure) == ["0", "1", "2", "anchors"]


@pytest.mark.parametrize("count", [2, 10, 11, 40])
def test_ten_classes_have_a_legend_and_more_a_colour_bar(count):
    labels = np.arange(200) % count
    latents = np.random.default_rng(0).normal(size=(200, 3))
    figure = latent_map(latents, labels, class_names=["cat"], title="")
    figure.draw_without_rendering()
    names = ["cat", *map(str, range(1, count))]
    assert legend(figure) == (names if count <= 10 else [])
    assert len(figure.axes) == (1 if count <= 10 else 2)
    if count > 10:
        ticks = [label.get_text() for label in figure.axes[1].get_yticklabels()]
        assert ticks == names[:: 1 if count == 11 else 2]
    colours = {tuple(c.get_facecolor()[0]) for c in figure.axes[0].collections[:count]}
    assert len(colours) == count


def test_small_classes_lie_above_large_ones():
    labels = np.repeat([0, 1, 2], [10, 100, 890])
    latents = np.random.default_rng(0).normal(size=(1000, 2))
    figure = latent_map(latents, labels, title="")
    small, middle, large = (c.get_zorder() for c in figure.axes[0].collections)
    assert small > middle > large


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_single_latent_has_a_map(size):
    latent_map(np.ones((1, size)), title="").draw_without_rendering()
