"""Errors of block devices against the errors that the program got."""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

READ = """
block = mmap.mmap(-1, 4096)
handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
told["errors"] = []
for number in range(53):
    try:
        os.preadv(handle, [block], 4096 * number)
    except OSError as error:
        told["errors"].append(error.errno)
"""

WRITE = READ.replace("preadv", "pwritev").replace("O_RDONLY", "O_WRONLY")


def kernel_log():
    with Path("/dev/kmsg").open("rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        lines = []
        while True:
            try:
                line = log.read(8192)
            except BrokenPipeError:
                continue
            if not line:
                return lines
            lines.append(line.decode("utf-8", "replace"))


def test_each_read_beyond_a_truncated_image_is_an_error(observe, tmp_path):
    image = tmp_path / "image"
    with workloads.loop_device(image) as device:
        with image.open("r+b") as file:
            file.truncate(10 * 4096)
        seen = observe("blockerrors", load=lambda: workloads.run("reader", READ, device=device))
        sample, name = seen["blockerrors"], Path(device).name
    if not seen.told["errors"]:
        pytest.skip("this kernel reads zeros beyond the end of an image")
    assert seen.told["errors"] == [errno.EIO] * 43
    (row,) = workloads.of(sample.tops["error"], device=name)
    assert (row["operation"], row["error"]) == ("read", "EIO")
    assert (row["count"], row["bytes"]) == (43, 43 * 4096)
    assert sample.values["errors"] >= 43
    records = workloads.of(sample.records, device=name)
    assert [r["sector"] for r in records] == [8 * n for n in range(10, 53)]
    # The log tells only of the first few in any five seconds.
    logged = [line for line in kernel_log() if f"I/O error, dev {name}, sector " in line]
    assert logged
    sectors = {int(line.partition("sector ")[2].split()[0]) for line in logged}
    assert sectors & {r["sector"] for r in records}


def test_writes_to_a_full_image_are_errors_by_their_name(observe, tmp_path):
    with (
        workloads.small_tmpfs(tmp_path / "full", 20 * 4096) as place,
        workloads.loop_device(place / "image", 1 << 20) as device,
    ):
        seen = observe("blockerrors", load=lambda: workloads.run("writer", WRITE, device=device))
        sample, name = seen["blockerrors"], Path(device).name
    told = seen.told["errors"]
    assert len(told) >= 33
    rows = workloads.of(sample.tops["error"], device=name, operation="write")
    assert [(row["error"], row["count"]) for row in rows] == [(errno.errorcode[told[0]], len(told))]
    assert set(told) in ({errno.EIO}, {errno.ENOSPC})


def test_without_errors_there_are_none(observe, tmp_path):
    with workloads.loop_device(tmp_path / "image") as device:
        seen = observe("blockerrors", load=lambda: workloads.run("reader", READ, device=device))
        name = Path(device).name
    assert seen.told["errors"] == []
    assert workloads.of(seen["blockerrors"].tops["error"], device=name) == []
    assert workloads.of(seen["blockerrors"].records, device=name) == []
