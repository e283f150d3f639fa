"""What probes of TCP share: addresses, states, histograms by address family."""

from __future__ import annotations

import errno
import ipaddress

from collectors.bpf import model
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, Histogram

FAMILIES = ("ipv4", "ipv6")
# include/net/tcp_states.h
STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
}
_SLOTS = 65  # powers of two that a u64 can have
_NETWORK = {4: 24, 6: 64}  # [bits]: the smallest networks that are commonly handed out


def family_maps(name: str) -> str:
    """
    Write the C of a histogram by address family: `NAME_family(&address)`, `NAME_add(family, ns)`.

    Args:
        name: Of the probe.

    Returns:
        C text; `histograms(kernel, name, ...)` reads its maps.

    """
    return _C.replace("NAME", name).replace("SLOTS", str(_SLOTS))


# An IPv6 socket that speaks IPv4 has mapped addresses, ::ffff:a.b.c.d, and the tracepoints give
# those of an IPv4 socket in the same form: so the address tells what is spoken.
_C = r"""
struct NAME_address { u64 high; u8 low[8]; };
BPF_PERCPU_ARRAY(NAME_slots, u64, 2 * SLOTS);
BPF_PERCPU_ARRAY(NAME_sums, u64, 2);

static __always_inline int NAME_family(const struct NAME_address *address)
{
    const u8 *low = address->low;
    return address->high || low[0] || low[1] || low[2] != 0xff || low[3] != 0xff;
}

static __always_inline void NAME_add(int family, u64 value)
{
    int slot = family * SLOTS + bpf_log2l(value);
    u64 *count = NAME_slots.lookup(&slot), *sum = NAME_sums.lookup(&family);
    if (count)
        *count += 1;
    if (sum)
        *sum += value;
}
"""


def histograms(
    kernel: Kernel, name: str, family: str, *, unit: float = NANOSECOND
) -> tuple[Histogram, ...]:
    """
    Read the histograms made by `NAME_add`.

    Args:
        kernel: The maps.
        name: Of the probe.
        family: The metric family.
        unit: One of the kernel's units in the histogram's.

    Returns:
        One per address family with values.

    """
    slots, sums = kernel.counts(f"{name}_slots"), kernel.counts(f"{name}_sums")
    every = (
        model.histogram(
            family,
            slots[n * _SLOTS : (n + 1) * _SLOTS],
            sums[n],
            unit=unit,
            labels={"family": spoken},
        )
        for n, spoken in enumerate(FAMILIES)
    )
    return tuple(histogram for histogram in every if histogram.count)


def address(raw: bytes) -> str:
    """
    Write an address.

    Args:
        raw: 16 bytes; an IPv4 address is mapped.

    Returns:
        Its usual form.

    """
    return str(_parse(raw))


def network(raw: bytes) -> str:
    """
    Write the network that an address is taken to be in, so that many addresses become a few groups.

    Args:
        raw: 16 bytes; an IPv4 address is mapped.

    Returns:
        A /24 of IPv4, a /64 of IPv6.

    """
    parsed = _parse(raw)
    return str(ipaddress.ip_network((parsed, _NETWORK[parsed.version]), strict=False))


def spoken_family(raw: bytes) -> str:
    """
    Tell the address family.

    Args:
        raw: 16 bytes; an IPv4 address is mapped.

    Returns:
        One of FAMILIES.

    """
    return f"ipv{_parse(raw).version}"


def _parse(raw: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address."""
    whole = ipaddress.IPv6Address(raw)
    return whole.ipv4_mapped or whole


def state(number: int) -> str:
    """
    Name a state.

    Args:
        number: As the kernel has it.

    Returns:
        Its name; the number when it has none.

    """
    return STATES.get(number, str(number))


def error_name(number: int) -> str:
    """
    Name an error.

    Args:
        number: Above zero.

    Returns:
        Its symbol, such as "ECONNREFUSED"; the number when it has none.

    """
    return errno.errorcode.get(number, str(number))
