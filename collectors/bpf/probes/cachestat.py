"""
Page cache: how many pages of files were read, and how many of them had to come from a disk.

Event: mm_filemap_get_pages (6.11 and later) tells which pages of which file a read got,
filemap:mm_filemap_fault the same for a mapped file; before, kprobes on filemap_read and
filemap_fault do where the kernel has kprobes. filemap:mm_filemap_add_to_page_cache tells what
entered the cache, and writeback:writeback_dirty_folio that it did so to be written. What a task
adds to a file and then gets from it by reading is a miss; what it dirties is none. Cost: about 1
us per read, 0.2 us per page that enters or is dirtied. Missed: mapped pages that were in the
cache and near to another one's fault; a second read by the same task that begins within the first
and ends with it; of a read that had to wait, the pages that the kernel got just before the one it
waited for. Pages that are read ahead are misses, so hits are too few where reading ahead is in
vain. Where no read can be seen, hits are unknown, and all pages that entered and were not written
are misses. Kernels: those with type information tell hits, all others misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.bpf.block import Names
from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, counters

_READ = "raw:mm_filemap_get_pages"
_FAULT = "filemap:mm_filemap_fault"
_ADD = "filemap:mm_filemap_add_to_page_cache"
_DIRTY = "writeback:writeback_dirty_folio"
_COUNTS = ("reads", "accesses", "misses", "added", "written")

_SHARED = (
    counters("cachestat_pages", *_COUNTS)
    + r"""
/* What a task did last: the file, and pages that it added without having got them yet. */
#define CACHESTAT_FAULT ((u64)-1)
struct cachestat_task { u64 ino, index, last, pending; u32 dev, inside; };
struct cachestat_file { u64 ino, size; u32 dev, pad; };
struct cachestat_key { char comm[16]; u32 pid, dev; };
struct cachestat_total { u64 accesses, misses; };
BPF_TABLE("lru_hash", u32, struct cachestat_task, cachestat_tasks, 8192);
BPF_TABLE("lru_hash", struct cachestat_key, struct cachestat_total, cachestat_totals, 2048);

static __always_inline void cachestat_tell(u32 dev, u64 accesses, u64 misses)
{
    struct cachestat_key key = {.pid = bpf_get_current_pid_tgid() >> 32, .dev = dev};
    struct cachestat_total none = {}, *total;
    if (!accesses && !misses)
        return;
    cachestat_pages_count(CACHESTAT_PAGES_ACCESSES, accesses);
    cachestat_pages_count(CACHESTAT_PAGES_MISSES, misses);
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    total = cachestat_totals.lookup_or_try_init(&key, &none);
    if (!total)
        return;
    __sync_fetch_and_add(&total->accesses, accesses);
    __sync_fetch_and_add(&total->misses, misses);
}

#if defined(CACHESTAT_HOST) && defined(CACHESTAT_SIZE) && defined(CACHESTAT_INO) \
    && defined(CACHESTAT_SB) && defined(CACHESTAT_DEV)
#define CACHESTAT_FILES 1
static __always_inline struct cachestat_file cachestat_mapping(u64 mapping)
{
    struct cachestat_file file = {};
    u64 inode = 0, sb = 0;
    bpf_probe_read_kernel(&inode, 8, (void *)(mapping + CACHESTAT_HOST));
    bpf_probe_read_kernel(&file.ino, sizeof(long), (void *)(inode + CACHESTAT_INO));
    bpf_probe_read_kernel(&file.size, 8, (void *)(inode + CACHESTAT_SIZE));
    bpf_probe_read_kernel(&sb, 8, (void *)(inode + CACHESTAT_SB));
    bpf_probe_read_kernel(&file.dev, 4, (void *)(sb + CACHESTAT_DEV));
    return file;
}
#endif

/* A read that is told of once per batch, always with the same end, counts once. */
static __always_inline void cachestat_read(struct cachestat_file *file, u64 index, u64 last,
                                           u32 inside)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct cachestat_task *old = cachestat_tasks.lookup(&tid);
    struct cachestat_task task = {.ino = file->ino, .index = index, .last = last};
    u64 accesses = 0, misses = 0, end = last;
    task.dev = file->dev;
    task.inside = inside;
    if (file->size && (file->size - 1) / PAGE_SIZE < end)
        end = (file->size - 1) / PAGE_SIZE;
    if (file->size && end >= index)
        accesses = end - index + 1;
    if (old && old->ino == file->ino && old->dev == file->dev) {
        misses = old->pending;
        if (!old->inside && old->last == last && old->index < index)
            accesses = 0;
    }
    cachestat_tasks.update(&tid, &task);
    cachestat_pages_count(CACHESTAT_PAGES_READS, 1);
    cachestat_tell(file->dev, accesses, misses);
}

