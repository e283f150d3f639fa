"""
Block I/O, request by request: who asked which device for what, and how long it took.

Event: block:block_io_start (6.5 and later; before, block:block_rq_insert) when a request is made,
in the context of who makes it; block:block_rq_issue when the device gets it;
block:block_rq_complete. Cost: about 2 us per request. Missed: of buffered writes the kernel's
writer is told instead of who wrote; two requests for the same sector at the same time are
counted, but the latency is that of the second. With block_rq_insert the requests that never
waited have no time in the queue. Of the requests a fair sample is kept; what is added up is added
up over all of them.
Kernels: all with these tracepoints.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from collectors.bpf.block import ANY, OPERATIONS, Names, block_maps, histograms
from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, Settings, latency_edges
from collectors.bpf.sampling import Reservoir
from collectors.bpf.spans import heaviest, totals

_FAMILY = "sysdx_block_io_queue_seconds"
_RECORD = struct.Struct("<QQQQIIII16s")  # struct biosnoop_record

_SHARED = (
    block_maps("biosnoop")
    + rf"""
#define BIOSNOOP_ANY {ANY}
"""
    + r"""
struct biosnoop_place { u64 sector; u32 dev; u32 pad; };
struct biosnoop_request { u64 made, issued; u32 pid, alien; char comm[16]; };
struct biosnoop_record {
    u64 at, took, queued, sector;
    u32 dev, operation, bytes, pid;
    char comm[16];
};
struct biosnoop_key { char comm[16]; u32 pid, dev, operation, pad; };
struct biosnoop_total { u64 count, sum, most, bytes; };
BPF_TABLE("lru_hash", struct biosnoop_place, struct biosnoop_request, biosnoop_requests, 8192);
BPF_TABLE("lru_hash", struct biosnoop_key, struct biosnoop_total, biosnoop_totals, 2048);
BPF_RINGBUF_OUTPUT(biosnoop_ring, 128);
BPF_ARRAY(biosnoop_lost, u64, 1);
BPF_ARRAY(biosnoop_unknown, u64, 1);

static __always_inline void biosnoop_sign(struct biosnoop_request *request)
{
    request->pid = bpf_get_current_pid_tgid() >> 32;
    request->alien = alien_();
    bpf_get_current_comm(&request->comm, sizeof(request->comm));
}

static __always_inline void biosnoop_make(u32 dev, u64 sector)
{
    struct biosnoop_place place = {.sector = sector, .dev = dev};
    struct biosnoop_request *known = biosnoop_requests.lookup(&place), request = {};
    /* Flushes share their sector: one that is under way keeps its time. */
    if (known && known->issued)
        return;
    request.made = bpf_ktime_get_ns();
    biosnoop_sign(&request);
    biosnoop_requests.update(&place, &request);
}

static __always_inline void biosnoop_sum(struct biosnoop_record *record)
{
    struct biosnoop_key key = {.pid = record->pid, .dev = record->dev};
    struct biosnoop_total none = {}, *total;
    key.operation = record->operation;
    __builtin_memcpy(key.comm, record->comm, sizeof(key.comm));
    total = biosnoop_totals.lookup_or_try_init(&key, &none);
    if (!total)
        return;
    __sync_fetch_and_add(&total->count, 1);
    __sync_fetch_and_add(&total->sum, record->took);
    __sync_fetch_and_add(&total->bytes, record->bytes);
    if (record->took > total->most)
        total->most = record->took;
}
"""
)

_MAKE = "\n    biosnoop_make(args->dev, args->sector);\n"

_ISSUE = r"""
    struct biosnoop_place place = {.sector = args->sector, .dev = args->dev};
    struct biosnoop_request *known = biosnoop_requests.lookup(&place), request = {};
    u64 now = bpf_ktime_get_ns();
    if (!known) {
        request.issued = now;
        biosnoop_sign(&request);
        biosnoop_requests.update(&place, &request);
        return 0;
    }
    if (known->made && !known->issued && !known->alien && !off_()) {
        u64 queued = now - known->made;
        biosnoop_add(args->dev, BIOSNOOP_ANY, bpf_log2l(queued), queued);
    }
    known->issued = now;
