import json

import jax
import numpy as np
import pytest

from benchmarks.inference_throughput import Session, parse_arguments, run_families
from benchmarks.peers import conjugate_gradients, objective
from benchmarks.problems import FAMILIES, draw_problems
from benchmarks.report import batch_exponent, plot_axes, print_against


@pytest.fixture(autouse=True)
def same_keys():
    """Let calls repeat their keys: a benchmark times one problem again and again."""
    with jax.debug_key_reuse(False):
        yield


def test_the_yardstick_reaches_a_minimum():
    problems = draw_problems(FAMILIES["natural"], 3, seed=0)
    found, reached = conjugate_gradients(problems, np.random.default_rng(0))
    still = objective(*problems, np.zeros((3, 4)))
    assert np.all(reached < still)
    rng = np.random.default_rng(1)
    for _ in range(20):  # no small move from there is worth anything
        moved = found + 0.3 * rng.normal(size=found.shape)
        assert np.all(objective(*problems, moved) > reached - 1e-4)


def test_rows_of_a_family_are_written_and_compared(tmp_path, capsys):
    arguments = parse_arguments(
        ["--family", "swiss_roll", "--seeds", "1", "--judged", "8", "--batch", "40",
         "--repeats", "1", "--output", str(tmp_path)]
    )  # fmt: skip
    session = Session(arguments)
    run_families(session, arguments)
    report = json.loads((tmp_path / "inference.json").read_text())
    ours = [row for row in report["rows"] if row["solver"] in ("local", "global")]
    assert [row["batch"] for row in ours] == [40, 40, 288]
    for row in ours:
        assert row["within_authors"] >= 0.9
        assert row["pairs_per_second"] > 0
        assert row["ratio"] > 0
    capsys.readouterr()
    print_against(session.rows, report["rows"])
    assert capsys.readouterr().out.count("speed x1.00, share ok +0.0000") == 4


def test_the_exponent_is_that_of_the_rows(tmp_path):
    rows = [
        {"axis": "batch", "place": n, "batch": n, "pairs_per_second": 1e6 * n**-0.2}
        for n in (288, 1024, 4096, 16384)
    ]
    assert batch_exponent(rows) == pytest.approx(1.2)
    plot_axes(rows, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 10_000
