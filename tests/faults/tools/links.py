"""A path of two links, with a router and a far end in namespaces of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.faults.scenario import Impossible
from tests.faults.tools.mounts import tell

FAR = "198.18.77.6"  # RFC 2544: addresses for tests of networks
_ROUTER, _END = "sysdx-router", "sysdx-far"
_PATH = "198.18.77.0/29"


@contextmanager
def lossy_path(share: float) -> Iterator[tuple[str, ...]]:
    """
    Make a path that loses packets behind the first router, where this host cannot see it.

    Args:
        share: How many of those that go out [ratio].

    Yields:
        Words of a command that runs another one at the far end, whose address is FAR.

    Raises:
        Impossible: When this kernel has no such links, or cannot lose packets.

    """
    with ExitStack() as stack:
        for space in (_ROUTER, _END):
            tell("ip", "netns", "add", space)
            # The interfaces go with it, those of the other side as well.
            stack.callback(tell, "ip", "netns", "delete", space)
        try:
            for step in _steps(share):
                tell(*step.split())
        except RuntimeError as error:
            raise Impossible(str(error)) from error
        yield ("ip", "netns", "exec", _END)


def _steps(share: float) -> Iterator[str]:
    """Give the commands that connect this host, the router and the far end."""
    router, end = f"ip -n {_ROUTER}", f"ip -n {_END}"
    yield f"ip link add sysdx0 type veth peer name in netns {_ROUTER}"
    yield f"{router} link add out type veth peer name far netns {_END}"
    yield f"tc -n {_ROUTER} qdisc add dev out root netem loss {share:.1%}"
    yield "ip address add 198.18.77.1/30 dev sysdx0"
    yield f"{router} address add 198.18.77.2/30 dev in"
    yield f"{router} address add 198.18.77.5/30 dev out"
    yield f"{end} address add {FAR}/30 dev far"
    yield "ip link set sysdx0 up"
    yield f"{router} link set in up"
    yield f"{router} link set out up"
    yield f"{end} link set far up"
    yield f"ip netns exec {_ROUTER} sysctl -q -w net.ipv4.ip_forward=1"
    yield f"ip route add {_PATH} via 198.18.77.2"
    yield f"{end} route add default via 198.18.77.5"
