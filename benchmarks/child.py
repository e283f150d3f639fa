"""Sweeps in a process of their own: `python -m benchmarks.child COUNT DURATION [ROOT]`."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from benchmarks.measure import resident
from collectors.base import Paths, discover
from exporter.config import load
from exporter.examine import Examiner, Result
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.orchestrator import Orchestrator
from exporter.policy import policy


def main() -> None:
    """Do exactly what the service does for a sweep: collect, judge, write, render."""
    count, duration, root = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    config = load(None, __import__("exporter.app", fromlist=["known"]).known())
    profile = config.profiles.quick.model_copy(
        update={"duration": duration, "sample_interval": duration / 10}
    )
    paths = Paths(Path(root, "proc"), Path(root, "sys"), Path("/")) if root else Paths()
    judging = policy(config)
    exposition = Exposition("bench", {"quick": 60.0}, {}, judging)

    def publish(result: Result) -> None:
        exposition.publish(Published.of(result))

    examiner = Examiner(Orchestrator(discover(), paths), judging, publish)
    rows = []
    for _ in range(count):
        exposition.started("quick")
        cpu, wall = time.process_time(), time.monotonic()
        examiner.examine("quick", profile, "benchmark", threading.Event())
        rows.append(
            {
                "cpu_ms": (time.process_time() - cpu) * 1000,
                "beyond_s": time.monotonic() - wall - duration,
                "rss_mb": resident(__import__("os").getpid()),
                "series": exposition.pages().text.count(b"\n")
                - exposition.pages().text.count(b"\n#")
                - 1,
            }
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
