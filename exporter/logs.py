"""The log: lines on stderr, where a service manager picks them up."""

from __future__ import annotations

import json
import logging
import sys

from exporter import clock


class _Json(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line = {
            "time": clock.rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def begin(level: str, form: str = "text") -> None:
    """
    Begin to log, or go on in another way.

    Args:
        level: debug, info, warning or error.
        form: text or json.

    """
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per fired job is not news.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
