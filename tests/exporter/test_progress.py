"""How a sweep's progress is shown, on terminals and elsewhere."""

from __future__ import annotations

import io
import threading
import time

import pytest

from exporter import progress as module
from exporter.progress import progress

NAMES = ("cpu", "disk", "memory", "network", "tcp")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def walk(stream, collectors=NAMES):
    with progress("quick", 0.1, collectors, stream) as show:
        show("phase", "initialize")
        show("phase", "collect")
        for name in NAMES:
            show("collector", name)
        show("phase", "publish")


def test_elsewhere_there_is_a_line_for_each_phase():
    stream = io.StringIO()
    walk(stream)
    lines = stream.getvalue().splitlines()
    assert [line.rpartition("] ")[2] for line in lines] == ["initialize", "collect", "publish"]
    assert all(line.startswith("[") and " s] " in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "unknown"), ("TERM", "")]
)
def test_a_terminal_that_cannot_or_must_not_draw_gets_lines_too(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    stream = Terminal()
    walk(stream)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 3


def test_a_bar_hides_the_cursor_and_gives_it_back():
    stream = Terminal()
    walk(stream)
    sent = stream.getvalue()
    assert sent.index("\x1b[?25l") < sent.index("\x1b[?25h")
    assert sent.rpartition("\x1b[?25h")[2].endswith("\x1b[2K")


def test_the_cursor_comes_back_after_a_failure_too():
    stream = Terminal()
    with pytest.raises(KeyError), progress("quick", 1.0, NAMES, stream):
        raise KeyError
    assert "\x1b[?25h" in stream.getvalue()
    assert not [t for t in threading.enumerate() if t.name == "progress"]


def test_what_is_going_on_is_said_in_words(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    told = module._Told("deep", 10.0, set(NAMES))
    assert told.sentence() == "deep sweep: initialize"
    now[0] += 5
    told.note("phase", "collect")
    now[0] += 4
    assert told.sentence() == "deep sweep: observing, 6 s left"
    assert told.elapsed() == 4
    now[0] += 7
    assert told.sentence() == "deep sweep: waiting for 5 collectors"
    for name in ("cpu", "disk", "memory"):
        told.note("collector", name)
    assert told.sentence() == "deep sweep: waiting for network, tcp"
    told.note("phase", "analyze")
    assert told.sentence() == "deep sweep: analyze"


def test_the_bar_moves_while_nothing_is_told():
    stream = Terminal()
    with progress("quick", 5.0, NAMES, stream) as show:
        show("phase", "collect")
        time.sleep(0.1)
        before = len(stream.getvalue())
        deadline = time.monotonic() + 5
        while len(stream.getvalue()) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(stream.getvalue()) > before
