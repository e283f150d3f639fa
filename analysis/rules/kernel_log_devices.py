"""Rules on what the kernel reports of its devices: storage, network, memory, buses, GPUs, heat."""

from __future__ import annotations

from analysis.kernel_events import events
from analysis.model import Facts, Kind, Scale, Signal
from analysis.registry import rule

# Drives whose medium may be missing or scratched without any harm to the host.
_REMOVABLE = r"(?:fd|sr)\d+"


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=50,
    at_once=True,
    scale=Scale.LOG,
    source="block/blk-core.c reports a request only when it failed for good, after all of the "
    "driver's attempts; thresholds as for failed commands (disk_errors)",
    gate="no floppy or optical drive",
    explanation="A disk failed to read or write, was reset, or is gone.",
    next_steps=("dmesg | grep -iE 'I/O error|exception Emask|timeout'", "smartctl -a on the disk."),
)
def storage_log_errors(facts: Facts) -> Signal | None:
    """Watch for what the kernel reports of failing disks."""
    return events(
        facts,
        ("io_error", "storage_reset", "disk_gone"),
        ("storage error", "storage errors"),
        ignore=_REMOVABLE,
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="writes",
    warning=0.5,
    critical=1,
    at_once=True,
    source="fs/buffer.c: data that programs believed written was given up",
    gate="no floppy or optical drive",
    explanation="Data is lost: the kernel could not write it, and the program was told before "
    "that it was written.",
    next_steps=("dmesg | grep 'lost .* page write'", "Check the disk, then the file system."),
)
def lost_writes(facts: Facts) -> Signal | None:
    """Watch for written data that never reached its disk."""
    return events(facts, ("lost_write",), ("lost write", "lost writes"), ignore=_REMOVABLE)


@rule(
    resource="filesystem",
    cause="filesystem_damage",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=5,
    at_once=True,
    scale=Scale.LOG,
    source="any error is damage; XFS and others report theirs nowhere else",
    explanation="A file system found its own structures damaged or unreadable.",
    next_steps=("dmesg | grep -iE 'ext4|xfs|btrfs|f2fs'", "Check the disk, then fsck."),
)
def filesystem_log_errors(facts: Facts) -> Signal | None:
    """Watch for damage that file systems report."""
    return events(facts, ("filesystem_error",), ("file system error", "file system errors"))


@rule(
    resource="memory",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="errors",
    warning=0.5,
    critical=1,
    at_once=True,
    source="Documentation/admin-guide/RAS/main.rst: an uncorrected error (UE) is data lost",
    explanation="Memory returned wrong data that could not be corrected.",
    next_steps=("dmesg | grep EDAC", "ras-mc-ctl --errors", "Have the module replaced."),
)
def memory_uncorrected(facts: Facts) -> Signal | None:
    """Watch for errors of the memory that could not be corrected."""
    what = ("uncorrected memory error", "uncorrected memory errors")
    return events(facts, ("edac_uncorrected",), what)


@rule(
    resource="kernel",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=10,
    at_once=True,
    scale=Scale.LOG,
    source="Documentation/PCI/pcieaer-howto.rst: an uncorrectable error is a lost transaction; "
    "corrected ones, which many healthy boards report, are not counted",
    explanation="A device or its slot loses transactions on the bus.",
    next_steps=("dmesg | grep AER", "lspci -s the device; reseat or replace it."),
)
def bus_errors(facts: Facts) -> Signal | None:
    """Watch for errors on the bus that could not be corrected."""
    return events(facts, ("pcie_error",), ("uncorrected bus error", "uncorrected bus errors"))


@rule(
    resource="gpu",
    cause="failing_gpu",
    kind=Kind.ERRORS,
    unit="faults",
    warning=0.5,
    critical=1,
    at_once=True,
    source="NVIDIA's XID catalogue: 13, 31, 43 and 45 come from programs and are not counted; "
    "the rest, like a hang or reset of amdgpu, i915 or xe, is of device, driver or bus",
    explanation="A GPU or its driver failed; what ran on it is lost.",
    next_steps=("dmesg | grep -E 'Xid|GPU'", "nvidia-smi -q -d ECC,ROW_REMAPPER"),
)
def gpu_faults(facts: Facts) -> Signal | None:
    """Watch for faults that GPUs' drivers report."""
    return events(facts, ("gpu_fault",), ("GPU fault", "GPU faults"))


@rule(
    resource="network",
    cause="nic_hang",
    kind=Kind.ERRORS,
    unit="hangs",
    warning=1,
    critical=3,
    at_once=True,
    scale=Scale.LOG,
    source="net/sched/sch_generic.c: nothing was sent for the driver's watchdog time, 5 s by "
    "default, with the link up; the driver resets the device",
    explanation="A network device stopped to send and had to be reset.",
    next_steps=("dmesg | grep -iE 'watchdog|hang'", "ethtool -i INTERFACE; update its firmware."),
)
def network_device_hangs(facts: Facts) -> Signal | None:
    """Watch for network devices that stopped to send."""
    what = ("hung network device", "hung network devices")
    return events(facts, ("nic_hang",), what, names="interface")


@rule(
    resource="cpu",
    cause="overheating",
    kind=Kind.ERRORS,
    unit="reports",
    warning=1,
    critical=None,
    at_once=True,
    source="arch/x86 therm_throt.c reports only heat that lasts (since v5.5), at most every 5 min",
    explanation="The processor is too hot and slows itself down.",
    next_steps=("sensors", "Look at fans, dust, and the room."),
)
def thermal_throttling(facts: Facts) -> Signal | None:
    """Watch for processors that slow down because of heat."""
    return events(facts, ("thermal_throttle",), ("overheated CPU", "reports of overheated CPUs"))
