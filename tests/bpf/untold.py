"""
What a kernel may not tell of at all.

On some virtual machines no tracepoint comes while a thread of process 1 is on the CPU, for eBPF
and ftrace alike: not the switch from it to another task, nor whom an interrupt wakes meanwhile.
The scheduler's own counts have them: 157 of 5 million switches were untold in 20 s. So a test
that counts switches or wake-ups allows for a few.
"""

from __future__ import annotations


def nearly(count):
    """Give the least number of that many switches that must be told."""
    return count - max(2, count // 50)
