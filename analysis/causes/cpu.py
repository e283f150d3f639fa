"""Causes that lie in the CPUs: too little of them, taken away, or spent on nothing."""

from __future__ import annotations

from analysis.clues import CPUS_FULL, SWITCHING, cpus_below
from analysis.model import Facts
from analysis.pattern import Clue, Pattern
from collectors.cpu import CpuSample

_MOSTLY_KERNEL = 0.5
# Everybody waits when the CPUs are full, whatever filled them.
WAITING = ("cpu_pressure", "run_queue", "run_queue_latency", "cpu_utilization", "dns_latency")


def _in_kernel(facts: Facts) -> bool | None:
    """Tell whether the kernel itself takes more of the CPU time than the programs."""
    sample = facts.sample(CpuSample)
    states = sample.states if sample else {}
    system, user = states.get("system"), states.get("user")
    if system is None or user is None or system + user <= 0:
        return None
    return system / (system + user) >= _MOSTLY_KERNEL


PATTERNS = (
    Pattern(
        "cpu_overload",
        "cpu",
        "the CPUs have more work than they can do",
        seen=CPUS_FULL,
        speaks_for=(
            Clue("the CPUs are hardly ever idle", ("cpu_utilization",)),
            Clue("tasks wait long for a CPU", ("run_queue_latency",)),
        ),
        speaks_against=(
            Clue("the hypervisor takes time away", ("cpu_steal",)),
            SWITCHING,
            Clue("processes are started all the time", ("fork_storm",)),
            Clue("a CPU is taken by interrupts", ("interrupt_load",)),
            Clue("the CPUs are slowed down by heat", ("thermal_throttling", "heat_throttling")),
            Clue("threads queue for a lock of the kernel", ("lock_contention",)),
        ),
        explains=("cpu_utilization", "run_queue_latency", "context_switches", "dns_latency"),
    ),
    Pattern(
        "short_waits",
        "cpu",
        "tasks wait for a CPU in bursts that averages do not show",
        seen=Clue("tasks wait long for a CPU", ("run_queue_latency",)),
        speaks_for=(Clue("the CPUs have time on average", fact=cpus_below(0.7)),),
        speaks_against=(CPUS_FULL,),
        explains=("dns_latency",),
    ),
    Pattern(
        "hot_core",
        "cpu",
        "one thread is at the limit of its CPU while other CPUs have time",
        seen=Clue("one CPU is full, the others are not", ("hot_core",)),
        speaks_against=(Clue("it is interrupts that fill it", ("interrupt_load",)),),
        explains=("cpu_pressure", "run_queue_latency"),
    ),
    Pattern(
        "cpu_stolen",
        "cpu",
        "the hypervisor gives this machine's CPU time to others",
        seen=Clue("time is stolen", ("cpu_steal",)),
        speaks_for=(CPUS_FULL,),
        explains=WAITING,
    ),
    Pattern(
        "context_switch_storm",
        "cpu",
        "the CPUs switch between tasks instead of running them",
        seen=SWITCHING,
        speaks_for=(Clue("the kernel takes more time than the programs", fact=_in_kernel),),
        speaks_against=(Clue("threads queue for a lock", ("lock_contention",)),),
        explains=WAITING,
    ),
    Pattern(
        "fork_storm",
        "cpu",
        "processes are started so fast that starting them is the work",
        seen=Clue("new processes all the time", ("fork_storm",)),
        speaks_for=(Clue("the kernel takes more time than the programs", fact=_in_kernel),),
        explains=(*WAITING, "context_switches"),
    ),
    Pattern(
        "interrupt_storm",
        "cpu",
        "interrupts take a CPU",
        seen=Clue(
            "a CPU is busy with interrupts",
            ("interrupt_load", "backlog_squeezed", "softirq_latency", "interrupt_latency"),
        ),
        speaks_for=(
            Clue("one CPU handles the packets of all", ("packet_steering",)),
            Clue("packets wait or are dropped before they are handled", ("backlog_drops",)),
        ),
        explains=(*WAITING, "hot_core", "packet_steering", "backlog_drops", "receive_overruns"),
    ),
    Pattern(
        "overheating",
        "cpu",
        "the CPUs are too hot and slow themselves down",
        seen=Clue("heat slows the CPUs", ("thermal_throttling", "heat_throttling")),
        explains=WAITING,
    ),
    Pattern(
        "cgroup_cpu_limit",
        "container",
        "a group of processes is held back by its own CPU limit",
        seen=Clue("a group is throttled", ("cpu_throttling", "container_cpu_stall")),
        speaks_for=(Clue("the host has CPU time left", fact=cpus_below(0.9)),),
        explains=("run_queue_latency", "container_pressure"),
    ),
)