"""

_COMPLETE = r"""
    struct biosnoop_place place = {.dev = args->dev};
    /* A flush is issued at sector 0 and completed at -1. */
    place.sector = args->sector == (u64)-1 ? 0 : args->sector;
    struct biosnoop_request *known = biosnoop_requests.lookup(&place);
    if (!known || !known->issued) {
        /* Who asked for a flush completes once more, without data of its own. */
        if (args->nr_sector && !off_())
            biosnoop_unknown.atomic_increment(0);
        return 0;
    }
    struct biosnoop_record record = {.at = bpf_ktime_get_ns(), .sector = place.sector};
    record.took = record.at - known->issued;
    record.queued = known->made ? known->issued - known->made : (u64)-1;
    record.dev = args->dev;
    record.operation = biosnoop_operation(args->rwbs);
    record.bytes = args->nr_sector << 9;
    record.pid = known->pid;
    __builtin_memcpy(record.comm, known->comm, sizeof(record.comm));
    u32 alien = known->alien;
    biosnoop_requests.delete(&place);
    if (alien || off_())
        return 0;
    biosnoop_sum(&record);
    if (biosnoop_ring.ringbuf_output(&record, sizeof(record), 0))
        biosnoop_lost.atomic_increment(0);
"""


class BiosnoopRecorder(Recorder):
    """Keep a sample of requests; the sums are the kernel's."""

    ring: ClassVar[str | None] = "biosnoop_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._requests = Reservoir(settings.records)

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one request.

        Args:
            raw: struct biosnoop_record.
            kernel: Not needed.

        """
        del kernel
        at, took, queued, sector, dev, operation, size, pid, comm = _RECORD.unpack_from(raw)
        self._requests.add({
            "monotonic_seconds": at * NANOSECOND,
            "device": dev,
            "operation": OPERATIONS[operation],
            "sector": sector,
            "bytes": size,
            "seconds": took * NANOSECOND,
            "queue_seconds": None if queued == _UNKNOWN else queued * NANOSECOND,
            "comm": text(comm),
            "pid": pid,
        })  # fmt: skip

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Requests, who asked for most bytes, and the time in the queue. Value `unknown`:
            requests that completed and were not seen before.

        """
        names, requests = Names(kernel), map(dict, self._requests.records())
        rows = [
            {
                "comm": text(key.comm),
                "pid": key.pid,
                "device": names[key.dev],
                "operation": OPERATIONS[key.operation],
                "bytes": total.bytes,
            }
            | totals(total)
            for key, total in kernel.items("biosnoop_totals")
        ]
        lost = kernel.counts("biosnoop_lost")[0]
        return ProbeSample(
            "biosnoop",
            seconds,
            self._requests.seen + lost,
            lost=lost,
            histograms=histograms(kernel, "biosnoop", _FAMILY),
            values={"unknown": kernel.counts("biosnoop_unknown")[0]},
            tops={"process": heaviest(rows, "bytes", self.settings.tops)},
            records=tuple(r | {"device": names[r["device"]]} for r in requests),
            records_of=self._requests.seen,
        )


_UNKNOWN = 2**64 - 1
_START = "block:block_io_start"
_FIELDS = ("dev", "sector")

PROBE = Probe(
    category="disk",
    recorder=BiosnoopRecorder,
    shared=_SHARED,
    parts=(
        Part(_START, _MAKE, _FIELDS),
        Part("block:block_rq_insert", _MAKE, _FIELDS, instead_of=_START),
        Part("block:block_rq_issue", _ISSUE, _FIELDS),
        Part("block:block_rq_complete", _COMPLETE, (*_FIELDS, "nr_sector", "rwbs")),
    ),
    families=(
        Family(
            _FAMILY,
            "From the moment a request was made until a device got it, in all windows since start.",
            latency_edges(14, 27),
            ("device",),
        ),
    ),
    filters=("pid", "cgroup"),
)
