"""
Programs that are started, and those that could not be.

Event: sched:sched_process_exec, in the context of the new program; for failures
syscalls:sys_enter_execve and execveat with their exits. Cost: about 4 us per start; the four
system call events cost every system call of the host 0.1 us while the window is open. Missed:
processes that are only forked (exitsnoop tells when they end); file names beyond 127 bytes end in
an ellipsis; arguments are never read. A start under a name that is looked up along PATH gives one
failure per directory without it; failures of 32-bit programs are not told. Of all a fair sample
is kept; what is added up is added up over all of them. Kernels: all; parents need type
information (BTF), failures CONFIG_FTRACE_SYSCALLS.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tasks import FILE_BYTES, error_name, file_name, known, parent_offsets, parents

_RECORD = struct.Struct(f"<QIIiI16s16s{FILE_BYTES}s")  # struct execsnoop_record

_SHARED = (
    counters("execsnoop_counts", "started", "failed", "lost")
    + parents("execsnoop")
    + r"""
struct execsnoop_record {
    u64 at;
    u32 pid, ppid;
    s32 error;
    u32 pad;
    char comm[16], parent[16], file[FILE_BYTES];
};
BPF_RINGBUF_OUTPUT(execsnoop_ring, 64);
/* By task: where the name stands in user space. */
BPF_TABLE("lru_hash", u32, u64, execsnoop_asked, 4096);

static __always_inline struct execsnoop_record *execsnoop_new(s32 error)
{
    struct execsnoop_record *record;
    record = execsnoop_ring.ringbuf_reserve(sizeof(struct execsnoop_record));
    if (!record) {
        execsnoop_counts_count(EXECSNOOP_COUNTS_LOST, 1);
        return 0;
    }
    record->at = bpf_ktime_get_ns();
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->error = error;
    record->file[0] = 0;
    bpf_get_current_comm(&record->comm, sizeof(record->comm));
    record->ppid = execsnoop_parent(record->parent);
    return record;
}

static __always_inline void execsnoop_ask(u64 name)
{
    u32 tid = bpf_get_current_pid_tgid();
    if (!off_())
        execsnoop_asked.update(&tid, &name);
}

static __always_inline void execsnoop_answer(s64 result)
{
    u32 tid = bpf_get_current_pid_tgid();
    u64 *known = execsnoop_asked.lookup(&tid), name = known ? *known : 0;
    execsnoop_asked.delete(&tid);
    if (result >= 0 || off_() || alien_())
        return;
    execsnoop_counts_count(EXECSNOOP_COUNTS_FAILED, 1);
    struct execsnoop_record *record = execsnoop_new(-result);
    if (!record)
        return;
    if (name)
        bpf_probe_read_user_str(record->file, sizeof(record->file), (void *)name);
    execsnoop_ring.ringbuf_submit(record, 0);
}
""".replace("FILE_BYTES", str(FILE_BYTES))
)

_STARTED = r"""
    if (off_() || alien_())
        return 0;
    execsnoop_counts_count(EXECSNOOP_COUNTS_STARTED, 1);
    struct execsnoop_record *record = execsnoop_new(0);
    if (!record)
        return 0;
    bpf_probe_read_kernel_str(record->file, sizeof(record->file),
                              (char *)args + (args->filename_loc & 0xffff));
    execsnoop_ring.ringbuf_submit(record, 0);
"""
_ASK = "\n    execsnoop_ask(args->filename);\n"
_ANSWER = "\n    execsnoop_answer(args->ret);\n"


class ExecsnoopRecorder(Recorder):
    """Keep a sample of starts; add up all of them."""

    ring: ClassVar[str | None] = "execsnoop_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._starts = Reservoir(settings.records)
        self._programs, self._parents, self._failures = Ranking(), Ranking(), Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one start.

        Args:
            raw: struct execsnoop_record.
            kernel: Not needed.

        """
        del kernel
        at, pid, ppid, error, _, comm, parent, file = _RECORD.unpack_from(raw)
        record: dict[str, Any] = {
            "monotonic_seconds": at * NANOSECOND,
            "comm": text(comm),
            "pid": pid,
            "file": file_name(file),
            "error": error_name(error) if error else None,
            **known(ppid, text(parent)),
        }
        self._starts.add(record)
        if error:
            self._failures.add((record["file"], record["error"], record["comm"]))
        else:
            self._parents.add((record["parent"], record["parent_pid"]))
            self._programs.add((record["comm"], record["file"]))

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Starts and who made them. Values `started` and `failed`: counts;
            `started_per_second` [1/s].

        """
        started, failed, lost = kernel.counts("execsnoop_counts")
        most = self.settings.tops
        return ProbeSample(
            "execsnoop",
            seconds,
            started + failed,
            lost=lost,
            values={
                "started": started,
                "failed": failed,
                "started_per_second": started / seconds,
            },
            tops={
                "parent": self._parents.top(most, "comm", "pid"),
                "program": self._programs.top(most, "comm", "file"),
                "failed": self._failures.top(most, "file", "error", "comm"),
            },
            records=self._starts.records(),
            records_of=self._starts.seen,
        )


PROBE = Probe(
    category="process",
    recorder=ExecsnoopRecorder,
    shared=_SHARED,
    parts=(
        Part("sched:sched_process_exec", _STARTED, ("filename_loc",)),
        Part("syscalls:sys_enter_execve", _ASK, ("filename",), optional=True),
        Part("syscalls:sys_exit_execve", _ANSWER, ("ret",), optional=True),
        Part("syscalls:sys_enter_execveat", _ASK, ("filename",), optional=True),
        Part("syscalls:sys_exit_execveat", _ANSWER, ("ret",), optional=True),
    ),
    optional_offsets=parent_offsets("execsnoop"),
    filters=("pid", "cgroup"),
)
