"""Start the program."""

from __future__ import annotations

import logging
import os
import sys

FAILURE = 70


def main() -> int:
    """
    Run the command line and turn whatever is left over into an exit code.

    Returns:
        The exit code.

    """
    # Imported here, so that even a broken installation ends in a message.
    from exporter.cli import run

    try:
        return run(sys.argv[1:])
    except BrokenPipeError:
        # The reader of a pipe has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception:  # the last resort: say what happened, in the log's form
        logging.getLogger("sysdx").exception("sysdx failed; this is a bug")
        return FAILURE


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    # A collector that hangs in the kernel would keep a normal exit waiting.
    os._exit(code)
