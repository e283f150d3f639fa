"""File systems of our own, on images and in memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Impossible

_MKFS = ("-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0")


def tell(*words: str | Path) -> str:
    """
    Run a command to its end.

    Args:
        words: The command.

    Returns:
        What it wrote.

    Raises:
        Impossible: When it is not installed.
        RuntimeError: When it failed.

    """
    try:
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Impossible(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout.strip()


def make(kind: str, device: str | Path, options: tuple[str, ...] = ()) -> None:
    """
    Make a file system.

    Args:
        kind: Its type: one that takes the options of ext4.
        device: Where.
        options: More options.

    """
    tell(f"mkfs.{kind}", *_MKFS, *options, device)


@contextmanager
def image(folder: Path, size: int, options: tuple[str, ...] = ()) -> Iterator[tuple[Path, str]]:
    """
    Mount an ext4 file system on an image of its own.

    Args:
        folder: Where image and mount point are made.
        size: Size of the image [bytes].
        options: More options for mkfs.ext4.

    Yields:
        The mount point and the loop device.

    """
    file, point = folder / "image", folder / "mount"
    with file.open("wb") as out:
        out.truncate(size)
    make("ext4", file, options)
    with ExitStack() as stack:
        device = tell("losetup", "--find", "--show", file)
        stack.callback(tell, "losetup", "--detach", device)
        stack.enter_context(mounted(point, "ext4", device))
        yield point, device


@contextmanager
def mounted(point: Path, kind: str, source: str, options: str = "defaults") -> Iterator[Path]:
    """
    Mount a file system.

    Args:
        point: Where; the directory is made.
        kind: Its type.
        source: What is mounted.
        options: How.

    Yields:
        The mount point.

    """
    point.mkdir(exist_ok=True)
    tell("mount", "-t", kind, "-o", options, source, point)
    try:
        yield point
    finally:
        tell("umount", point)
