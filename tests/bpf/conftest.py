"""Real probes on the real kernel, with loads of known size."""

from __future__ import annotations

import os
import threading
import time

import pytest

from collectors.bpf.model import Verdict
from exporter.orchestrator import Window
from exporter.probes import BpfProbes


class Seen(dict):
    """Probe name to its sample; the window's length in `seconds`."""

    seconds = 0.0


@pytest.fixture
def observe():
    """
    Run probes over a load: observe("runqlat", load=function) gives their samples.

    The window is open from before the load until after it; `settle` more seconds
    let late events come in. What the load returns is in the result's `told`.
    """
    if os.geteuid() != 0:
        pytest.skip("eBPF needs root")

    def run(*names, load=lambda: None, settle=0.3, deadline=40.0, **options):
        probes = BpfProbes()
        closed = threading.Event()
        window = Window(
            "test", deadline, 1.0, time.monotonic() + 2 * deadline + 20, closed, options
        )
        probes.prepare(names, window)
        bad = {n: v for n, v in probes.verdicts.items() if v[0] is not Verdict.OK}
        assert not bad, bad
        time.sleep(0.1)
        told = load()
        time.sleep(settle)
        closed.set()  # ends the window now instead of at its deadline
        outcomes = probes.finish()
        seen = Seen({name: outcome.data for name, outcome in outcomes.items()})
        assert None not in seen.values(), {n: o.reason for n, o in outcomes.items()}
        seen.told = told
        return seen

    return run
