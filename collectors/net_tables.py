"""The network's tables in procfs: whose namespace they tell of, and their numbers."""

from __future__ import annotations

from pathlib import Path

from collectors.base import Context
from collectors.text import label

_OWN = Path("/proc/net/dev")
_DIGITS = b"0123456789abcdefABCDEF"
_LONGEST = 16  # digits of 64 bits


def folder(ctx: Context) -> Path:
    """
    Give the folder of the host's network tables.

    Args:
        ctx: Paths.

    Returns:
        `net` of the own procfs. Below any other procfs `net` is a link to the
        reader's own namespace, whoever mounted it, so there it is that of process 1,
        the host's; and `net` again in a written root, which has no process 1.

    Source:
        /proc/net is a link to self/net since 2.6.25, proc(5).

    """
    proc = ctx.paths.proc
    host = proc / "1/net"
    return host if proc != Path("/proc") and host.is_dir() else proc / "net"


def is_own(net: Path) -> bool:
    """
    Tell whether tables are those of the namespace this program runs in.

    Args:
        net: As given by `folder`.

    Returns:
        Whether netlink and /proc/sys/net, which always tell of the own
        namespace, tell of the same one; False when it cannot be known.

    Source:
        A table of procfs has one inode number for each namespace, the same in all
        mounts: proc_alloc_inum() in fs/proc/generic.c. It can be compared without
        the right to trace process 1, which /proc/1/ns/net needs.

    """
    try:
        return (net / "dev").stat().st_ino == _OWN.stat().st_ino
    except OSError:
        return False


def hexadecimal(raw: bytes) -> int:
    """
    Read a number in hexadecimal digits, without prefix.

    Args:
        raw: The digits.

    Returns:
        The number.

    Raises:
        ValueError: When there is anything else, or more than 16 digits.

    """
    if not 0 < len(raw) <= _LONGEST or raw.translate(None, _DIGITS):
        raise ValueError(f"not a hexadecimal number: {raw[:20]!r}")
    return int(raw, 16)


def parse_per_cpu(raw: bytes) -> dict[str, int]:
    """
    Parse a table of one row per CPU and add up the CPUs.

    Args:
        raw: Content of a file in /proc/net/stat.

    Returns:
        dict column -> sum over all CPUs; "entries" is the same in each row and
        is not added up.

    Raises:
        ValueError: When a row does not fit the header.

    Source:
        ct_cpu_seq_show() in net/netfilter/nf_conntrack_standalone.c and
        neigh_stat_seq_show() in net/core/neighbour.c; the numbers are hexadecimal.

    """
    lines = [line.split() for line in raw.splitlines() if line.strip()]
    if not lines:
        return {}
    names = [label(n) for n in lines[0]]
    sums = dict.fromkeys(names, 0)
    for row in lines[1:]:
        if len(row) != len(names):
            raise ValueError("a row does not fit the header")
        for name, value in zip(names, row, strict=True):
            sums[name] += hexadecimal(value)
    if "entries" in sums and lines[1:]:
        sums["entries"] = hexadecimal(lines[1][names.index("entries")])
    return sums
