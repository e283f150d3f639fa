"""Draw dashboards in Chromium with Grafana's own libraries, and read back what a reader sees."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sysdx" / "render"
INSTALL_SECONDS = 540.0
BUNDLE_SECONDS = 120.0
DRAW_SECONDS = 90.0  # for one dashboard
WIDTH = 1600
_PINNED = ("package.json", "package-lock.json", ".npmrc")


class RenderError(Exception):
    """Nothing could be drawn, with what the programs said."""


@dataclass(frozen=True, slots=True)
class Job:
    """
    One picture.

    Attributes:
        dashboard: As its file has it.
        prometheus: Address of the one that answers its queries.
        start: From when it shows [s since the epoch].
        end: Until when, which is also the time of the browser's clock [s since the epoch].
        picture: Where the picture goes; what is on it goes beside it, as JSON.
        variables: What a reader has chosen; the others have their first value.
        others: The dashboards that links may lead to.
        width: Of the window [pixels].
        height: What is cut off below [pixels]; None for the whole dashboard.
        scale: Pixels of the picture per pixel of the window.
        theme: "dark" or "light".

    """

    dashboard: Mapping[str, Any]
    prometheus: str
    start: float
    end: float
    picture: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[Mapping[str, Any]] = ()
    width: int = WIDTH
    height: int | None = None
    scale: float = 1.0
    theme: str = "dark"

    def told(self) -> dict[str, Any]:
        """
        Write the job as the driver reads it.

        Returns:
            Values for JSON.

        """
        others = [{key: each[key] for key in ("uid", "title", "tags")} for each in self.others]
        settings = {
            "dashboard": self.dashboard,
            "prometheus": self.prometheus,
            "from": self.start,
            "to": self.end,
            "variables": dict(self.variables),
            "others": others,
            "theme": self.theme,
        }
        return {
            "settings": settings,
            "width": self.width,
            "height": self.height,
            "scale": self.scale,
            "picture": str(self.picture),
        }


def render(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """
    Draw pictures, one after the other in one browser.

    Args:
        jobs: What to draw.

    Returns:
        list of what each page shows: problems, panels with their texts, links.

    Raises:
        RenderError: When the libraries cannot be had, or the browser fails.

    """
    home = _libraries()
    with tempfile.TemporaryDirectory(prefix="sysdx-render-") as name:
        scratch = Path(name)
        _run("node", HERE / "build.mjs", home, scratch, seconds=BUNDLE_SECONDS)
        orders = scratch / "jobs.json"
        orders.write_text(json.dumps([job.told() for job in jobs]), encoding="utf-8")
        seconds = DRAW_SECONDS * len(jobs)
        _run("node", HERE / "draw.mjs", home, scratch, orders, seconds=seconds)
    return [json.loads(job.picture.with_suffix(".json").read_text()) for job in jobs]


def _libraries() -> Path:
    """Install what the lock file names, once, outside the repository."""
    pinned = b"".join((HERE / name).read_bytes() for name in _PINNED)
    home = CACHE / hashlib.sha256(pinned).hexdigest()[:16]
    with _alone():
        if not home.is_dir():
            _install(home)
            for old in CACHE.glob("*/"):
                if old != home:
                    shutil.rmtree(old)
    return home


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(home: Path) -> None:
    """Install beside the place and move there, so that half of it is never taken for all."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as name:
        fresh = Path(name) / "libraries"
        fresh.mkdir()
        for pinned in _PINNED:
            shutil.copy(HERE / pinned, fresh)
        _run("npm", "ci", "--no-audit", "--no-fund", cwd=fresh, seconds=INSTALL_SECONDS)
        fresh.rename(home)


def _run(*command: str | Path, seconds: float, cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, text=True, timeout=seconds
        )
    except FileNotFoundError as missing:
        raise RenderError(f"{missing.filename} is not installed") from None
    except subprocess.CalledProcessError as failed:
        said = f"{failed.stdout}{failed.stderr}"[-4000:]
        raise RenderError(
            f"{command[0]} ended with {failed.returncode} and said:\n{said}"
        ) from None
    except subprocess.TimeoutExpired:
        raise RenderError(f"{command[0]} {command[1]} took longer than {seconds:g} s") from None
