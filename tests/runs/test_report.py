"""The report of a run: its parts without a browser, and the page in Chromium."""

import base64
import dataclasses
import html.parser
import importlib.util
import json
import shutil
import tempfile
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.runs.conftest import command
from vaells_jax import load_run, train, transport
from vaells_jax.baselines import manifold_autoencoder
from vaells_jax.evaluation.algebra import describe_operators
from vaells_jax.networks.contract import Networks
from vaells_jax.networks.stock import ConvolutionalDecoder
from vaells_jax.runs import explore, main, report
from vaells_jax.runs.curves import operators_of
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
LACKING = [
    name
    for name, found in {
        "Chromium": CHROMIUM,
        "chromedriver": shutil.which("chromedriver"),
        "selenium": importlib.util.find_spec("selenium"),
    }.items()
    if not found
]
in_browser = pytest.mark.skipif(
    bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"
)
SHORT = {
    "schedule.steps": 6, "schedule.warm_up_steps": 2, "schedule.network_steps": 2,
    "schedule.operator_steps": 2, "log.log_every": 1, "log.save_every": 6,
    "model.num_operators": 2, "data.anchors_per_class": 2, "evaluation.points": 0,
}  # fmt: skip
SLOW = pytest.mark.slow  # what takes the longest is to train on images
UGLY = '</script><b title="&">'
"""A class name that a page must not take for its own text."""


def images(channels=()):
    generator = np.random.default_rng(0)
    return generator.uniform(size=(40, 9, 8, *channels)).astype(np.float32)


class Own(nn.Module):
    """A network of one's own: one layer."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(int(np.prod(self.shape)))(x.reshape(len(x), -1))
        return nn.sigmoid(y).reshape(len(x), *self.shape)


@pytest.fixture(scope="module")
def roll(tmp_path_factory):
    """Return the folder of a tiny swiss roll: vectors, latents in the plane."""
    folder = tmp_path_factory.mktemp("roll")
    assert command(folder, **{"evaluation.points": 0}) == 0
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return the folder of a tiny run on images of two classes with ugly names."""
    folder = tmp_path_factory.mktemp("pictures")
    labels = np.where(np.arange(40) % 2, UGLY, "b")
    train(images(), labels, workdir=folder, settings=SHORT)
    return folder


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """Return the folder of a tiny run with networks of its own, and these."""
    folder = tmp_path_factory.mktemp("framed")
    networks = Networks(Own((2,)), Own((9, 8, 1)))
    settings = SHORT | {"model.latent_size": 2}
    train(images(), workdir=folder, networks=networks, settings=settings)
    return folder, networks


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """Return the folder of a tiny VAE on images."""
    folder = tmp_path_factory.mktemp("baseline")
    settings = {"schedule.steps": 6, "latent_size": 3, "evaluation.points": 0}
    train(images((3,)), workdir=folder, model="vae", settings=settings)
    return folder


def learned(folder, model):
    """Train a tiny baseline whose operators are learned from pairs of codes."""
    with pytest.MonkeyPatch.context() as short:
        for name, value in {"PAIR_BATCHES": 1, "DRAWS": 1, "STEPS": 5}.items():
            short.setattr(manifold_autoencoder, name, value)
        fields = {"evaluation.points": 0, "schedule.warm_up_steps": 2}
        assert command(folder, "--model", model, **fields) == 0
    return folder / model


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """Return the folder of a tiny Manifold Autoencoder on the swiss roll."""
    return learned(tmp_path_factory.mktemp("codes"), "manifold_autoencoder")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return the folder of operators on the swiss roll's data themselves."""
    return learned(tmp_path_factory.mktemp("bare"), "data_operators")


class Page(html.parser.HTMLParser):
    """A page's tags, which must all be closed in order, its text and its data."""

    EMPTY = ("meta", "link", "input", "br")

    def __init__(self, folder):
        super().__init__()
        self.source = (folder / "report.html").read_text(encoding="utf-8")
        self.open, self.tags, self.texts, self.ids = [], [], {}, []
        self.feed(self.source)
        self.close()
        assert not self.open
        self.text = " ".join(
            text for tag, text in self.texts.items() if tag not in ("script", "style")
        )
        self.data = json.loads(self.scripts[0])

    scripts: list[str]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag == "script":
            self.scripts = [*getattr(self, "scripts", []), ""]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data
            if self.open[-1] == "script":
                self.scripts[-1] += data


