"""
Graphics and compute cards.

There is none where this is tested. NVIDIA's are stood in for by a library in C
that the real nvidia-ml-py loads and calls as it calls the driver's own, in a
child with a /proc and a PCI bus of its own; AMD's and Intel's by their files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.gpu import MOST, collect
from collectors.gpu_card import pci_address
from collectors.gpu_nvml import MOST_PROCESSES
from collectors.gpu_sysfs import parse_bad_pages, parse_errors
from collectors.model import Cause, Unavailable

REPOSITORY = Path(__file__).parent.parent.parent
DEVICES = "sys/bus/pci/devices"

CHILD = """
import sys
import pydantic_core
from collectors.base import Context
from collectors.gpu import collect
from collectors.model import Unavailable

class Window(Context):
    # Four readings, however busy the machine is.
    def ticks(self):
        yield from (1.0, 2.0, 3.0, 4.0)

ctx = Window()
try:
    result = {"sample": collect(ctx)}
except Unavailable as answer:
    result = {"refused": str(answer), "cause": answer.cause}
result |= {"problems": ctx.problems, "imported": "pynvml" in sys.modules}
print(pydantic_core.to_json(result).decode())
"""
# A /proc and a PCI bus of the child's own, so that the way there is the real one.
ROOM = """
mount -t tmpfs none /proc/driver && mkdir /proc/driver/nvidia &&
mount --bind "$1" /sys/bus/pci/devices && shift && exec "$@"
"""

H100 = """
count 1
driver 550.54.15
0.name NVIDIA_H100
0.uuid GPU-0001
0.pci 00000000:8A:00.0
0.utilization 10 20 30 60
0.memory_utilization 5
0.memory_total 80000
0.memory_used 20000 20000 40000 40000 60000
0.temperature.0 60 62 64 66 66
0.threshold.0 100
0.threshold.1 90
0.threshold.2 95
0.field.82 70
0.field.230 0
0.power 300000
0.power_limit 700000
0.clock.1 1500
0.clock_max.1 1980
0.reasons 4 68 8 0
0.ecc.0.0 10 12
0.ecc.1.0 0 1
0.ecc.0.1 100 102
0.ecc.1.1 7 8
0.ecc_mode 1
0.rows_corrected 2
0.rows_uncorrected 1
0.rows_pending 1
0.rows_failed 0
0.replay 3 5
0.gen 1 4 5 5
0.gen_max 5
0.width 16
0.width_max 16
0.mig 0
0.persistence 1
"""


def pci(address, number="10DE:2330", driver="nvidia", kind="30200", **files):
    lines = [f"PCI_CLASS={kind}", f"PCI_ID={number}", *([f"DRIVER={driver}"] if driver else [])]
    here = f"{DEVICES}/{address}"
    named = {f"{here}/{name.replace('__', '/')}": text for name, text in files.items()}
    return {f"{here}/uevent": "\n".join(lines) + "\n", **named}


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so the stand-in for NVIDIA's library cannot be built")
    folder = tmp_path_factory.mktemp("nvml")
    source, target = Path(__file__).parent / "fake_nvml.c", folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", target, source], check=True)
    return folder


@pytest.fixture
def nvidia(tmp_path):
    room = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    mounted = [*room, "sh", "-ec", ROOM, "sh", tmp_path, "true"]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("a child cannot have mounts of its own here")

    def run(script, library, devices=None, code=CHILD):
        write(tmp_path, pci("0000:8a:00.0", numa_node="1\n") if devices is None else devices)
        (tmp_path / DEVICES).mkdir(parents=True, exist_ok=True)
        (tmp_path / "script").write_text(script)
        environment = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML": str(tmp_path / "script"),
            "FAKE_NVML_LOG": str(tmp_path / "log"),
        }
        command = [*room, "sh", "-ec", ROOM, "sh", tmp_path / DEVICES, sys.executable, "-c", code]
        ran = subprocess.run(
            command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        log = tmp_path / "log"
        return json.loads(ran.stdout) | {"log": log.read_text().split() if log.exists() else []}

    return run


def one(result):
    assert "sample" in result, result
    (card,) = result["sample"]["gpus"]
    return card


def test_a_card_of_nvidia_is_told_with_its_units(nvidia, stand_in):
    result = nvidia(H100, stand_in)
    card = one(result)
    assert (card["name"], card["model"], card["uuid"]) == ("nvidia0", "NVIDIA_H100", "GPU-0001")
    assert (card["driver_version"], card["driver"]) == ("550.54.15", "nvidia")
    assert card["utilization"]["samples"] == [0.1, 0.2, 0.3, 0.6]
    assert card["memory_utilization"]["mean"] == 0.05
    assert (card["memory_total_bytes"], card["memory_used_bytes"]) == (80_000, 40_000)
    assert card["memory_share"]["samples"] == [0.25, 0.25, 0.5, 0.5]
    assert (card["heat"]["celsius"]["mean"], card["heat"]["celsius"]["peak"]) == (63, 66)
    limits = ("slowdown", "shutdown", "memory_max")
    assert [card["heat"][name] for name in limits] == [90, 100, 95]
    assert card["heat"]["memory"]["mean"] == 70
    assert (card["power_watts"]["mean"], card["power_limit_watts"]) == (300, 700)
    assert (card["clock_hz"]["mean"], card["clock_max_hz"]) == (1.5e9, 1.98e9)
    modes = ("ecc", "mig", "persistence", "lost", "suspended", "recovery")
    assert [card[name] for name in modes] == [True, False, True, False, False, "none"]
    assert result["problems"] == []


def test_reasons_are_shares_of_the_readings_and_a_change_of_clock_is_no_brake(nvidia, stand_in):
    card = one(nvidia(H100, stand_in))  # 4, then 4 + 64, then 8, then none
    assert card["throttle"] == {
        "hw_slowdown": 0.25,
        "hw_thermal_slowdown": 0.25,
        "sw_power_cap": 0.5,
    }
    assert card["throttled"] == 0.25
    braked = H100.replace("0.reasons 4 68 8 0", "0.reasons 64 128 192 0")
    assert one(nvidia(braked, stand_in))["throttled"] == 0.75


def test_errors_are_counted_in_total_and_over_the_window(nvidia, stand_in):
    card = one(nvidia(H100, stand_in))
    assert card["errors"] == {
        "ecc_corrected": 12,
        "ecc_uncorrected": 1,
        "ecc_corrected_lifetime": 102,
        "ecc_uncorrected_lifetime": 8,
        "pcie_replay": 5,
    }
    assert set(card["errors_increase"].values()) == {1, 2}
    assert card["repair"] == {"corrected": 2, "uncorrected": 1, "pending": True, "failed": False}


def test_the_link_is_the_fastest_seen_because_an_idle_one_slows_down(nvidia, stand_in):
    link = one(nvidia(H100, stand_in))["link"]
    assert link == {"generation": 5, "generation_max": 5, "width": 16, "width_max": 16}


def test_a_card_is_found_on_the_bus_although_the_driver_writes_its_address_otherwise(
    nvidia, stand_in
):
    card = one(nvidia(H100, stand_in))
    assert (card["pci"], card["numa_node"]) == ("0000:8a:00.0", 1)


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("00000000:8A:00.0", "0000:8a:00.0"),
        ("0000:8a:00.0", "0000:8a:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("NO:1", "no:1"),
        ("", ""),
    ],
)
def test_addresses_are_written_as_the_kernel_does(told, written):
    assert pci_address(told) == written


def test_what_a_card_does_not_have_is_unknown_and_nothing_else_is(nvidia, stand_in):
    bare = "count 1\n0.pci 00000000:8A:00.0\n0.power 50000\n0.utilization !3\n0.mig 1\n"
    result = nvidia(bare, stand_in)
    card = one(result)
    assert card["power_watts"]["mean"] == 50
    assert card["mig"] is True
    assert card["utilization"] == {"mean": None, "peak": None, "samples": []}
    assert (card["memory_total_bytes"], card["throttled"], card["ecc"]) == (None, None, None)
    assert set(card["errors"].values()) == {None}
    assert set(card["repair"].values()) == {None}
    limits = ("slowdown", "shutdown", "memory_max")
    assert {card["heat"][name] for name in limits} == {None}
    assert card["model"] == "10de:2330"
    assert (card["lost"], result["problems"]) == (False, [])


def test_the_slowdown_temperature_is_worked_out_where_only_the_distance_is_told(nvidia, stand_in):
    newer = H100.replace("0.threshold.1 90\n", "0.margin 25\n0.field.194 -2\n")
    assert one(nvidia(newer, stand_in))["heat"]["slowdown"] == 66 + 25 + 2
    none = H100.replace("0.threshold.1 90\n", "0.threshold.1 0\n")
    assert one(nvidia(none, stand_in))["heat"]["slowdown"] is None


def test_older_drivers_and_cards_answer_older_questions(nvidia, stand_in):
    older = H100.replace("memory_total", "old_memory_total").replace(
        "memory_used", "old_memory_used"
    )
    older = older.replace("rows_corrected", "x") + "0.retired.0 3\n0.retired.1 2\n"
    card = one(nvidia(older + "0.retired_pending 1\n", stand_in))
    assert card["memory_total_bytes"] == 80_000
    repair = {"corrected": 3, "uncorrected": 2, "pending": True, "failed": None}
    assert card["repair"] == repair


@pytest.mark.parametrize("key", ["0.handle", "0.temperature.0", "0.ecc.0.0"])
def test_a_lost_card_is_told_as_lost_with_its_place(nvidia, stand_in, key):
    lost = "\n".join(n for n in H100.splitlines() if not n.startswith(f"{key} ")) + f"\n{key} !15\n"
    result = nvidia(lost, stand_in)
    card = one(result)
    assert (card["lost"], card["pci"], card["numa_node"]) == (True, "0000:8a:00.0", 1)
    assert card["process_count"] is None
    assert (result["problems"], result["log"]) == ([], ["open", "close"])


def test_a_card_that_is_lost_within_the_window_keeps_what_was_seen(nvidia, stand_in):
    lost = H100.replace("0.power 300000", "0.power 300000 300000 !15")
    card = one(nvidia(lost, stand_in))
    assert (card["lost"], card["power_watts"]["samples"]) == (True, [300, 300])
    assert len(card["utilization"]["samples"]) == 3


@pytest.mark.parametrize(
    ("change", "recovery"),
    [
        ("0.field.230 2\n", "node_reboot"),
        ("0.field.230 9\n", "other"),
        ("0.field.230 -\n0.mig !16\n", "gpu_reset"),
        ("0.field.230 -\n", None),
    ],
)
def test_what_the_driver_asks_for_is_told(nvidia, stand_in, change, recovery):
    keys = {line.split()[0] for line in change.splitlines()}
    kept = [line for line in H100.splitlines() if line and line.split()[0] not in keys]
    assert one(nvidia("\n".join(kept) + "\n" + change, stand_in))["recovery"] == recovery


def test_users_are_named_by_comm_largest_first_and_counted_once(nvidia, stand_in):
    pids = [os.getpid(), 1, 4_999_999]
    users = (
        f"0.compute 3\n0.compute.0.pid {pids[0]}\n0.compute.0.used 500\n"
        f"0.compute.1.pid {pids[1]}\n0.compute.1.used 900\n"
        f"0.compute.2.pid {pids[2]}\n0.compute.2.used 18446744073709551615\n"
        f"0.graphics 1\n0.graphics.0.pid {pids[0]}\n0.graphics.0.used 500\n"
    )
    card = one(nvidia(H100 + users, stand_in))
    found = [(p["pid"], p["bytes"]) for p in card["processes"]]
    assert found == [(pids[1], 900), (pids[0], 500), (pids[2], None)]
    comms = [Path(f"/proc/{pid}/comm").read_text().rstrip("\n") for pid in (pids[1], pids[0])]
    assert [p["comm"] for p in card["processes"]] == [*comms, None]
    assert card["process_count"] == 3


def test_users_are_bounded(nvidia, stand_in):
    many = "".join(f"0.compute.{n}.pid {n + 1}\n0.compute.{n}.used {n}\n" for n in range(30))
    card = one(nvidia(f"{H100}0.compute 30\n{many}", stand_in))
    assert (len(card["processes"]), card["process_count"]) == (MOST_PROCESSES, 30)
    assert card["processes"][0]["bytes"] == 29


@pytest.mark.parametrize("script", [H100, "count !4\n", "count 1\n0.handle !999\n"])
def test_the_library_is_closed_as_often_as_opened(nvidia, stand_in, script):
    assert nvidia(script, stand_in)["log"] == ["open", "close"]


@pytest.mark.parametrize(
    ("script", "cause", "words"),
    [
        ("init !9\n", Cause.MISSING, "modprobe nvidia"),
        ("init !4\n", Cause.PERMISSION, "/dev/nvidia"),
        ("init !18\n", Cause.UNREADABLE, "reboot"),
        ("init !200\n", Cause.UNREADABLE, "stand-in"),
        ("count !999\n", Cause.UNREADABLE, "Unknown Error"),
    ],
)
def test_a_driver_that_refuses_is_unavailable_with_the_way_out(
    nvidia, stand_in, script, cause, words
):
    result = nvidia(script, stand_in)
    assert (result["cause"], words in result["refused"]) == (cause, True)


def test_a_missing_library_is_unavailable_with_the_way_out(nvidia, tmp_path):
    result = nvidia("", tmp_path)
    if "sample" in result:
        pytest.skip("this host has NVIDIA's library")
    assert (result["cause"], "libnvidia-ml.so.1" in result["refused"]) == (Cause.MISSING, True)


def test_a_missing_package_is_unavailable_with_the_way_out(nvidia, stand_in):
    code = 'import sys\nsys.modules["pynvml"] = None\n' + CHILD
    result = nvidia(H100, stand_in, code=code)
    assert (result["cause"], "nvidia-ml-py" in result["refused"]) == (Cause.MISSING, True)


def test_a_refusal_takes_no_other_card_away(nvidia, stand_in):
    amd = pci("0000:03:00.0", "1002:744C", "amdgpu", "30000", gpu_busy_percent="40\n")
    result = nvidia("init !18\n", stand_in, pci("0000:8a:00.0") | amd)
    names = {g["vendor"]: g["utilization"]["mean"] for g in result["sample"]["gpus"]}
    assert names == {"amd": 0.4, "nvidia": None}
    assert [p["cause"] for p in result["problems"]] == [Cause.UNREADABLE]


def test_a_card_that_the_library_does_not_list_is_named(nvidia, stand_in):
    result = nvidia(H100, stand_in, pci("0000:8a:00.0") | pci("0000:8b:00.0"))
    assert [g["name"] for g in result["sample"]["gpus"]] == ["nvidia0", "0000:8b:00.0"]
    assert [p["source"] for p in result["problems"]] == ["0000:8b:00.0"]


def test_the_driver_without_a_card_is_a_host_without_one(nvidia, stand_in):
    result = nvidia("count 0\n", stand_in, {})
    assert (result["cause"], result["log"]) == (Cause.ABSENT, ["open", "close"])


@pytest.mark.parametrize(
    "devices",
    [
        pci("0000:8a:00.0", driver="nouveau", kind="30000"),
        pci("0000:8a:00.0", driver="vfio-pci"),
        pci("0000:8a:00.0", power__runtime_status="suspended\n"),
    ],
    ids=["nouveau", "passed through", "asleep"],
)
def test_a_card_of_another_driver_or_asleep_is_named_and_the_library_not_loaded(
    nvidia, stand_in, devices
):
    result = nvidia(H100, stand_in, devices)
    card = one(result)
    assert (card["name"], card["vendor"], card["measured"]) == ("0000:8a:00.0", "nvidia", False)
    assert (result["imported"], result["log"], result["problems"]) == (False, [], [])


def test_only_a_host_with_such_a_card_imports_the_library(nvidia, stand_in):
    assert nvidia(H100, stand_in)["imported"] is True
    if Path("/proc/driver/nvidia").is_dir() or Path("/dev/nvidiactl").exists():
        pytest.skip("this host has NVIDIA's driver")
    code = """
