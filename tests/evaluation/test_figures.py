import inspect
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from vaells_jax.evaluation import figures

GREEN = "#009e73"


def digits(*shape):
    return np.random.default_rng(0).uniform(size=(*shape, 6, 4)).astype(np.float32)


def unchecked(function):
    """Return the function without the run-time shape check that tests may add."""
    return inspect.unwrap(function)


def frames(axes):
    """Return the (x, y, width, height) of the green frames drawn on an axes."""
    return [
        (*patch.get_xy(), patch.get_width(), patch.get_height())
        for patch in axes.patches
        if to_hex(patch.get_edgecolor()) == GREEN
    ]


def canvas(axes):
    return np.asarray(axes.images[0].get_array())


def test_reconstructions_stand_under_their_inputs():
    inputs, outputs = digits(13), 1.0 - digits(13)
    figure = figures.reconstruction_grid(inputs, outputs, title="thirteen")
    assert figure.get_suptitle() == "thirteen"
    assert len(figure.axes) == 2
    second = canvas(figure.axes[1])
    # Tiles of 6 x 4 pixels stand two pixels apart; the places left over are white.
    np.testing.assert_array_equal(second[:6, :4], inputs[10])
    np.testing.assert_array_equal(second[8:14, :4], outputs[10])
    assert (second[:, 3 * 6 :] == 1.0).all()


def test_posterior_samples_surround_the_framed_centre():
    centres, samples = digits(3), digits(3, 24)
    figure = figures.posterior_sample_grids(centres, samples, title="samples")
    assert len(figure.axes) == 3
    for axes, centre, around in zip(figure.axes, centres, samples, strict=True):
        assert frames(axes) == [(2 * 6 - 1.5, 2 * 8 - 1.5, 6, 8)]
        tiles = canvas(axes)
        np.testing.assert_array_equal(tiles[16:22, 12:16], centre)
        np.testing.assert_array_equal(tiles[:6, :4], around[0])
        np.testing.assert_array_equal(tiles[-6:, -4:], around[-1])


def test_operator_paths_have_a_block_each_and_a_framed_zero():
    images, coefficients = digits(3, 2, 5), np.linspace(-25.0, 25.0, 5)
    figure = figures.operator_path_rows(images, coefficients, title="paths")
    assert len(figure.axes) == 3
    for axes, rows in zip(figure.axes, images, strict=True):
        assert frames(axes) == [(2 * 6 - 1.5, -1.5, 6, 2 * 8)]
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["−25", "−12.5", "0", "12.5", "25"]
        np.testing.assert_array_equal(canvas(axes)[8:14, -4:], rows[1, -1])


def test_training_curves_leave_out_what_is_not_finite_and_choose_scales():
    steps = np.arange(0, 1000, 10)
    falling = np.geomspace(1e3, 1e-2, 100)
    late = np.where(steps < 500, np.nan, 2.0)
    series = {
        "falling [nats]": falling,
        "flat": np.full(100, 3.0),
        "signed": -falling,
        "late": late,
        "never": np.full(100, np.nan),
    }
    figure = figures.training_curves(steps, series, title="curves", warm_up_steps=500)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(series)
    scales = [axes.get_yscale() for axes in figure.axes]
    assert scales == ["log", "linear", "linear", "linear", "linear"]
    assert all(len(axes.patches) == 1 for axes in figure.axes)
    raw, smooth = (line.get_ydata() for line in figure.axes[3].lines)
    assert len(raw) == 50
    np.testing.assert_allclose(smooth, 2.0, rtol=1e-12)


def test_smoothing_lowers_noise_and_keeps_the_trend():
    steps = np.arange(2000)
    noise = np.random.default_rng(0).normal(size=2000)
    trend = np.linspace(-3.0, 3.0, 2000)
    figure = figures.training_curves(steps, {"a": trend + noise}, title="noise")
    smooth = figure.axes[0].lines[1].get_ydata()
    assert np.std(smooth - trend) < 0.2
    np.testing.assert_allclose(smooth.mean(), trend.mean(), atol=0.1)


@pytest.mark.parametrize("count", [1, 4, 25])
def test_magnitudes_end_in_their_bars(count):
    norms = np.random.default_rng(0).uniform(1, 2, size=(7, count))
    figure = figures.operator_magnitudes(np.arange(7), norms, title="norms")
    lines, bars = figure.axes
    assert len(lines.lines) == count
    heights = [patch.get_height() for patch in bars.patches]
    np.testing.assert_allclose(heights, norms[-1])


