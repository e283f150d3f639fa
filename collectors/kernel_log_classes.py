"""What the kernel's own messages mean: a closed set of error classes."""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = 400  # what tells the class stands at the start; longer text only costs time
# Many messages begin with a program's name, which that program chose. They are
# looked at first, so that no program named "Oops: 0000 [#1]" is taken for one.
_COMM = r".{1,15}"
_DISK_ERROR = (
    "I/O|timeout|critical medium|critical target|recoverable transport|protection|"
    "device offline|critical nexus|kernel resource|device resource|critical space allocation|"
    "command duration limit"
)
# What x86 writes before "[#N]"; each line of this form is one oops.
_DIE = (
    "Oops|general protection fault|invalid opcode|divide error|stack segment|double fault|"
    "int3|bounds|alignment check|control protection fault|Bad pagetable"
)

# Each pattern matches once per event where the kernel writes several lines on
# one. A group, if there is one, is the device, interface or program it names.
# Order matters only where a program's name comes first.
_PATTERNS = {
    "segfault": rf"(?:traps: )?({_COMM})\[\d+\]:? (?:segfault |general protection |trap |"
    r"unhandled (?:signal|exception|level))",
    "none_of_a_program": rf"{_COMM}\[\d+\][: ]",
    "page_allocation_failure": rf"({_COMM}): page allocation failure",
    "none_of_the_oom_killer": rf"{_COMM} invoked oom-killer: ",
    "oom_kill": r"(?:Memory cgroup out of memory|Out of memory[^:]*): Kill(?:ed)? process \d+ "
    r"\((.{1,15}?)\)",
    "hung_task": r"INFO: task (.{1,32}):\d+ blocked (?:in I/O wait )?for more than \d",
    "soft_lockup": r"(?:watchdog: )?BUG: soft lockup - CPU#\d",
    "hard_lockup": r"(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu",
    "rcu_stall": r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stall",
    "oops": rf"(?:Internal error: |(?:{_DIE})\b).*\[#\d+\]",
    "none_of_an_oops": r"kernel BUG at |BUG: unable to handle|BUG: kernel NULL pointer|#PF: |"
    r"Unable to handle kernel |(?:Mem|Data) abort info:|  [A-Z]|\[[0-9a-f]{16}\] ",
    "bug": r"BUG: ",
    "kernel_warning": r"WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at |possible |suspicious |"
    r"inconsistent lock)",
    # What a device need not support (discard, zeroing) is no failure of it.
    "io_error": rf"(?:blk_update_request: |print_req_error: )?(?:{_DISK_ERROR}) error, "
    r"dev (\S+?), sector (?!\d+ op 0x[39]:)",
    "lost_write": r"Buffer I/O error on dev(?:ice)? (\S+?), logical block \d+, lost ",
    "storage_reset": r"(ata\d+)(?:\.\d+)?: (?:exception Emask|COMRESET failed)|"
    r"nvme (nvme\d+): (?:I/O .*timeout|controller is down|Abort status)|"
    r"sd \S+: \[(\w+)\] .*hostbyte=DID_(?:TIME_OUT|RESET|BUS_BUSY)|"
    r"(mmc\d+): Timeout waiting for hardware",
    "disk_gone": r"sd (\S+): (?:Device offlined|rejecting I/O to offline)|"
    r"md/raid\w*:\w+: Disk failure on (\S+?),|"
    r"nvme (nvme\d+): (?:Removing after probe failure|Disabling device after reset|"
    r"Device not ready; aborting)",
    # What ext4 writes after the error itself, which is of the class below.
    "none_of_ext4": r"EXT[234]-fs \([^)]+\): Remounting filesystem read-only",
    "filesystem_error": r"EXT[234]-fs error \(device ([^)]+)\)|"
    r"XFS \(([^)]+)\): (?:Metadata corruption|Metadata CRC error|Corruption|"
    r"metadata I/O error|log I/O error|Internal error|Filesystem has been shut down due to)|"
    r"BTRFS critical \(device ([^):\s]+)|"
    r"BTRFS (?:error|warning) \(device ([^):\s]+)[^)]*\): (?:bdev .* errs:|csum failed|"
    r"parent transid|.*corrupt|.*checksum|bad tree|.*errno=-(?:5|28|117)\b)|"
    r"F2FS-fs \(([^)]+)\): .*(?:orrupt|nconsist)|FAT-fs \(([^)]+)\): error",
    "machine_check": r"mce: \[Hardware Error\]: (?:Machine check events logged|CPU \d+: Machine "
    r"Check)|(?:\{\d+\})?\[Hardware Error\]: Hardware error from APEI",
    "edac_corrected": r"EDAC (\w+): \d+ CE ",
    "edac_uncorrected": r"EDAC (\w+): \d+ UE ",
    "memory_error": r"Memory failure: 0x[0-9a-f]+: recovery action for",
    "pcie_error": r"(?:pcieport|\S+) ([0-9a-f:.]+): AER: (?:Multiple )?Uncorrect(?:ed|able) "
    r"\((?:Non-)?Fatal\) error",
    "thermal_throttle": r"(?:mce: )?CPU\d+: (?:Package|Core) temperature (?:is )?above "
    r"threshold",
    "gpu_application_fault": r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (?:13|31|43|45)\b",
    "gpu_fault": r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): \d|"
    r"(?:amdgpu|i915|xe) ([0-9a-f:.]+): .*(?:GPU reset begin|GPU HANG|ring \S+ timeout)",
    "nic_hang": r"NETDEV WATCHDOG: (\S+) \(|\S+ \S+ (\S+): NETDEV WATCHDOG: |"
    r"\S+ \S+ (\S+): Detected (?:Hardware|Tx) Unit Hang",
    "conntrack_table_full": r"(?:nf_conntrack: |ip_conntrack: )+table full, dropping",
    "neighbour_overflow": r"neighbour: \w+: neighbor table overflow|Neighbour table overflow",
    "tcp_syn_flooding": r"(?:TCP: )?request_sock_TCP(?:v6)?: Possible SYN flooding|"
    r"TCP: \w+: Possible SYN flooding",
    "tcp_out_of_memory": r"TCP: (?:out of memory|too many orphaned)",
    "files_exhausted": r"VFS: file-max limit \d+ reached",
    "clocksource_unstable": r"clocksource: .*Marking clocksource .* as unstable|"
    r"tsc: Marking TSC unstable",
}
# Not one of the patterns above, but the kernel's three worst levels.
ALARM = "alarm"
CLASSES = (*(name for name in _PATTERNS if not name.startswith("none_")), ALARM)
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_ALARMING = 2  # crit and worse
_ALL = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()))
_FORM = re.compile(rb"(\d{1,10}),(\d{1,20}),(\d{1,20}),[^;\n]*;([^\n]*)")


