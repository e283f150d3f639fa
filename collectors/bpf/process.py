"""What the worker does to itself: privileges, priority, namespaces, standard error."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from pathlib import Path

from collectors.bpf.model import Verdict
from collectors.bpf.tracefs import PLACES, Tracefs

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_CLONE_NEWNS = 0x00020000  # include/uapi/linux/sched.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18  # include/uapi/linux/mount.h
_SYMBOLS = Path("/proc/kallsyms")
_FEW_SYMBOLS = Path(__file__).parent / "headers/kallsyms"
_NICE = 10
_OOM_SCORE = "800"  # among the first to go: it is only a guest here
_CPU_SECONDS = 120
_ERROR_TAIL = 2000  # [bytes]
_FAR = 512  # half of the descriptors that a process may have by default
_BPF_CAPABILITY, _ADMIN_CAPABILITY = 39, 21  # include/uapi/linux/capability.h
_WAY_OUT = "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"


def be_modest() -> None:
    """Give way to everything else on the host, and end with whoever started this process."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    _try_write(Path("/proc/self/oom_score_adj"), _OOM_SCORE)
    # Kernels before 5.11 charge maps to this limit.
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def _try_write(path: Path, text: str) -> None:
    """Write a setting that is welcome but not needed."""
    try:
        path.write_text(text)
    except OSError:
        return


def out_of_reach(fd: int) -> int:
    """
    Give a descriptor another, high number, beside its own.

    libbcc before 0.33, which is that of Debian 12 and Ubuntu 24.04, closes a descriptor whose
    number it has never set when it names the functions of a program (bcc #5193): small numbers
    were seen, and the map that had one was not readable from then on.

    Args:
        fd: The descriptor.

    Returns:
        The other one.

    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(_FAR, soft // 2))


def may_trace() -> tuple[Verdict, str] | None:
    """
    Tell whether this process may load eBPF programs.

    Returns:
        Why it may not, with the way out; None when it may.

    Source:
        CapEff of /proc/self/status; /sys/kernel/security/lockdown, kernel_lockdown(7).

    """
    capabilities = _capabilities()
    if capabilities is not None and not capabilities & (
        1 << _BPF_CAPABILITY | 1 << _ADMIN_CAPABILITY
    ):
        return Verdict.NO_PERMISSION, f"eBPF needs rights that this process lacks; {_WAY_OUT}"
    try:
        lockdown = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return None
    if "[confidentiality]" in lockdown:
        text = "the kernel is locked down for confidentiality; only a boot without it allows eBPF"
        return Verdict.LOCKDOWN, text
    return None


def _capabilities() -> int | None:
    """Read the effective capabilities of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return None


class Place:
    """
    A mount namespace of this process alone, for as long as it compiles and attaches.

    In it tracefs is mounted where the host has none, and the list of kernel symbols is a
    short one: libbcc reads all 150,000 of them into a table only to see whether the kernel
    has bpf_probe_read_kernel, which takes 180 of the 610 ms of eleven probes. It is there
    wherever a module can load at all: it came with 5.5, ring buffers with 5.8.

    Such a namespace holds copies of all mounts of the host, which would keep what the host
    unmounts in the meantime busy. So it is left again as soon as everything is attached.

    Attributes:
        tracefs: None when it cannot be had.

    """

    def __init__(self) -> None:
        """Enter it, as far as this process may, and find tracefs or mount it."""
        self._home: int | None = None
        entered = self._enter()
        if entered:
            _mount(_FEW_SYMBOLS, _SYMBOLS, None, _MS_BIND)
        found = (place for place in PLACES if os.access(place / "events", os.R_OK | os.X_OK))
        place = next(found, None)
        if place is None and entered and _mount(Path("tracefs"), PLACES[0], b"tracefs", 0):
            # By a descriptor it can be read after the namespace is left as well.
            fd = out_of_reach(os.open(PLACES[0], os.O_PATH | os.O_DIRECTORY))
            place = Path(f"/proc/self/fd/{fd}")
        self.tracefs = None if place is None else Tracefs(place)

    def leave(self) -> None:
        """Go back to the host's mounts; what was attached stays so."""
        if self._home is not None:
            _libc().setns(self._home, _CLONE_NEWNS)
            os.close(self._home)
            self._home = None

    def _enter(self) -> bool:
        """Part from the host's mounts, so that they stay as they are."""
        self._home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        parted = _libc().unshare(_CLONE_NEWNS) == 0
        return parted and _mount(Path("none"), Path("/"), None, _MS_REC | _MS_PRIVATE)


def _mount(source: Path, target: Path, kind: bytes | None, flags: int) -> bool:
    """Mount something; tell whether it could be done."""
    names = os.fsencode(source), os.fsencode(target)
    return bool(_libc().mount(*names, kind, flags, None) == 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def functions() -> frozenset[str]:
    """
    List the kernel functions that can be probed.

    Returns:
        Their names; empty when this kernel has no kprobes.

    Source:
        /proc/kallsyms; /sys/bus/event_source/devices/kprobe is there with CONFIG_KPROBES.

    """
    if not Path("/sys/bus/event_source/devices/kprobe").exists():
        return frozenset()
    lines = _SYMBOLS.read_text().splitlines()
    return frozenset(words[2] for line in lines if (words := line.split())[1] in "tT")


class ErrorCatcher:
    """Catch what C libraries write to standard error."""

    def __init__(self) -> None:
        """Put a file in memory in its place."""
        self._file = out_of_reach(os.memfd_create("stderr"))
        os.dup2(self._file, 2)

    def take(self) -> str:
        """
        Return what was written since the last time.

        Returns:
            Its end, at most 2,000 bytes.

        """
        size = os.lseek(self._file, 0, os.SEEK_END)
        text = os.pread(self._file, _ERROR_TAIL, max(0, size - _ERROR_TAIL))
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        return text.decode("utf-8", "replace").strip()
