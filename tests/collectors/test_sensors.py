"""Sensors."""

from __future__ import annotations

import pytest

from collectors.model import Cause, Unavailable
from collectors.sensors import Temperature, collect

CHIP = "sys/class/hwmon/hwmon0"


def chip(number=0, **files):
    return {f"sys/class/hwmon/hwmon{number}/{n}": f"{v}\n" for n, v in files.items()}


def test_a_threshold_that_the_chip_does_not_tell_stays_unknown(host):
    files = chip(name="coretemp", temp1_input=45500, temp1_label="Core 0", temp1_max=80000)
    files |= chip(1, name="nvme", temp1_input=-3000, temp1_crit=84850, temp1_max=0)
    assert collect(host(files, {})).temperatures == (
        Temperature("coretemp", "Core 0", 45.5, 80.0, None),
        Temperature("nvme", "temp1", -3.0, None, 84.85),
    )


def test_a_sensor_that_does_not_answer_is_left_out_and_no_complaint(host):
    ctx = host(chip(name="x", temp1_input="", temp2_input=1000, fan1_input=900, fan2_input="y"), {})
    sample = collect(ctx)
    assert [t.name for t in sample.temperatures] == ["temp2"]
    assert sample.fans == {"x fan1": 900}
    assert ctx.problems == []


def zone(**files):
    return {f"sys/class/thermal/thermal_zone0/{n}": f"{v}\n" for n, v in files.items()}


ZONE = zone(
    type="acpitz", temp=61000, trip_point_0_type="critical", trip_point_0_temp=99000,
    trip_point_1_type="passive", trip_point_1_temp=70000,
)  # fmt: skip


def test_zones_are_asked_only_where_no_chip_measures(host):
    fan = chip(name="it87", fan1_input=1200)
    sample = collect(host(ZONE | fan, {}))
    assert sample.temperatures == (Temperature("acpitz", "thermal_zone0", 61.0, None, 99.0),)
    sample = collect(host(ZONE | fan | chip(1, name="k10temp", temp1_input=50000), {}))
    assert [t.chip for t in sample.temperatures] == ["k10temp"]


def policy(number, cpus, now, most=4_000_000, limit=4_000_000):
    base = f"sys/devices/system/cpu/cpufreq/policy{number}"
    return {
        f"{base}/affected_cpus": f"{cpus}\n", f"{base}/scaling_cur_freq": f"{now}\n",
        f"{base}/cpuinfo_max_freq": f"{most}\n", f"{base}/scaling_max_freq": f"{limit}\n",
    }  # fmt: skip


def test_the_mean_frequency_is_of_cpus_that_are_online(host):
    files = policy(0, "0 1 2", 3_000_000) | policy(3, "3", 1_000_000, limit=2_500_000)
    files |= policy(4, "", 0, limit=2_500_000) | policy(5, "5", "<unknown>")
    sample = collect(host(files, {}))
    assert sample.frequency == 2.5e9
    assert (sample.frequency_max, sample.frequency_allowed) == (4e9, 4e9)


def test_a_limit_below_what_the_cpus_can_is_told(host):
    sample = collect(host(policy(0, "0", 1_200_000, limit=1_200_000), {}))
    assert (sample.frequency_max, sample.frequency_allowed) == (4e9, 1.2e9)


def test_empty_folders_are_no_sensors(host):
    with pytest.raises(Unavailable) as told:
        collect(host({"sys/class/thermal/cooling_device0/type": "Processor\n"}))
    assert told.value.cause is Cause.ABSENT
