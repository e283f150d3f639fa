"""What the hardware tells of itself."""

from __future__ import annotations

import pytest

from collectors.hardware import collect, parse_link_errors
from collectors.model import Cause, Unavailable

MC = "sys/devices/system/edac/mc/mc0"


def controller(corrected, uncorrected, module=None):
    files = {f"{MC}/ce_count": f"{corrected}\n", f"{MC}/ue_count": f"{uncorrected}\n"}
    if module is not None:
        files |= {f"{MC}/dimm3/dimm_ce_count": f"{module}\n", f"{MC}/dimm3/dimm_ue_count": "0\n"}
        files |= {f"{MC}/dimm3/dimm_label": "CPU0_DIMM_B1\n", f"{MC}/dimm4/dimm_ce_count": "0\n"}
    return files


def test_memory_errors_are_told_with_the_module_that_has_them(host):
    sample = collect(host(controller(5, 0, 5), controller(9, 1, 9)))
    told = [(d.name, d.label, d.corrected, d.corrected_increase) for d in sample.memory]
    assert told == [("mc0", None, 9, 4), ("mc0/dimm3", "CPU0_DIMM_B1", 9, 4)]
    assert [d.uncorrected_increase for d in sample.memory] == [1, 0]


def test_a_sound_controller_is_there_without_its_modules(host):
    sample = collect(host(controller(0, 0, 0), {}))
    assert [(d.name, d.corrected, d.corrected_increase) for d in sample.memory] == [("mc0", 0, 0)]


def cpu(number, siblings, package, core, shared, spent=0):
    base = f"sys/devices/system/cpu/cpu{number}"
    return {
        f"{base}/topology/thread_siblings_list": f"{siblings}\n",
        f"{base}/topology/physical_package_id": f"{package}\n",
        f"{base}/thermal_throttle/core_throttle_count": f"{core}\n",
        f"{base}/thermal_throttle/package_throttle_count": f"{shared}\n",
        f"{base}/thermal_throttle/package_throttle_total_time_ms": f"{spent}\n",
    }


def test_heat_is_counted_once_for_each_core_and_for_the_worst_package(host):
    first = cpu(0, "0,2", 0, 10, 7) | cpu(1, "1,3", 0, 1, 7) | cpu(2, "0,2", 0, 10, 7)
    first |= cpu(4, "4", 1, 0, 0)
    last = cpu(0, "0,2", 0, 13, 9, 1500) | cpu(1, "1,3", 0, 2, 9) | cpu(2, "0,2", 0, 13, 9)
    sample = collect(host(first, last))
    assert (sample.throttled, sample.throttled_total) == (4, 15)
    assert (sample.package_throttled, sample.package_throttled_seconds) == (2, 1.5)


def test_heat_of_a_counter_that_went_back_is_unknown(host):
    sample = collect(host(cpu(0, "0", 0, 10, 7), cpu(0, "0", 0, 3, 7)))
    assert (sample.throttled, sample.throttled_total) == (None, 3)


def device(correctable, fatal=0):
    base = "sys/bus/pci/devices/0000:03:00.0"
    text = f"RxErr {correctable}\nBadTLP 0\nTOTAL_ERR_COR {correctable}\n"
    return {
        f"{base}/aer_dev_correctable": text,
        f"{base}/aer_dev_nonfatal": "DLP 0\nTOTAL_ERR_NONFATAL 0\n",
        f"{base}/aer_dev_fatal": f"DLP {fatal}\nTOTAL_ERR_FATAL {fatal}\n",
    }


def test_errors_of_a_pci_link_are_compared_with_the_sweep_before(host):
    memory = {}
    found = []
    for count in (0, 3, 8):
        ctx = host(device(count), {})
        ctx.memory = memory
        found.append(collect(ctx))
    assert [s.links for s in found] == [
        {},
        {"0000:03:00.0": {"correctable": 3, "nonfatal": 0, "fatal": 0}},
        {"0000:03:00.0": {"correctable": 8, "nonfatal": 0, "fatal": 0}},
    ]
    increases = [s.links_increase.get("0000:03:00.0", {}).get("correctable") for s in found]
    assert increases == [None, 3, 5]
    first = collect(host(device(9, 1), {}))
    assert first.links_increase["0000:03:00.0"] == dict.fromkeys(
        ("correctable", "nonfatal", "fatal")
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"", None), (b"RxErr x\n", None), (b"A 2\nB 3\n", 5), (b"A 2\nB 3\nTOTAL_ERR_COR 6\n", 6)],
)
def test_a_total_is_believed_and_else_the_kinds_are_added_up(raw, expected):
    assert parse_link_errors(raw) == expected


def zone(name, used, word="package-0"):
    return {f"sys/class/powercap/{name}/energy_uj": f"{used}\n",
            f"sys/class/powercap/{name}/name": f"{word}\n"}  # fmt: skip


def test_power_is_energy_by_measured_time_and_a_wrapped_counter_tells_none(host):
    first = zone("intel-rapl:0", 5_000_000) | zone("intel-rapl:0:0", 900, "dram")
    first |= zone("intel-rapl:1:0", 0, "core") | zone("intel-rapl:2:0", 0, "core")
    last = zone("intel-rapl:0", 65_000_000) | zone("intel-rapl:0:0", 3, "dram")
    sample = collect(host(first, last, step=2))
    assert sample.watts == {"package-0": 30.0, "core": 0.0, "core intel-rapl:2:0": 0.0}


def test_what_is_not_there_is_absent_and_looked_for_once(host):
    ctx = host({}, {})
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            collect(ctx)
        assert told.value.cause is Cause.ABSENT
    assert ctx.memory["sources"]["edac"] == []


def test_a_host_without_one_of_the_sources_does_not_know_it(host):
    sample = collect(host(controller(0, 0), {}))
    assert (sample.throttled, sample.package_throttled, sample.links, sample.watts) == (
        None, None, {}, {}
    )  # fmt: skip
