"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from collectors.base import Context, Paths

# How long an example takes is no promise: on a busy host one may take a second.
settings.register_profile("sysdx", deadline=None)
settings.load_profile("sysdx")


class FakeContext(Context):
    """
    A context whose window is a list of prepared roots, one per tick.

    Each root is a directory with `proc`, `sys` and `root` in it; the clock
    advances by `step` seconds from one to the next.
    """

    def __init__(self, roots: list[Path], step: float = 1.0) -> None:
        super().__init__(paths=_paths(roots[0]), duration=step * (len(roots) - 1), interval=step)
        self.roots = roots

    def ticks(self) -> Iterator[float]:
        for number, root in enumerate(self.roots):
            self.paths = _paths(root)
            yield 1000.0 + number * self.interval

    def ends(self) -> Iterator[float]:
        ticks = list(range(len(self.roots)))
        for number in dict.fromkeys((ticks[0], ticks[-1])):
            self.paths = _paths(self.roots[number])
            yield 1000.0 + number * self.interval


def _paths(root: Path) -> Paths:
    return Paths(root / "proc", root / "sys", root / "root")


MakeRoots = Callable[..., FakeContext]


@pytest.fixture
def host(tmp_path: Path) -> MakeRoots:
    """
    Build a context from the files of each tick.

    Call it with one mapping per tick: path below the root ("proc/stat") to
    content; a file that is not named again keeps its earlier content, and None
    removes it.
    """

    def build(*ticks: Mapping[str, bytes | str | None], step: float = 1.0) -> FakeContext:
        files: dict[str, bytes | str] = {}
        roots = []
        for number, changes in enumerate(ticks):
            for name, content in changes.items():
                files.pop(name, None)
                if content is not None:
                    files[name] = content
            roots.append(_write(tmp_path / f"tick{number}", files))
        return FakeContext(roots, step)

    return build


def _write(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for name in ("proc", "sys", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return root
