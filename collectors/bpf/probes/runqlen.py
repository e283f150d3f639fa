"""
Run queue length: how many tasks stand in line at a CPU behind the one that runs.

Event: the software clock of each CPU, 99 times a second; the running task leads to its CPU's run
queue. Cost: about 2 us per sample. Missed: what happens between two samples; a CPU that idles
gives few samples or none, so the spread is that of CPUs at work. Values: `samples`,
`mean_waiting_tasks`. Kernels: all with type information (BTF); the queue counts tasks of every
scheduling class.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import Bucket, Histogram, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, counters

_FAMILY = "sysdx_run_queue_length"
# Not a multiple of the scheduler's tick, so as not to march in step with it.
FREQUENCY = 99  # [1/s]
_SLOTS = 512  # one per length; the last one is for anything longer
# A power of two each, and 0 for nobody waits.
EDGES = (0.0, *(2.0**power for power in range(10)))

_SHARED = (
    counters("runqlen_seen", "samples", "waiting")
    + r"""
BPF_PERCPU_ARRAY(runqlen_lengths, u64, SLOTS);

/* The run queue of the CPU that the current task runs on. */
static __always_inline u64 runqlen_queue(void)
{
    u64 fair = 0;
    bpf_probe_read_kernel(&fair, 8, (void *)(bpf_get_current_task() + RUNQLEN_FAIR));
#ifdef RUNQLEN_FAIR_QUEUE
    u64 queue = 0;
    bpf_probe_read_kernel(&queue, 8, (void *)(fair + RUNQLEN_FAIR_QUEUE));
    return queue;
#else
    /* Without groups of tasks, the part for ordinary tasks lies within the queue. */
    return fair - RUNQLEN_QUEUE_FAIR;
#endif
}
""".replace("SLOTS", str(_SLOTS))
)

_CLOCK = r"""
    u32 running = 0;
    if (off_() || bpf_probe_read_kernel(&running, 4, (void *)(runqlen_queue() + RUNQLEN_RUNNING)))
        return 0;
    /* The idle task is in no queue. */
    int idle = (u32)bpf_get_current_pid_tgid() == 0;
    u32 waiting = idle || !running ? running : running - 1;
    int slot = waiting < LAST ? waiting : LAST;
    u64 *count = runqlen_lengths.lookup(&slot);
    if (count)
        *count += 1;
    runqlen_seen_count(RUNQLEN_SEEN_SAMPLES, 1);
    runqlen_seen_count(RUNQLEN_SEEN_WAITING, waiting);
""".replace("LAST", str(_SLOTS - 1))


class RunqlenRecorder(Recorder):
    """Read the lengths."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram of lengths.

        """
        samples, waiting = kernel.counts("runqlen_seen")
        values = {"samples": float(samples)}
        if samples:
            values["mean_waiting_tasks"] = waiting / samples
        lengths = histogram(kernel.counts("runqlen_lengths"), waiting)
        return ProbeSample("runqlen", seconds, samples, histograms=(lengths,), values=values)


def histogram(counts: list[int], total: int) -> Histogram:
    """
    Gather lengths into buckets.

    Args:
        counts: How often each length was seen, from 0 on.
        total: Sum of all lengths.

    Returns:
        The histogram; quantiles are lengths that were seen.

    """
    buckets = [0] * len(EDGES)
    for length, count in enumerate(counts):
        buckets[bisect_left(EDGES, length)] += count
    running = list(accumulate(counts))
    quantiles = [bisect_left(running, q * running[-1]) for q in (0.5, 0.9, 0.99)]
    return Histogram(
        _FAMILY,
        {},
        tuple(Bucket(edge, n) for edge, n in zip(EDGES, buckets, strict=True) if n),
        running[-1],
        float(total),
        *(map(float, quantiles) if running[-1] else ()),
    )


PROBE = Probe(
    category="cpu",
    recorder=RunqlenRecorder,
    shared=_SHARED,
    parts=(Part(f"perf:cpu_clock:{FREQUENCY}", _CLOCK),),
    offsets={
        "RUNQLEN_FAIR": ("task_struct.se.cfs_rq",),
        "RUNQLEN_RUNNING": ("rq.nr_running",),
        "RUNQLEN_QUEUE_FAIR": ("rq.cfs",),
    },
    optional_offsets={"RUNQLEN_FAIR_QUEUE": ("cfs_rq.rq",)},
    families=(
        Family(
            _FAMILY,
            "Tasks that stood in line at a CPU behind the running one, sampled, in all windows "
            "since start.",
            EDGES,
        ),
    ),
)
