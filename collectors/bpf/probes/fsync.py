"""
Latency of writing files back: how long programs waited for their data to be on the disk.

Event: the system calls fsync, fdatasync, msync and sync_file_range, from entry to return. Cost:
about 0.9 us per call, and 0.1 us on every system call of the host while the probe is attached,
because that is how the kernel traces them. Missed: calls under way when the window closes,
io_uring, 32-bit programs on a 64-bit kernel, sync and syncfs. Kernels: all that trace system
calls.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any

from collectors.bpf.kernel import Kernel
from collectors.bpf.probe import Family, Part, Probe, latency_edges
from collectors.bpf.spans import SpanRecorder, heaviest, span_maps

_FAMILY = "sysdx_fsync_latency_seconds"
_CALLS = ("fsync", "fdatasync", "msync", "sync_file_range")
# What says that data is not on the disk; others say that the call was wrong.
_DATA_ERRORS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM}

_SHARED = (
    span_maps("fsync", *_CALLS)
    + r"""
struct fsync_kind { u32 call; s32 error; };
BPF_HASH(fsync_failed, struct fsync_kind, u64, 256);

static __always_inline void fsync_return(u32 call, s64 answer)
{
    struct fsync_kind kind = {.call = call, .error = -answer};
    if (fsync_end(call) && answer < 0)
        fsync_failed.atomic_increment(kind);
}
"""
)


class FsyncRecorder(SpanRecorder):
    """Read the calls."""

    probe, family, label, kinds = "fsync", _FAMILY, "operation", _CALLS

    def values(self, kernel: Kernel) -> dict[str, float]:
        """
        Tell the errors.

        Args:
            kernel: The maps.

        Returns:
            `errors`: calls that say that data is not on the disk.

        """
        failed = kernel.items("fsync_failed")
        return {"errors": sum(n for kind, n in failed if kind.error in _DATA_ERRORS)}

    def tops(self, kernel: Kernel) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """
        Tell the errors by kind.

        Args:
            kernel: The maps.

        Returns:
            `error`: call, symbol of the error, count.

        """
        rows = [
            {
                "operation": _CALLS[kind.call],
                "error": errno.errorcode.get(kind.error, str(kind.error)),
                "count": count,
            }
            for kind, count in kernel.items("fsync_failed")
        ]
        return {"error": heaviest(rows, "count", self.settings.tops)}


def _parts() -> Iterator[Part]:
    """Write both programs of each call; a kernel may be built without some."""
    for call in _CALLS:
        kind, optional = f"FSYNC_{call.upper()}", call != "fsync"
        yield Part(f"syscalls:sys_enter_{call}", f"\n    fsync_begin({kind});\n", optional=optional)
        yield Part(
            f"syscalls:sys_exit_{call}",
            f"\n    fsync_return({kind}, args->ret);\n",
            ("ret",),
            optional=optional,
        )


PROBE = Probe(
    category="filesystem",
    recorder=FsyncRecorder,
    shared=_SHARED,
    parts=tuple(_parts()),
    families=(
        Family(
            _FAMILY,
            "How long programs waited for written data to be on the disk, in all windows since "
            "start.",
            latency_edges(14, 33),
            ("operation",),
        ),
    ),
    filters=("pid", "cgroup"),
)
