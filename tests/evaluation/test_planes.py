import inspect

import numpy as np
import pytest

from vaells_jax.evaluation.figures import planes

RNG = np.random.default_rng(0)


def points(*shape):
    return RNG.normal(size=(*shape, 2))


def offsets(axes):
    return [np.asarray(c.get_offsets()) for c in axes.collections]


def test_embeddings_show_all_points_in_each_plane():
    truth, latents = points(30), points(30)
    panels = {"ground truth": truth, "encoded": latents}
    figure = planes.embeddings(
        panels, np.linspace(0, 1, 30), title="roll", value_name="place"
    )
    left, right, scale = figure.axes
    np.testing.assert_array_equal(offsets(left)[0], truth)
    np.testing.assert_array_equal(offsets(right)[0], latents)
    assert scale.get_ylabel() == "place"
    assert left.get_aspect() == 1.0


def test_classes_differ_in_marker_and_have_a_legend():
    latents, labels = points(30), np.arange(30) % 2
    figure = planes.embeddings(
        {"encoded": latents}, labels, title="", value_name="circle"
    )
    (axes,) = figure.axes
    first, second = offsets(axes)
    np.testing.assert_array_equal(first, latents[::2])
    np.testing.assert_array_equal(second, latents[1::2])
    texts = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert texts == ["circle 1", "circle 2"]


@pytest.mark.parametrize("count", [1, 4])
def test_orbits_have_a_panel_each_that_shows_the_points(count):
    latents = points(20)
    orbits = 100.0 * points(count, 3, 50)
    figure = planes.operator_orbits(latents, orbits, title="orbits")
    assert len(figure.axes) == count
    for axes, curves in zip(figure.axes, orbits, strict=True):
        lines = axes.collections[1:]
        assert len(lines) == 3
        for line, curve in zip(lines, curves, strict=True):
            np.testing.assert_allclose([s[0] for s in line.get_segments()], curve[:-1])
        assert axes.get_xlim()[1] < 10.0


def test_samples_take_their_anchors_colour():
    samples, anchors = points(6, 40), points(6)
    figure = planes.anchor_samples(samples, anchors, title="prior")
    (axes,) = figure.axes
    for index in range(6):
        cloud, anchor = axes.collections[2 * index : 2 * index + 2]
        np.testing.assert_array_equal(cloud.get_offsets(), samples[index])
        np.testing.assert_array_equal(anchor.get_offsets(), anchors[index : index + 1])
        np.testing.assert_array_equal(
            cloud.get_facecolor()[0, :3], anchor.get_facecolor()[0, :3]
        )


def test_paths_are_marked_where_they_start_and_end():
    latents, paths = points(20), points(2, 30)
    figure = planes.inferred_paths(latents, paths, title="paths")
    for axes, path in zip(figure.axes, paths, strict=True):
        _, _, start, end = axes.collections
        np.testing.assert_array_equal(start.get_offsets()[0], path[0])
        np.testing.assert_array_equal(end.get_offsets()[0], path[-1])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("operator_orbits", (points(3), points(2, 4)), "orbits must"),
        ("anchor_samples", (points(3, 5), points(2)), "samples and anchors must"),
        ("inferred_paths", (points(3), points(4)), "paths must"),
    ],
)
def test_bad_shapes_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(getattr(planes, name))(*arguments, title="")


def test_panels_must_hold_a_point_for_each_value():
    show = inspect.unwrap(planes.embeddings)
    with pytest.raises(ValueError, match="panels must"):
        show({"a": points(3)}, np.zeros(4), title="", value_name="")
