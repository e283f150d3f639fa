"""Clues that ask the facts: yes, no, and that nothing can tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.diagnosis import Case, holds
from analysis.model import Facts
from analysis.registry import discover_patterns
from collectors.bpf.model import ProbeSample, Stack, histogram
from collectors.cpu import CpuSample
from collectors.disk import Disk, DiskSample, Operation
from collectors.disk_device import Device
from collectors.memory import MemorySample
from collectors.model import UNKNOWN, Distribution, Outcome, Status, Sweep
from collectors.process_sample import Process, ProcessSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample

CLUES = {
    (p.id, c.text): c
    for p in discover_patterns()
    for c in (p.seen, *p.must, *p.speaks_for, *p.speaks_against)
    if c.fact
}


def steady(value):
    return UNKNOWN if value is None else Distribution(value, value, (value,))


def cpu(busy, **states):
    return CpuSample(10.0, 2, steady(busy), states)


def memory(**fields):
    return MemorySample(10.0, 1 << 30, 1 << 29, **fields)


def disk(busy=0.5, *, rotating=True, scheduler="none", **operations):
    device = Device("scsi", in_sums=True, rotational=rotating, scheduler=scheduler)
    return Disk("sda", device, utilization=steady(busy), **operations)


def disks(*found, read=None, written=None):
    return DiskSample(
        10.0, found, read_bytes_per_second=read, write_bytes_per_second=written
    )  # fmt: skip


def process(name):
    return ProcessSample(10.0, 2, 1, 1, {}, top_io=(Process(7, 1, name, "S", 1),))


def profile(*stacks):
    return {"profile": ProbeSample("profile", 30.0, 9, stacks=tuple(Stack(*s) for s in stacks))}


def round_trips(slot):
    return {"tcprtt": ProbeSample("tcprtt", 30.0, 9, histograms=(histogram("x", {slot: 9}, 0),))}


def algorithm(name):
    return SysctlSample({"net.ipv4.tcp_congestion_control": name})


def connects(count, slot):
    spread = histogram("x", {slot: count}, 0)
    return {"tcpconnlat": ProbeSample("tcpconnlat", 30.0, count, histograms=(spread,))}


def name_servers(*means, silent=()):
    answered = tuple(
        {"server": str(n), "count": 9, "seconds": 9 * mean} for n, mean in enumerate(means)
    )
    tops = {"server": answered, "silent": tuple({"server": name} for name in silent)}
    return {"dnslat": ProbeSample("dnslat", 30.0, 9, tops=tops)}


def resets(**counters):
    increases = {"Tcp.OutRsts": 1000, **{f"TcpExt.{n}": v for n, v in counters.items()}}
    return TcpSample(10.0, increases)


def cookies(**counters):
    return TcpSample(10.0, {f"TcpExt.Syncookies{n}": v for n, v in counters.items()})


FLUSHING = "disks empty their write caches all the time"
CASES = [
    ("context_switch_storm", "the kernel takes more time than the programs",
     cpu(0.9, system=0.6, user=0.3), cpu(0.9, system=0.2, user=0.7), cpu(0.9, system=0.2)),
    ("short_waits", "the CPUs have time on average", cpu(0.69), cpu(0.7), cpu(None)),
    ("cgroup_cpu_limit", "the host has CPU time left", cpu(0.89), cpu(0.9), cpu(None)),
    ("slow_acceptor", "the CPUs have time: its threads wait", cpu(0.69), cpu(0.7), cpu(None)),
    ("cgroup_memory_limit", "the host has memory left", memory(utilization=steady(0.89)),
     memory(utilization=steady(0.9)), memory()),
    ("compaction_stalls", "huge pages are sought for everybody", memory(huge_pages="always"),
     memory(huge_pages="madvise"), memory()),
    ("numa_migrations", "pages are moved between nodes",
     memory(increases={"numa_pages_migrated": 10_000}),
     memory(increases={"numa_pages_migrated": 9_999}), memory()),
    ("cache_full_of_writes", "far more is written than read", disks(read=1e6, written=4.1e6),
     disks(read=1e6, written=4e6), disks(written=4e6)),
    ("disk_saturated", "a disk is busy all the time", disks(disk(0.1), disk(0.9)),
     disks(disk(0.89)), disks(disk(0.1), disk(None))),
    ("slow_disk", "no disk is busy", disks(disk(0.69)), disks(disk(None), disk(0.7)),
     disks(disk(0.1), disk(None))),
    ("frozen_storage", "no disk is at work", disks(disk(0.09)), disks(disk(0.1)),
     disks(disk(None))),
    ("fsync_storm", FLUSHING, disks(disk(flush=Operation(20.0))),
     disks(disk(flush=Operation(19.0))), disks(disk())),
    ("fsync_storm", "the disk turns", disks(disk()), None, disks(disk(rotating=False))),
    ("random_reads", "a turning disk serves many small reads",
     disks(disk(read=Operation(50.0, 50 * 16384.0))), disks(disk(read=Operation(50.0, 9e6))),
     disks(disk(read=Operation(50.0)))),
    ("wrong_scheduler", "a fast disk uses bfq", disks(disk(rotating=False, scheduler="bfq")),
     disks(disk(rotating=False)), disks(disk(rotating=False, scheduler=None))),
    ("logs_fight_for_disk", "a log shipper is among those that move most", process("promtail"),
     process("postgres"), None),
    ("loss_on_a_long_way", "round trips take long", round_trips(27), round_trips(20), None),
    ("loss_on_a_long_way", "the congestion control takes losses for congestion",
     algorithm("cubic"), algorithm("bbr"), SysctlSample({})),
    ("slow_name_server", "connections to others are made at once", connects(20, 20),
     connects(20, 28), connects(19, 20)),
    ("slow_name_server", "another name server answers far faster", name_servers(0.5, 0.1),
     name_servers(0.4, 0.1), name_servers(0.5)),
    ("slow_name_server", "another name server answers far faster", name_servers(0.5, silent="x"),
     name_servers(silent="xy"), name_servers(0.5, silent="0")),
    ("syn_flood", "most who ask for connections do not go on", cookies(Sent=100, Recv=49),
     cookies(Sent=100, Recv=50), cookies(Sent=0, Recv=0)),
    ("nobody_listens", "most resets go to somebody who has no connection",
     resets(TCPAbortOnClose=400, TCPAbortOnData=99), resets(TCPAbortOnData=500), resets()),
    ("program_cuts_off", "most resets cut a connection off", resets(TCPAbortOnClose=500),
     resets(TCPAbortOnClose=499), resets()),
    ("security_checks", "AppArmor or SELinux is in the profile",
     profile((("nginx", "aa_label_next_[k]"), 5), (("nginx", "main"), 95)),
     profile((("aa_program", "avc_of_its_own"), 50), (("nginx", "aa_get_[k]"), 4),
             (("x", "y"), 46)),
     profile()),
]  # fmt: skip


def ask(clue, sample):
    parts = sample if isinstance(sample, dict) else {"it": sample}
    outcomes = {
        name: Outcome(name, "cpu", "quick", True, Status.OK, None, None, 0.0, 1.0, data)
        for name, data in parts.items()
    }
    facts = Facts(Sweep("deep", 0.0, 0.0, 30.0, 30.0, outcomes=outcomes))
    return holds(replace(clue, rules=()), Case(facts, (), {}, {}))


@pytest.mark.parametrize(
    ("pattern", "text", "yes", "no", "silent"), CASES, ids=lambda c: str(c)[:40]
)
def test_each_answers_yes_no_and_unknown(pattern, text, yes, no, silent):
    clue = CLUES[pattern, text]
    assert ask(clue, yes) is True
    assert no is None or ask(clue, no) is False
    assert ask(clue, silent) is None


def test_every_clue_that_asks_the_facts_is_asked_here():
    asked = {CLUES[pattern, text].fact for pattern, text, *_ in CASES}
    named = {text for _, text, *_ in CASES}
    assert [
        key for key, clue in CLUES.items() if clue.fact not in asked and key[1] not in named
    ] == []
