import io
import time

import pytest

from vaells_jax import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "LINES_EVERY", 0.05)
    with progress.progress_bar(4000, unit="step", desc="train") as bar:
        for _ in range(4000):
            bar.update()
            if bar.n % 100 == 0:
                time.sleep(0.005)
                bar.set_postfix(loss="1.5", refresh=False)
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    assert 3 <= len(lines) <= 30
    assert lines[0].startswith("train: 0 of 4000 steps")
    assert lines[-1].startswith("train: 4000 of 4000 steps")
    assert lines[-1].endswith("loss=1.5")
    assert all(line.strip() for line in lines)


def test_a_terminal_gets_a_bar(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with progress.progress_bar(10, unit="step") as bar:
        bar.update(10)
    assert "\r" in stream.getvalue()
    assert "100%" in stream.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_what_is_over_at_once_shows_nothing(monkeypatch, kind):
    stream = kind()
    monkeypatch.setattr("sys.stderr", stream)
    with progress.progress_bar(10, unit="step", delay=5) as bar:
        bar.update(10)
    assert not stream.getvalue().strip()


def test_the_time_left_may_be_known_otherwise(monkeypatch):
    stream, left = io.StringIO(), [600.0]
    monkeypatch.setattr("sys.stderr", stream)
    with progress.progress_bar(100, unit="step", seconds_left=left.pop) as bar:
        bar.n = 10
        bar.refresh()
        bar.seconds_left = None
    assert "10 of 100 steps" in stream.getvalue()
    assert "10:00 left" in stream.getvalue()