def unpacked(record):
    """Read an array of the page, as its own script does."""
    kind = np.dtype({"float32": "<f4", "uint8": "u1"}[record["kind"]])
    numbers = np.frombuffer(base64.b64decode(record["data"]), kind)
    return numbers.reshape(record["shape"])


def test_arrays_come_back_as_they_were():
    numbers = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = explore.packed(numbers)
    assert found["shape"] == [2, 3, 4]
    np.testing.assert_array_equal(unpacked(found), numbers)
    # 1 is 0x3f800000, and its last byte comes first.
    assert base64.b64decode(explore.packed([1.0])["data"]) == b"\x00\x00\x80\x3f"
    levels = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(unpacked(explore.packed(levels, "uint8")), levels)
    assert unpacked(explore.packed(np.empty((0, 2)))).shape == (0, 2)


def test_parts_are_put_in_once_and_not_searched():
    found = report.fill("<{{a}}> {{b}} {c}", {"a": "{{b}}", "b": r"\1 {{a}}"})
    assert found == r"<{{b}}> \1 {{a}} {c}"


def test_images_are_shown_as_grey_levels():
    data = np.array([[[0.0, 0.5], [1.0, 2.0]]])
    view = explore.View((2, 2), 0.0, 1.0)
    assert view.show(data).tolist() == [[[[0], [128]], [[255], [255]]]]
    assert explore.view_of(data).high == 2.0  # not in [0, 1]: scaled to it
    assert explore.View((4, 4, 5), 0.0, 1.0).show(np.zeros((3, 4, 4, 5))).shape == (
        3, 4, 4, 3,
    )  # fmt: skip
    large = explore.thinned(explore.View((200, 130), 0.0, 1.0))
    blocks = np.kron(np.arange(4.0).reshape(2, 2) / 3, np.ones((100, 65)))
    shown = large.show(blocks[None])
    assert shown.shape == (1, 50, 32, 1)
    assert shown[0, 0, 0, 0] == 0
    assert shown[0, -1, -1, 0] == 255
    curve = explore.thinned(explore.View((2000,), 0.0, 1.0))
    assert curve.show(np.zeros((1, 2000))).shape == (1, 500)


def test_a_plane_holds_most_of_the_variance():
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(5, 5)))[0]
    points = generator.normal(size=(300, 5)) * [9, 4, 1, 0.1, 0.1] @ turn.T + 7.0
    plane = explore.principal_plane(points, "latent")
    places = plane.project(points)
    wanted = np.linalg.svd(points - points.mean(axis=0))[1][:2] ** 2 / 300
    np.testing.assert_allclose(places.var(axis=0), wanted, rtol=1e-9)
    np.testing.assert_allclose(plane.project(plane.lift(places)), places, atol=1e-9)
    for size in (1, 2):
        plane = explore.principal_plane(points[:, :size], "latent")
        np.testing.assert_array_equal(plane.project(points[:, :size])[:, :size],
                                      points[:, :size])  # fmt: skip


def test_sliders_reach_a_turn_or_as_far_as_latents_stay_finite():
    latents = np.random.default_rng(0).normal(size=(50, 2))
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    grow = np.diag([3.0, -1.0])
    reach = explore.reaches(np.stack([turn, grow, 0 * turn]), latents)
    assert reach[0] == pytest.approx(np.pi)  # 2 radians a unit: a turn
    assert reach[1] == pytest.approx(0.5)  # exp(3 * 0.5) is 1.5 e-folds
    assert reach[2] == pytest.approx(5.0)


def test_frames_are_as_many_as_fit():
    rich, *_, poor = explore.FRAMED
    assert explore.choose_counts(100, 2) == rich
    assert explore.choose_counts(10**6, 2) == poor
    for size in (1_000, 5_000, 10_000):
        counts = explore.choose_counts(size, 8)
        assert counts == poor or counts.frames(8) * size <= explore.MOST_FRAME_BYTES
    # 2 examples: themselves, 3 frames of each of 4 operators, 2 * 5 samples; 2 paths.
    counts = explore.Counts(2, 4, 6, 5, 3, 7)
    assert counts.frames(9) == 2 * (1 + 12 + 10) + 2 * 6 + 49


