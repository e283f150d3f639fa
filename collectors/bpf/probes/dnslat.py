"""
Latency of name servers: from a question over UDP until the program has its answer.

Events: sock:sock_send_length and sock:sock_recv_length, what every socket sends and gets; only
UDP sockets that are connected to port 53 are looked at. Cost: about 0.15 us for whatever any
socket of the host sends or gets, and 0.75 us for a question or an answer. Missed: TCP, DNS over
TLS and HTTPS; sockets that are not connected, because these events do not tell whom they speak
to (musl and dnsmasq work that way); questions under way when the window opened. A question is
not read: what is sent a quarter of a second and more after the oldest open question of a socket
is taken for that one asked again, an answer for that of the oldest, and what is open for 30 s
since it was asked last for given up. Values: `questions`; `repeated`, asked again and part of the
same wait; `failed`, refused or not sent; `unanswered`, given up, or open for a second or longer
at the window's end, whether their socket is still there or not; `under_way`, open for less. Lost:
questions beyond 8 open ones of one socket, and beyond 1,024 sockets with open ones. Tops:
processes and servers by the time of their answers; `silent`, who asked whom in vain. A program
that asks a resolver on this host is told of, and so is the resolver when it asks others.
Kernels: all with these tracepoints, 6.3 and later.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Settings, counters, latency_edges
from collectors.bpf.spans import SpanRecorder, heaviest, sum_maps, totals
from collectors.bpf.tcp import FAMILIES, address

_FAMILY = "sysdx_dns_latency_seconds"
_COUNTS = ("questions", "repeated", "unanswered", "failed")
_UNANSWERED = "unanswered"
# As long as the shortest timeout that resolv.conf(5) allows [ns].
_PATIENCE = 1_000_000_000

# Library resolvers ask again after a second and more, those that measure the server (c-ares) no
# sooner than a quarter of one; none waits longer than 30 s (RES_MAXRETRANS of resolv.h).
_SHARED = (
    sum_maps("dnslat", len(FAMILIES))
    + counters("dnslat_seen", *_COUNTS)
    + r"""
#define DNSLAT_AGAIN 250000000ULL
#define DNSLAT_LONGEST 30000000000ULL
#define DNSLAT_MOST 8

/* An address may be used again by another socket, hardly with the same port. */
struct dnslat_socket { u64 socket; u32 port, pad; };
struct dnslat_wait {
    u64 asked[DNSLAT_MOST], last;
    u32 first, open, pid, pad;
    u8 server[16];
    char comm[16];
};
struct dnslat_server { u8 address[16]; };
struct dnslat_silent { u8 server[16]; char comm[16]; u32 pid, outcome; };
/* What is open is not put out by what comes: a question without a place is known to be lost. */
BPF_HASH(dnslat_waits, struct dnslat_socket, struct dnslat_wait, 1024);
BPF_TABLE("lru_hash", struct dnslat_server, struct dnslat_total, dnslat_servers, 256);
BPF_TABLE("lru_hash", struct dnslat_silent, u64, dnslat_silents, 512);

/* Nearly every socket leaves after the first look. */
static __always_inline int dnslat_is_dns(u64 socket)
{
    u8 port[2] = {};
    u16 protocol = 0;
    bpf_probe_read_kernel(port, sizeof(port), (void *)(socket + DNSLAT_PORT));
    if (port[0] || port[1] != 53)
        return 0;
    bpf_probe_read_kernel(&protocol, sizeof(protocol), (void *)(socket + DNSLAT_PROTOCOL));
    return protocol == 17;
}

static __always_inline struct dnslat_socket dnslat_key(u64 socket)
{
    struct dnslat_socket key = {.socket = socket};
    bpf_probe_read_kernel(&key.port, 2, (void *)(socket + DNSLAT_LOCAL));
    return key;
}

/* The server's address, one of IPv4 in the form of a mapped one. */
static __always_inline void dnslat_address(u64 socket, u8 *server)
{
    u16 family = 0;
    bpf_probe_read_kernel(&family, sizeof(family), (void *)(socket + DNSLAT_FAMILY));
#ifdef DNSLAT_V6
    if (family == 10) {
        bpf_probe_read_kernel(server, 16, (void *)(socket + DNSLAT_V6));
        return;
    }
#endif
    server[10] = server[11] = 0xff;
    bpf_probe_read_kernel(server + 12, 4, (void *)(socket + DNSLAT_V4));
}

