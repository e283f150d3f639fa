"""
Block I/O size: how many bytes each request asked a device for.

Event: block:block_rq_issue. Cost: about 0.3 us per request. Missed: flushes, which carry no data;
a request that a device gave back is counted again when it is issued again. An edge belongs to the
bucket below it, as sizes are mostly powers of two: 4,096 bytes are in the bucket up to 4,096.
Kernels: all with this tracepoint.
"""

from __future__ import annotations

from collectors.bpf.block import block_maps, histograms
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder

_FAMILY = "sysdx_block_io_size_bytes"
_SMALLEST, _LARGEST = 9, 24  # powers of two of the edges: a sector, 16 MiB

_ISSUE = r"""
    if (off_() || !args->bytes)
        return 0;
    u32 slot = bpf_log2l(args->bytes - 1);
    bitesize_add(args->dev, bitesize_operation(args->rwbs), slot, args->bytes);
"""


class BitesizeRecorder(Recorder):
    """Read the histograms."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per device and operation [bytes].

        """
        sizes = histograms(kernel, "bitesize", _FAMILY, unit=1.0)
        return ProbeSample("bitesize", seconds, sum(h.count for h in sizes), histograms=sizes)


PROBE = Probe(
    category="disk",
    recorder=BitesizeRecorder,
    shared=block_maps("bitesize"),
    parts=(Part("block:block_rq_issue", _ISSUE, fields=("dev", "bytes", "rwbs")),),
    families=(
        Family(
            _FAMILY,
            "How many bytes each request asked a device for, in all windows since start.",
            tuple(2.0**power for power in range(_SMALLEST, _LARGEST + 1)),
            ("device", "operation"),
        ),
    ),
)
