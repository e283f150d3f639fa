"""What kind of host this is: system, kernel, hardware, virtualization."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors.base import Context, Paths, collector
from collectors.text import decimal, label, natural_or_none

_TEXT = 128
_HYPERVISORS = {
    "KVM": "kvm",
    "QEMU": "qemu",
    "VMware": "vmware",
    "VirtualBox": "virtualbox",
    "Xen": "xen",
    "Microsoft Corporation": "hyperv",
    "Amazon EC2": "amazon",
    "Google": "google",
    "OpenStack": "openstack",
}


@dataclass(frozen=True, slots=True)
class SystemSample:
    """
    The host, as far as it does not change from second to second.

    Attributes:
        hostname: As the kernel has it.
        os: Name and version of the distribution.
        kernel: Release.
        kernel_version: The kernel's own description of its build.
        arch: Machine architecture.
        boot_id: Changes with every boot.
        machine_id_hash: Stays with the installation; machine-id(5) asks to keep the id itself.
        uptime_seconds: Since boot [s].
        cpus: CPUs that are online.
        cores: Physical cores behind them; None when unknown, or for another host's /proc.
        cpu_model: As the processor calls itself.
        memory_bytes: Usable memory [bytes].
        page_size: Of memory [bytes].
        vendor: Of the machine.
        product: The machine's model.
        virtualization: The hypervisor; "none" on bare metal, None when unknown.
        in_container: Whether this program itself sees a container's view; None when unknown.
        taints: The kernel's taint bits; 0 when it is clean.
        root: Whether this program runs with root's rights.

    """

    hostname: str
    os: str | None
    kernel: str
    kernel_version: str | None
    arch: str
    boot_id: str | None
    machine_id_hash: str | None
    uptime_seconds: float | None
    cpus: int | None
    cores: int | None
    cpu_model: str | None
    memory_bytes: int | None
    page_size: int
    vendor: str | None
    product: str | None
    virtualization: str | None
    in_container: bool | None
    taints: int | None
    root: bool


def parse_os_release(raw: bytes) -> str | None:
    """
    Read the distribution's name.

    Args:
        raw: Content of /etc/os-release.

    Returns:
        PRETTY_NAME, or NAME; None when there is neither.

    Source:
        os-release(5).

    """
    pairs = dict(line.partition(b"=")[::2] for line in raw.splitlines())
    name = pairs.get(b"PRETTY_NAME") or pairs.get(b"NAME")
    return label(name.strip(b"\"' "), _TEXT) if name else None


def parse_cpu_model(raw: bytes) -> str | None:
    """
    Read the processor's name.

    Args:
        raw: Content of /proc/cpuinfo.

    Returns:
        The first CPU's name; None where the architecture tells none.

    Source:
        "model name" (x86) or "Model" (arm) of /proc/cpuinfo.

    """
    for line in raw.splitlines():
        key, colon, value = line.partition(b":")
        if colon and key.strip() in (b"model name", b"Model", b"cpu"):
            return label(value.strip(), _TEXT)
    return None


@collector(category="system")
def collect(ctx: Context) -> SystemSample:
    """
    Read once what does not change during a sweep.

    Args:
        ctx: Paths and memory; what cannot change until the next boot is kept there.

    Returns:
        The host's description.

    Source:
        uname(2), /proc/sys/kernel/{random/boot_id,tainted}, /proc/uptime,
        /proc/cpuinfo, /proc/meminfo, /etc/os-release, /etc/machine-id,
        /sys/class/dmi/id; psutil for physical cores.

    """
    proc = ctx.paths.proc
    name = os.uname()
    fixed = ctx.memory.setdefault("fixed", None) or _fixed(ctx)
    ctx.memory["fixed"] = fixed
    return SystemSample(
        hostname=label(_line(ctx, proc / "sys/kernel/hostname") or name.nodename, _TEXT),
        os=fixed["os"],
        kernel=label(_line(ctx, proc / "sys/kernel/osrelease") or name.release, _TEXT),
        kernel_version=fixed["version"],
        arch=name.machine,
        boot_id=fixed["boot_id"],
        machine_id_hash=fixed["machine_id_hash"],
        uptime_seconds=_uptime(ctx),
        cpus=_online(ctx),
        cores=fixed["cores"],
        cpu_model=fixed["cpu_model"],
        memory_bytes=_memory(ctx),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        vendor=fixed["vendor"],
        product=fixed["product"],
        virtualization=_virtualization(ctx, fixed["vendor"], fixed["product"]),
        in_container=_in_container(ctx),
        taints=natural_or_none(ctx.try_read(proc / "sys/kernel/tainted")),
        root=os.geteuid() == 0,
    )


def _fixed(ctx: Context) -> dict[str, Any]:
    """Read what stays until the next boot."""
    proc, dmi = ctx.paths.proc, ctx.paths.sys / "class/dmi/id"
    release = ctx.try_read(ctx.paths.root / "etc/os-release")
    # One CPU's entry is enough: with 1,024 CPUs the file has a megabyte and more.
    model = ctx.try_read(proc / "cpuinfo", limit=4096)
    return {
        "os": parse_os_release(release) if release else None,
        "version": _line(ctx, proc / "version"),
        "boot_id": _line(ctx, proc / "sys/kernel/random/boot_id"),
        "machine_id_hash": _hash(_line(ctx, ctx.paths.root / "etc/machine-id")),
        "cpu_model": parse_cpu_model(model) if model else None,
        "cores": _cores() if ctx.paths == Paths() else None,
        "vendor": _line(ctx, dmi / "sys_vendor"),
        "product": _line(ctx, dmi / "product_name"),
    }


def _cores() -> int | None:
    """Count the physical cores; psutil knows the ways of all kernels, and asks this host's only."""
    import psutil  # here, because only the first sweep needs it

    cores: int | None = psutil.cpu_count(logical=False)
    return cores or None


