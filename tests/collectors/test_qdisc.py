"""Queues of interfaces."""

from __future__ import annotations

import errno
import json
import os
import random
import struct
import subprocess
import sys

import pytest

from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.qdisc import collect, decode

ROOT = 0xFFFFFFFF


def attribute(kind, content):
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def message(kind, body, flags=2):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def queue(interface, kind="fq_codel", parent=ROOT, numbers=(3, 4500, 7, 2, 9)):
    statistics = attribute(1, bytes(12)) + attribute(3, struct.pack("=IIIII", *numbers))
    body = struct.pack("=BxxxiIII", 0, interface, 0x10000, parent, 2)
    body += attribute(1, kind.encode() + b"\0") + attribute(0x8000 | 7, statistics)
    return message(36, body)


DONE = message(3, bytes(4))


def test_only_roots_count_because_they_contain_the_rest_and_no_queue_is_none():
    rows, done = decode(
        queue(2)
        + queue(2, "pfifo", parent=0x10001)
        + queue(3, "noqueue")
        + queue(4, "ingress", parent=0xFFFFFFF1)
    )
    assert (list(rows), done) == ([2], False)
    row = rows[2]
    assert (row.kind, row.packets, row.backlog, row.dropped, row.requeued, row.overlimits) == (
        "fq_codel", 3, 4500, 7, 2, 9
    )  # fmt: skip
    assert decode(DONE) == ({}, True)


def test_a_queue_without_numbers_is_left_out():
    body = struct.pack("=BxxxiIII", 0, 2, 0, ROOT, 2) + attribute(1, b"mq\0")
    assert decode(message(36, body)) == ({}, False)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (message(2, struct.pack("=i", -errno.EOPNOTSUPP)), Cause.ABSENT),
        (message(2, struct.pack("=i", -errno.EINVAL)), Cause.UNREADABLE),
        (message(36, queue(2)[16:], flags=0x12), Cause.UNREADABLE),
    ],
)
def test_a_list_that_failed_is_no_short_list(raw, cause):
    with pytest.raises(Unavailable) as told:
        decode(raw)
    assert told.value.cause is cause


@pytest.mark.parametrize("raw", [queue(2)[:-4], b"\0" * 10, message(36, b"\0" * 8)])
def test_a_message_cut_short_is_refused(raw):
    with pytest.raises(ValueError, match="cut short"):
        decode(raw)


def test_any_bytes_are_queues_or_refused():
    dice, good = random.Random(5), queue(2) + queue(3)
    for _ in range(2000):
        place = dice.randrange(len(good))
        raw = good[:place] + dice.randbytes(3) + good[place + 3 :]
        try:
            decode(raw)
        except (ValueError, Unavailable):
            continue


def test_the_queues_of_another_namespace_are_not_taken_for_the_hosts(host):
    with pytest.raises(Unavailable, match="another network namespace"):
        collect(host({"proc/net/dev": "x\n"}))


SCRIPT = """
import json, socket, subprocess, dataclasses, time
from collectors.base import Context
from collectors import qdisc
class Busy(Context):
    def ends(self):
        yield 1.0
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(200):
            out.sendto(bytes(900), ("10.9.9.2", 9))
        yield 2.0
found = qdisc.collect(Busy()).queues
print(json.dumps([dataclasses.asdict(found["sysdx0"]), sorted(found)]))
tc = ["tc", "-s", "-j", "qdisc", "show", "dev", "sysdx0"]
print(json.dumps(json.loads(subprocess.run(tc, capture_output=True).stdout)))
"""


def test_packets_dropped_by_a_full_queue_are_those_that_tc_tells():
    if os.geteuid() != 0:
        pytest.skip("making a network namespace needs root")
    make = (
        "ip link add sysdx0 type veth peer name sysdx1 && ip link set sysdx1 up && "
        "ip addr add 10.9.9.1/24 dev sysdx0 && ip link set sysdx0 up && "
        "ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:09 dev sysdx0 && "
        "tc qdisc add dev sysdx0 root tbf rate 8kbit burst 2000 limit 5000 && "
        'exec "$0" -c "$1"'
    )
    told = subprocess.run(
        ["unshare", "-n", "sh", "-c", make, sys.executable, SCRIPT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    ours, witness = told.stdout.splitlines()
    (found, names), theirs = json.loads(ours), json.loads(witness)[0]
    assert names == ["sysdx0"]
    assert found["kind"] == theirs["kind"] == "tbf"
    assert found["dropped"] == found["dropped_total"] == theirs["drops"] > 100
    assert found["backlog_packets"] > 0
    assert found["overlimits"] > 0


def test_the_queues_of_this_host_become_a_sample():
    sample = collect(Context(duration=0.02, interval=0.02))
    assert all(q.kind != "noqueue" for q in sample.queues.values())