/* What the task adds to the file from now on is missed. */
static __always_inline void cachestat_fault(u64 ino, u32 dev, u64 index)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct cachestat_task *old = cachestat_tasks.lookup(&tid);
    struct cachestat_task task = {.ino = ino, .index = index, .last = CACHESTAT_FAULT};
    task.dev = dev;
    task.inside = 1;
    /* A fault that had to wait is tried again. */
    u32 again = old && old->last == CACHESTAT_FAULT && old->ino == ino && old->dev == dev
        && old->index == index;
    cachestat_tasks.update(&tid, &task);
    if (!again)
        cachestat_tell(dev, 1, 0);
}
"""
)

_ON_READ = r"""
#ifdef CACHESTAT_FILES
    if (off_() || alien_())
        return 0;
    struct cachestat_file file = cachestat_mapping(args->args[0]);
    cachestat_read(&file, args->args[1], args->args[2], 0);
#endif
"""

_ON_READ_CALL = r"""
#if defined(CACHESTAT_FILES) && defined(CACHESTAT_FILE) && defined(CACHESTAT_POSITION) \
    && defined(CACHESTAT_MAPPING) && defined(CACHESTAT_COUNT)
    u64 call = PT_REGS_PARM1(args), to = PT_REGS_PARM2(args);
    u64 opened = 0, mapping = 0, position = 0, count = 0;
    if (off_() || alien_())
        return 0;
    bpf_probe_read_kernel(&opened, 8, (void *)(call + CACHESTAT_FILE));
    bpf_probe_read_kernel(&position, 8, (void *)(call + CACHESTAT_POSITION));
    bpf_probe_read_kernel(&mapping, 8, (void *)(opened + CACHESTAT_MAPPING));
    bpf_probe_read_kernel(&count, 8, (void *)(to + CACHESTAT_COUNT));
    if (!count)
        return 0;
    struct cachestat_file file = cachestat_mapping(mapping);
    if (position >= file.size)
        return 0;
    cachestat_read(&file, position / PAGE_SIZE, (position + count - 1) / PAGE_SIZE, 1);
#endif
"""

_ON_RETURN = r"""
    u32 tid = bpf_get_current_pid_tgid();
    struct cachestat_task *task = cachestat_tasks.lookup(&tid);
    if (task)
        task->inside = 0;
"""

_ON_FAULT = r"""
    if (off_() || alien_())
        return 0;
    cachestat_fault(args->i_ino, args->s_dev, args->index);
"""

_ON_FAULT_CALL = r"""
#if defined(CACHESTAT_FILES) && defined(CACHESTAT_MAPPING) && defined(CACHESTAT_AREA) \
    && defined(CACHESTAT_PAGE) && defined(CACHESTAT_AREA_FILE)
    u64 fault = PT_REGS_PARM1(args), area = 0, opened = 0, mapping = 0, index = 0;
    if (off_() || alien_())
        return 0;
    bpf_probe_read_kernel(&area, 8, (void *)(fault + CACHESTAT_AREA));
    bpf_probe_read_kernel(&index, sizeof(long), (void *)(fault + CACHESTAT_PAGE));
    bpf_probe_read_kernel(&opened, 8, (void *)(area + CACHESTAT_AREA_FILE));
    bpf_probe_read_kernel(&mapping, 8, (void *)(opened + CACHESTAT_MAPPING));
    struct cachestat_file file = cachestat_mapping(mapping);
    cachestat_fault(file.ino, file.dev, index);
#endif
"""

_ON_ADD = r"""
    if (off_() || alien_())
        return 0;
    u64 pages = 1;
#ifdef HAVE__mm_filemap_add_to_page_cache__order
    pages = 1ULL << args->order;
