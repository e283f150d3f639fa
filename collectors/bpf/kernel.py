"""What recorders may ask of the loaded module: maps, stacks, symbols, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from collectors.bpf.tracefs import Tracefs
from collectors.text import label

_UNKNOWN_STACK = -1


class Kernel:
    """
    Read the maps of a loaded module.

    The module is handed in, so that only the worker imports bcc; with descriptors of its maps
    that are read instead of the module's own, which libbcc may close by mistake.

    Attributes:
        tracefs: For names in print formats; None when it cannot be read.
        notes: Probe to what was left out of it on this kernel.

    """

    def __init__(
        self,
        module: Any,
        *,
        descriptors: Mapping[str, int] | None = None,
        tracefs: Tracefs | None = None,
        notes: Mapping[str, tuple[str, ...]] | None = None,
        user_symbol: Callable[[int, int], bytes] = lambda _address, _pid: b"",
        kernel_symbol: Callable[[int], bytes] = lambda _address: b"",
        forget_symbols: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self.tracefs = tracefs
        self.notes = dict(notes or {})
        self._module = module
        self._descriptors = descriptors or {}
        self._user_symbol = user_symbol
        self._kernel_symbol = kernel_symbol
        self._forget_symbols = forget_symbols
        self._names: dict[tuple[int, int], str] = {}

    def counts(self, name: str) -> list[int]:
        """
        Read an array, summed over CPUs where each has its own.

        Args:
            name: Of the map.

        Returns:
            One number per index.

        """
        table = self._table(name)
        return [_total(table[index]) for index in range(len(table))]

    def _table(self, name: str) -> Any:
        """Give a map, read by its own descriptor where there is one."""
        table = self._module[name]
        if name in self._descriptors:
            table.map_fd = self._descriptors[name]
        return table

    def slots(self, name: str) -> list[int]:
        """
        Read a histogram made by `probe.histogram`.

        Args:
            name: Of the map.

        Returns:
            One count per slot; slot n holds values from 2^(n-1) up to 2^n.

        """
        return self.counts(name)

    def sum(self, name: str) -> int:
        """
        Read the exact sum beside a histogram.

        Args:
            name: Of the histogram's map.

        Returns:
            The sum, in the kernel's unit.

        """
        return self.counts(f"{name}_sum")[0]

    def items(self, name: str) -> Iterator[tuple[Any, Any]]:
        """
        Read a hash map.

        Args:
            name: Of the map.

        Yields:
            Pairs of key and value; numbers as int, structures with their fields.

        """
        # One call for all would be faster, but not every kernel has it, and bcc reports
        # that with a bare Exception; 10,000 entries take 40 ms this way.
        for key, value in self._table(name).items():
            yield _plain(key), _plain(value)

    def stack(self, name: str, number: int) -> list[int]:
        """
        Read a stack.

        Args:
            name: Of the stack map.
            number: As `get_stackid` gave it; negative when there was none.

        Returns:
            Addresses, innermost first; empty when unknown.

        """
        return list(self._table(name).walk(number)) if number > _UNKNOWN_STACK else []

    def user_frames(self, name: str, number: int, pid: int) -> tuple[str, ...]:
        """
        Name the functions of a user stack.

        Args:
            name: Of the stack map.
            number: Of the stack.
            pid: Whose it is.

        Returns:
            Function names, outermost first; what has no name is "[unknown]".

        """
        return tuple(self.user_name(a, pid) for a in reversed(self.stack(name, number)))

    def kernel_frames(self, name: str, number: int) -> tuple[str, ...]:
        """
        Name the functions of a kernel stack.

        Args:
            name: Of the stack map.
            number: Of the stack.

        Returns:
            Function names with "_[k]", outermost first.

        """
        return tuple(f"{self.kernel_name(a)}_[k]" for a in reversed(self.stack(name, number)))

    def user_name(self, address: int, pid: int) -> str:
        """
        Name a function of a program.

        Args:
            address: In it.
            pid: Of the process.

        Returns:
            Its name, or "[unknown]".

        """
        key = (address, pid)
        if key not in self._names:
            self._names[key] = label(self._user_symbol(address, pid) or b"[unknown]", 120)
        return self._names[key]

    def forget(self, pid: int) -> None:
        """
        Free what is kept of a program's names: half a megabyte and more for each.

        Args:
            pid: Of the process.

        """
        self._forget_symbols(pid)
        self._names = {key: name for key, name in self._names.items() if key[1] != pid}

    def kernel_name(self, address: int) -> str:
        """
        Name a kernel function.

        Args:
            address: In it.

        Returns:
            Its name, or "[unknown]".

        """
        key = (address, -1)
        if key not in self._names:
            self._names[key] = label(self._kernel_symbol(address) or b"[unknown]", 120)
        return self._names[key]

    @staticmethod
    def devices() -> dict[tuple[int, int], str]:
        """
        Name the block devices.

        Returns:
            dict (major, minor) -> name.

        Source:
            /proc/diskstats, Documentation/admin-guide/iostats.rst.

        """
        names = {}
        for line in Path("/proc/diskstats").read_bytes().splitlines():
            major, minor, name, *_ = line.split()
            names[int(major), int(minor)] = label(name)
        return names

    @staticmethod
    def comm(pid: int) -> str | None:
        """
        Name a process that still lives.

        Args:
            pid: Its id.

        Returns:
            Its name, safe to show; None when it has ended.

        Source:
            /proc/PID/comm.

        """
        try:
            return label(Path(f"/proc/{pid}/comm").read_bytes().strip())
        except OSError:
            return None


def device(number: int) -> tuple[int, int]:
    """
    Split a device number as tracepoints carry it.

    Args:
        number: dev_t of the kernel.

    Returns:
        Major and minor.

    Source:
        MINORBITS is 20, include/linux/kdev_t.h.

    """
    return number >> 20, number & 0xFFFFF


def text(raw: Any) -> str:
    """
    Make a name from the kernel safe to show.

    Args:
        raw: Bytes or a C array of them, ended by a zero.

    Returns:
        The text.

    """
    return label(bytes(raw).split(b"\0", 1)[0])


def _total(value: Any) -> int:
    """Add up what each CPU has; a shared value is itself."""
    if hasattr(value, "value"):
        return int(value.value)
    return sum(int(getattr(v, "value", v)) for v in value)


def _plain(value: Any) -> Any:
    """Turn C numbers into Python's."""
    return value.value if hasattr(value, "value") else value
