"""Where a report goes: standard output, or a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from exporter.layout import WIDTH

_NARROWEST = 60  # [columns]


@dataclass(frozen=True, slots=True)
class Output:
    """
    A place to write to.

    Attributes:
        name: A file, or "-" for standard output.

    """

    name: str

    @property
    def terminal(self) -> bool:
        """Whether a person looks on."""
        return self.name == "-" and sys.stdout.isatty()

    @property
    def width(self) -> int:
        """How long lines may be [columns]."""
        if not self.terminal:
            return WIDTH
        return max(_NARROWEST, min(WIDTH, shutil.get_terminal_size().columns))

    def check(self) -> None:
        """
        Find out before the work whether its result can be written.

        Raises:
            OSError: When it cannot.

        """
        if self.name == "-":
            return
        path = self._path()
        if path.is_dir():
            raise IsADirectoryError(21, "it is a directory")
        target = path.parent if self._replaceable(path) else path
        if not target.exists():
            raise FileNotFoundError(2, f"there is no directory {target}")
        if not os.access(target, os.W_OK):
            raise PermissionError(13, f"{target} is not writable")

    def write(self, body: bytes) -> None:
        """
        Write everything.

        Args:
            body: What to write.

        Raises:
            OSError: When it cannot be written; a file is then as it was before.

        """
        if self.name == "-":
            sys.stdout.flush()
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
            return
        path = self._path()
        if not self._replaceable(path):
            path.write_bytes(body)
            return
        # Who reads the file meanwhile, such as a textfile collector, sees the old or the new one.
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            new.write_bytes(body)
            if path.exists():
                new.chmod(path.stat().st_mode & 0o7777)
            new.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def _path(self) -> Path:
        """Follow links, so that what they name is replaced and not they."""
        return Path(self.name).resolve()

    @staticmethod
    def _replaceable(path: Path) -> bool:
        """Tell a file, or none yet, from a pipe or a device."""
        return path.is_file() or not path.exists()