class Record(NamedTuple):
    """
    One message as the kernel hands it out.

    Attributes:
        facility: Who wrote it; 0 is the kernel, which no program can pretend to be.
        level: 0 (emerg) to 7 (debug).
        sequence: Counts all messages since boot, from 0.
        microseconds: Since boot, on the kernel's own clock [us].
        text: Its first line; what is not printable ASCII is escaped by the kernel.

    """

    facility: int
    level: int
    sequence: int
    microseconds: int
    text: bytes


def parse_record(raw: bytes) -> Record:
    """
    Take one message apart; lines after its first, a device's properties, are left out.

    Args:
        raw: What one read of /dev/kmsg gives.

    Returns:
        The message.

    Raises:
        ValueError: When it is not of the kernel's form.

    Source:
        Documentation/ABI/testing/dev-kmsg: "prefix,sequence,microseconds,flags[,...];text".

    """
    found = _FORM.match(raw)
    if found is None:
        raise ValueError(f"not a record of the kernel's log: {raw[:40]!r}")
    prefix, sequence, microseconds, text = found.groups()
    number = int(prefix)
    return Record(number >> 3, number & 7, int(sequence), int(microseconds), text)


def classify(text: str, level: int) -> tuple[str, str | None] | None:
    """
    Tell an error from everything else the kernel says.

    Args:
        text: A message of the kernel.
        level: Its level, 0 (emerg) to 7 (debug).

    Returns:
        One of CLASSES, with the device, interface or program the message names;
        None for what is no error.

    Source:
        The messages' formats in the kernel: mm/oom_kill.c, kernel/hung_task.c,
        kernel/watchdog.c, kernel/rcu/tree_stall.h, arch/*/kernel/{dumpstack,traps}.c,
        block/blk-core.c, fs/buffer.c, drivers/ata/libata-eh.c, drivers/nvme/host,
        fs/{ext4,xfs,btrfs}, drivers/edac, net/sched/sch_generic.c and others.

    """
    found = _ALL.match(text[:_TEXT])
    name = found.lastgroup if found else None
    if found is None or name is None:
        return (ALARM, None) if level <= _ALARMING else None
    if name.startswith("none_"):
        return None
    inner = found.groups()[found.lastindex or 0 :]
    return name, next((group for group in inner if group is not None), None)
