"""A written host with many CPUs, whose counters move while it is watched."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from pathlib import Path

_SOURCES = 1000  # interrupts of devices; of the busy ones each CPU has some
_BUSY = 64
_LOCAL = ("NMI", "LOC", "SPU", "PMI", "IWI", "RTR", "RES", "CAL", "TLB", "TRM", "THR", "MCE", "MCP")
_SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER",
             "RCU")  # fmt: skip
_NODES = 16
_TICKS = 100  # of a CPU in a second
_TOPOLOGY = {"core_id": "{0}", "physical_package_id": "{1}", "core_cpus_list": "{0}"}


class WideHost:
    """
    A root with the tables that grow with the CPUs, all else as on this host.

    Args:
        root: An empty folder, in memory best.
        cpus: How many CPUs.

    """

    def __init__(self, root: Path, cpus: int) -> None:
        self.root, self.cpus = root, cpus
        self._turn = 0
        self._lines: dict[str, list[str]] = {}
        self._ended = threading.Event()
        _mirror(Path("/proc"), root / "proc", {"1", "net"})
        _mirror(Path("/proc/1"), root / "proc/1", {"net"})
        _mirror(Path("/proc/1/net"), root / "proc/1/net", {"stat"})
        (root / "proc/net").symlink_to(root / "proc/1/net")
        self._write_sys()
        self._write_still()
        self.advance()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the counters stand still."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            self.advance()

    def advance(self) -> None:
        """Move all counters by a second."""
        self._turn += 1
        self._put("stat", self._stat())
        self._put("softirqs", self._softirqs())
        self._put("interrupts", self._interrupts())
        self._put("schedstat", self._schedstat())
        self._put("1/net/softnet_stat", self._softnet())

    def _put(self, name: str, lines: Iterable[str]) -> None:
        """Replace a table at once, so that no reader sees half of it."""
        path = self.root / "proc" / name
        fresh = path.with_name(path.name + ".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(path)

    def _stat(self) -> list[str]:
        """Write CPU times: a tenth busy, each CPU a little different."""
        busy, idle = self._turn * _TICKS // 10, self._turn * _TICKS * 9 // 10
        cpus = [
            f"cpu{n} {busy + n} 0 {busy // 4 + n} {idle} {n} 0 {n} 0 0 0" for n in range(self.cpus)
        ]
        real = Path("/proc/stat").read_text().splitlines()
        rest = [line for line in real if not line.startswith(("cpu", "intr"))]
        counts = " ".join("0" for _ in range(_SOURCES))
        return [real[0], *cpus, f"intr {self._turn * 1000} {counts}", *rest]

    def _softirqs(self) -> list[str]:
        """Write softirqs: all kinds on all CPUs."""
        rows = (
            f"{name:>12}:" + "".join(f" {self._turn * (k + 1) + n:10}" for n in range(self.cpus))
            for k, name in enumerate(_SOFTIRQS)
        )
        return [" " * 20 + self._header(), *rows]

    def _interrupts(self) -> list[str]:
        """Write interrupts: most lines stand still, as on a real host."""
        still = self._lines.setdefault("interrupts", self._idle_sources())
        zeros = " ".join(f"{'':9}0" for _ in range(self.cpus - 1))
        busy = [f"{n:5}: {self._turn * 100 + n:10} {zeros}  PCI-MSI {n}-edge nvme0q{n}"
                for n in range(_BUSY)]  # fmt: skip
        local = [
            f"{name:>5}:" + "".join(f" {self._turn * (k + 1) + n:10}" for n in range(self.cpus))
            for k, name in enumerate(_LOCAL)
        ]
        return [" " * 13 + self._header(), *busy, *still, *local, "  ERR:          0"]

    def _idle_sources(self) -> list[str]:
        """Write the interrupts that do not move."""
        counts = "".join(f" {n:10}" for n in range(self.cpus))
        return [f"{n:5}:{counts}  PCI-MSI {n}-edge mlx5_comp{n}" for n in range(_BUSY, _SOURCES)]

    def _header(self) -> str:
        return "".join(f"CPU{n:<8}" for n in range(self.cpus))

    def _schedstat(self) -> list[str]:
        ran = self._turn * 10**8
        cpus = (f"cpu{n} 0 0 0 0 0 0 {ran + n} {ran // 10} {n}" for n in range(self.cpus))
        return ["version 15", f"timestamp {4294937296 + self._turn * 250}", *cpus]

    def _softnet(self) -> list[str]:
        return [
            f"{self._turn * 10 + n:08x} " + "00000000 " * 11 + f"{n:08x} 00000000 00000000"
            for n in range(self.cpus)
        ]

    def _write_still(self) -> None:
        """Write the tables whose size matters and whose counters need not move."""
        self._put("zoneinfo", _zoneinfo(self.cpus))
        block = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()[1:]
        self._put("cpuinfo", (line for n in range(self.cpus)
                              for line in (f"processor\t: {n}", *block, "")))  # fmt: skip
        for table in Path("/proc/1/net/stat").iterdir():
            header, first, *_ = table.read_text().splitlines()
            (self.root / "proc/1/net/stat").mkdir(exist_ok=True)
            self._put(f"1/net/stat/{table.name}", [header, *[first] * self.cpus])

    def _write_sys(self) -> None:
        """Write what sysfs says of CPUs and nodes."""
        top = self.root / "sys"
        _mirror(Path("/sys"), top, {"devices"})
        _mirror(Path("/sys/devices"), top / "devices", {"system"})
        _mirror(Path("/sys/devices/system"), top / "devices/system", {"cpu", "node"})
        system = top / "devices/system"
        for n in range(self.cpus):
            folder = system / f"cpu/cpu{n}/topology"
            folder.mkdir(parents=True)
            for name, text in _TOPOLOGY.items():
                (folder / name).write_text(text.format(n, n // 64) + "\n")
        for name in ("online", "possible", "present"):
            (system / "cpu" / name).write_text(f"0-{self.cpus - 1}\n")
        self._write_nodes(system / "node")

    def _write_nodes(self, top: Path) -> None:
        """Write memory nodes like the one of this host, each with its share of the CPUs."""
        each, distances = self.cpus // _NODES, " ".join(["10", *["20"] * (_NODES - 1)])
        for n in range(_NODES):
            folder = top / f"node{n}"
            folder.mkdir(parents=True)
            (folder / "cpulist").write_text(f"{n * each}-{n * each + each - 1}\n")
            (folder / "distance").write_text(distances + "\n")
            for name in ("meminfo", "numastat", "vmstat"):
                real = Path("/sys/devices/system/node/node0", name)
                text = real.read_text() if real.exists() else ""
                (folder / name).write_text(text.replace("Node 0", f"Node {n}"))


def _mirror(real: Path, copy: Path, without: set[str]) -> None:
    """Make a folder that shows the entries of a real one, but for some."""
    copy.mkdir(parents=True)
    for entry in real.iterdir():
        if entry.name not in without:
            (copy / entry.name).symlink_to(entry)


def _zoneinfo(cpus: int) -> list[str]:
    """Write this host's zones with a page set for each CPU, and the largest for each node."""
    text = Path("/proc/zoneinfo").read_text()
    zones = [_widened(f"Node {zone}".splitlines(), cpus) for zone in text.split("Node ")[1:]]
    populated = max(zones, key=len)
    others = ([f"Node {n}, zone   Normal", *populated[1:]] for n in range(1, _NODES))
    return list(itertools.chain(*zones, *others))


def _widened(zone: list[str], cpus: int) -> list[str]:
    """Give a zone as many page sets as there are CPUs."""
    starts = [at for at, line in enumerate(zone) if line.startswith("    cpu:")]
    if len(starts) < 2:
        return zone
    end = starts[-1] + starts[1] - starts[0]
    first = zone[starts[0] + 1 : starts[1]]
    sets = (line for n in range(cpus) for line in (f"    cpu: {n}", *first))
    return [*zone[: starts[0]], *sets, *zone[end:]]
