"""Control groups."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors import container
from collectors.base import Context
from collectors.cgroup_name import identify
from collectors.cgroup_read import (
    parse_io,
    parse_memory_stat,
    parse_quota,
    parse_service_bytes,
    parse_stalls,
)
from collectors.cgroup_tree import parse_mounts
from collectors.container import collect
from collectors.model import Cause, Unavailable

ID = "0123456789abcdef" * 4
V2 = "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
ROOT = {"sys/fs/cgroup/cgroup.controllers": "cpu io memory pids\n"}
PSI = "".join(f"{k} avg10=0.00 avg60=0.00 avg300=0.00 total={{}}\n" for k in ("some", "full"))
POD = "01234567-89ab-cdef-0123-456789abcdef"
SLICE = f"/kubepods.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice"


def v2(path, **files):
    names = {k.replace("__", "."): v for k, v in files.items()}
    return {f"sys/fs/cgroup{path}/{name}": content for name, content in names.items()}


def host_v2(host, *ticks, step=10):
    first = {"proc/1/mountinfo": V2, "sys/fs/cgroup/cpu.pressure": PSI.format(0, 0), **ROOT}
    return host({**first, **ticks[0]}, *ticks[1:], step=step)


def named(sample):
    return {g.identity.name: g for g in sample.groups}


@pytest.mark.parametrize(
    ("path", "kind", "runtime", "name"),
    [
        ("/system.slice/nginx.service", "service", "systemd", "nginx.service"),
        ("/system.slice/dev-disk\\x2da.mount", "mount", "systemd", "dev-disk-a.mount"),
        (f"/system.slice/docker-{ID}.scope", "container", "docker", "docker-0123456789ab"),
        (f"/docker/{ID}", "container", "docker", "docker-0123456789ab"),
        (f"/docker/{ID}/init", "container", "docker", "docker-0123456789ab/init"),
        (f"/machine.slice/libpod-{ID}.scope", "container", "podman", "podman-0123456789ab"),
        (f"/system.slice/crio-{ID}.scope", "container", "crio", "crio-0123456789ab"),
        (f"/ecs/task/{ID}", "container", None, "container-0123456789ab"),
        ("/lxc.payload.web", "machine", "lxc", "web"),
        ("/machine.slice/machine-qemu\\x2d1\\x2da.scope", "machine", "machined", "qemu-1-a"),
        ("/batch/night", "group", None, "night"),
        ("/a\nb", "group", None, "a\\x0ab"),
    ],
)
def test_a_group_is_told_from_its_path(path, kind, runtime, name):
    found = identify(path)
    assert (found.kind, found.runtime, found.name) == (kind, runtime, name)


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        (f"{SLICE}/cri-containerd-{ID}.scope", "containerd"),
        (f"/kubepods/burstable/pod{POD}/{ID}", "kubernetes"),
    ],
)
def test_a_container_of_a_pod_knows_its_pod(path, runtime):
    found = identify(path)
    assert (found.runtime, found.container_id) == (runtime, "0123456789ab")
    assert found.pod_uid == POD
    assert identify(path.rpartition("/")[0]).kind == "pod"


def test_mounts_are_found_by_type_and_controller():
    found = parse_mounts((V1 + V2).encode() + b"garbage - cgroup\n- - -\n")
    assert [m.unified for m in found] == [False, False, False, True]
    assert [sorted(m.controllers) for m in found[:3]] == [
        ["cpu", "cpuacct"],
        ["memory"],
        ["systemd"],
    ]


def test_unlimited_is_no_limit(host):
    ctx = host_v2(
        host,
        v2("/a.service", cpu__max="max 100000\n", memory__max="max\n", pids__max="max\n"),
        {},
    )
    group = named(collect(ctx))["a.service"]
    assert (group.cpu.quota, group.memory.limit, group.tasks.limit) == (None, None, None)
    assert parse_quota(b"150000 100000") == {"quota": 1_500_000}
    assert parse_quota(b"-1 100000") == {}


def test_v1_says_unlimited_as_a_huge_number(host):
    files = {
        "proc/1/mountinfo": V1,
        "sys/fs/cgroup/memory/a.service/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/a.service/memory.usage_in_bytes": "4096\n",
        "sys/fs/cgroup/cpu,cpuacct/a.service/cpu.cfs_quota_us": "-1\n",
    }
    sample = collect(host(files, files))
    group = named(sample)["a.service"]
    assert (sample.version, group.memory.current) == ("v1", 4096)
    assert (group.memory.limit, group.cpu.quota) == (None, None)


def test_throttling_and_rates_are_of_the_window(host):
    stat = "usage_usec {}\nnr_periods {}\nnr_throttled {}\nthrottled_usec {}\n"
    io = "8:0 rbytes={0} wbytes=0 rios=1\n7:0 rbytes={0} wbytes=0 rios=1\n"
    ctx = host_v2(
        host,
        v2("/a.service", cpu__stat=stat.format(9, 1000, 900, 5), io__stat=io.format(0)),
        v2(
            "/a.service",
            cpu__stat=stat.format(9 + 20_000_000, 1100, 925, 2_000_005),
            io__stat=io.format(1000),
        ),
    )
    group = named(collect(ctx))["a.service"]
    assert (group.cpu.used, group.cpu.periods, group.cpu.throttled) == (2.0, 100, 0.25)
    assert group.cpu.throttled_seconds == 2.0
    assert group.io.read_bytes_per_second == 100  # the loop device stands on the disk


def test_the_smallest_limit_above_counts(host):
    ctx = host_v2(
        host,
        v2("/app.slice", memory__max="1000\n", cpu__max="200000 100000\n")
        | v2("/app.slice/a.service", memory__max="5000\n", cpu__max="max 100000\n"),
        {},
    )
    groups = named(collect(ctx))
    assert groups["a.service"].memory.limit == 1000
    assert groups["a.service"].cpu.quota == 2.0
    assert "app.slice" in groups


def test_what_reclaim_can_give_back_is_not_held(host):
    stat = "anon 300\nfile 600\ninactive_file 400\nactive_file 150\nslab_reclaimable 50\n"
    ctx = host_v2(host, v2("/a.service", memory__current="1000\n", memory__stat=stat), {})
    memory = named(collect(ctx))["a.service"].memory
    assert (memory.current, memory.working_set, memory.held, memory.anon) == (1000, 600, 400, 300)


def test_a_counter_that_went_back_is_unknown(host):
    ctx = host_v2(
        host,
        v2("/a.service", cpu__stat="usage_usec 500\n"),
        v2("/a.service", cpu__stat="usage_usec 100\n"),
    )
    assert named(collect(ctx))["a.service"].cpu.used is None


def test_a_new_group_began_at_zero_and_a_gone_one_is_named(host):
    ctx = host_v2(
        host,
        v2("/gone.service", cpu__stat="usage_usec 0\n"),
        {"sys/fs/cgroup/gone.service/cpu.stat": None}
        | v2("/new.service", cpu__stat="usage_usec 5000000\n"),
    )
    sample = collect(ctx)
    assert named(sample)["new.service"].cpu.used == 0.5
    assert (sample.created, sample.removed) == (1, ("gone.service",))


def test_stalls_are_shares_of_the_window(host):
    ctx = host_v2(
        host,
        v2("/a.service", memory__pressure=PSI.format(0, 0)),
        v2("/a.service", memory__pressure=PSI.format(5_000_000, 2_500_000)),
    )
    pressure = named(collect(ctx))["a.service"].pressure
    assert (pressure["memory_some"], pressure["memory_full"]) == (0.5, 0.25)


def test_kills_are_remembered_when_their_group_is_gone(host):
    slice_ = "/system.slice"
    ctx = host_v2(
        host,
        v2(slice_, memory__events="oom_kill 2\n")
        | v2(f"{slice_}/a.service", memory__events="oom_kill 0\n"),
        v2(slice_, memory__events="oom_kill 3\n")
        | {f"sys/fs/cgroup{slice_}/a.service/memory.events": None},
    )
    sample = collect(ctx)
    assert (sample.oom_kills, sample.oom_kills_increase) == (3, 1)
    ctx.roots = ctx.roots[-1:]
    assert collect(ctx).oom_kills == 3


def test_groups_without_processes_or_limits_are_left_out(host):
    ctx = host_v2(
        host,
        v2("/empty", cgroup__procs="") | v2("/full", cgroup__procs="7\n") | v2("/x.slice", a=""),
        {},
    )
    assert set(named(collect(ctx))) == {"full"}


def test_too_many_groups_are_counted_and_not_read(host, monkeypatch):
    monkeypatch.setattr(container, "MOST", 3)
    files = {}
    for number in range(5):
        files |= v2(f"/s{number}.service", cpu__stat="usage_usec 0\n")
    sample = collect(host_v2(host, files, {}))
    assert (len(sample.groups), sample.dropped) == (3, 2)


STAT = "anon 90\ninactive_file 0\nactive_file 0\nslab_reclaimable 0\n"


def test_no_control_groups_is_an_answer(host):
    with pytest.raises(Unavailable) as answer:
        collect(host({"proc/1/mountinfo": "1 1 0:1 / / rw - ext4 /dev/sda rw\n"}))
    assert answer.value.cause is Cause.ABSENT


@pytest.mark.parametrize(
    "parser", [parse_io, parse_service_bytes, parse_memory_stat, parse_quota, parse_mounts]
)
@pytest.mark.parametrize("raw", [b"", b"\0\xff\n", b"8:0 rbytes=1_0 wbytes=-1\n", b"max nan\n"])
def test_garbage_counts_nothing(parser, raw):
    found = parser(raw)
    assert not any(found.values()) if isinstance(found, dict) else found == ()


def test_a_pressure_file_without_totals_tells_nothing():
    assert parse_stalls(b"some avg10=0.00\nfull total=x\nother total=5\n", "cpu") == {}


HIERARCHIES = Path("/sys/fs/cgroup")


@pytest.fixture
def groups():
    """Make the same group in the given hierarchies, and remove it afterwards."""
    made = []

    name = f"sysdx-test-{os.getpid()}"

    def make(*controllers):
        for controller in controllers:
            path = HIERARCHIES / controller / name
            try:
                path.mkdir()
            except OSError as error:
                pytest.skip(f"no cgroup can be made here: {error}")
            made.append(path)
        return [HIERARCHIES / c / name for c in controllers]

    yield make
    for path in reversed(made):
        for _ in range(50):
            with contextlib.suppress(OSError):
                path.rmdir()
                break
            time.sleep(0.05)


def burn_in(*directories):
    """Start a process that joins the groups and burns CPU time."""
    code = "import os\n" + "".join(
        f"open({str(d / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n" for d in directories
    )
    return subprocess.Popen([sys.executable, "-c", code + "while True: pass\n"])


def test_a_real_group_with_a_quota_is_seen_throttled(groups):
    cpu, cpuacct = groups("cpu", "cpuacct")
    (cpu / "cpu.cfs_period_us").write_text("20000")
    (cpu / "cpu.cfs_quota_us").write_text("4000")
    burner = burn_in(cpu, cpuacct)
    try:
        time.sleep(0.3)
        before = read_stat(cpu)
        group = named(collect(Context(duration=1.0, interval=0.5)))[cpu.name]
        after = read_stat(cpu)
    finally:
        burner.kill()
        burner.wait()
    assert group.cpu.quota == pytest.approx(0.2)
    assert 0.05 < group.cpu.used < 0.3
    assert group.cpu.throttled > 0.5
    # The kernel's own increase around the window bounds the one inside it.
    assert group.cpu.throttled_periods <= after["nr_throttled"] - before["nr_throttled"]


def read_stat(directory):
    lines = (directory / "cpu.stat").read_text().splitlines()
    return {k: int(v) for k, v in (line.split() for line in lines)}


def test_a_real_group_holds_what_its_process_allocated(groups):
    (memory,) = groups("memory")
    (memory / "memory.limit_in_bytes").write_text(str(64 << 20))
    code = (
        f"import os\nopen({str(memory / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "x = b'x' * (24 << 20)\nprint(flush=True)\nimport time\ntime.sleep(20)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        group = named(collect(Context(duration=0.2, interval=0.2)))[memory.name]
    finally:
        holder.kill()
        holder.communicate()
    assert group.memory.limit == 64 << 20
    assert 24 << 20 <= group.memory.held <= 40 << 20
    assert group.memory.held <= group.memory.current


def test_a_real_kill_for_want_of_memory_is_counted(groups):
    (memory,) = groups("memory")
    (memory / "memory.limit_in_bytes").write_text(str(24 << 20))
    with contextlib.suppress(OSError):
        (memory / "memory.memsw.limit_in_bytes").write_text(str(24 << 20))
    code = (
        "import os, time\n"
        f"open({str(memory / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(0.3)\nx = bytearray(os.urandom(1 << 20)) * 100\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", code])
    sample = collect(Context(duration=1.5, interval=0.5))
    assert victim.wait() == -9
    assert named(sample)[memory.name].memory.oom_kills_increase == 1
    assert sample.oom_kills_increase >= 1
