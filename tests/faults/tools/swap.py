"""Swap in compressed memory, on a device of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Impossible
from tests.faults.tools.mounts import tell

_CONTROL = Path("/sys/class/zram-control")


@contextmanager
def compressed_swap(size: int) -> Iterator[str]:
    """
    Swap to a zram device until the context is left.

    Args:
        size: Its size [bytes].

    Yields:
        The device.

    """
    try:
        number = (_CONTROL / "hot_add").read_text().strip()
    except OSError as error:
        raise Impossible(f"there is no zram: {error.strerror}") from error
    device = f"/dev/zram{number}"
    with ExitStack() as stack:
        stack.callback((_CONTROL / "hot_remove").write_text, number)
        Path(f"/sys/block/zram{number}/disksize").write_text(str(size))
        tell("mkswap", device)
        tell("swapon", "--priority", "100", device)
        stack.callback(tell, "swapoff", device)
        yield device
