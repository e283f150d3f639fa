"""
Files that are opened, and opens that failed.

Event: syscalls:sys_enter_openat with its exit, openat2, and open where the machine has it. Cost:
about 1.6 us per open; any system call event costs every system call of the host 0.1 us while the
window is open. Missed: opens by io_uring, by handle and by 32-bit programs, creat, files that
programs are started from; a name is as the program wrote it, so it may be relative, and beyond
127 bytes ends in an ellipsis. Counts by error are exact; the rankings are of the events that were
not lost. Of these a fair sample is kept. Kernels: all with CONFIG_FTRACE_SYSCALLS.
"""

from __future__ import annotations

import posixpath
import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tasks import FILE_BYTES, error_name, file_name

_RECORD = struct.Struct(f"<QQIi16s{FILE_BYTES}s")  # struct opensnoop_record

_SHARED = r"""
#define OPENSNOOP_ERRORS 256 /* 0 for those that went well, the last for what is beyond */
struct opensnoop_call { u64 at, name; };
struct opensnoop_record {
    u64 at, took;
    u32 pid;
    s32 error;
    char comm[16], file[FILE_BYTES];
};
BPF_TABLE("lru_hash", u32, struct opensnoop_call, opensnoop_calls, 8192);
BPF_PERCPU_ARRAY(opensnoop_results, u64, OPENSNOOP_ERRORS);
BPF_ARRAY(opensnoop_lost, u64, 1);
BPF_RINGBUF_OUTPUT(opensnoop_ring, 128);

static __always_inline void opensnoop_begin(u64 name)
{
    struct opensnoop_call call = {.at = bpf_ktime_get_ns(), .name = name};
    u32 tid = bpf_get_current_pid_tgid();
    if (!off_() && !alien_())
        opensnoop_calls.update(&tid, &call);
}

static __always_inline void opensnoop_tell(struct opensnoop_call *call, s32 error)
{
    struct opensnoop_record *record;
    record = opensnoop_ring.ringbuf_reserve(sizeof(struct opensnoop_record));
    if (!record) {
        opensnoop_lost.atomic_increment(0);
        return;
    }
    record->at = call->at;
    record->took = bpf_ktime_get_ns() - call->at;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->error = error;
    record->file[0] = 0;
    bpf_get_current_comm(&record->comm, sizeof(record->comm));
    /* Only now: at the entry the page of the name need not be in memory. */
    bpf_probe_read_user_str(record->file, sizeof(record->file), (void *)call->name);
    opensnoop_ring.ringbuf_submit(record, 0);
}

static __always_inline void opensnoop_end(s64 result)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct opensnoop_call *known = opensnoop_calls.lookup(&tid), call;
    if (!known)
        return;
    call = *known;
    opensnoop_calls.delete(&tid);
    if (off_())
        return;
    s64 error = result < 0 ? -result : 0;
    u32 which = error < OPENSNOOP_ERRORS ? error : OPENSNOOP_ERRORS - 1;
    u64 *count = opensnoop_results.lookup(&which);
    if (count)
        *count += 1;
    opensnoop_tell(&call, error);
}
""".replace("FILE_BYTES", str(FILE_BYTES))
_BEGIN = "\n    opensnoop_begin(args->filename);\n"
_END = "\n    opensnoop_end(args->ret);\n"


class OpensnoopRecorder(Recorder):
    """Keep a sample of opens; rank all of them."""

    ring: ClassVar[str | None] = "opensnoop_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._opens = Reservoir(settings.records)
        self._files, self._folders, self._failed = Ranking(), Ranking(), Ranking()
        self._processes = Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one open.

        Args:
            raw: struct opensnoop_record.
            kernel: Not needed.

        """
        del kernel
        at, took, pid, error, comm, file = _RECORD.unpack_from(raw)
        record: dict[str, Any] = {
            "monotonic_seconds": at * NANOSECOND,
            "seconds": took * NANOSECOND,
            "comm": text(comm),
            "pid": pid,
            "file": file_name(file),
            "error": error_name(error) if error else None,
        }
        self._opens.add(record)
        self._files.add(record["file"])
        self._folders.add(posixpath.dirname(record["file"]) or ".")
        self._processes.add((record["comm"], pid))
        if error:
            self._failed.add((record["file"], record["error"]))

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Opens by error, file, directory and process. Values `opened` and `failed`: counts.

        """
        opened, *failed = kernel.counts("opensnoop_results")
        most = self.settings.tops
        errors = Ranking()
        for number, count in enumerate(failed, 1):
            if count:
                errors.add(error_name(number), count=count)
        return ProbeSample(
            "opensnoop",
            seconds,
            opened + sum(failed),
            lost=kernel.counts("opensnoop_lost")[0],
            values={"opened": opened, "failed": sum(failed)},
            tops={
                "error": errors.top(most, "error"),
                "failed": self._failed.top(most, "file", "error"),
                "file": self._files.top(most, "file"),
                "directory": self._folders.top(most, "directory"),
                "process": self._processes.top(most, "comm", "pid"),
            },
            records=self._opens.records(),
            records_of=self._opens.seen,
        )


PROBE = Probe(
    category="filesystem",
    recorder=OpensnoopRecorder,
    shared=_SHARED,
    parts=(
        Part("syscalls:sys_enter_openat", _BEGIN, ("filename",)),
        Part("syscalls:sys_exit_openat", _END, ("ret",)),
        Part("syscalls:sys_enter_openat2", _BEGIN, ("filename",), optional=True),
        Part("syscalls:sys_exit_openat2", _END, ("ret",), optional=True),
        Part("syscalls:sys_enter_open", _BEGIN, ("filename",), optional=True),
        Part("syscalls:sys_exit_open", _END, ("ret",), optional=True),
    ),
    filters=("pid", "cgroup"),
)
