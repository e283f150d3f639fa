"""What the program's exit codes mean; from 64 on they are failures, as sysexits.h has them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Below 64 a verdict, from 64 on a failure, from 128 on the number of a signal."""

    HEALTHY = 0
    DEGRADED = 1
    CRITICAL = 2
    UNKNOWN = 3
    USAGE = 64
    NO_REPORT = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    FAILURE = 70
    CANNOT_WRITE = 73
    BAD_CONFIG = 78
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


BANDS = {
    "healthy": ExitCode.HEALTHY,
    "degraded": ExitCode.DEGRADED,
    "critical": ExitCode.CRITICAL,
    "unknown": ExitCode.UNKNOWN,
}