def test_large_decoders_are_not_for_the_page(tiny_model, tiny_params, unchecked):
    from vaells_jax import LossWeights
    from vaells_jax.trained.vaells import TrainedVaells

    trained = TrainedVaells(tiny_model, tiny_params, LossWeights())
    assert explore.page_decoder(trained)[0]["scale"] == [2.0]
    decoder = ConvolutionalDecoder((256, 256))
    parameters = decoder.init(jax.random.key(0), jnp.zeros((1, 2)))
    model = dataclasses.replace(
        tiny_model, networks=Networks(tiny_model.networks.encoder, decoder)
    )
    params = tiny_params._replace(decoder=parameters)
    assert explore.page_decoder(TrainedVaells(model, params, LossWeights())) is None


def test_tables_hold_every_figure_and_escape_what_they_say():
    merits = {
        "path_error": merit(0.123456, "a < b & c", paper=0.25, standard_error=0.012),
        "many": merit([[0.5, 1.0]] * 40, "a matrix", whole=0.75),
        "none": merit(None, "not to be had"),
        "<i>": merit(True, "its name has a tag"),
    }
    found = report.merit_table(merits)
    for text in (
        "path error", "0.1235 &plusmn; 0.01", "0.25", "a &lt; b &amp; c", "many",
        "40 &times; 2 values", "whole: 0.75", "&ndash;", "&lt;i&gt;", "true",
    ):  # fmt: skip
        assert text in found
    assert "<i>" not in found
    assert "the paper" not in report.merit_table({"one": merit(1.0, "")})
    assert "not been evaluated" in report.merit_table({})


def test_operators_are_listed_with_their_planes():
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    described = describe_operators(np.stack([turn, np.eye(2)]), np.eye(2))
    found = report.operator_tables(described)
    assert "+0 &plusmn; 2i <small>(100%)</small>" in found
    assert "+1 <small>(50%)</small>" in found
    assert found.count("<table>") == 4
    alone = report.operator_tables(describe_operators(turn[None], np.eye(2)))
    assert alone.count("<table>") == 1


def test_durations_are_in_words():
    assert report.duration(31.0) == "31 s"
    assert report.duration(200.0) == "3 min"
    assert report.duration(2 * 3600 + 300) == "2 h 5 min"


def test_curves_are_thinned_to_means(tmp_path):
    values = np.arange(1000.0)
    values[5] = np.nan
    found = report._thinned(np.arange(1000.0), values)
    steps, means = unpacked(found["steps"]), unpacked(found["values"])
    assert len(steps) == report.CURVE_POINTS
    np.testing.assert_allclose(means, steps)
    assert means[0] == pytest.approx(1.5)


@pytest.mark.parametrize(
    "name",
    [
        "roll",
        "baseline",
        "codes",
        "bare",
        pytest.param("pictures", marks=SLOW),
        pytest.param("framed", marks=SLOW),
    ],
)
def test_a_page_is_whole_and_alone(name, request):
    folder = request.getfixturevalue(name)
    folder = folder[0] if isinstance(folder, tuple) else folder
    page = Page(folder)
    assert len(page.source.encode()) <= report.MOST_BYTES
    assert len(set(page.ids)) == len(page.ids)
    for _, attributes in page.tags:
        links = [attributes[key] for key in ("src", "href") if key in attributes]
        assert all(link.startswith(("#", "data:")) for link in links)
    assert "{{" not in page.text
    results = json.loads((folder / "results.json").read_text())["results"]
    for name, found in results.items():
        assert name.replace("_", " ") in page.text
        if isinstance(found["value"], float):
            assert f"{found['value']:.4g}" in page.text
    assert page.data["curves"]
    assert ("decoder" in page.data) != ("frames" in page.data)


@SLOW
def test_text_of_a_run_is_no_markup(pictures):
    page = Page(pictures)
    assert page.data["map"]["names"] == sorted([UGLY, "b"])
    assert UGLY not in page.source
    assert len(page.scripts) == 2
    assert UGLY.replace('"', "&quot;") not in page.source
    assert UGLY in page.text  # in the configuration: the data's classes