import json, sys
import exporter.__main__, exporter.app
from analysis.registry import discover_rules, discover_uses
from collectors.base import Context, discover
from collectors.model import Unavailable
discover_rules(), discover_uses()
ran = 0
for collector in discover().values():
    try:
        collector.collect(Context(duration=0.0))
    except Unavailable:
        pass
    ran += 1
print(json.dumps({"ran": ran, "imported": "pynvml" in sys.modules}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    result = json.loads(ran.stdout)
    assert result["ran"] > 20
    assert result["imported"] is False


def test_a_host_without_a_card_is_absent_which_is_no_gap(host):
    with pytest.raises(Unavailable, match="no GPU") as caught:
        collect(host({}, {}))
    assert caught.value.cause is Cause.ABSENT


@pytest.mark.parametrize("number", ["1234:1111", "1AF4:1050", "1A03:2000", "102B:0538"])
def test_a_console_of_a_virtual_machine_or_a_board_is_no_card(host, number):
    console = pci("0000:00:02.0", number, "bochs-drm", "30000")
    with pytest.raises(Unavailable) as caught:
        collect(host(console, {}))
    assert caught.value.cause is Cause.ABSENT


def test_other_devices_of_the_vendors_and_slices_of_cards_are_no_cards(host):
    devices = (
        pci("0000:8a:00.1", kind="40300")
        | pci("0000:8b:00.0", kind="nonsense")
        | pci("0000:8c:00.0", "8086:56C0", "i915", "38000", physfn="")
    )
    with pytest.raises(Unavailable) as caught:
        collect(host(devices, {}))
    assert caught.value.cause is Cause.ABSENT


def test_another_hosts_driver_is_not_asked_through_this_ones(host):
    with pytest.raises(Unavailable, match=r"--path\.") as caught:
        collect(host(pci("0000:8a:00.0"), {}))
    assert caught.value.cause is Cause.UNREADABLE


def test_a_card_without_a_driver_is_named_with_the_way_out(host):
    ctx = host(pci("0000:8a:00.0", driver=None), {})
    (card,) = collect(ctx).gpus
    assert (card.driver, card.measured) == (None, False)
    assert [(p.cause, "load nvidia" in p.text) for p in ctx.problems] == [(Cause.MISSING, True)]


AMD = pci(
    "0000:03:00.0",
    "1002:744C",
    "amdgpu",
    "30000",
    drm__card1__dev="226:1\n",
    numa_node="0\n",
    product_name="Radeon\n",
    gpu_busy_percent="40\n",
    mem_busy_percent="7\n",
    mem_info_vram_total="1000\n",
    mem_info_vram_used="250\n",
    pp_dpm_sclk="0: 500Mhz *\n1: 2304Mhz\n",
    pcie_replay_count="3\n",
    hwmon__hwmon5__temp1_input="50000\n",
    hwmon__hwmon5__temp1_crit="100000\n",
    hwmon__hwmon5__temp2_input="60000\n",
    hwmon__hwmon5__temp2_crit="110000\n",
    hwmon__hwmon5__temp2_emergency="115000\n",
    hwmon__hwmon5__temp3_input="70000\n",
    hwmon__hwmon5__power1_average="210000000\n",
    hwmon__hwmon5__power1_cap="300000000\n",
    hwmon__hwmon5__freq1_input="1800000000\n",
    ras__umc_err_count="ue: 0\nce: 4\n",
    ras__gfx_err_count="ue: 1\nce: 1\n",
    ras__gpu_vram_bad_pages="0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P\n",
)
HERE = f"{DEVICES}/0000:03:00.0"


def test_a_card_of_amd_is_told_from_its_files(host):
    later = {
        f"{HERE}/gpu_busy_percent": "60\n",
        f"{HERE}/mem_info_vram_used": "500\n",
        f"{HERE}/hwmon/hwmon5/temp2_input": "64000\n",
        f"{HERE}/ras/umc_err_count": "ue: 2\nce: 9\n",
    }
    (card,) = collect(host(AMD, later)).gpus
    assert (card.name, card.model, card.pci, card.numa_node) == (
        "card1",
        "Radeon",
        "0000:03:00.0",
        0,
    )
    assert card.utilization.samples == (0.4, 0.6)
    assert card.memory_utilization.mean == 0.07
    assert (card.memory_total_bytes, card.memory_used_bytes) == (1000, 500)
    assert (card.heat.celsius.mean, card.heat.slowdown, card.heat.shutdown) == (62, 110, 115)
    assert card.heat.memory.mean == 70
    assert (card.power_watts.mean, card.power_limit_watts) == (210, 300)
    assert (card.clock_hz.mean, card.clock_max_hz) == (1.8e9, 2.304e9)
    assert card.errors == {"ecc_corrected": 10, "ecc_uncorrected": 3, "pcie_replay": 3}
    assert card.errors_increase == {"ecc_corrected": 5, "ecc_uncorrected": 2, "pcie_replay": 0}
    assert (card.repair.uncorrected, card.repair.pending, card.repair.failed) == (1, False, False)
    assert (card.throttled, card.ecc, card.link.width) == (None, None, None)


def test_files_that_an_older_chip_lacks_are_unknown(host):
    bare = {k: v for k, v in AMD.items() if "temp2" not in k and "/ras/" not in k}
    bare[f"{HERE}/hwmon/hwmon5/power1_input"] = bare.pop(f"{HERE}/hwmon/hwmon5/power1_average")
    (card,) = collect(host(bare, {})).gpus
    assert (card.heat.celsius.mean, card.heat.slowdown) == (50, 100)
    assert card.power_watts.mean == 210
    assert (card.errors["ecc_uncorrected"], card.repair.failed) == (None, None)


def test_a_card_that_sleeps_is_not_read_because_that_would_wake_it(host):
    ctx = host(AMD, {f"{HERE}/power/runtime_status": "suspended\n"})
    (card,) = collect(ctx).gpus
    assert card.utilization.samples == (0.4,)
    assert (card.suspended, card.memory_total_bytes, card.errors) == (True, None, {})


I915 = {
    "drm__card0__gt__gt0__rps_act_freq_mhz": "900\n",
    "drm__card0__gt__gt0__rps_RP0_freq_mhz": "1300\n",
    "drm__card0__gt__gt0__throttle_reason_status": "1\n",
    "drm__card0__gt__gt0__throttle_reason_pl1": "1\n",
    "drm__card0__gt__gt0__throttle_reason_thermal": "0\n",
}
XE = {
    "tile0__gt0__freq0__act_freq": "900\n",
    "tile0__gt0__freq0__rp0_freq": "1300\n",
    "tile0__gt0__freq0__throttle__status": "1\n",
    "tile0__gt0__freq0__throttle__reason_pl1": "1\n",
    "tile0__gt0__freq0__throttle__reason_thermal": "0\n",
}


@pytest.mark.parametrize(("driver", "files"), [("i915", I915), ("xe", XE)])
def test_a_card_of_intel_tells_clocks_and_reasons_and_not_how_busy_it_is(host, driver, files):
    where = "0000:00:02.0"
    hot = next(k for k in files if k.endswith("thermal")).replace("__", "/")
    first = pci(where, "8086:9A49", driver, "30000", drm__card0__dev="226:0\n", **files)
    (card,) = collect(host(first, {f"{DEVICES}/{where}/{hot}": "1\n"})).gpus
    assert (card.name, card.utilization.mean) == ("card0", None)
    assert (card.clock_hz.mean, card.clock_max_hz) == (0.9e9, 1.3e9)
    assert card.throttle == {"hw_thermal_slowdown": 0.5, "pl1": 1.0}
    assert card.throttled == 0.5


def test_cards_are_bounded_and_the_rest_is_counted(host):
    devices = {}
    for number in range(MOST + 3):
        devices |= pci(f"0000:{number:02x}:00.0", "1002:744C", "amdgpu", "120000")
    sample = collect(host(devices, {}))
    assert (len(sample.gpus), sample.left_out) == (MOST, 3)


def test_network_interfaces_tell_their_node_and_one_without_is_left_out(host):
    nets = {
        "sys/class/net/eth0/device/numa_node": "1\n",
        "sys/class/net/eth1/device/numa_node": "-1\n",
        "sys/class/net/lo/mtu": "65536\n",
    }
    assert collect(host(AMD | nets, {})).network_nodes == {"eth0": 1}


def test_what_is_on_the_bus_is_looked_at_again_only_when_it_changes(host):
    ctx = host(AMD, {})
    collect(ctx)
    kept = ctx.memory["pci_names"]
    collect(ctx)
    assert ctx.memory["pci_names"] is kept
    more = host(AMD | pci("0000:04:00.0", "1002:744C", "amdgpu", "30000"), {})
    more.memory = ctx.memory
    assert len(collect(more).gpus) == 2


@pytest.mark.parametrize("raw", [b"", b"ue 1", b"ue: x\nce: \xff", b"ue:-1", b"de: 3"])
def test_counts_that_are_none_are_left_out(raw):
    assert parse_errors(raw) == {}


def test_a_page_that_could_not_be_reserved_is_a_failed_repair():
    assert parse_bad_pages(b"0x1 : 0x1000 : F\n").failed is True
    assert parse_bad_pages(b"").uncorrected == 0
    assert parse_bad_pages(None).uncorrected is None


def test_this_host_is_answered():
    try:
        sample = collect(Context(duration=0.0))
    except Unavailable as answer:
        assert str(answer)  # noqa: PT017  a host without a card is an answer
    else:
        assert sample.gpus
