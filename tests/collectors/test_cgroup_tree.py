"""A control group is found by its path and by its directory, as the host or a container sees it."""

from __future__ import annotations

import pytest

from collectors.base import Paths
from collectors.cgroup_tree import mounted

V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = (
    "30 1 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def host(tmp_path, mounts, base):
    for folder in ("a.slice/b.service", "c"):
        (tmp_path / "sys" / base / folder).mkdir(parents=True)
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").write_text(mounts)
    return mounted(Paths(tmp_path / "proc", tmp_path / "sys", tmp_path))


@pytest.mark.parametrize(
    ("mounts", "base"),
    [(V2, "fs/cgroup"), (HYBRID, "fs/cgroup/unified"), (HYBRID, "fs/cgroup/memory")],
)
def test_a_group_is_one_whatever_it_is_called_by(tmp_path, mounts, base):
    found = host(tmp_path, mounts, base)
    seen = (f"/sys/{base}", str(tmp_path / "sys" / base), "")
    for start in seen:
        for end in ("", "/"):
            assert found.inside(f"{start}/a.slice/b.service{end}") == "/a.slice/b.service"
            assert found.has(f"{start}/a.slice/b.service{end}") is True
        assert found.has(f"{start}/nowhere") is False
    assert found.inside(f"/sys/{base}") == found.inside("/") == "/"
    assert found.inside("a.slice") == "/a.slice"


def test_a_name_that_only_begins_like_a_mount_is_a_path(tmp_path):
    assert host(tmp_path, V2, "fs/cgroup").inside("/sys/fs/cgroups/x") == "/sys/fs/cgroups/x"


def test_without_a_hierarchy_nobody_can_say(tmp_path):
    (tmp_path / "proc").mkdir()
    assert mounted(Paths(tmp_path / "proc", tmp_path / "sys", tmp_path)).has("/a") is None
