"""
Faults that not every host can have, in a guest: control groups of version 2, and netem.

An emulated machine is so slow that what examines it is a load of its own. So here it counts
that the fault is found, who does it and why; other rules may fire as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scenario import discover
from tests.faults.table import details, row
from tests.faults.trial import run
from tests.kernels.slow import be_patient

SCENARIOS = (
    "cgroup_cpu", "cgroup_memory", "cgroup_oom", "cgroup_pressure", "cgroup_tasks", "fsync_storm",
    "slow_disk", "writeback_storm", "lossy_path",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def patience():
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch)
        yield


def test_control_groups_are_of_version_2():
    controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    assert {"cpu", "memory", "io", "pids"} <= {*controllers}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_is_found_and_explained(name, capsys):
    outcome = run(discover()[name], patience=0.0)
    with capsys.disabled():
        print("", "  ".join(row(outcome)), *details(outcome), sep="\n")  # noqa: T201
    assert (outcome.impossible, outcome.crash) == (None, None)
    assert outcome.detected
    assert outcome.verdict.named
    assert outcome.verdict.rank is not None
    assert not outcome.lingering & outcome.scenario.expect
