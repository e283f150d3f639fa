"""What the worker and its parent say to each other: lines of JSON on standard input and output."""

from __future__ import annotations

import functools
import json
import os
import select
import sys
from typing import Any

from collectors.bpf import process


def request() -> dict[str, Any]:
    """
    Read the one line that says what is wanted, and not a byte of what follows.

    Returns:
        What it holds. When there is none, this process ends.

    """
    with open(0, "rb", buffering=0, closefd=False) as words:
        line = words.readline()
    if not line:
        sys.exit(0)
    wanted: dict[str, Any] = json.loads(line)
    return wanted


def told(timeout: float | None) -> bool:
    """
    Wait for a word on standard input.

    Args:
        timeout: Longest wait [s]; None for ever.

    Returns:
        Whether one came. When the other side is gone, this process ends.

    """
    if not select.select([0], [], [], timeout)[0]:
        return False
    if not os.read(0, 4096):
        os._exit(0)
    return True


def say(kind: str, **more: Any) -> None:
    """
    Answer with one line.

    Args:
        kind: Of the answer.
        more: What belongs to it.

    """
    line = json.dumps({"kind": kind, **more}, separators=(",", ":")) + "\n"
    data = line.encode()
    while data:
        data = data[os.write(_output(), data) :]


@functools.cache
def _output() -> int:
    """Standard output, as long as this process lives."""
    return process.out_of_reach(1)
