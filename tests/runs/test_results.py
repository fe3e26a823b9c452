import json

import pytest

from tests.runs.conftest import command
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.records import merit
from vaells_jax.runs.results import markdown, shown, summarise


def summary(folder, found):
    summarise(folder, found)
    record = json.loads((folder / "results.json").read_text())
    return record, (folder / "results.md").read_text()


def test_each_figure_over_seeds_and_models(tmp_path, capsys):
    result = lambda value: {
        "path_error": merit(value, "an error", paper=0.25),
        "norms": merit([value, 1.0], "more than a number"),
    }
    found = {
        "vae": [result(value) for value in (1.0, 3.0, 2.0)],
        "vaells": [
            {**result(value), "purity": merit(value, "VAELLS's own")}
            for value in (0.1, 0.3, 0.2)
        ],
    }
    record, text = summary(tmp_path, found)
    assert record["seeds"] == 3
    assert set(record["results"]) == {"path_error", "purity"}
    error = record["results"]["path_error"]
    assert error["vae"]["median"] == 2.0
    assert error["vae"]["values"] == [1.0, 3.0, 2.0]
    assert error["vae"]["mean"] == pytest.approx(2.0)
    assert error["vae"]["std"] == pytest.approx((2 / 3) ** 0.5)
    assert (error["vaells"]["paper"], error["vaells"]["meaning"]) == (0.25, "an error")
    assert list(record["results"]["purity"]) == ["vaells"]
    assert text.splitlines()[0] == "|  | vae | vaells |"
    row = "| path error | 2 (1 to 3); paper 0.25 | 0.2 (0.1 to 0.3); paper 0.25 |"
    assert row in text
    assert "| purity |  | 0.2 (0.1 to 0.3) |" in text
    assert text in capsys.readouterr().out


def test_one_run_shows_its_standard_error(tmp_path):
    found = {"M2-Na8": [{"mse": merit(0.0234, "", paper=0.0286, standard_error=12e-5)}]}
    record, text = summary(tmp_path, found)
    assert record["seeds"] == 1
    assert "| mse | 0.0234 ± 0.0001; paper 0.0286 |" in text


def test_a_figure_that_one_seed_could_not_have_is_told(tmp_path):
    found = {
        "vae": [{"purity": merit(value, "of it")} for value in (1.0, float("inf"))]
    }
    record, _ = summary(tmp_path, found)
    purity = record["results"]["purity"]["vae"]
    assert purity["values"] == [1.0, None]
    assert "null stands for" in purity["meaning"]


def test_markdown_tables():
    assert markdown(["", "a"], [["x", "1"]]) == "|  | a |\n| --- | --- |\n| x | 1 |\n"


def measured(value):
    """Return the swiss roll with a single figure of merit."""
    import dataclasses

    from experiments import swiss_roll

    experiment: Experiment = swiss_roll.EXPERIMENT
    found = {"error": merit(value, "an error", paper=0.5), "list": merit([1], "")}
    return dataclasses.replace(experiment, measure=lambda run: found)


def test_a_runs_results_say_what_decided_them(copied, capsys):
    changed = {"evaluation.points": 3}
    asked = command(copied, "--only=evaluate", experiment=measured(0.25), **changed)
    assert asked == 0
    record = json.loads((copied / "results.json").read_text())
    assert record["experiment"] == "swiss_roll"
    assert (record["model"], record["preset"]) == ("vaells", "tuned")
    assert (record["dataset"], record["seed"], record["step"]) == ("swiss_roll", 0, 8)
    assert record["weights"] == "trained here"
    assert record["latent_scale"] == 1.0
    assert record["training_seconds"] > 0
    assert record["evaluation"]["points"] == 3
    assert set(record["versions"]) == {"python", "jax"}
    error = {"value": 0.25, "paper": 0.5, "meaning": "an error"}
    assert record["results"]["error"] == error
    assert "  error = 0.25   (paper: 0.5)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.123456, "0.1235"),
        (3, "3"),
        ([0.123456, 2.0, 7], "[0.1235, 2, 7]"),
        ([0.5] * 9, "9 entries, in results.json"),
        ([[0.5], [0.25]], "2 entries, in results.json"),
    ],
)
def test_what_is_printed_of_a_figure(value, words):
    assert shown(value) == words
