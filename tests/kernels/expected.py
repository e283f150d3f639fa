"""What the probes must say on each kernel, and which of their tests run there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from collectors.bpf.probe import discover

# A probe that is not named must say "ok", and nothing that it does without.
VERDICTS: dict[str, dict[str, str]] = {
    "6.1": {
        "biosnoop": "ok: this kernel has no tracepoint block:block_io_start",
        "cachestat": (
            "ok: this kernel has no tracepoint raw:mm_filemap_get_pages; "
            "this kernel has no tracepoint filemap:mm_filemap_fault"
        ),
        "dnslat": "missing_tracepoint: this kernel has no tracepoint raw:sock_send_length",
    },
    "6.12": {},
}

# The first test of a probe runs in the guests, or those named here. Their loads are small,
# and they assert numbers and orders but no speed.
TESTS: dict[str, tuple[str, ...]] = {
    # A loop device of 6.1 reads zeros beyond the end of its file.
    "blockerrors": ("test_writes_to_a_full_image_are_errors_by_their_name",),
    # What is read and what is mapped have a kprobe each.
    "cachestat": (
        "test_of_a_file_that_is_partly_cold_the_absent_pages_are_missed",
        "test_each_cold_page_of_a_mapped_file_is_missed_once",
    ),
}

_BPF = Path(__file__).parents[1] / "bpf"


def told(verdict: str, text: str) -> str:
    """Join a verdict and its words."""
    return f"{verdict}: {text}" if text else str(verdict)


def chosen(series: str) -> Iterator[str]:
    """Name the tests of the probes that work on a kernel, as pytest names them."""
    for probe in discover():
        file = _BPF / f"test_{probe}.py"
        if file.exists() and works(series, probe):
            for test in TESTS.get(probe, tests_in(file)[:1]):
                yield f"tests/bpf/{file.name}::{test}"


def works(series: str, probe: str) -> bool:
    """Tell whether a probe must work on a kernel, with or without all it looks for."""
    return VERDICTS[series].get(probe, "ok").startswith("ok")


def tests_in(file: Path) -> list[str]:
    """Name the tests of a file in their order."""
    body = ast.parse(file.read_text()).body
    functions = [one.name for one in body if isinstance(one, ast.FunctionDef)]
    return [name for name in functions if name.startswith("test_")]
