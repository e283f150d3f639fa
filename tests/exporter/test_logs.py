"""The log."""

from __future__ import annotations

import json
import logging
import re

import pytest

from exporter import logs


@pytest.fixture(autouse=True)
def as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_line_tells_when_how_bad_from_where_and_what(capsys):
    logs.begin("info")
    logging.getLogger("exporter.app").warning("disk %s is late", "sda")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING exporter.app: disk sda is late\n", err
    )


def test_json_is_one_line_whatever_the_message_holds(capsys):
    logs.begin("info", "json")
    try:
        int("x\ny")
    except ValueError:
        logging.getLogger("a").exception('evil\n{"level": "info"}\x1b\udcff')
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].isascii()
    record = json.loads(lines[0])
    assert record["level"] == "error"
    assert record["message"] == 'evil\n{"level": "info"}\x1b\udcff'
    assert "ValueError" in record["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])


def test_what_is_below_the_level_is_not_written(capsys):
    logs.begin("warning")
    logging.getLogger("a").info("quiet")
    logging.getLogger("apscheduler.executors").info("fired")
    assert capsys.readouterr().err == ""
    logs.begin("debug")
    logging.getLogger("a").debug("loud")
    logging.getLogger("apscheduler.executors").info("fired")
    assert capsys.readouterr().err.count("\n") == 1


def test_to_begin_again_replaces_and_does_not_double(capsys):
    logs.begin("info")
    logs.begin("info", "json")
    logging.getLogger("a").info("once")
    assert capsys.readouterr().err.count("once") == 1
