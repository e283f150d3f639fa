"""What probes of tasks share: who made a task, and words for errors, signals and file names."""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping

from collectors.text import label

FILE_BYTES = 128  # room for a file name in an event
_SHOWN = 160  # [characters]


def parents(name: str) -> str:
    """
    Write the C function `NAME_parent(char *comm)`: the parent's process id, 0 when unknown.

    It needs `parent_offsets(name)`, and fills the 16 bytes of comm with the name of the
    thread that made the current task.

    Args:
        name: Of the probe.

    Returns:
        C text.

    """
    return _PARENT.replace("NAME", name).replace("MACRO", name.upper())


_PARENT = r"""
static __always_inline u32 NAME_parent(char *comm)
{
    u32 pid = 0;
    comm[0] = 0;
#if defined(MACRO_PARENT) && defined(MACRO_TGID) && defined(MACRO_COMM)
    u64 task = bpf_get_current_task(), parent = 0;
    bpf_probe_read_kernel(&parent, sizeof(parent), (void *)(task + MACRO_PARENT));
    bpf_probe_read_kernel(&pid, sizeof(pid), (void *)(parent + MACRO_TGID));
    bpf_probe_read_kernel_str(comm, 16, (void *)(parent + MACRO_COMM));
#endif
    return pid;
}
"""


def parent_offsets(name: str) -> dict[str, tuple[str, ...]]:
    """
    Name what `parents` reads.

    Args:
        name: Of the probe.

    Returns:
        C macro to members of the kernel's task_struct.

    """
    members = {"PARENT": "real_parent", "TGID": "tgid", "COMM": "comm"}
    return {f"{name.upper()}_{word}": (f"task_struct.{m}",) for word, m in members.items()}


def file_name(raw: bytes) -> str:
    """
    Make a file name from an event safe to show.

    Args:
        raw: A buffer that holds it, ended by a zero.

    Returns:
        The name; it ends in an ellipsis when the buffer was too short for it.

    """
    name = raw.split(b"\0", 1)[0]
    return label(name, _SHOWN) + ("…" if len(name) >= len(raw) - 1 else "")


def error_name(number: int) -> str:
    """
    Name an error.

    Args:
        number: Positive, as in errno.

    Returns:
        Such as "ENOENT".

    """
    return errno.errorcode.get(number, f"error {number}")


def signal_name(number: int) -> str:
    """
    Name a signal.

    Args:
        number: Of the signal.

    Returns:
        Such as "SIGTERM".

    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def known(pid: int, comm: str) -> Mapping[str, str | int | None]:
    """
    Tell a parent.

    Args:
        pid: Its id; 0 when unknown, or the kernel itself.
        comm: Its name; empty when unknown.

    Returns:
        `parent` and `parent_pid`.

    """
    return {"parent": comm or None, "parent_pid": pid if comm else None}