#endif
    u32 tid = bpf_get_current_pid_tgid();
    struct cachestat_task *old = cachestat_tasks.lookup(&tid);
    cachestat_pages_count(CACHESTAT_PAGES_ADDED, pages);
    if (!old || old->ino != args->i_ino || old->dev != args->s_dev) {
        struct cachestat_task task = {.ino = args->i_ino, .pending = pages};
        task.dev = args->s_dev;
        cachestat_tasks.update(&tid, &task);
    } else if (old->inside) {
        cachestat_tell(args->s_dev, 0, pages);
    } else {
        old->pending += pages;
    }
"""

_ON_DIRTY = r"""
    u32 tid = bpf_get_current_pid_tgid();
    struct cachestat_task *task = cachestat_tasks.lookup(&tid);
    if (off_() || !task || task->inside || task->ino != args->ino)
        return 0;
    cachestat_pages_count(CACHESTAT_PAGES_WRITTEN, task->pending);
    task->pending = 0;
"""


class CachestatRecorder(Recorder):
    """Read the counters."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Values, in pages of this window: `accesses`, `hits`, `misses`; `added` is all that
            entered the cache; `hit_ratio`. `accesses`, `hits` and `hit_ratio` are absent where
            no read was seen. `tops` by process and by device.

        """
        counts = dict(zip(_COUNTS, kernel.counts("cachestat_pages"), strict=True))
        return ProbeSample(
            "cachestat",
            seconds,
            counts["accesses"] or counts["added"],
            values=_values(**counts),
            tops={
                "process": self._top(kernel, "comm", "pid"),
                "device": self._top(kernel, "device"),
            },
        )

    def _top(self, kernel: Kernel, *by: str) -> tuple[Mapping[str, Any], ...]:
        """Rank by pages that had to come from a disk."""
        names = Names(kernel)
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, total in kernel.items("cachestat_totals"):
            row = {"comm": text(key.comm), "pid": key.pid, "device": names[key.dev]}
            row = {name: row[name] for name in by}
            group = groups.setdefault(tuple(row.values()), row | {"accesses": 0, "misses": 0})
            group["accesses"] += total.accesses
            group["misses"] += total.misses
        for group in groups.values():
            group["hits"] = max(0, group["accesses"] - group["misses"])
        ranked = sorted(groups.values(), key=lambda g: (-g["misses"], -g["accesses"]))
        return tuple(ranked[: self.settings.tops])


def _values(
    *, reads: int, accesses: int, misses: int, added: int, written: int
) -> dict[str, float]:
    """Tell what is known."""
    if not reads or not accesses:
        return {"misses": max(0, added - written), "added": added}
    hits = max(0, accesses - misses)
    return {
        "accesses": accesses,
        "hits": hits,
        "misses": misses,
        "added": added,
        "hit_ratio": hits / accesses,
    }


PROBE = Probe(
    category="memory",
    recorder=CachestatRecorder,
    shared=_SHARED,
    parts=(
        Part(_READ, _ON_READ, optional=True),
        Part("kprobe:filemap_read", _ON_READ_CALL, instead_of=_READ),
        Part("kretprobe:filemap_read", _ON_RETURN, instead_of=_READ),
        Part(_FAULT, _ON_FAULT, ("i_ino", "s_dev", "index"), optional=True),
        Part("kprobe:filemap_fault", _ON_FAULT_CALL, instead_of=_FAULT),
        Part(_ADD, _ON_ADD, ("i_ino", "s_dev")),
        Part(_DIRTY, _ON_DIRTY, ("ino",), optional=True),
        Part("writeback:writeback_dirty_page", _ON_DIRTY, ("ino",), instead_of=_DIRTY),
    ),
    optional_offsets={
        "CACHESTAT_HOST": ("address_space.host",),
        "CACHESTAT_SIZE": ("inode.i_size",),
        "CACHESTAT_INO": ("inode.i_ino",),
        "CACHESTAT_SB": ("inode.i_sb",),
        "CACHESTAT_DEV": ("super_block.s_dev",),
        "CACHESTAT_FILE": ("kiocb.ki_filp",),
        "CACHESTAT_POSITION": ("kiocb.ki_pos",),
        "CACHESTAT_MAPPING": ("file.f_mapping",),
        "CACHESTAT_COUNT": ("iov_iter.count",),
        "CACHESTAT_AREA": ("vm_fault.vma",),
        "CACHESTAT_PAGE": ("vm_fault.pgoff",),
        "CACHESTAT_AREA_FILE": ("vm_area_struct.vm_file",),
    },
    filters=("pid", "cgroup"),
)
