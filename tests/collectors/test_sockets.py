"""Sockets by state, queues of listeners, ports."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from collectors import net_tables
from collectors.base import Context, Paths
from collectors.model import Cause, Unavailable
from collectors.sockets import collect, parse
from tests.collectors.space import alone

SOCKSTAT = """sockets: used 14
TCP: inuse 2 orphan 3 tw 40 alloc 2 mem 5
UDP: inuse 6 mem 7
FRAG: inuse 1 memory 800
"""


@pytest.fixture
def held():
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))

        def connect(count, *, accept):
            ends = [socket.create_connection(server.getsockname()) for _ in range(count)]
            ends += [server.accept()[0] for _ in range(count if accept else 0)]
            for end in ends:
                stack.callback(end.close)
            return ends

        yield server, connect


def look():
    return collect(Context(duration=0.0))


def test_states_are_counted(held):
    before = look().states
    _, connect = held
    ends = connect(30, accept=True)
    for client in ends[:10]:
        client.close()
    after = look().states
    told = {s: after.get(s, 0) - before.get(s, 0) for s in ("established", "close_wait")}
    # Others on this host may open and close a few meanwhile.
    assert told == pytest.approx({"established": 40, "close_wait": 10}, abs=5)
    assert "time_wait" not in after


def test_the_fullest_listener_is_named_with_its_process(held):
    server, connect = held
    connect(5, accept=False)
    told = next(s for s in look().listeners if s.port == server.getsockname()[1])
    name = Path("/proc/self/comm").read_text().strip()
    assert told.process == f"{name} ({os.getpid()})"
    assert (told.address, told.queue, told.backlog) == ("127.0.0.1", 5, 200)


def test_unread_data_is_seen_only_when_there_is_much(held):
    _, connect = held
    before = look().unread
    ends = connect(8, accept=True)
    two = ends[7]
    for client in ends[:7]:
        client.sendall(bytes(1000))
    two.setblocking(False)
    ends[15].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with contextlib.suppress(BlockingIOError):
        for _ in range(100):
            two.send(bytes(10_000))
    assert look().unread in (before + 1, before + 2)  # somebody else's may come meanwhile


def test_this_hosts_sockets_are_those_of_ss():
    earlier = look()
    text = subprocess.run(["ss", "-s"], capture_output=True, check=True, text=True).stdout
    later = look()
    udp = int(re.search(r"^UDP\s+(\d+)", text, re.MULTILINE)[1])
    assert udp in (earlier.udp_sockets, later.udp_sockets)
    rows = subprocess.run(["ss", "-Htan"], capture_output=True, check=True, text=True).stdout
    listening = sum(row.startswith("LISTEN") for row in rows.splitlines())
    assert listening in (earlier.listening, later.listening)


@pytest.mark.parametrize("raw", [b"TCP: inuse x", b"TCP: inuse -1", b"TCP: inuse 1_0"])
def test_what_is_no_number_is_refused(raw):
    with pytest.raises(ValueError, match="not a number"):
        parse(raw)


def test_a_written_root_tells_what_it_holds_and_nothing_of_this_kernel(host):
    six = "UDP6: inuse 4\nFRAG6: inuse 2 memory 100\n"
    ctx = host({"proc/net/sockstat": SOCKSTAT, "proc/net/sockstat6": six})
    sample = collect(ctx)
    assert (sample.time_wait, sample.orphans, sample.tcp_memory_pages) == (40, 3, 5)
    assert (sample.udp_sockets, sample.fragments, sample.fragment_bytes) == (10, 3, 900)
    assert (sample.states, sample.listening, sample.unread) == ({}, None, None)
    assert [p.source for p in ctx.problems] == ["sock_diag"]


def test_with_neither_source_there_is_no_sample(host):
    with pytest.raises(Unavailable):
        collect(host({"proc/net/dev": ""}))


def test_a_kernel_without_netlink_sockets_still_tells_its_sums(monkeypatch):
    def refuse(_):
        raise Unavailable("sock_diag: no such thing", Cause.ABSENT)

    monkeypatch.setattr("collectors.sock_diag.dump", refuse)
    ctx = Context(duration=0.0)
    sample = collect(ctx)
    assert sample.time_wait is not None
    assert sample.ports_to_one is None
    assert [p.cause for p in ctx.problems] == [Cause.ABSENT]


def test_the_own_namespace_is_told_from_others():
    assert net_tables.folder(Context()) == Path("/proc/net")
    assert net_tables.is_own(Path("/proc/self/net"))
    assert not net_tables.is_own(Path("/no/such/folder"))


# Runs in a network namespace of its own, where nobody else has sockets.
CHILD = """
import json, socket, subprocess, sys
from pathlib import Path
from collectors import net_tables
from collectors.base import Context
from collectors.sockets import collect

task = sys.argv[1]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40199")
Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("0")
server = socket.create_server(("127.0.0.1", 8080), backlog=512)
other = socket.create_server(("127.0.0.1", 8081), backlog=512)
for number in range(150 if task == "client" else 600):
    if task == "server" and number == 300:
        server = other
    client = socket.create_connection(server.getsockname())
    accepted = server.accept()[0]
    for end in (client, accepted) if task == "client" else (accepted, client):
        end.close()
held = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(20 if task == "client" else 0)]
for port in range(9000, 9030 if task == "client" else 9000):  # beyond the range: others' ports
    held.append(socket.create_connection(("127.0.0.1", 8080), source_address=("127.0.0.1", port)))
sample = collect(Context(duration=0.0))
print(json.dumps([sample.time_wait, sample.ports, sample.ports_to_one,
                  net_tables.is_own(Path("/proc/1/net"))]))
"""


def in_a_namespace(task):
    return alone(CHILD, task)


def test_ports_taken_by_connections_to_one_service_are_counted_with_time_wait():
    assert in_a_namespace("client") == [150, 200, 170, False]


def test_a_busy_servers_time_wait_takes_no_ports():
    time_wait, ports, taken, _ = in_a_namespace("server")
    assert time_wait > ports // 2
    assert taken == 0


def test_below_another_procfs_netlink_is_asked_only_if_it_tells_of_the_same_namespace(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/net").symlink_to("/proc/self/net")
    ctx = Context(paths=Paths(proc=tmp_path), duration=0.0)
    assert collect(ctx).listening is not None
    assert ctx.problems == []
