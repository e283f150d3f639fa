"""Use of graphics and compute cards."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.gpu import gpu
from collectors.gpu_sample import Gpu, GpuSample
from collectors.model import Distribution, Outcome, Status, Sweep


def facts(*cards):
    sample = GpuSample(10.0, cards)
    outcome = Outcome("gpu", "gpu", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"gpu": outcome}))


BUSY = Gpu(
    "nvidia0",
    "nvidia",
    utilization=Distribution(0.9, 1.0, (0.8, 1.0)),
    memory_share=Distribution(0.5, 0.6, (0.4, 0.6)),
    throttle={"sw_power_cap": 0.75},
    throttled=0.0,
    errors={"ecc_corrected": 5, "ecc_uncorrected": 0, "pcie_replay": None},
    errors_increase={"ecc_corrected": 2, "ecc_uncorrected": 0, "pcie_replay": None},
)
IDLE = Gpu(
    "nvidia1",
    "nvidia",
    utilization=Distribution(0.0, 0.0, (0.0,)),
    throttled=0.25,
    errors={"ecc_corrected": 1},
    errors_increase={"ecc_corrected": None},
)
UNKNOWN_ONE = Gpu("0000:8c:00.0", "nvidia", driver="nouveau")


def test_each_card_is_a_device_and_its_memory_another():
    use = gpu(facts(IDLE, BUSY, UNKNOWN_ONE))
    means = {name: device.utilization.mean for name, device in use.devices.items()}
    assert means == {"nvidia1": 0.0, "nvidia0": 0.9, "0000:8c:00.0": None, "nvidia0:memory": 0.5}
    assert list(use.devices)[-1] == "nvidia0:memory"


def test_the_whole_is_the_busiest_and_the_most_slowed_down():
    use = gpu(facts(IDLE, BUSY, UNKNOWN_ONE))
    assert (use.utilization.mean, use.utilization.peak) == (0.9, 1.0)
    assert use.saturation == {"throttled": 0.25, "power_capped": 0.75}
    assert use.devices["nvidia1"].saturation == {"throttled": 0.25, "power_capped": 0.0}


def test_errors_are_added_up_and_unknown_ones_are_not_zero():
    use = gpu(facts(IDLE, BUSY))
    assert (use.errors["ecc_corrected"].total, use.errors["ecc_corrected"].increase) == (6, 2)
    assert (use.errors["ecc_uncorrected"].total, use.errors["pcie_replay"].total) == (0, None)
    assert use.devices["nvidia1"].errors["ecc_corrected"].increase is None


def test_what_is_not_measured_has_no_use():
    use = gpu(facts(UNKNOWN_ONE))
    assert use.utilization.mean is None
    assert use.saturation == {"throttled": None, "power_capped": None}
    assert {e.total for e in use.errors.values()} == {None}
