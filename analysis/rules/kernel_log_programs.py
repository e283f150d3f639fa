"""Rules on what the kernel reports of programs and their users: crashes, floods, bad clocks."""

from __future__ import annotations

from analysis.kernel_events import events
from analysis.model import Facts, Kind, Scale, Signal
from analysis.registry import rule


@rule(
    resource="kernel",
    cause="program_crash",
    kind=Kind.ERRORS,
    unit="crashes",
    warning=2,
    critical=20,
    at_once=True,
    scale=Scale.LOG,
    source="signal(7), SIGSEGV: one crash is a fault of one program; two between two sweeps are "
    "restarts that crash again, twenty a library or memory that is broken for all",
    gate="the sysctl debug.exception-trace, which is on by default",
    explanation="Programs crash and are started again, or several crash for one reason.",
    next_steps=("coredumpctl list, or: dmesg | grep segfault", "Several at once: check memory."),
)
def program_crashes(facts: Facts) -> Signal | None:
    """Watch for programs that crashed."""
    return events(facts, ("segfault",), ("crash", "crashes of programs"), names="process")


@rule(
    resource="network",
    cause="listen_queue",
    kind=Kind.ERRORS,
    unit="reports",
    warning=1,
    critical=None,
    at_once=True,
    source="net/ipv4/tcp_input.c reports a listener's queue of half-open connections once, when it "
    "is full for the first time; with cookies connections still get through",
    explanation="More connections are being opened than a listener accepts: a flood, or a queue "
    "that is too short for ordinary load.",
    next_steps=("ss -ltn: Recv-Q against Send-Q", "ss -tan state syn-recv | wc -l"),
)
def syn_flood(facts: Facts) -> Signal | None:
    """Watch for listeners whose queue of half-open connections is full."""
    return events(facts, ("tcp_syn_flooding",), ("flooded listener", "flooded listeners"))


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.ERRORS,
    unit="reports",
    warning=0.5,
    critical=1,
    at_once=True,
    source="net/ipv4/tcp.c, tcp_check_oom: a connection was killed because tcp_mem or "
    "tcp_max_orphans was exceeded; as tcp_memory_aborts",
    explanation="Connections were killed because memory for sockets ran out.",
    next_steps=("cat /proc/net/sockstat", "sysctl net.ipv4.tcp_mem net.ipv4.tcp_max_orphans"),
)
def tcp_out_of_memory(facts: Facts) -> Signal | None:
    """Watch for the kernel's word that TCP's memory ran out."""
    return events(facts, ("tcp_out_of_memory",), ("end of TCP's memory", "ends of TCP's memory"))


@rule(
    resource="kernel",
    cause="clocksource",
    kind=Kind.ERRORS,
    unit="reports",
    warning=1,
    critical=None,
    at_once=True,
    source="kernel/time/clocksource.c: its watchdog found a clock that runs unlike another one; "
    "it is not used any more until the next boot",
    explanation="The kernel stopped trusting the processor's clock; it reads a slower one now.",
    next_steps=("dmesg | grep -i clocksource", "cat /sys/devices/system/clocksource/*/current_*"),
)
def clocksource_unstable(facts: Facts) -> Signal | None:
    """Watch for clocks that the kernel found to run wrong."""
    return events(facts, ("clocksource_unstable",), ("unreliable clock", "unreliable clocks"))