@SLOW
def test_frames_are_what_the_library_decodes(framed):
    folder, networks = framed
    page, model = Page(folder), load_run(folder, networks=networks)
    frames = {name: unpacked(found) for name, found in page.data["frames"].items()}
    levels = lambda outputs: np.rint(255 * np.clip(np.asarray(outputs), 0, 1))
    latents = unpacked(page.data["examples"]["latents"])
    wanted = levels(model.decode(latents))
    assert np.abs(frames["centres"].astype(int) - wanted).max() <= 1
    operators = model.params.operators
    part = page.data["operators"]
    for m, reach in zip(part["shown"], part["reach"], strict=True):
        end = transport(operators[m : m + 1], jnp.asarray([reach], jnp.float32),
                        jnp.asarray(latents[1]))  # fmt: skip
        found = frames["sweeps"][part["shown"].index(m), 1, -1]
        assert np.abs(found.astype(int) - levels(model.decode(end[None]))[0]).max() <= 1
    left, _, low, high = page.data["map"]["extent"]
    corners = np.array([[left, high], [left, low]], np.float32)
    found = frames["grid"][[0, -1], 0].astype(int)
    assert np.abs(found - levels(model.decode(corners))).max() <= 1


def test_a_report_that_fails_is_told_and_breaks_nothing(roll, monkeypatch, tmp_path):
    folder = shutil.copytree(roll, tmp_path / "run")
    (folder / "report.html").unlink()

    def fail(run):
        raise KeyError("no such thing")

    monkeypatch.setattr(main, "write_report", fail)
    with pytest.warns(UserWarning, match="report.html could not be written: KeyError"):
        assert command(folder, "--only=evaluate", **{"evaluation.points": 0}) == 0
    assert (folder / "results.json").exists()
    assert not (folder / "report.html").exists()


def test_a_page_that_is_too_large_is_refused(roll, monkeypatch, tmp_path, unchecked):
    monkeypatch.setattr(report, "page", lambda run, results: "é" * 5_000_001)
    run = Run(None, None, None, None, tmp_path, 1)
    with pytest.raises(ValueError, match="at most 10,000,000 bytes; got 10,000,002"):
        report.write_report(run)
    assert not list(tmp_path.iterdir())


# ---- In a browser --------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Start Chromium without a window."""
    from selenium import webdriver

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as profile:
        warnings.simplefilter("ignore")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (
            "headless", "no-sandbox", "disable-gpu", "disable-background-networking",
            "disable-component-update", "disable-sync", "no-first-run",
            f"user-data-dir={profile}", "window-size=1200,900",
        ):  # fmt: skip
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        yield driver
        driver.quit()


def opened(browser, folder):
    """Open a run's report; nothing may be said on the console."""
    browser.get(f"file://{folder}/report.html")
    assert browser.get_log("browser") == []
    trouble = "return document.getElementById('trouble').hidden"
    assert browser.execute_script(trouble)


def pixels(browser, name):
    script = "return document.getElementById(arguments[0]).toDataURL()"
    return browser.execute_script(script, name)


def press(browser, name, key, times=1):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    for _ in range(times):
        browser.find_element(By.ID, name).send_keys(getattr(Keys, key))


def levels_of(model, latent):
    """Return what the library decodes, in grey levels or in numbers."""
    return np.asarray(model.decode(np.asarray([latent], np.float32)))[0].ravel()


@in_browser
@pytest.mark.parametrize(
    "name", ["roll", "codes", "bare", pytest.param("pictures", marks=SLOW)]
)
def test_a_slider_moves_the_picture_as_the_library_does(name, browser, request):
    folder = request.getfixturevalue(name)
    model = load_run(folder)
    opened(browser, folder)
    page = Page(folder)
    before, picture = pixels(browser, "map"), pixels(browser, "picture")
    press(browser, "operator-0", "ARROW_RIGHT", 30)
    assert pixels(browser, "map") != before
    assert pixels(browser, "picture") != picture
    # 30 of 100 steps along the first operator that is shown.
    part, operators = page.data["operators"], jnp.asarray(operators_of(model))
    coefficients = np.zeros(len(operators), np.float32)
    coefficients[part["shown"][0]] = 0.3 * part["reach"][0]
    start = unpacked(page.data["examples"]["latents"])[0]
    wanted = transport(operators, jnp.asarray(coefficients), jnp.asarray(start))
    latent = browser.execute_script("return report.latent()")
    np.testing.assert_allclose(latent, wanted, rtol=1e-3, atol=1e-4)
    found = np.array(browser.execute_script("return report.picture()"))
    outputs = levels_of(model, latent)
    if name == "pictures":
        assert np.abs(found - 255 * np.clip(outputs, 0, 1)).max() <= 1.0
    else:
        scale = np.ptp(outputs) / 255
        np.testing.assert_allclose(found, outputs, atol=scale)


