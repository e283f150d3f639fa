"""Draw the dashboards of the README, over the recorded history: `./dev pictures`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tests are no package that is installed

from tests.grafana import filled, panels, replay  # noqa: E402
from tests.grafana.prometheus import running  # noqa: E402
from tests.grafana.render.renderer import Job, render  # noqa: E402

INCIDENT = replay.IN_TROUBLE[0]
HOURS = 1.5  # so that the incident has some room
# A dashboard, and what is cut off below [pixels of the window].
PICTURES = (("fleet", 986), ("host", 1176))
SCALE = 0.75
MOST_BYTES = 150_000


def job(name: str, height: int, url: str, folder: Path) -> Job:
    board = panels.load(name)
    host = {} if name == "fleet" else {"instance": INCIDENT.host}
    return Job(
        board,
        url,
        INCIDENT.end - HOURS * replay.HOUR,
        INCIDENT.end,
        folder / f"dashboard-{name}.png",
        host,
        [panels.load(each) for each in panels.NAMES],
        height=height,
        scale=SCALE,
    )


def keep(picture: Path) -> None:
    """Keep a picture with as many colours as it needs, which makes it small."""
    target = HERE / picture.name
    subprocess.run(
        ["pngquant", "--force", "--strip", "--speed=1", f"--output={target}", "128", picture],
        check=True,
    )
    size = target.stat().st_size
    assert size <= MOST_BYTES, f"{target} has {size} bytes, more than {MOST_BYTES}"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(filled.database(folder)) as url:
            pages = render([job(board, height, url, folder) for board, height in PICTURES])
        for (board, _), page in zip(PICTURES, pages, strict=True):
            assert page["problems"] == [], page["problems"]
            keep(folder / f"dashboard-{board}.png")


if __name__ == "__main__":
    main()
