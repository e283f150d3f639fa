"""Real probes on the real kernel, with loads of known size."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from collectors.bpf.model import Verdict
from exporter.orchestrator import Window
from exporter.probes import BpfProbes
from tests.kernels.slow import SLOW, be_patient


class Seen(dict):
    """Probe name to its sample; the window's length in `seconds`."""

    seconds = 0.0


@pytest.fixture(autouse=SLOW != 1)
def patience(monkeypatch):
    be_patient(monkeypatch)


@pytest.fixture
def observe(monkeypatch):
    """
    Run probes over a load: observe("runqlat", load=function) gives their samples.

    The window is open from before the load until after it; `settle` more seconds
    let late events come in. What the load returns is in the result's `told`.
    """
    if os.geteuid() != 0:
        pytest.skip("eBPF needs root")
    # On a busy machine naming takes longer than a cancelled sweep would wait for it.
    monkeypatch.setattr("exporter.probes.CANCEL_GRACE", SLOW * 15.0)

    def run(*names, load=lambda: None, settle=0.3, deadline=40.0, **options):
        probes = BpfProbes()
        closed = threading.Event()
        last = time.monotonic() + SLOW * (2 * deadline + 20)
        window = Window("test", SLOW * deadline, 1.0, last, closed, options)
        probes.prepare(names, window)
        bad = {n: v for n, v in probes.verdicts.items() if v[0] is not Verdict.OK}
        assert not bad, bad
        time.sleep(max(0.1, SLOW * 0.03))  # until the worker has opened it
        told = load()
        time.sleep(settle)
        closed.set()  # ends the window now instead of at its deadline
        outcomes = probes.finish()
        seen = Seen({name: outcome.data for name, outcome in outcomes.items()})
        assert None not in seen.values(), {n: o.reason for n, o in outcomes.items()}
        seen.told = told
        return seen

    return run


_NATIVE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define OWN_FRAME __attribute__((noinline, noclone))

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* A libc function keeps no frame pointer and hides its direct caller: hence the inner ones. */
OWN_FRAME void sleep_inner(int us) { usleep(us); __asm__ volatile(""); }
OWN_FRAME void sleeps_here(int us) { sleep_inner(us); __asm__ volatile(""); }
OWN_FRAME void write_inner(int fd) { if (write(fd, "x", 1) != 1) abort(); __asm__ volatile(""); }
OWN_FRAME void writes_here(int fd) { write_inner(fd); __asm__ volatile(""); }
OWN_FRAME void burns_seven(long n) { for (volatile long i = 0; i < 7 * n; i++); }
OWN_FRAME void burns_three(long n) { for (volatile long i = 0; i < 3 * n; i++); }

/* Of random length: what repeats evenly may be sampled always at the same place. */
static void burn(void)
{
    long n = random() % 200000;
    burns_seven(n);
    burns_three(n);
}

static void read_until_closed(int fd)
{
    char c;
    prctl(PR_SET_NAME, "native-reader");
    while (read(fd, &c, 1) == 1);
    _exit(0);
}

/* native burn SECONDS | work CPU_SECONDS | sleep TIMES MICROSECONDS | wake TIMES MICROSECONDS:
   waits for a line, works, tells in one line how long that took, and lives on until standard
   input ends. */
int main(int count, char **word)
{
    char line[16];
    int pipes[2] = {-1, -1};
    if (!strcmp(word[1], "wake") && (pipe(pipes) || (!fork() && !close(pipes[1]))))
        read_until_closed(pipes[0]);
    puts("here");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 0;
    double began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    if (!strcmp(word[1], "burn"))
        while (now(CLOCK_MONOTONIC) - began < atof(word[2]))
            burn();
    else if (!strcmp(word[1], "work"))
        while (now(CLOCK_PROCESS_CPUTIME_ID) - cpu < atof(word[2]))
            burn();
    else
        for (int n = 0; n < atoi(word[2]); n++) {
            sleeps_here(atoi(word[3]));
            if (pipes[1] >= 0)
                writes_here(pipes[1]);
        }
    printf("%.6f %.6f\n", now(CLOCK_MONOTONIC) - began, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != 0;
}
"""


class Native:
    """A compiled program that works when told so, and lives on to be named."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "here\n"
        self.pid = self.process.pid

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def took(self):
        """Wait for its end: its own measure of the time that passed and of its CPU time [s]."""
        wall, cpu = map(float, self.process.stdout.readline().split())
        return wall, cpu

    def end(self):
        self.process.communicate()


@pytest.fixture(scope="session")
def native_binary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    (folder / "native.c").write_text(_NATIVE)
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["gcc", *flags, "-o", folder / "native", folder / "native.c"], check=True)
    return folder / "native"


@pytest.fixture
def native(native_binary):
    """Start the program on a CPU: native("burn", 2.0, cpu=0)."""
    started, cpus = [], sorted(os.sched_getaffinity(0))

    def start(*words, cpu=None):
        pin = [] if cpu is None else ["taskset", "-c", str(cpus[cpu % len(cpus)])]
        started.append(Native(*pin, str(native_binary), *map(str, words)))
        return started[-1]

    yield start
    for one in started:
        one.end()