@in_browser
@SLOW
def test_the_pages_decoder_is_the_librarys(pictures, browser):
    model = load_run(pictures)
    opened(browser, pictures)
    size = model.params.operators.shape[-1]
    for latent in 2.0 * np.random.default_rng(0).normal(size=(3, size)):
        found = browser.execute_script(
            "return report.decode(arguments[0])", latent.tolist()
        )
        differences = np.abs(np.array(found) - levels_of(model, latent))
        assert 255 * differences.max() <= 1.0
    checked = browser.execute_script(
        "return document.getElementById('checked').textContent"
    )
    assert "less than 0.01 of 255 levels" in checked


@in_browser
def test_arrow_keys_and_clicks_decode_where_they_point(roll, browser):
    opened(browser, roll)
    start = np.array(browser.execute_script("return report.latent()"))
    left, right, low, high = Page(roll).data["map"]["extent"]
    press(browser, "map", "ARROW_RIGHT")
    moved = np.array(browser.execute_script("return report.latent()"))
    np.testing.assert_allclose(moved - start, [0.02 * (right - left), 0], atol=1e-5)
    before = pixels(browser, "picture")
    browser.execute_script(
        "const map = document.getElementById('map'), box = map.getBoundingClientRect();"
        "map.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true,"
        "clientX: box.left + 0.25 * box.width, clientY: box.top + 0.75 * box.height}))"
    )
    assert pixels(browser, "picture") != before
    found = browser.execute_script("return report.latent()")
    quarter = [0.75 * left + 0.25 * right, 0.75 * low + 0.25 * high]
    np.testing.assert_allclose(found, quarter, atol=1e-3 * (right - left))


@in_browser
def test_a_path_is_the_librarys(roll, browser):
    model = load_run(roll)
    opened(browser, roll)
    before = pixels(browser, "travel-picture")
    press(browser, "time", "ARROW_RIGHT", 50)
    assert pixels(browser, "travel-picture") != before
    latents = unpacked(Page(roll).data["examples"]["latents"])
    chosen = browser.execute_script(
        "return ['from', 'to'].map(box => Array.from(document.getElementById(box)"
        ".children).findIndex(node => node.getAttribute('aria-pressed') === 'true'))"
    )
    times = np.array([0.0, 0.3, 1.0], np.float32)
    wanted = model.join(latents[chosen[:1]], latents[chosen[1:]], times)[0]
    for time, latent in zip(times, np.asarray(wanted), strict=True):
        found = browser.execute_script("return report.along(arguments[0])", float(time))
        np.testing.assert_allclose(found, latent, rtol=1e-3, atol=1e-4)


@in_browser
def test_samples_spread_and_can_be_drawn_anew(roll, browser):
    opened(browser, roll)
    first = pixels(browser, "cloud")
    press(browser, "spread", "ARROW_RIGHT", 3)
    wider = pixels(browser, "cloud")
    press(browser, "draw", "SPACE")
    assert len({first, wider, pixels(browser, "cloud")}) == 3


@in_browser
@SLOW
def test_pages_without_a_decoder_step_through_frames(framed, browser):
    folder, _ = framed
    opened(browser, folder)
    page = Page(folder)
    press(browser, "operator-1", "ARROW_LEFT", 2)
    found = browser.execute_script("return report.picture()")
    sweeps = unpacked(page.data["frames"]["sweeps"])
    middle = sweeps.shape[2] // 2
    np.testing.assert_array_equal(found, sweeps[1, 0, middle - 2].ravel())
    press(browser, "map", "ARROW_UP")
    grid = unpacked(page.data["frames"]["grid"]).reshape(-1, 72)
    found = browser.execute_script("return report.picture()")
    assert (grid == np.array(found)).all(axis=1).any()
    disabled = "return document.getElementById('operator-0').disabled"
    assert browser.execute_script(disabled)


@in_browser
def test_a_baseline_has_the_parts_that_it_has(baseline, browser):
    opened(browser, baseline)
    ids = browser.execute_script(
        "return Array.from(document.querySelectorAll('main > section'), s => s.id)"
    )
    assert ids == ["explore", "join", "around", "merits", "curves", "configuration"]
    before = pixels(browser, "picture")
    press(browser, "map", "ARROW_UP", 3)
    assert pixels(browser, "picture") != before
    model = load_run(baseline)
    latent = browser.execute_script("return report.latent()")
    found = np.array(browser.execute_script("return report.picture()"))
    wanted = 255 * np.clip(levels_of(model, latent), 0, 1)
    assert np.abs(found - wanted).max() <= 1.0