static __always_inline int dnslat_family(const u8 *server)
{
    int above = 0;
#pragma unroll
    for (int n = 0; n < 10; n++)
        above |= server[n];
    return above || server[10] != 0xff || server[11] != 0xff;
}

static __always_inline void dnslat_open(u64 socket, u64 now, struct dnslat_wait *wait)
{
    wait->asked[0] = wait->last = now;
    wait->open = 1;
    wait->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&wait->comm, sizeof(wait->comm));
    dnslat_address(socket, wait->server);
}

/* What is open gets no answer any more. */
static __always_inline void dnslat_give_up(struct dnslat_wait *wait, u32 outcome)
{
    struct dnslat_silent key = {.pid = wait->pid, .outcome = outcome};
    u64 none = 0, *count;
    __builtin_memcpy(key.server, wait->server, sizeof(key.server));
    __builtin_memcpy(key.comm, wait->comm, sizeof(key.comm));
    dnslat_seen_count(outcome, wait->open);
    count = dnslat_silents.lookup_or_try_init(&key, &none);
    if (count)
        __sync_fetch_and_add(count, wait->open);
}

static __always_inline void dnslat_first(u64 socket, struct dnslat_socket *key, s32 answer,
                                         u64 now)
{
    struct dnslat_wait wait = {};
    dnslat_open(socket, now, &wait);
    if (answer < 0) {
        dnslat_give_up(&wait, DNSLAT_SEEN_FAILED);
    } else if (dnslat_waits.update(key, &wait)) {
        dnslat_lost.atomic_increment(0);
        return;
    }
    dnslat_seen_count(DNSLAT_SEEN_QUESTIONS, 1);
}

static __always_inline void dnslat_next(struct dnslat_wait *wait, u64 now)
{
    u32 oldest = wait->first % DNSLAT_MOST, place = (wait->first + wait->open) % DNSLAT_MOST;
    wait->last = now;
    if (now - wait->asked[oldest] >= DNSLAT_AGAIN) {
        dnslat_seen_count(DNSLAT_SEEN_REPEATED, 1);
    } else if (wait->open >= DNSLAT_MOST) {
        dnslat_lost.atomic_increment(0);
    } else {
        wait->asked[place] = now;
        wait->open += 1;
        dnslat_seen_count(DNSLAT_SEEN_QUESTIONS, 1);
    }
}

/* Nothing was done, and no error was told: EAGAIN, EINTR, ERESTARTSYS, an empty datagram. */
static __always_inline int dnslat_nothing(s32 answer)
{
    return !answer || answer == -11 || answer == -4 || answer == -512;
}

static __always_inline void dnslat_send(u64 socket, s32 answer)
{
    struct dnslat_socket key = dnslat_key(socket);
    struct dnslat_wait *wait;
    u64 now = bpf_ktime_get_ns();
    if (dnslat_nothing(answer) || off_() || alien_())
        return;
    wait = dnslat_waits.lookup(&key);
    if (wait && answer > 0 && now - wait->last < DNSLAT_LONGEST) {
        dnslat_next(wait, now);
        return;
    }
    if (!wait) {
        dnslat_first(socket, &key, answer, now);
        return;
    }
    /* An error is told of what was asked before: the next that is sent may get through. */
    dnslat_give_up(wait, answer < 0 ? DNSLAT_SEEN_FAILED : DNSLAT_SEEN_UNANSWERED);
    dnslat_waits.delete(&key);
    if (answer > 0)
        dnslat_first(socket, &key, answer, now);
}

static __always_inline void dnslat_answer(struct dnslat_wait *wait, u64 took)
{
    struct dnslat_server key = {};
    struct dnslat_total none = {};
    __builtin_memcpy(key.address, wait->server, sizeof(key.address));
    dnslat_add(bpf_get_current_pid_tgid() >> 32, dnslat_family(key.address), took);
    dnslat_sum(dnslat_servers.lookup_or_try_init(&key, &none), took);
}

