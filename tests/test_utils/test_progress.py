import io

import pytest

from afa.utils import progress
from afa.utils.progress import Progress, time_text


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_now_and_then(clock):
    stream = io.StringIO()
    line = Progress(100, "photos", stream=stream)
    for done in range(1, 101):
        clock[0] = 0.5 * done
        line.step()
    assert stream.getvalue().splitlines() == [
        "30/100 photos, 2.00/s, 35 s left",
        "60/100 photos, 2.00/s, 20 s left",
        "90/100 photos, 2.00/s, 5 s left",
        "100/100 photos, 2.00/s",
    ]


def test_a_terminal_gets_one_line_that_changes(clock):
    stream = _Terminal()
    line = Progress(3, stream=stream)
    for _ in range(3):
        clock[0] += 200
        line.step()
    shown = stream.getvalue()
    assert shown.count("\n") == 1 and shown.endswith("\n")
    parts = [part.rstrip() for part in shown.split("\r")[1:]]
    assert parts == ["1/3 images, 0.01/s, 6 min 40 s left", "2/3 images, 0.01/s, 3 min 20 s left",
                     "3/3 images, 0.01/s"]  # fmt: skip


def test_several_at_once_and_the_speed(clock):
    line = Progress(10, stream=io.StringIO())
    clock[0] = 4.0
    line.step(8)
    assert line.speed == 2.0 and line.done == 8


def test_a_silent_process_prints_nothing(clock):
    stream = io.StringIO()
    line = Progress(1, active=False, stream=stream)
    clock[0] = 100
    line.step()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (130, "2 min 10 s"), (7500, "2 h 5 min")],
)
def test_time_text(seconds, text):
    assert time_text(seconds) == text


def test_a_long_function_says_how_far_it_is():
    stream = io.StringIO()
    line = Progress(unit="photos", stream=stream)
    for done in (1, 2, 3):
        line.show(done, 3)
    assert stream.getvalue().startswith("3/3 photos") and line.done == 3
