"""Disks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.disk import collect, parse
from collectors.disk_device import describe, parse_progress
from collectors.model import Cause, Unavailable

# reads merges sectors ms | writes merges sectors ms | in flight, busy ms, weighted ms |
# discards merges sectors ms | flushes ms
ZERO = (0,) * 17


def line(name, numbers, number="254 0"):
    return f"{number} {name} {' '.join(map(str, numbers))}\n"


def row(**changed):
    places = {
        "reads": 0, "rmerged": 1, "rsectors": 2, "rms": 3, "writes": 4, "wsectors": 6, "wms": 7,
        "in_flight": 8, "busy": 9, "weighted": 10, "discards": 11, "dms": 14, "flushes": 15,
        "fms": 16,
    }  # fmt: skip
    numbers = list(ZERO)
    for name, value in changed.items():
        numbers[places[name]] = value
    return numbers


def stats(*lines):
    return {"proc/diskstats": "".join(lines)}


def only(sample):
    (disk,) = sample.disks
    return disk


def test_rates_are_per_second_of_the_measured_window(host):
    new = row(reads=20, rmerged=4, rsectors=80, writes=6, wsectors=12)
    disk = only(collect(host(stats(line("vda", ZERO)), stats(line("vda", new)), step=2.0)))
    assert (disk.read.per_second, disk.read.merged_per_second) == (10, 2)
    assert disk.read.bytes_per_second == 40 * 512
    assert disk.write.bytes_per_second == 6 * 512


def test_latency_is_of_the_operation_itself_and_unknown_without_one(host):
    new = row(reads=10, rms=50, writes=2, wms=800, weighted=850, flushes=4, fms=8)
    disk = only(collect(host(stats(line("vda", ZERO)), stats(line("vda", new)))))
    assert (disk.read.latency, disk.write.latency, disk.flush.latency) == (0.005, 0.4, 0.002)
    assert (disk.discard.per_second, disk.discard.latency) == (0, None)


def test_queue_is_weighted_time_and_utilization_busy_time_by_elapsed(host):
    ticks = [row(), row(busy=1010, weighted=3000), row(busy=1510, weighted=4000)]
    disk = only(collect(host(*(stats(line("vda", t)) for t in ticks))))
    assert disk.queue_length == 2.0
    assert disk.utilization.mean == pytest.approx(0.755)
    assert disk.utilization.samples == (1.0, 0.5)


@pytest.mark.parametrize(
    ("width", "discard", "flush"), [(11, None, None), (15, 0, None), (17, 0, 0)]
)
def test_an_old_kernel_leaves_discards_and_flushes_unknown(host, width, discard, flush):
    text = stats(line("sda", ZERO[:width]))
    disk = only(collect(host(text, text)))
    assert (disk.discard.per_second, disk.flush.per_second) == (discard, flush)
    assert disk.read.per_second == 0


def test_a_counter_that_went_back_is_unknown_and_no_spike(host):
    ticks = [row(reads=9, writes=1), row(reads=2, writes=2), row(reads=30, writes=3)]
    disk = only(collect(host(*(stats(line("sda", t)) for t in ticks))))
    assert disk.read.per_second is None
    assert disk.write.per_second == 1


def test_a_disk_that_came_in_the_window_is_shown_and_unknown(host):
    both = stats(line("sda", ZERO), line("sdb", row(reads=500), "8 16"))
    ctx = host(both | stats(line("sda", ZERO), line("sdb", row(reads=500), "8 32")), both)
    rates = {d.name: d.read.per_second for d in collect(ctx).disks}
    assert rates == {"sda": 0, "sdb": None}


def test_another_disk_of_the_same_name_and_number_is_unknown(host):
    ctx = host(
        stats(line("sda", row(reads=5))) | {"sys/block/sda/diskseq": "7\n"},
        stats(line("sda", row(reads=9))) | {"sys/block/sda/diskseq": "8\n"},
    )
    assert only(collect(ctx)).read.per_second is None


def test_partitions_are_left_out_by_sysfs_and_by_name_without_it(host):
    text = stats(*(line(n, ZERO) for n in ("xvda1", "sda", "sda1", "nvme0n1", "nvme0n1p2")))
    bare = collect(host(text, text))
    assert [d.name for d in bare.disks] == ["sda", "nvme0n1"]


def test_a_whole_disk_that_is_named_like_a_partition_is_kept(host):
    files = stats(line("xvda1", ZERO), line("xvda2", ZERO)) | {
        "sys/class/block/xvda1/size": "1",
        "sys/class/block/xvda2/partition": "2",
    }
    assert [d.name for d in collect(host(files, files)).disks] == ["xvda1"]


def test_paths_of_a_multipath_disk_are_left_out_beside_the_disk(host):
    text = stats(line("nvme0n1", ZERO), line("nvme0c0n1", ZERO), line("nvme1c1n1", ZERO))
    assert [d.name for d in collect(host(text, text)).disks] == ["nvme0n1", "nvme1c1n1"]


def test_idle_loops_and_devices_without_a_medium_are_left_out(host):
    files = stats(
        line("loop0", row(reads=9)), line("loop1", row(reads=9)), line("loop2", ZERO),
        line("sda", ZERO), line("zram0", ZERO),
    ) | {"sys/block/zram0/size": "0\n"}  # fmt: skip
    later = files["proc/diskstats"].replace("loop1 9", "loop1 12")
    assert [d.name for d in collect(host(files, {"proc/diskstats": later})).disks] == [
        "loop1", "sda",
    ]  # fmt: skip


def test_stacked_devices_are_shown_but_not_added(host):
    moved = row(reads=10)
    before = stats(*(line(n, ZERO) for n in ("sda", "dm-0", "md0", "zram0")))
    after = stats(*(line(n, moved) for n in ("sda", "dm-0", "md0", "zram0")))
    sample = collect(host(before | {"sys/block/dm-0/slaves/sda": ""}, after))
    assert len(sample.disks) == 4
    assert sample.reads_per_second == 10
    assert sample.disks[1].device.members == ("sda",)


def test_what_the_device_tells_is_reported_as_told(host):
    files = stats(line("sda", ZERO)) | {
        "sys/block/sda/size": "2048\n",
        "sys/block/sda/queue/rotational": "1\n",
        "sys/block/sda/queue/scheduler": "none [mq-deadline] bfq\n",
        "sys/block/sda/queue/nr_requests": "64\n",
        "sys/block/sda/queue/read_ahead_kb": "128\n",
        "sys/block/sda/device/vendor": "ATA     \n",
        "sys/block/sda/device/model": "WDC\x1b[31m WD40 \n",
        "sys/block/sda/mq/0/cpu_list": "0",
        "sys/block/sda/mq/1/cpu_list": "1",
    }
    device = only(collect(host(files, files))).device
    assert (device.size_bytes, device.rotational, device.nr_requests) == (1 << 20, True, 64)
    assert (device.scheduler, device.schedulers) == (
        "mq-deadline",
        ("none", "mq-deadline", "bfq"),
    )
    assert (device.read_ahead_bytes, device.queues) == (128 << 10, 2)
    assert device.model == "ATA WDC\\x1b[31m WD40"


def test_scsi_errors_are_counted_in_hexadecimal_and_unknown_elsewhere(host):
    text = stats(line("sda", ZERO), line("vda", ZERO))
    ctx = host(
        text | {"sys/block/sda/device/ioerr_cnt": "0x1f\n"},
        {"sys/block/sda/device/ioerr_cnt": "0x22\n"},
    )
    sda, vda = collect(ctx).disks
    assert (sda.errors["command"], sda.errors_increase["command"]) == (0x22, 3)
    assert (sda.errors["timeout"], vda.errors["command"]) == (None, None)


def test_an_array_tells_what_it_lacks(host):
    files = stats(line("md0", ZERO)) | {
        "sys/block/md0/md/level": "raid1\n",
        "sys/block/md0/md/raid_disks": "2\n",
        "sys/block/md0/md/degraded": "1\n",
    }
    array = only(collect(host(files, files))).device.array
    assert array is not None
    assert (array.level, array.disks, array.degraded, array.action) == ("raid1", 2, 1, None)
    assert (array.progress, array.mismatches, array.members, array.members_errors) == (
        None, None, {}, {}
    )  # fmt: skip


def test_outstanding_requests_of_which_none_completes_are_a_stall(host):
    ticks = [row(reads=1, in_flight=3), row(reads=2, in_flight=3)]
    ticks += [row(reads=2, in_flight=4)] * 3 + [row(reads=3, in_flight=1)]
    assert only(collect(host(*(stats(line("sda", t)) for t in ticks)))).stalled_seconds == 3


def test_an_idle_disk_is_no_stall(host):
    assert only(collect(host(*[stats(line("sda", ZERO))] * 3))).stalled_seconds == 0


@pytest.mark.parametrize("bad", [b"8 0 sda 1 2", b"8 0 sda" + b" 1" * 10 + b" nan", b"8 0 sda -1"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match="diskstats"):
        parse(bad)


def test_a_host_without_disks_lacks_nothing(host):
    with pytest.raises(Unavailable) as caught:
        collect(host({"proc/diskstats": ""}))
    assert caught.value.cause is Cause.ABSENT


@pytest.mark.skipif(not Path("/sys/block").is_dir(), reason="no block devices")
def test_bytes_and_requests_agree_with_iostat(tmp_path):
    iostat = subprocess.Popen(
        ["/usr/bin/iostat", "-dxky", "-o", "JSON", "3", "1"],
        stdout=subprocess.PIPE,
        env={"LC_ALL": "C"},
    )
    with iostat:
        ctx = Context(duration=3.0, interval=0.5)
        writer = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f"sleep 0.8; dd if=/dev/zero of={tmp_path}/x bs=1M count=60 conv=fsync",
            ],
            stderr=subprocess.DEVNULL,
        )
        sample = collect(ctx)
        assert writer.wait() == 0
        output = iostat.stdout.read()
    told = json.loads(output)["sysstat"]["hosts"][0]["statistics"][0]["disk"]
    theirs = {d["disk_device"]: d["wkB/s"] * 1024 for d in told}
    ours = {d.name: d.write.bytes_per_second for d in sample.disks}
    busiest = max(theirs, key=theirs.get)
    if theirs[busiest] < 10 << 20:
        pytest.skip("the temporary directory is on no disk")
    assert ours[busiest] == pytest.approx(theirs[busiest], rel=0.3)


def test_the_real_disks_are_read_through_the_window():
    try:
        sample = collect(Context(duration=0.2, interval=0.1))
    except Unavailable:
        pytest.skip("no disk here")
    names = {p.name for p in Path("/sys/block").iterdir()}
    assert all(d.name in names for d in sample.disks)
    assert all(0 <= s <= 1 for d in sample.disks for s in d.utilization.samples)


def test_an_array_tells_which_member_is_out_and_how_far_the_rebuild_is(host):
    base = "sys/block/md0/md"
    files = {
        f"{base}/level": "raid1\n",
        f"{base}/sync_action": "recover\n",
        f"{base}/sync_completed": "250 / 1000\n",
        f"{base}/mismatch_cnt": "128\n",
        f"{base}/dev-sda1/state": "in_sync\n",
        f"{base}/dev-sda1/errors": "4\n",
        f"{base}/dev-sdb1/state": "faulty,write_error\n",
    }
    array = describe(host(files), b"md0").array
    assert array.members == {"sda1": "in_sync", "sdb1": "faulty,write_error"}
    assert array.members_errors == {"sda1": 4}
    assert (array.progress, array.mismatches) == (0.25, 128)


@pytest.mark.parametrize("raw", [b"none\n", b"", b"5 / 0\n", b"x / 9\n", b"5\n"])
def test_an_array_that_rebuilds_nothing_has_no_progress(raw):
    assert parse_progress(raw) is None