static __always_inline void dnslat_get(u64 socket, s32 answer)
{
    struct dnslat_socket key = dnslat_key(socket);
    struct dnslat_wait *wait = dnslat_waits.lookup(&key);
    u64 now = bpf_ktime_get_ns();
    u32 left;
    if (!wait || dnslat_nothing(answer))
        return;
    if (answer < 0) {
        if (!off_())
            dnslat_give_up(wait, DNSLAT_SEEN_FAILED);
        dnslat_waits.delete(&key);
        return;
    }
    if (!off_())
        dnslat_answer(wait, now - wait->asked[wait->first % DNSLAT_MOST]);
    /* Beyond the most when two threads got answers at the same time. */
    left = wait->open - 1;
    wait->first += 1;
    wait->open = left;
    if (!left || left > DNSLAT_MOST)
        dnslat_waits.delete(&key);
}
"""
)

_SEND = r"""
    if (dnslat_is_dns(args->args[0]))
        dnslat_send(args->args[0], args->args[1]);
"""

# MSG_PEEK leaves the answer for later, MSG_ERRQUEUE gets none.
_GET = r"""
    if (dnslat_is_dns(args->args[0]) && !(args->args[2] & 0x2002))
        dnslat_get(args->args[0], args->args[1]);
"""


class DnslatRecorder(SpanRecorder):
    """Read the answers, and what got none."""

    probe, family, label, kinds = "dnslat", _FAMILY, "family", FAMILIES

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._open: list[tuple[Any, int]] = []  # waits, with how many of their questions are late
        self._under_way = 0

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per address family, of the questions that were answered.

        """
        now = time.monotonic_ns()
        for _, wait in kernel.items("dnslat_waits"):
            ages = [now - asked for asked in _asked(wait)]
            late = sum(age >= _PATIENCE for age in ages)
            self._open.append((wait, late))
            self._under_way += len(ages) - late
        return super().sample(kernel, seconds)

    def values(self, kernel: Kernel) -> dict[str, float]:
        """
        Tell what became of the questions.

        Args:
            kernel: The maps.

        Returns:
            dict name -> number.

        """
        values = dict(zip(_COUNTS, kernel.counts("dnslat_seen"), strict=True))
        values[_UNANSWERED] += sum(late for _, late in self._open)
        return {**values, "under_way": self._under_way}

    def tops(self, kernel: Kernel) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """
        Tell of servers, and of what got no answer.

        Args:
            kernel: The maps.

        Returns:
            `server` and `silent`.

        """
        servers = [
            {"server": address(bytes(key.address)), **totals(total)}
            for key, total in kernel.items("dnslat_servers")
        ]
        silent: Counter[tuple[Any, ...]] = Counter()
        for one, outcome, count in self._silent(kernel):
            silent[address(bytes(one.server)), text(one.comm), one.pid, outcome] += count
        names = ("server", "comm", "pid", "outcome")
        rows = [{**dict(zip(names, key, strict=True)), "count": n} for key, n in silent.items()]
        most = self.settings.tops
        return {
            "server": heaviest(servers, "seconds", most),
            "silent": heaviest(rows, "count", most),
        }

    def _silent(self, kernel: Kernel) -> Iterator[tuple[Any, str, int]]:
        """Yield what was given up, and what is still open for too long."""
        for key, count in kernel.items("dnslat_silents"):
            yield key, _COUNTS[key.outcome], count
        for wait, late in self._open:
            if late:
                yield wait, _UNANSWERED, late


def _asked(wait: Any) -> Iterator[int]:
    """Yield when the open questions of a socket were asked [ns]."""
    times = list(wait.asked)
    for number in range(wait.first, wait.first + min(wait.open, len(times))):
        yield times[number % len(times)]


PROBE = Probe(
    category="network",
    recorder=DnslatRecorder,
    shared=_SHARED,
    parts=(Part("raw:sock_send_length", _SEND), Part("raw:sock_recv_length", _GET)),
    offsets={
        "DNSLAT_PORT": ("sock.__sk_common.skc_dport",),
        "DNSLAT_LOCAL": ("sock.__sk_common.skc_num",),
        "DNSLAT_FAMILY": ("sock.__sk_common.skc_family",),
        "DNSLAT_V4": ("sock.__sk_common.skc_daddr",),
        "DNSLAT_PROTOCOL": ("sock.sk_protocol",),
    },
    optional_offsets={"DNSLAT_V6": ("sock.__sk_common.skc_v6_daddr",)},
    families=(
        Family(
            _FAMILY,
            "From a question to a name server over UDP until the program had its answer, in all "
            "windows since start.",
            latency_edges(15, 34),
            ("family",),
        ),
    ),
    filters=("pid", "cgroup"),
)
