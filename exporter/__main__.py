"""Start the program."""

from __future__ import annotations

import errno
import logging
import os
import sys

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> int:
    """
    Run the command line and turn whatever is left over into an exit code.

    Returns:
        The exit code.

    """
    # Imported here, so that even a broken installation ends in a message.
    from exporter.cli import run
    from exporter.exit_code import ExitCode

    try:
        code = run(sys.argv[1:])
        # What does not fit into the output any more is noticed here or never.
        sys.stdout.flush()
    except Exception as error:  # the last resort: say what happened, in the log's form
        if isinstance(error, BrokenPipeError):
            # The reader of a pipe has gone; there is nobody left to tell.
            _discard_output()
            return ExitCode.READER_GONE
        if isinstance(error, OSError) and error.errno in _FULL:
            _discard_output()
            logging.getLogger("sysdx").error("cannot write: %s", error.strerror)  # noqa: TRY400
            return ExitCode.CANNOT_WRITE
        logging.getLogger("sysdx").exception("sysdx failed; this is a bug")
        return ExitCode.FAILURE
    return code


def _discard_output() -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A collector that hangs in the kernel would keep a normal exit waiting.
    os._exit(code)
