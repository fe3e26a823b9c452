import pathlib
import re

import numpy as np
import pytest

import vaells_jax

README = pathlib.Path(__file__).parents[1] / "README.md"


def blocks(path):
    """Return a page's blocks of Python."""
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_lines_for_ones_own_data_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (training,) = blocks(README)
    assert len(training.splitlines()) <= 20
    names: dict = {}
    exec(compile(training, str(README), "exec"), names)
    assert names["samples"].shape == (100, 20)
    assert names["moved"].shape == (1, 11, 20)
    points = names["points"]
    again = np.asarray(vaells_jax.load_run("runs/circle").reconstruct(points[:5]))
    assert np.mean((again - points[:5]) ** 2) < 0.3 * np.var(points)
    assert (tmp_path / "path.png").exists()
    assert (tmp_path / "runs/circle/figures/operator_paths.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "figure"),
    [("own_data.md", "paths.png"), ("operators_from_pairs.md", "orbits.png")],
)
def test_the_tutorials_run(page, figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(README.parent / "docs" / page):
        exec(compile(block, page, "exec"), names)
    assert (tmp_path / figure).exists()
    if "fit" in names:
        norms = np.sort(names["fit"].norms[-1])
        assert norms[1] < 0.05 * norms[2]  # two of the four are left


def test_the_lines_for_ones_own_code_run():
    *_, block = blocks(README.parent / "docs" / "coefficient_search.md")
    names: dict = {}
    exec(compile(block, "coefficient_search.md", "exec"), names)
    np.testing.assert_allclose(
        names["path"][-1], names["reached"][0], rtol=1e-4, atol=1e-4
    )
    gap = np.asarray(names["goal"] - names["reached"])
    energy = 0.5 * np.sum(gap**2, axis=1)
    np.testing.assert_allclose(names["fit"].objective, energy, rtol=1e-2, atol=1e-3)


def test_the_lines_for_disentanglement_run():
    (block,) = blocks(README.parent / "docs" / "disentanglement.md")
    names: dict = {}
    exec(compile(block, "disentanglement.md", "exec"), names)
    found = names["gap"], names["vote"], names["torus"].dispersion
    np.testing.assert_allclose(found, (1.0, 1.0, 0.0), atol=1e-12)


def test_every_picture_and_file_that_is_named_is_there():
    for name in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / name).exists(), name
