"""Bad input is answered by this library's own words."""

import pathlib
import traceback

import pytest

import vaells_jax
from experiments import swiss_roll
from tests.bad_inputs import RECORDS, cases, command_lines, table
from vaells_jax import inference
from vaells_jax.evaluation import figures
from vaells_jax.runs.main import main

ROOT = pathlib.Path(__file__).parents[1]
ENOUGH = 200


def own_code(error):
    """Say whether an error was raised by this project's code, not inside a library."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return pathlib.Path(last).is_relative_to(ROOT)


def test_every_bad_call_is_refused_by_name(unchecked, subtests):
    tried = cases()
    for case in tried:
        with subtests.test(f"{case.where}, {case.argument}: {case.came}"):
            with pytest.raises(ValueError, match=case.argument) as caught:
                case.call()
            assert own_code(caught.value)
    distinct = {(case.where, case.argument, case.came) for case in tried}
    assert len(distinct) == len(tried) >= ENOUGH


def test_every_public_function_and_options_class_is_in_the_list():
    names = {*vaells_jax.__all__, *inference.__all__, *figures.__all__}
    listed = {case.where.partition(".")[0].partition(",")[0] for case in cases()}
    assert names - RECORDS <= listed
    assert names >= RECORDS
    assert not listed & RECORDS


def test_every_bad_command_line_ends_with_words_that_say_why(
    tmp_path, capsys, unchecked, subtests
):
    for i, (flag, line) in enumerate(command_lines()):
        workdir = tmp_path / str(i)
        with subtests.test(" ".join(line)):
            try:
                status = main(swiss_roll.EXPERIMENT, [f"--workdir={workdir}", *line])
            except SystemExit as stopped:  # the parser's own
                status = stopped.code
            said = capsys.readouterr().err.replace("_", "-")
            assert status == 2
            assert "Traceback" not in said
            # A value that no flag takes is named itself.
            words = [flag.rpartition(".")[2].lstrip("-"), "perhaps"]
            assert any(word in said for word in words), said
            assert not workdir.exists()  # a folder is not claimed by a mistake


@pytest.mark.parametrize("kind", ["file", "below a file", "no record", "no JSON"])
def test_bad_working_folders(kind, tmp_path, capsys, unchecked):
    workdir = tmp_path / "run"
    if kind in ("file", "below a file"):
        workdir.write_text("mine")
    else:
        workdir.mkdir()
        text = '{"seed": 3}' if kind == "no record" else "{"
        (workdir / "config.json").write_text(text)
    asked = workdir / "run" if kind == "below a file" else workdir
    assert main(swiss_roll.EXPERIMENT, [f"--workdir={asked}", "--only=evaluate"]) == 2
    assert str(workdir) in capsys.readouterr().err


def test_the_docs_list_what_was_tried():
    text = (ROOT / "docs" / "bad_inputs.md").read_text()
    assert text == table(), "python -m tests.bad_inputs > docs/bad_inputs.md"
