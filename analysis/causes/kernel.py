"""Causes that lie in the kernel's tables, its locks, its clock, or in it itself."""

from __future__ import annotations

from analysis.causes.cpu import WAITING
from analysis.clues import SWITCHING
from analysis.model import Facts
from analysis.pattern import Clue, Pattern

_SECURITY_SHARE = 0.05


def _security_checks(facts: Facts) -> bool | None:
    """Tell whether security checks take a visible part of the CPU time, by the profile."""
    seen = facts.probe("profile")
    if seen is None or not seen.stacks:
        return None
    whole = sum(s.value for s in seen.stacks)
    mine = sum(s.value for s in seen.stacks if any(map(_is_security, s.frames)))
    return mine / whole >= _SECURITY_SHARE


def _is_security(frame: str) -> bool:
    """Tell whether a frame is a kernel function of AppArmor or SELinux."""
    return frame.endswith("_[k]") and frame.startswith(("aa_", "apparmor_", "selinux_", "avc_"))


PATTERNS = (
    Pattern(
        "fd_leak",
        "kernel",
        "a process has nearly used up its file descriptors",
        seen=Clue(
            "hardly any descriptors are left to it",
            ("process_file_descriptors", "process_descriptor_leak"),
        ),
        speaks_for=(Clue("it opens more and more", ("process_descriptor_leak",)),),
        explains=("file_descriptors",),
    ),
    Pattern(
        "fd_limit_system",
        "kernel",
        "the whole host is near its limit of open files",
        seen=Clue("hardly any files are left", ("file_descriptors", "files_refused")),
    ),
    Pattern(
        "task_limit",
        "kernel",
        "hardly any more processes or threads can be started",
        seen=Clue(
            "hardly any tasks are left",
            ("task_capacity", "container_tasks", "container_forks_refused"),
        ),
        speaks_against=(Clue("ended processes fill the table", ("zombies",)),),
    ),
    Pattern(
        "zombie_parent",
        "kernel",
        "a program does not collect its ended children",
        seen=Clue("ended processes stay", ("zombies",)),
        explains=("task_capacity", "container_tasks"),
    ),
    Pattern(
        "lock_contention",
        "kernel",
        "threads queue for locks instead of working",
        seen=Clue("threads wait long for locks", ("lock_contention",)),
        speaks_for=(SWITCHING,),
        # Before they sleep, and instead of that for spinlocks, they spin.
        explains=(*WAITING, "context_switches"),
    ),
    Pattern(
        "security_checks",
        "kernel",
        "security checks take a visible part of the CPU time",
        seen=Clue(
            "the CPUs are busy", ("cpu_pressure", "run_queue", "cpu_utilization", "interrupt_load")
        ),
        must=(Clue("AppArmor or SELinux is in the profile", fact=_security_checks),),
        explains=("run_queue_latency",),
    ),
    Pattern(
        "log_storm",
        "kernel",
        "so many kernel messages are written that the writing holds the CPUs",
        seen=Clue("messages are lost before they are read", ("kernel_log_lost",)),
        speaks_for=(Clue("a CPU was locked up", ("kernel_faults",)),),
        explains=("kernel_faults", "run_queue_latency"),
    ),
    Pattern(
        "kernel_fault",
        "kernel",
        "the kernel reports a fault in itself",
        seen=Clue("a fault is reported", ("kernel_faults", "kernel_alarms", "kernel_warnings")),
        explains=("hung_tasks", "blocked_tasks"),
    ),
    Pattern(
        "wrong_clock",
        "kernel",
        "the clock is wrong",
        seen=Clue(
            "the time is off",
            ("clock_offset", "clock_step", "clock_unsynchronized", "clocksource_unstable"),
        ),
    ),
    Pattern(
        "slow_clock",
        "kernel",
        "the clock is read from a slow device, and every program that asks for the time pays",
        seen=Clue("a slow clock is in use", ("clocksource_slow",)),
        speaks_for=(Clue("the fast one was found to run unevenly", ("clocksource_unstable",)),),
        explains=("clocksource_unstable",),
    ),
    Pattern(
        "aio_limit",
        "kernel",
        "hardly any asynchronous I/O requests are left, so the next database cannot start",
        seen=Clue("hardly any are left", ("aio_requests",)),
    ),
    Pattern(
        "watch_limit",
        "kernel",
        "a user may hardly watch any more files for changes",
        seen=Clue("hardly any watches are left", ("inotify_limit",)),
    ),
    Pattern(
        "key_quota",
        "kernel",
        "a user may hardly hold any more kernel keys",
        seen=Clue("hardly any keys are left", ("key_quota",)),
    ),
    Pattern(
        "terminal_limit",
        "kernel",
        "hardly any terminals are left, so soon nobody can log in over the network",
        seen=Clue("hardly any are left", ("terminals",)),
    ),
    Pattern(
        "crashing_program",
        "kernel",
        "programs crash, over and over or several of them",
        seen=Clue("programs crash", ("program_crashes",)),
        speaks_against=(
            Clue(
                "memory or processor report errors",
                ("memory_uncorrected", "memory_corrupted", "machine_checks"),
            ),
            Clue("a disk reports errors, where programs and libraries lie", ("disk_errors",)),
        ),
    ),
    Pattern(
        "gpu_network_apart",
        "gpu",
        "a GPU and the network card that it works over are attached to different processors",
        seen=Clue("they work across the processors", ("gpu_network_apart",)),
    ),
    Pattern(
        "hot_gpu",
        "gpu",
        "a GPU is too hot or short of power and slows itself down",
        seen=Clue("it slows itself down", ("gpu_temperature", "gpu_throttled")),
    ),
    Pattern(
        "failing_gpu",
        "gpu",
        "a GPU is failing",
        seen=Clue(
            "errors are reported",
            (
                "gpu_ecc_corrected",
                "gpu_ecc_uncorrected",
                "gpu_faults",
                "gpu_lost",
                "gpu_memory_repair",
            ),
        ),
        explains=("gpu_pcie_degraded", "bus_errors"),
    ),
)
