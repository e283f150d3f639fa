"""What a control group is, told from its path: unit, container, pod or machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collectors.text import label

_SHOWN_ID = 12
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")
_UNIT = re.compile(r".\.(service|scope|slice|mount|socket|swap)$")
_SCOPED = re.compile(r"^(docker|cri-containerd|crio|libpod|nerdctl)-([0-9a-f]{64})(?:\.scope)?$")
_BARE = re.compile(r"^[0-9a-f]{64}$")
_POD = re.compile(r"(?:^|-)pod([0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})(?:\.slice)?$")
_LXC = re.compile(r"^lxc\.payload[./](.+)$")
_MACHINE = re.compile(r"^machine-(.+)\.scope$")
_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "crio",
    "libpod": "podman",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What a control group is.

    Attributes:
        name: To show: unit name, runtime and short id, machine name, or last part of the path.
        kind: service, scope, slice, mount, socket, swap, container, pod, machine or group.
        runtime: docker, containerd, crio, podman, kubernetes, lxc, machined, systemd; None
            where the path does not tell.
        container_id: The container's id, as far as it is shown.
        pod_uid: Kubernetes' id of the pod.

    """

    name: str
    kind: str
    runtime: str | None = None
    container_id: str | None = None
    pod_uid: str | None = None


def identify(path: str) -> Identity:
    """
    Tell what a control group is.

    Args:
        path: Its path below the hierarchy's root, beginning with a slash.

    Returns:
        Its identity; a group inside a container carries the container's name before its own.

    Source:
        systemd's unit naming (systemd.unit(5), CONTROL_GROUP_INTERFACE) and the
        cgroup paths that runc, crun, containerd, CRI-O, podman and LXC create.

    """
    parts = [p for p in path.split("/") if p]
    pod = next((_uid(m[1]) for p in parts if (m := _POD.search(p))), None)
    for place in range(len(parts) - 1, -1, -1):
        found = _container(parts, place)
        if found is not None:
            runtime, name, short = found
            shown = "/".join((name, *map(_unescaped, parts[place + 1 :])))
            kind = "machine" if short is None else "container"
            return Identity(label(shown), kind, runtime, short, pod)
    return _plain(parts[-1] if parts else "/", pod)


def _plain(last: str, pod: str | None) -> Identity:
    """Name a group that is in no container."""
    if pod is not None and _POD.search(last):
        return Identity(f"pod-{pod}", "pod", "kubernetes", None, pod)
    unit = _UNIT.search(last)
    name = label(_unescaped(last))
    return Identity(name, unit[1], "systemd") if unit else Identity(name, "group", None, None, pod)


def _container(parts: list[str], place: int) -> tuple[str | None, str, str | None] | None:
    """Give runtime, name and short id of a container or machine."""
    part, parent = parts[place], parts[place - 1] if place else ""
    if scoped := _SCOPED.match(part):
        runtime, short = _RUNTIMES[scoped[1]], scoped[2][:_SHOWN_ID]
        return runtime, f"{runtime}-{short}", short
    if _BARE.match(part):
        return _bare(parts, parent, part[:_SHOWN_ID])
    if machine := _LXC.match(part):
        return "lxc", label(machine[1]), None
    if parent == "lxc":
        return "lxc", label(part), None
    if machine := _MACHINE.match(part):
        return "machined", label(_unescaped(machine[1])), None
    return None


def _bare(parts: list[str], parent: str, short: str) -> tuple[str | None, str, str]:
    """Name a container whose group is its id alone (cgroupfs driver)."""
    runtime = "docker" if parent == "docker" else None
    if any(p.startswith("kubepods") for p in parts):
        runtime = "kubernetes"
    elif parent == "libpod_parent":
        runtime = "podman"
    return runtime, f"{runtime or 'container'}-{short}", short


def _uid(raw: str) -> str:
    """Write a pod's id with dashes; systemd paths hold underscores."""
    return raw.replace("_", "-")


def _unescaped(name: str) -> str:
    r"""Undo systemd's escaping: `\x2d` is a dash."""
    return _ESCAPED.sub(lambda m: chr(int(m[1], 16)), name)