def test_eigenvalues_of_a_rotation_lie_on_the_imaginary_axis():
    operators = np.array([[[0.0, -0.3], [0.3, 0.0]], [[0.1, 0.0], [0.0, -0.2]]])
    figure = figures.operator_eigenvalues(operators, title="eigenvalues")
    rotation, scaling = figure.axes[0].collections
    np.testing.assert_allclose(
        np.sort(rotation.get_offsets(), axis=0), [[0, -0.3], [0, 0.3]], atol=1e-12
    )
    np.testing.assert_allclose(
        np.sort(scaling.get_offsets(), axis=0), [[-0.2, 0], [0.1, 0]], atol=1e-12
    )


@pytest.mark.parametrize("scale", [1e-5, 1e-4, 1e-3, 1.0, 100.0])
def test_numbers_under_eigenvalues_do_not_overlap(scale):
    operators = scale * np.diag([-1.37, 2.41])[None]
    figure = figures.operator_eigenvalues(operators, title="real")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    boxes = sorted((box.x0, box.x1) for box in (x.get_window_extent() for x in labels))
    assert len(boxes) >= 3
    ends = zip(boxes[:-1], boxes[1:], strict=True)
    assert all(right > left for (_, left), (right, _) in ends)


@pytest.mark.parametrize("height", [4, 40, 128])
def test_a_channel_axis_of_one_changes_no_pixel(height):
    images = np.random.default_rng(0).uniform(size=(3, 9, height, 64))
    centres, samples = images[:, 0], images[:, 1:]
    for draw, arrays in (
        (figures.reconstruction_grid, (centres, centres)),
        (figures.posterior_sample_grids, (centres, samples)),
        (lambda x, title: figures.image_rows({"a": x}, title=title), (centres,)),
    ):
        plain = canvas(draw(*arrays, title="").axes[0])
        arrays = [array[..., None] for array in arrays]
        np.testing.assert_array_equal(canvas(draw(*arrays, title="").axes[0]), plain)


@pytest.mark.parametrize("channels", [3, 4, 7])
def test_colour_images_show_their_first_three_channels(channels):
    images = np.random.default_rng(0).uniform(-0.5, 1.5, size=(3, 40, 64, channels))
    figure = figures.reconstruction_grid(images, 1 - images, title="colour")
    tiles = canvas(figure.axes[0])
    shown = np.clip(images[..., :3], 0, 1)
    np.testing.assert_array_equal(tiles[:40, 67:131], shown[1])
    np.testing.assert_allclose(tiles[43:, :64], 1 - shown[0], atol=1e-12)
    # A row of tiles is as high as its images.
    assert figure.get_figheight() < 0.75 * figure.get_figwidth()


def test_vectors_are_curves_in_common_units():
    vectors = np.random.default_rng(0).uniform(-3, 1, size=(2, 9, 50))
    figure = figures.posterior_sample_grids(vectors[:, 0], vectors[:, 1:], title="")
    assert all(frames(axes) for axes in figure.axes)
    curves = np.stack([axes.collections[0].get_segments() for axes in figure.axes])
    assert curves.shape == (2, 9, 50, 2)
    assert (np.diff(curves[..., 0]) > 0).all()
    # One straight line leads from values to heights.
    heights, values = curves[:, 4, :, 1].ravel(), vectors[:, 0].ravel()
    assert np.corrcoef(heights, values)[0, 1] < -1 + 1e-9


def test_vectors_of_two_are_points_before_all_others():
    points = np.random.default_rng(0).uniform(size=(13, 2))
    figure = figures.reconstruction_grid(points, points, title="")
    others, shown = figure.axes[0].collections
    assert len(shown.get_offsets()) == 20
    assert len(others.get_offsets()) == 20 * 20
    assert len(figure.axes[1].collections[1].get_offsets()) == 6
    inputs, outputs = np.split(np.asarray(shown.get_offsets()), 2)
    np.testing.assert_allclose((outputs - inputs)[:, 0], 0, atol=1e-9)


def test_each_operator_may_have_its_own_coefficients():
    sweeps = np.array([[1.0], [40.0]]) * np.linspace(-1, 1, 5)
    figure = figures.operator_path_rows(
        digits(2, 3, 5), sweeps, title="", names=["a", "b"]
    )
    for axes, name, last in zip(figure.axes, "ab", ("1", "40"), strict=True):
        assert axes.get_title() == name
        assert axes.get_xticklabels()[-1].get_text() == last


