"""A file system on a disk that takes only so much, whoever writes to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Impossible
from tests.faults.tools.groups import parent, unified
from tests.faults.tools.mounts import image, make, mounted, tell

_MIB = 1 << 20
_CONFIG = Path("/sys/kernel/config")
# As the kernel calls its first one, whether or not it takes over the name that it is given.
_NAME = "nullb0"
_REQUEST = "32"  # [KiB], enough for 1 MiB/s


@contextmanager
def slow_disk(folder: Path, size: int, pace: int) -> Iterator[Path]:
    """
    Mount an ext4 file system on a slow disk.

    Args:
        folder: Where image and mount point are made.
        size: Of the disk [bytes].
        pace: How much may be written to it [bytes/s], whole MiB.

    Yields:
        The mount point.

    Raises:
        Impossible: When this kernel can slow down no disk.

    """
    with ExitStack() as stack:
        if unified():
            # Version 2 limits groups only, and then it is the group that is slow.
            device = stack.enter_context(_null_block(size, pace))
            make("ext4", device)
            yield stack.enter_context(mounted(folder / "mount", "ext4", device))
            return
        point, device = stack.enter_context(image(folder, size))
        number = Path(device).stat().st_rdev
        stack.enter_context(_limited(f"{os.major(number)}:{os.minor(number)}", pace))
        yield point


@contextmanager
def _limited(device: str, pace: int) -> Iterator[None]:
    """Limit what may be written to a disk, also by the kernel for others."""
    file = parent("io") / "blkio.throttle.write_bps_device"
    file.write_text(f"{device} {pace}")
    try:
        yield
    finally:
        file.write_text(f"{device} 0")


@contextmanager
def _null_block(size: int, pace: int) -> Iterator[str]:
    """Make a disk in memory with a pace of its own."""
    with ExitStack() as stack:
        try:
            tell("modprobe", "null_blk", "nr_devices=0")
        except RuntimeError as error:
            raise Impossible(f"no disk can be slowed down: {error}") from error
        stack.callback(tell, "modprobe", "-r", "null_blk")
        if not (_CONFIG / "nullb").exists():
            stack.enter_context(mounted(_CONFIG, "configfs", "none"))
        place = _CONFIG / "nullb" / _NAME
        place.mkdir()
        stack.callback(place.rmdir)
        # With a cache, so that it is asked to empty it.
        kind = {"size": size // _MIB, "memory_backed": 1, "cache_size": 1}
        settings = {**kind, "mbps": pace // _MIB, "power": 1}
        for name, value in settings.items():
            (place / name).write_text(str(value))
        # It lets through so much every 50 ms; a request for more would wait for ever.
        (Path("/sys/block") / _NAME / "queue/max_sectors_kb").write_text(_REQUEST)
        yield f"/dev/{_NAME}"
