"""Bad input is answered by this library's own words."""

import pathlib
import re
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


def test_every_bad_call_is_refused_by_name(unchecked):
    tried, failed = cases(), []
    for case in tried:
        try:
            case.call()
            found = "accepted"
        except Exception as error:
            right = isinstance(error, ValueError) and re.search(
                case.argument, str(error)
            )
            if right and own_code(error):
                continue
            found = f"{type(error).__name__}: {error}"
        failed.append(f"{case.where}, {case.argument}: {case.came}: {found}")
    assert not failed, "\n".join(failed)
    distinct = {(case.where, case.argument, case.came) for case in tried}
    assert len(distinct) == len(tried) >= ENOUGH


def test_every_public_function_and_options_class_is_in_the_list():
    names = {*vaells_jax.__all__, *inference.__all__, *figures.__all__}
    listed = {case.where.partition(".")[0].partition(",")[0] for case in cases()}
    assert names - RECORDS <= listed
    assert names >= RECORDS
    assert not listed & RECORDS


def test_every_bad_command_line_ends_with_words_that_say_why(
    tmp_path, capsys, unchecked
):
    failed = []
    for i, (flag, line) in enumerate(command_lines()):
        workdir = tmp_path / str(i)
        try:
            status = main(swiss_roll.EXPERIMENT, [f"--workdir={workdir}", *line])
        except SystemExit as stopped:  # the parser's own
            status = stopped.code
        said = capsys.readouterr().err.replace("_", "-")
        # A value that no flag takes is named itself.
        words = [flag.rpartition(".")[2].lstrip("-"), "perhaps"]
        told = "Traceback" not in said and any(word in said for word in words)
        # A folder is not claimed by a mistake.
        if status != 2 or not told or workdir.exists():
            failed.append(f"{' '.join(line)}: status {status}, {said}")
    assert not failed, "\n".join(failed)


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
