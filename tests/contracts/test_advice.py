"""What holds for all advice: every rule is provoked at once, and what it advises is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import pytest

from analysis.assess import Policy, assess
from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.score import findings
from analysis.state import AT_ONCE, State
from collectors.cgroup import Group, GroupCpu, GroupMemory, GroupTasks
from collectors.cgroup_name import identify
from collectors.conntrack import ConntrackSample
from collectors.container import ContainerSample
from collectors.cpu import CpuSample
from collectors.disk import Disk, DiskSample, Operation
from collectors.disk_device import Device
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.interrupts import InterruptsSample
from collectors.limits import LimitsSample
from collectors.memory import MemorySample
from collectors.model import UNKNOWN, Distribution, Outcome, Status, Sweep
from collectors.neighbour import NeighbourSample
from collectors.network import Interface, NetworkSample
from collectors.numa import Node, NumaSample
from collectors.pressure import PressureSample, Stall
from collectors.process_sample import Process, ProcessSample
from collectors.sockets import Listener, SocketsSample
from collectors.softnet import SoftnetSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample

GIB = 1 << 30
RULES = discover_rules()
SETTINGS = {
    "fs.aio-max-nr": "65536",
    "fs.file-max": "1000",
    "kernel.numa_balancing": "0",
    "kernel.pid_max": "32768",
    "kernel.threads-max": "30000",
    "net.core.netdev_budget": "300",
    "net.core.netdev_budget_usecs": "2000",
    "net.core.netdev_max_backlog": "1000",
    "net.core.rmem_max": "212992",
    "net.core.somaxconn": "128",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.neigh.default.gc_thresh1": "128",
    "net.ipv4.neigh.default.gc_thresh2": "512",
    "net.ipv4.neigh.default.gc_thresh3": "1024",
    "net.ipv6.neigh.default.gc_thresh1": "128",
    "net.ipv6.neigh.default.gc_thresh2": "512",
    "net.ipv6.neigh.default.gc_thresh3": "1024",
    "net.ipv4.tcp_max_orphans": "1000",
    "net.ipv4.tcp_max_syn_backlog": "128",
    "net.ipv4.tcp_max_tw_buckets": "1000",
    "net.ipv4.tcp_mem": "768 1024 1536",
    "net.ipv4.tcp_rmem": "4096 131072 3000000",
    "net.ipv4.tcp_syncookies": "0",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.udp_mem": "768 1024 1536",
    "net.netfilter.nf_conntrack_max": "1000",
    "vm.dirty_background_ratio": "10",
    "vm.dirty_ratio": "20",
    "vm.min_free_kbytes": "1000",
    "vm.overcommit_memory": "2",
    "vm.swappiness": "60",
    "vm.watermark_scale_factor": "10",
    "vm.zone_reclaim_mode": "1",
}
COUNTERS = (
    "Tcp.RetransSegs", "TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPRcvQDrop", "TcpExt.PruneCalled", "TcpExt.TCPReqQFullDrop", "Udp.RcvbufErrors",
    "Udp.SndbufErrors",
)  # fmt: skip


def steady(value):
    return Distribution(value, value, (value,))


def sick(memory_bytes=64 * GIB, spare=0.3, settings=SETTINGS):
    """Describe a host on which everything goes wrong at once."""
    hog = Process(
        7, 1, "hog", "D", 1, "/a.service", cpu=3.9, run_wait=0.9, rss_bytes=GIB, threads=9000,
        fds=900, fd_limit=1000, read_bytes_per_second=1e8, write_bytes_per_second=1e8,
        major_faults_per_second=9e3, wchan="io_schedule", blocked_seconds=500.0,
    )  # fmt: skip
    tops = ("cpu", "wait", "memory", "io", "fds", "fd_share", "threads", "faults")
    turning = Device(
        "scsi", in_sums=True, rotational=True, scheduler="none", schedulers=("none", "mq-deadline"),
        nr_requests=64, queues=1,
    )  # fmt: skip
    slow = Operation(100.0, 4e5, 0.0, 2.0)
    unit = "/system.slice/a.service"
    group = Group(
        unit, identify(unit), GroupCpu(1.0, 1.0, 100, 95),
        GroupMemory(GIB, GIB, GIB, GIB, GIB, GIB // 2, 9, 9), GroupTasks(99, 100, 5),
        pressure={"memory_full": 0.9},
    )  # fmt: skip
    link = Interface(
        "eth0", True, "up", 125e6, 1500, None, None, utilization=steady(1.0),
        packets_received=1e4, packets_sent=1e4, carrier_changes=20,
        increases={"rx_errors": 9_000, "rx_missed_errors": 9_000},
    )  # fmt: skip
    vmstat = dict.fromkeys(
        ("pswpin", "pgmajfault", "allocstall_normal", "pgscan_direct", "compact_stall",
         "compact_fail", "thp_split_page", "oom_kill", "hardware_corrupted"), 200_000,
    )  # fmt: skip
    samples = (
        CpuSample(
            10.0, 8, steady(0.99), {"steal": 0.3, "iowait": 0.5},
            per_cpu=dict.fromkeys(range(8), 0.99), interrupts=dict.fromkeys(range(8), 0.7),
            context_switches=steady(9e6), forks_per_second=9e4, running=steady(90.0),
            blocked=steady(9.0),
        ),
        PressureSample(
            10.0, Stall(steady(0.95)), Stall(steady(0.6), steady(0.5)),
            Stall(steady(0.95), steady(0.9)), None,
        ),
        MemorySample(
            10.0, memory_bytes, int(memory_bytes * spare), steady(1 - spare),
            {"CommitLimit": GIB, "Committed_AS": GIB}, vmstat, vmstat,
            {"nr_dirty": 900, "nr_writeback": 900, "nr_dirty_background_threshold": 100,
             "nr_dirty_threshold": 200},
            GIB, GIB, huge_pages="always", huge_pages_defrag="always",
        ),
        NumaSample(10.0, tuple(
            Node(n, GIB, GIB, "0", (10, 20), {"numa_hit": 10**6, "numa_miss": 10**6})
            for n in range(2)
        )),
        DiskSample(10.0, (
            Disk("sda", turning, slow, slow, flush=slow, queue_length=63.0, utilization=steady(1.0),
                 stalled_seconds=9.5, errors_increase={"command": 99, "timeout": 99}),
        )),
        FilesystemSample(10.0, (
            Filesystem("/var", "/dev/sda1", "ext4", False, False, False, 100 * GIB, GIB, 0.99,
                       10**6, 100, 0.9999, 9, 9),
        )),
        LimitsSample(990, 1000, 29_900, 30_000, 32_768, 128, 8192, 65_000, 65_536),
        InterruptsSample(10.0, 8, 1e6, network_receive_share=0.99,
                         network_receive_per_second=1e6, machine_checks=99,
                         machine_checks_increase=99),
        NetworkSample(10.0, {"eth0": link}),
        SoftnetSample(10.0, 1e6, 9_000, 9_000, 9_000, 0, 0, 9_000),
        ConntrackSample(10.0, 999, 1000, {"drop": 9_000, "early_drop": 9_000}),
        NeighbourSample(10.0, 10, 1020, 0, 9),
        TcpSample(10.0, {**dict.fromkeys(COUNTERS, 90_000), "Tcp.OutSegs": 90_000}),
        SocketsSample(
            {"established": 100, "close_wait": 20_000},
            (Listener("0.0.0.0", 80, 129, 128, "hog (7)"),), 1, 90, 28_000, 27_900, 27_000, 990,
            4096, 1530, 1530,
        ),
        ProcessSample(10.0, 10, 9, 9_000, {"D": 5, "Z": 900}, blocked=(hog,),
                      zombie_parents={"hog (7)": 900}, **{f"top_{t}": (hog,) for t in tops}),
        ContainerSample(10.0, "v2", (group,), oom_kills=9, oom_kills_increase=9),
        SysctlSample(settings),
    )  # fmt: skip
    outcomes = {
        str(n): Outcome(str(n), c, "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
        for n, (c, sample) in enumerate(("cpu", s) for s in samples)
    }
    return Sweep("quick", 1e9, 1e3, 10.0, 10.0, outcomes=outcomes)


HOSTS = {
    "roomy": sick(),
    "short of memory": sick(spare=0.02),
    "small": sick(GIB),
    "huge": sick(1024 * GIB),
}


def judge(sweep):
    return assess(sweep, State(), Policy(RULES, {}, AT_ONCE))[0]


@pytest.fixture(params=HOSTS.values(), ids=HOSTS)
def host(request):
    return request.param


def provoked(sweep):
    facts = Facts(sweep)
    signals = [(r, s) for r in RULES.values() if r.advise and (s := r.evaluate(facts)) is not None]
    return findings(signals)


def tuned(advice):
    return [item for item in advice if item.kind == "tune"]


def test_nearly_every_rule_that_advises_is_provoked_here():
    fired = {f.rule.id for sweep in HOSTS.values() for f in provoked(sweep)}
    assert len(fired) >= 38
    assert len(tuned(judge(HOSTS["roomy"]).recommendations)) >= 25


def test_every_provoked_rule_advises_something():
    found = [(Facts(sweep), f) for sweep in HOSTS.values() for f in provoked(sweep)]
    advised = {f.rule.id for facts, f in found if list(f.rule.advise(facts, f.signal))}
    assert advised == {f.rule.id for _, f in found}


def test_each_is_complete(host):
    for item in judge(host).recommendations:
        assert item.kind in {"investigate", "tune", "fix"}, item.id
        assert item.scope in {"runtime", "persistent"}, item.id
        assert item.title[0].isupper(), item.id
        assert not item.title.endswith("."), item.id
        assert item.why.endswith("."), item.id
        assert item.risk, item.id
        assert item.source, item.id
        assert item.evidence, item.id
        assert all(e.source for e in item.evidence), item.id
        assert item.commands, item.id


def test_each_has_an_active_finding_behind_it(host):
    judged = judge(host)
    active = {a.rule: a for a in judged.anomalies}
    for item in judged.recommendations:
        assert item.addresses in active, item.id


def test_they_are_ordered_by_the_deduction_they_address(host):
    judged = judge(host)
    places = {d.cause: n for n, d in enumerate(judged.deductions)}
    # Advice on what is only a consequence comes last.
    order = [places.get(RULES[r.addresses].cause, 99) for r in judged.recommendations]
    assert order == sorted(order)
    assert len(set(order)) > 5


def test_none_comes_twice(host):
    ids = [r.id for r in judge(host).recommendations]
    assert len(ids) == len(set(ids))


def test_a_change_tells_both_values_how_to_keep_it_and_how_to_take_it_back(host):
    for item in tuned(judge(host).recommendations):
        assert None not in (item.current, item.proposed), item.id
        assert item.current != item.proposed, item.id
        assert item.persistent, item.id
        assert any(str(item.proposed) in c for c in item.commands), item.id
        assert any(str(item.current) in c for c in item.undo), item.id
        assert item.risk != "none", item.id


def test_looking_changes_nothing(host):
    for item in judge(host).recommendations:
        if item.kind == "investigate":
            assert not re.search(
                r"sysctl -w|>|\becho\b|\brm\b|\bkill\b|set-property|\bumount\b|restart",
                " ".join(item.commands),
            ), item.id
            assert not item.undo, item.id


def test_a_setting_is_read_from_this_host(host):
    advice = [r for r in judge(host).recommendations if r.id.startswith("sysctl:")]
    for item in advice:
        assert item.current == SETTINGS[item.id.removeprefix("sysctl:")]


def test_a_setting_that_this_kernel_does_not_have_is_not_advised():
    nothing = sick(settings=dict.fromkeys(SETTINGS))
    assert [r.id for r in judge(nothing).recommendations if r.id.startswith("sysctl:")] == []
    unknown = replace(
        nothing,
        outcomes={
            n: o for n, o in nothing.outcomes.items() if not isinstance(o.data, SysctlSample)
        },
    )
    assert [r.id for r in judge(unknown).recommendations if r.id.startswith("sysctl:")] == []


def last(value):
    return int(value.split()[-1])


def test_advice_that_was_taken_is_never_taken_back(host):
    settings, seen = dict(SETTINGS), {}
    data = {o.data.__class__: o.data for o in host.outcomes.values()}
    memory = data[MemorySample]
    for _ in range(40):
        sweep = sick(memory.total_bytes, memory.available_bytes / memory.total_bytes, settings)
        advice = [r for r in judge(sweep).recommendations if r.id.startswith("sysctl:")]
        if not advice:
            break
        for item in advice:
            name = item.id.removeprefix("sysctl:")
            direction = last(item.proposed) > last(item.current)
            assert seen.setdefault(name, direction) is direction, name
            settings[name] = item.proposed
    assert not advice, "it never ends"
    assert len(seen) > 10


def test_it_is_sized_to_the_host():
    small, huge = ({r.id: r for r in judge(HOSTS[n]).recommendations} for n in ("small", "huge"))
    sized = {
        i for i in small.keys() & huge.keys()
        if i.startswith("sysctl:") and last(small[i].proposed) != last(huge[i].proposed)
    }  # fmt: skip
    assert all(last(huge[i].proposed) > last(small[i].proposed) for i in sized)
    assert {"sysctl:net.core.rmem_max", "sysctl:net.ipv4.tcp_rmem"} <= sized
    assert "sysctl:vm.min_free_kbytes" in huge.keys() - small.keys()


def test_a_host_of_which_nothing_is_known_gets_no_advice():
    assert judge(Sweep("quick", 0.0, 0.0, 0.0, 0.0)).recommendations == ()


def test_a_full_table_of_one_family_is_widened_for_that_family(host):
    ids = [r.id for r in judge(host).recommendations if "neigh" in r.id]
    assert len(ids) == 3
    assert all("ipv6" in i for i in ids)


# Unknown here says that there is no limit, which is an answer.
UNLIMITED = {
    "LimitsSample.files_max", "ContainerSample.groups.cpu.quota",
    "ContainerSample.groups.memory.limit", "ContainerSample.groups.tasks.limit",
}  # fmt: skip


def blanked(thing, path=""):
    """Give copies of a sample in each of which one thing is unknown."""
    path = path or type(thing).__name__
    for field in fields(thing):
        value, name = getattr(thing, field.name), f"{path}.{field.name}"
        for where, unknown in _unknowns(value, name, may_be_none="None" in str(field.type)):
            yield where, replace(thing, **{field.name: unknown})


def _unknowns(value, name, *, may_be_none):
    if isinstance(value, Distribution):
        yield name, UNKNOWN
    elif is_dataclass(value):
        yield from blanked(value, name)
    elif isinstance(value, Mapping) and may_be_none:
        for key in value:
            yield f"{name}[{key}]", {**value, key: None}
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        yield from ((where, (other, *value[1:])) for where, other in blanked(value[0], name))
    elif may_be_none and value is not None:
        yield name, None


def test_what_becomes_unknown_does_not_heal():
    sweep = HOSTS["short of memory"]
    fired = {r.id for r in RULES.values() if severe(r, sweep)}
    healed, tried = [], 0
    for name, outcome in sweep.outcomes.items():
        for where, data in blanked(outcome.data):
            tried += 1
            changed = {**sweep.outcomes, name: replace(outcome, data=data)}
            facts = Facts(replace(sweep, outcomes=changed))
            signals = {r: RULES[r].evaluate(facts) for r in fired}
            healed += [
                (where, r) for r, s in signals.items()
                if s is not None and s.value < RULES[r].warning and where not in UNLIMITED
            ]  # fmt: skip
    assert healed == []
    assert len(fired) >= 65
    assert tried >= 150


def severe(rule, sweep):
    signal = rule.evaluate(Facts(sweep))
    return signal is not None and signal.value >= rule.warning


def test_a_collector_that_did_not_answer_heals_nothing():
    sweep = HOSTS["short of memory"]
    fired = [r for r in RULES.values() if severe(r, sweep)]
    for name in sweep.outcomes:
        left = {n: o for n, o in sweep.outcomes.items() if n != name}
        for rule in fired:
            signal = rule.evaluate(Facts(replace(sweep, outcomes=left)))
            assert signal is None or signal.value >= rule.warning, (rule.id, name)
