"""Who holds sockets: real processes with real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from collectors import socket_owners
from collectors.base import Context, Paths
from collectors.model import Cause
from collectors.socket_crowds import place_of, service
from collectors.socket_owners import Holder, crowd, find
from collectors.sockets import _squeezed
from tests.collectors.space import LEAK, inside

# Accepts nobody, and all go away again.
QUEUE = """
server = socket.create_server(("0.0.0.0", 8080), backlog=256)
for _ in range(120): socket.create_connection(("127.0.0.1", 8080)).close()
ready()
"""

# Reads nothing of what 25 others send.
SLOW = """
server = socket.create_server(("127.0.0.1", 0), backlog=64)
held = []
for _ in range(25):
    peer = socket.create_connection(server.getsockname())
    other = server.accept()[0]
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    held += peer, other
    peer.setblocking(False)
    try:
        for _ in range(30): peer.send(bytes(10_000))
    except BlockingIOError:
        pass
time.sleep(0.2)
ready()
"""


def holders(told):
    return [(h["pid"], h["comm"], h["count"]) for h in told["holders"]]


def test_who_holds_most_half_closed_connections_is_named_first_and_others_after():
    pids, told = inside(
        """
        from collectors.sockets import collect
        pids = [start("small", LEAK.format(count=80)), start("large", LEAK.format(count=200))]
        tell(pids, collect(Context(duration=0.0)).crowds["close_wait"])
        """,
        LEAK=LEAK,
    )
    assert (told["sockets"], told["unowned"], told["remote"]) == (280, 0, None)
    assert holders(told) == [(pids[1], "large", 200), (pids[0], "small", 80)]


def test_sockets_of_another_namespace_are_nobodys_here():
    pid, states, told = inside(
        """
        from collectors.sockets import collect
        pid = start("mine", LEAK.format(count=110))
        start("stranger", LEAK.format(count=300), elsewhere=True)
        sample = collect(Context(duration=0.0))
        tell(pid, sample.states, sample.crowds["close_wait"])
        """,
        LEAK=LEAK,
    )
    assert states["close_wait"] == 110
    assert holders(told) == [(pid, "mine", 110)]


def test_a_process_that_may_not_be_read_is_unknown_and_nobody_else_is_blamed():
    pid, told, problems = inside(
        """
        from collectors.sockets import collect
        from collectors.socket_owners import find
        start("sealed", LEAK.format(count=200))
        pid = start("open", LEAK.format(count=50), user=65534)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        ctx = Context(duration=0.0)
        tell(pid, collect(ctx).crowds["close_wait"], ctx.problems)
        """,
        LEAK=LEAK,
    )
    assert holders(told) == [(pid, "open", 50)]
    assert (told["sockets"], told["unowned"]) == (250, 200)
    assert [(p["source"], p["cause"]) for p in problems] == [("/proc/PID/fd", Cause.PERMISSION)]


def test_connections_that_were_never_accepted_are_the_listeners():
    pid, states, told = inside(
        """
        from collectors.sockets import collect
        pid = start("deaf", QUEUE)
        sample = collect(Context(duration=0.0))
        tell(pid, sample.states, sample.crowds["close_wait"])
        """,
        QUEUE=QUEUE,
    )
    assert states["close_wait"] == 120
    assert holders(told) == [(pid, "deaf", 120)]


# Ends so many connections itself, and keeps so many.
DIAL = """
server = socket.create_server((address, 8080), backlog=64, family=family)
held = []
for number in range({ended} + {kept}):
    peer = socket.create_connection((address, 8080))
    other = server.accept()[0]
    if number < {ended}:
        peer.close()
        other.close()
    else:
        held += peer, other
ready()
"""


@pytest.mark.parametrize(
    ("address", "family", "remote"),
    [("127.0.0.1", socket.AF_INET, "127.0.0.1:8080"), ("::1", socket.AF_INET6, "[::1]:8080")],
)
def test_the_service_that_takes_the_ports_is_named_and_who_still_has_connections(
    address, family, remote
):
    pid, taken, time_wait, crowds = inside(
        """
        from collectors.sockets import collect
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 41199")
        Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("0")
        pid = start("dialer", f"address, family = {address!r}, {family}\\n"
                              + DIAL.format(ended=700, kept=300))
        sample = collect(Context(duration=0.0))
        tell(pid, sample.ports_to_one, sample.time_wait, sample.crowds)
        """,
        DIAL=DIAL,
        address=address,
        family=int(family),
    )
    assert (taken, time_wait) == (1000, 700)
    assert crowds.keys() == {"ports"}
    told = crowds["ports"]
    assert (told["sockets"], told["unowned"], told["remote"]) == (1000, 700, remote)
    assert holders(told) == [(pid, "dialer", 300)]


def test_connections_to_another_service_are_not_among_them():
    pid, told = inside(
        """
        from collectors.sockets import collect
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40199")
        four = "address, family = '127.0.0.1', 2" + chr(10)
        start("other", four + DIAL.replace("8080", "8081").format(ended=0, kept=60))
        pid = start("dialer", four + DIAL.format(ended=0, kept=120))
        tell(pid, collect(Context(duration=0.0)).crowds["ports"])
        """,
        DIAL=DIAL,
    )
    assert (told["sockets"], told["unowned"], told["remote"]) == (120, 0, "127.0.0.1:8080")
    assert holders(told) == [(pid, "dialer", 120)]


def test_nobody_holds_what_is_in_time_wait():
    told = inside(
        """
        from collectors.sockets import collect
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40199")
        Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("0")
        start("dialer", "address, family = '127.0.0.1', 2\\n" + DIAL.format(ended=150, kept=0))
        tell(collect(Context(duration=0.0)).crowds["ports"])
        """,
        DIAL=DIAL,
    )[0]
    assert (told["sockets"], told["unowned"], told["holders"]) == (150, 150, [])
    assert told["remote"] == "127.0.0.1:8080"


def test_who_leaves_data_unread_is_named():
    pid, unread, told = inside(
        """
        from collectors.sockets import collect
        pid = start("slow", SLOW)
        sample = collect(Context(duration=0.0))
        tell(pid, sample.unread, sample.crowds["unread"])
        """,
        SLOW=SLOW,
    )
    assert unread == 25
    assert holders(told) == [(pid, "slow", 25)]


# Sends what nobody takes: with such a buffer the other side has room for little.
FULL = """
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
server.bind(("127.0.0.1", 0))
server.listen()
held = []
for _ in range(25):
    peer = socket.create_connection(server.getsockname())
    held += peer, server.accept()[0]
    peer.setblocking(False)
    try:
        for _ in range(30): peer.send(bytes(10_000))
    except BlockingIOError:
        pass