def test_validation_curves_stand_beside_their_series_or_alone():
    held = (np.array([20, 60]), np.array([3.0, 1.0]))
    figure = figures.training_curves(
        np.arange(100), {"loss": np.ones(100), "rate": np.ones(100)}, title="",
        validation={"loss": held, "score": held},
    )  # fmt: skip
    assert [len(axes.lines) for axes in figure.axes] == [3, 2, 1]
    np.testing.assert_array_equal(np.array(figure.axes[0].lines[2].get_data()), held)
    titles = [axes.get_title(loc="right") for axes in figure.axes]
    assert titles == ["validation", "", "validation"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("reconstruction_grid", (digits(2)[..., None, None],) * 2, "data points must"),
        ("image_rows", ({"a": np.zeros((3, 4, 5, 2))},), "1, 3 or more channels"),
        ("image_rows", ({"a": np.zeros((3, 0))},), "rows must hold"),
        ("latent_map", (np.zeros((3, 0)),), "latents must"),
        ("latent_map", (np.zeros((3, 4)), np.zeros(2, int)), "labels and anchors must"),
        ("reconstruction_grid", (digits(2), digits(3)), "inputs and outputs must"),
        ("reconstruction_grid", (digits(0), digits(0)), "N at least 1"),
        ("posterior_sample_grids", (digits(2), digits(3, 8)), "centres and samples"),
        ("posterior_sample_grids", (digits(2), digits(2, 7)), "; got 7"),
        ("posterior_sample_grids", (digits(2), digits(2, 15)), "; got 15"),
        ("operator_path_rows", (digits(1, 2, 3), np.zeros(4)), "images must"),
        ("operator_path_rows", (digits(1, 2, 2), np.ones(2)), "must include 0"),
        ("training_curves", (np.arange(3), {}), "series must hold"),
        ("training_curves", (np.arange(3), {"a": np.zeros(4)}), "values of 'a'"),
        ("operator_magnitudes", (np.arange(3), np.ones((4, 2))), "steps and norms"),
        ("operator_eigenvalues", (np.ones((2, 3, 4)),), "operators must"),
    ],
)  # fmt: skip
def test_bad_shapes_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        unchecked(getattr(figures, name))(*arguments, title="")


def test_a_figure_is_written_whole(tmp_path):
    title = "Fashion-MNIST, cost $5 and a_b^c: " + "long " * 30
    figure = figures.reconstruction_grid(digits(2), digits(2), title=title)
    path = tmp_path / "new" / "figure.png"
    figures.save_figure(figure, path)
    figures.save_figure(figure, path)
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert image.width == round(figure.get_figwidth() * 150)
        image.load()
    assert [entry.name for entry in path.parent.iterdir()] == ["figure.png"]


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = figures.reconstruction_grid(digits(2), digits(2), title="")
    figure.savefig = lambda *args, **kwargs: 1 / 0
    with pytest.raises(ZeroDivisionError):
        figures.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_no_global_figure_state_is_touched():
    figures.operator_eigenvalues(np.zeros((1, 2, 2)), title="")
    assert "matplotlib.pyplot" not in sys.modules or not (
        sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_models_side_by_side():
    rng = np.random.default_rng(0)
    grids = {
        name: (rng.random((3, 28, 28)), rng.random((3, 8, 28, 28)))
        for name in ("VAE", "VAELLS")
    }
    figure = figures.compared_sample_grids(grids, title="two models")
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:2]] == ["VAE", "VAELLS"]
    # The centre stands in the middle of its square.
    shown = np.asarray(figure.axes[1].images[0].get_array())
    np.testing.assert_allclose(shown[30:58, 30:58], grids["VAELLS"][0][0])
    with pytest.raises(ValueError, match="less than an odd square"):
        figures.compared_sample_grids(
            {"VAE": (np.zeros((1, 2, 2)), np.zeros((1, 7, 2, 2)))}, title=""
        )


def test_rows_of_images_and_curves_of_models():
    rows = {"VAE": np.zeros((4, 28, 28)), "VampPrior": np.ones((4, 28, 28))}
    figure = figures.image_rows(rows, title="rows")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(
        rows
    )
    curves = {
        "VAE": (np.array([1, 2, 3]), np.array([-500.0, -95.0, -90.0])),
        "empty": (np.array([]), np.array([])),
    }
    (axes,) = figures.compared_curves(curves, title="bound", quantity="[nats]").axes
    assert axes.get_ylabel() == "[nats]"
    low, high = axes.get_ylim()
    assert -100 < low < -90 < high
    assert axes.get_legend().get_texts()[0].get_text() == "VAE: -90.00 at the end"
