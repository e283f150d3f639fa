"""
Block I/O errors: requests that a device or its driver failed.

Event: block:block_rq_error, which is told for the errors that the kernel log tells of too; before
5.18 block:block_rq_complete with an error, which tells of the quiet ones also. Cost: about 1 us
per error, nothing without. Missed: errors of path-through commands and what a driver repeats by
itself.
Kernels: all with one of these tracepoints.
"""

from __future__ import annotations

import errno
import struct
from typing import ClassVar

from collectors.bpf.block import OPERATIONS, Names, block_maps
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings
from collectors.bpf.sampling import Reservoir
from collectors.bpf.spans import heaviest

_SECTOR = 512  # [bytes]
_RECORD = struct.Struct("<QQIIiI")  # struct blockerrors_record

_SHARED = (
    block_maps("blockerrors")
    + r"""
struct blockerrors_kind { u32 dev; u32 operation; s32 error; u32 pad; };
struct blockerrors_total { u64 count, sectors; };
struct blockerrors_record { u64 at, sector; u32 dev, operation; s32 error; u32 sectors; };
BPF_HASH(blockerrors_kinds, struct blockerrors_kind, struct blockerrors_total, 1024);
BPF_RINGBUF_OUTPUT(blockerrors_ring, 8);
BPF_ARRAY(blockerrors_lost, u64, 1);

static __always_inline void blockerrors_tell(struct blockerrors_record record)
{
    struct blockerrors_kind kind = {.dev = record.dev, .operation = record.operation};
    struct blockerrors_total none = {}, *total;
    kind.error = record.error;
    total = blockerrors_kinds.lookup_or_try_init(&kind, &none);
    if (total) {
        __sync_fetch_and_add(&total->count, 1);
        __sync_fetch_and_add(&total->sectors, record.sectors);
    }
    if (blockerrors_ring.ringbuf_output(&record, sizeof(record), 0))
        blockerrors_lost.atomic_increment(0);
}
"""
)

_ERROR = r"""
    if (off_() || !args->error)
        return 0;
    struct blockerrors_record record = {.at = bpf_ktime_get_ns(), .sector = args->sector};
    record.dev = args->dev;
    record.operation = blockerrors_operation(args->rwbs);
    record.error = args->error;
    record.sectors = args->nr_sector;
    blockerrors_tell(record);
"""


class BlockerrorsRecorder(Recorder):
    """Count errors by kind, and keep a sample of them."""

    ring: ClassVar[str | None] = "blockerrors_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._errors = Reservoir(settings.records)

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one error.

        Args:
            raw: struct blockerrors_record.
            kernel: Not needed.

        """
        del kernel
        at, sector, dev, operation, error, sectors = _RECORD.unpack_from(raw)
        self._errors.add({
            "monotonic_seconds": at * NANOSECOND,
            "device": dev,
            "operation": OPERATIONS[operation],
            "error": error_name(error),
            "sector": sector,
            "bytes": sectors * _SECTOR,
        })  # fmt: skip

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Values `errors`, and `unsupported` for operations that a device does not know, which
            lose no data; `tops["error"]` has all kinds.

        """
        names, records = Names(kernel), map(dict, self._errors.records())
        rows = [
            {
                "device": names[kind.dev],
                "operation": OPERATIONS[kind.operation],
                "error": error_name(kind.error),
                "count": total.count,
                "bytes": total.sectors * _SECTOR,
            }
            for kind, total in kernel.items("blockerrors_kinds")
        ]
        every = sum(row["count"] for row in rows)
        unsupported = sum(row["count"] for row in rows if row["error"] in _UNSUPPORTED)
        return ProbeSample(
            "blockerrors",
            seconds,
            every,
            lost=kernel.counts("blockerrors_lost")[0],
            values={"errors": every - unsupported, "unsupported": unsupported},
            tops={"error": heaviest(rows, "count", self.settings.tops)},
            records=tuple(r | {"device": names[r["device"]]} for r in records),
            records_of=self._errors.seen,
        )


_UNSUPPORTED = {"EOPNOTSUPP", "ENOTSUP"}


def error_name(number: int) -> str:
    """
    Name an error of the kernel.

    Args:
        number: As the kernel has it, below zero.

    Returns:
        Its symbol, such as "EIO"; the number when it has none.

    """
    return errno.errorcode.get(-number, str(number))


_FIELDS = ("dev", "sector", "nr_sector", "error", "rwbs")

PROBE = Probe(
    category="disk",
    recorder=BlockerrorsRecorder,
    shared=_SHARED,
    parts=(
        Part("block:block_rq_error", _ERROR, fields=_FIELDS),
        Part("block:block_rq_complete", _ERROR, _FIELDS, instead_of="block:block_rq_error"),
    ),
)
