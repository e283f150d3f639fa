"""Draw the pictures of the documents from the running program: `./dev pictures`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SYSDX = Path(sys.executable).with_name("sysdx")
ADDRESS = "127.0.0.1:10986"
CONFIG = """
profiles:
  quick: {duration: 5s, timeout: 10s, schedule: {every: 6s}}
  standard: {enabled: false}
  deep: {enabled: false}
store: {directory: ""}
"""
LOAD = ("stress-ng", "--cpu", "8", "--timeout", "120")
SHOWN = {"cpu_pressure", "cpu_utilization"}
# So that names of this machine and of its control groups are not in the pictures.
ELSEWHERE = ("unshare", "--uts", "--cgroup", "sh", "-c", 'hostname web-1 && exec "$@"', "sh")
CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


@contextmanager
def running(*command: str | Path) -> Iterator[None]:
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        program.terminate()
        program.wait()


def anomalies() -> list[str]:
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}/report", timeout=5) as answer:
            return [a["rule"] for a in json.load(answer)["summary"]["anomalies"]]
    except OSError:
        return []


def photograph(page: str, picture: Path, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [
                *CHROMIUM,
                f"--user-data-dir={scratch}",
                f"--window-size={width},{height}",
                f"--screenshot={picture}",
                page,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def status_page(scratch: Path) -> None:
    """The status page of a host whose CPUs are overloaded."""
    config = scratch / "config.yaml"
    config.write_text(CONFIG)
    serve = (SYSDX, "serve", "--config", config, "--web.listen-address", ADDRESS)
    with running(*ELSEWHERE, *LOAD), running(*ELSEWHERE, *serve):
        deadline = time.monotonic() + 60
        while SHOWN - {*anomalies()} and time.monotonic() < deadline:
            time.sleep(1)
        photograph(f"http://{ADDRESS}/", HERE / "status-page.png", 1000, 760)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        status_page(Path(name))


if __name__ == "__main__":
    main()