ready()
"""


def test_who_holds_full_sockets_is_named_once_tcp_has_little_memory_left():
    pid, before, short = inside(
        """
        from collectors import sockets
        pid = start("sender", FULL)
        before = sockets.collect(Context(duration=0.0)).crowds
        sockets._squeezed = lambda *_: True
        tell(pid, before, sockets.collect(Context(duration=0.0)).crowds)
        """,
        FULL=FULL,
    )
    assert before == {}
    assert short.keys() == {"queued"}
    assert holders(short["queued"]) == [(pid, "sender", 25)]


@pytest.mark.parametrize(
    ("limits", "pages", "short"),
    [
        (b"100\t200\t300\n", 151, True), (b"100\t200\t300\n", 150, False),
        (b"100\t200\t300\n", None, False), (b"100 200", 900, False), (None, 900, False),
    ],
)  # fmt: skip
def test_tcp_has_little_memory_left_from_half_of_the_most_on(tmp_path, limits, pages, short):
    file = tmp_path / "sys/net/ipv4/tcp_mem"
    file.parent.mkdir(parents=True)
    if limits is not None:
        file.write_bytes(limits)
    assert _squeezed(Context(paths=Paths(proc=tmp_path), duration=0.0), pages) is short


def test_descriptors_are_not_walked_for_a_few(monkeypatch):
    crowds, walks = inside(
        """
        from collectors import socket_owners
        from collectors.sockets import collect
        start("few", LEAK.format(count=99))
        walks, walk = [], socket_owners._Walk
        socket_owners._Walk = lambda *words: walks.append(1) or walk(*words)
        few = collect(Context(duration=0.0)).crowds
        start("one", LEAK.format(count=1))
        collect(Context(duration=0.0))
        tell(few, len(walks))
        """,
        LEAK=LEAK,
    )
    assert (crowds, walks) == ({}, 1)


def test_this_process_holds_its_own_sockets():
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        assert find(Context(), {inode, 0}) == {inode: os.getpid()}


def written(folder, processes):
    """Write a procfs of processes that hold sockets."""
    for pid, inodes in processes.items():
        (folder / f"{pid}/fd").mkdir(parents=True)
        (folder / f"{pid}/comm").write_text(f"p{pid}\n")
        for number, inode in enumerate(inodes):
            (folder / f"{pid}/fd/{number}").symlink_to(f"socket:[{inode}]")
    return Context(paths=Paths(proc=folder))


def test_a_socket_that_several_share_counts_once(tmp_path):
    ctx = written(tmp_path, {5: range(100, 140), 70: range(100, 160)})
    told = crowd(ctx, find(ctx, range(100, 160)), list(range(100, 160)))
    assert sum(h.count for h in told.holders) == 60
    assert told.unowned == 0


def test_a_walk_ends_at_its_bounds_and_says_so(tmp_path, monkeypatch):
    ctx = written(tmp_path, {5: range(100, 140), 6: range(200, 240)})
    monkeypatch.setattr(socket_owners, "_MOST_DESCRIPTORS", 10)
    inodes = [*range(100, 140), *range(200, 240)]
    assert len(find(ctx, inodes)) == 10
    assert [p.cause for p in ctx.problems] == [Cause.TIMEOUT]


def test_a_walk_that_takes_too_long_ends(tmp_path, monkeypatch):
    ctx = written(tmp_path, {5: range(100, 1100)})
    monkeypatch.setattr(socket_owners, "_MOST_SECONDS", -1.0)
    assert len(find(ctx, range(100, 1100))) < 300


def test_only_some_are_listed_and_the_rest_is_no_owner_unknown(tmp_path):
    ctx = written(tmp_path, {pid: [pid * 10] for pid in range(1, 15)})
    inodes = [pid * 10 for pid in range(1, 15)]
    told = crowd(ctx, find(ctx, inodes), [*inodes, 0])
    assert len(told.holders) == 10
    assert (told.sockets, told.unowned) == (15, 1)
    assert told.holders[0] == Holder(1, "p1", None, 1)


@pytest.mark.parametrize(
    ("address", "text"),
    [("10.0.0.1", "10.0.0.1:53"), ("::1", "[::1]:53"), ("::ffff:10.0.0.1", "10.0.0.1:53"),
     ("2001:db8::1", "[2001:db8::1]:53")],
)  # fmt: skip
def test_a_service_is_written_as_people_write_it(address, text):
    assert place_of(address, 53) == text
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    raw = socket.inet_pton(family, address).ljust(16, b"\0")
    assert service(family, (53).to_bytes(2, "big") + bytes(16) + raw) == text
