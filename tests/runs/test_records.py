import json

import numpy as np
import pytest

from vaells_jax.runs import records
from vaells_jax.runs.records import MetricsLog, write_json


def test_log_goes_on_without_gaps_or_doubles(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write(step, "network", 0.5 * step, {"loss": np.float32(step)})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 4, "loss"')  # killed while writing
    log = MetricsLog(path, resume_step=2)
    assert log.elapsed == 1.0
    log.write(3, "operators", 1.7, {"loss": np.float32(9)})
    log.close()
    lines = MetricsLog.read(path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[-1] == {"step": 3, "phase": "operators", "elapsed": 1.7, "loss": 9.0}


def test_values_are_plain_json(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(
        1, "joint", 0.0, {"norms": np.array([0.1, 2], np.float32), "ok": np.bool_(True)}
    )
    log.close()
    (line,) = MetricsLog.read(tmp_path / "metrics.jsonl")
    assert line["norms"] == [0.1, 2.0]
    assert line["ok"] is True


def test_missing_log_is_empty(tmp_path):
    assert MetricsLog.read(tmp_path / "none.jsonl") == []


def test_json_is_whole(tmp_path):
    write_json(tmp_path / "results.json", {"mse": np.float32(0.5)})
    assert json.loads((tmp_path / "results.json").read_text()) == {"mse": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_what_json_does_not_know_is_null_and_explained(tmp_path):
    path = tmp_path / "results.json"
    write_json(
        path,
        {
            "results": {
                "purity": {"value": np.inf, "meaning": "|Re| / |Im|"},
                "seeds": {"values": [1.0, np.nan, -np.inf], "meaning": "of each"},
                "fine": {"value": 0.5, "meaning": "a half"},
            },
            "array": np.array([np.float32(2.0), np.inf]),
        },
    )
    refuse = lambda constant: pytest.fail(f"{constant} is not JSON")
    record = json.loads(path.read_text(), parse_constant=refuse)
    purity, seeds, fine = record["results"].values()
    assert purity == {"value": None, "meaning": "|Re| / |Im| (null stands for: inf)"}
    assert seeds["values"] == [1.0, None, None]
    assert seeds["meaning"] == "of each (null stands for: -inf, nan)"
    assert fine == {"value": 0.5, "meaning": "a half"}
    assert record["array"] == [2.0, None]


def test_a_step_to_infinity_is_logged_and_read_as_nan(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write(1, "operators", 0.0, {"after": np.float32(np.inf), "before": 1.5})
    log.close()
    assert "Infinity" not in path.read_text()
    for _ in range(2):  # a log that goes on keeps its lines
        (line,) = MetricsLog.read(path)
        assert np.isnan(line["after"])
        assert line["before"] == 1.5
        MetricsLog(path, resume_step=1).close()


def write_steps(path, steps):
    log = MetricsLog(path)
    for step in steps:
        log.write(step, "joint", step / 8, {"loss": 1.0, "norms": np.ones(step % 7)})
    log.close()


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
@pytest.mark.parametrize("torn", [b"", b'{"step": 41, "lo'])
def test_going_on_keeps_every_line_up_to_the_step(block, torn, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_BLOCK", block)
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(2, 41, 2))
    whole = path.read_bytes()
    for step in (0, 1, 2, 3, 38, 39, 40, 100):
        path.write_bytes(whole + torn)
        assert MetricsLog.last(path)["step"] == 40
        log = MetricsLog(path, resume_step=step)
        log.close()
        kept = [
            line for line in whole.splitlines(True) if json.loads(line)["step"] <= step
        ]
        assert path.read_bytes() == b"".join(kept)
        assert log.elapsed == (min(step, 40) // 2 * 2) / 8


def test_going_on_reads_no_more_of_a_longer_log(tmp_path, monkeypatch):
    parsed = []
    original = records._parse
    monkeypatch.setattr(
        records, "_parse", lambda *args: parsed.append(args) or original(*args)
    )
    for count in (1_000, 20_000):
        path = tmp_path / f"{count}.jsonl"
        line = '{{"step": {}, "phase": "joint", "elapsed": 1.0}}\n'
        path.write_text("".join(map(line.format, range(1, count + 1))))
        MetricsLog(path, resume_step=count - 100).close()
        MetricsLog.last(path)
    assert len(parsed) == 2 * 102


def test_lines_that_no_run_wrote_are_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for text in ("nonsense", "[1, 2]", '{"loss": 1}', "\x00\x00"):
        path.write_text(f"{text}\n")
        for use in (MetricsLog.read, MetricsLog.last, MetricsLog):
            with pytest.raises(ValueError, match="metrics.jsonl holds a line"):
                use(path)