def _hash(machine_id: str | None) -> str | None:
    """Tell machines apart without giving away the id, which other programs use as a secret."""
    if machine_id is None:
        return None
    return hashlib.sha256(b"sysdx:" + machine_id.encode()).hexdigest()[:16]


def _line(ctx: Context, path: Path) -> str | None:
    """Read a file of one line; None when it is missing or empty."""
    raw = (ctx.try_read(path, limit=4096) or b"").strip()
    return label(raw, _TEXT) if raw else None


def _uptime(ctx: Context) -> float | None:
    """Read the time since boot [s]."""
    fields = (ctx.try_read(ctx.paths.proc / "uptime") or b"").split()
    try:
        return decimal(fields[0]) if fields else None
    except ValueError:
        return None


def _online(ctx: Context) -> int | None:
    """Count the CPUs that are online, from a list such as "0-3,6"."""
    raw = ctx.try_read(ctx.paths.sys / "devices/system/cpu/online")
    if raw is None:
        return None
    count = 0
    for part in raw.strip().split(b","):
        first, _, last = part.partition(b"-")
        low, high = natural_or_none(first), natural_or_none(last or first)
        if low is None or high is None or high < low:
            return None
        count += high - low + 1
    return count


def _memory(ctx: Context) -> int | None:
    """Read the usable memory."""
    for line in (ctx.try_read(ctx.paths.proc / "meminfo", limit=4096) or b"").splitlines():
        if line.startswith(b"MemTotal:"):
            kilobytes = natural_or_none(line.split()[1]) if len(line.split()) > 1 else None
            return None if kilobytes is None else kilobytes * 1024
    return None


def _virtualization(ctx: Context, vendor: str | None, product: str | None) -> str | None:
    """
    Tell the hypervisor.

    Source: /sys/hypervisor/type (Xen), DMI vendor and product, and the CPU flag
    "hypervisor", which every x86 hypervisor sets.
    """
    kind = _line(ctx, ctx.paths.sys / "hypervisor/type")
    if kind is not None:
        return kind
    for word, name in _HYPERVISORS.items():
        if word in (vendor or "") or word in (product or ""):
            return name
    flags = ctx.try_read(ctx.paths.proc / "cpuinfo", limit=4096)
    if flags is None or b"flags" not in flags:
        return None
    return "unnamed hypervisor" if b" hypervisor" in flags else "none"


def _in_container(ctx: Context) -> bool | None:
    """Tell whether the process tree seen here begins with something else than the host's init."""
    # Kernel thread 2 is kthreadd in the host's pid namespace and in no other.
    raw = ctx.try_read(ctx.paths.proc / "2/comm")
    return None if raw is None and not (ctx.paths.proc / "1").exists() else raw != b"kthreadd\n"
