"""Clients that are silent, slow, greedy or malformed cost others nothing."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from exporter import web_server
from exporter.store import Store, StoredReport
from exporter.web import Application, ServiceState, WebServer

TEXT = b"sysdx_health_score 87\n" * 100
PAGES = SimpleNamespace(
    text=TEXT,
    text_gzip=gzip.compress(TEXT),
    openmetrics=TEXT,
    openmetrics_gzip=gzip.compress(TEXT),
)
STATE = ServiceState("1", "host", "", True, False, 5.0, None, (), None, False)
LARGE = b'"' + b"x" * (8 << 20) + b'"'
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENT = 60.0  # [s] a client timeout that no test waits for
PATIENCE = 20.0  # [s] after which a test gives up

Start = Callable[..., WebServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers that are stopped after the test."""
    servers = []

    def run(max_connections: int = 64, client_timeout: float = PATIENT) -> WebServer:
        store = Store(None, 5, 1 << 30)
        report_id = "20261124T081530Z-deep-0000002a"
        store.put(StoredReport(report_id, "deep", "", True, 1.0, len(LARGE), LARGE))
        application = Application(
            metrics=lambda: PAGES,
            store=store,
            state=lambda: STATE,
            schema=lambda: b"{}",
            reload=lambda: None,
        )
        server = WebServer(application, "127.0.0.1:0", max_connections, client_timeout)
        server.start()
        servers.append(server)
        return server

    yield run
    for server in servers:
        server.stop(2)


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, "no client may write into the log"


@pytest.fixture
def connect() -> Iterator[Callable[[WebServer], socket.socket]]:
    """Open connections that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_one(server: WebServer) -> socket.socket:
            host, _, port = server.address.rpartition(":")
            return stack.enter_context(socket.create_connection((host, int(port)), PATIENCE))

        yield open_one


Connect = Callable[[WebServer], socket.socket]


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes, in whatever way."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def read_answers(connection: socket.socket, number: int) -> list[tuple[bytes, bytes]]:
    """Read answers with a length; return heads and bodies."""
    file = connection.makefile("rb")
    answers = []
    for _ in range(number):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            assert line, head
            head += line
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        answers.append((head, file.read(length)))
    return answers


def scrape(server: WebServer, connect: Connect) -> bytes:
    connection = connect(server)
    connection.sendall(SCRAPE)
    ((head, body),) = read_answers(connection, 1)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    connection.close()
    return body


def talk(server: WebServer, connect: Connect, request: bytes) -> tuple[int, dict[str, str]]:
    """Send something, return status and JSON of the answer; 0 when there was none."""
    connection = connect(server)
    # The server may have answered and closed before all of it was sent.
    with contextlib.suppress(OSError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    connection.close()
    if not head:
        return 0, {}
    assert b"application/json" in head
    assert b"waitress" not in body
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("max_connections", [8, 64, 512])
def test_a_scrape_is_answered_while_200_half_open_connections_hold_on(
    start: Start, connect: Connect, max_connections: int
) -> None:
    threads = threading.active_count()
    server = start(max_connections)
    held = [connect(server) for _ in range(200)]
    for connection in held:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: loc")
    for _ in range(5):
        assert scrape(server, connect) == TEXT
    assert threading.active_count() <= threads + web_server.THREADS + 1


def test_silent_connections_are_dropped(start: Start, connect: Connect) -> None:
    server = start(client_timeout=0.3)
    held = [connect(server) for _ in range(50)]
    assert [read_all(connection) for connection in held] == [b""] * 50
    assert scrape(server, connect) == TEXT


def test_silent_connections_are_dropped_when_the_wall_clock_stands_still_or_goes_back(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(client_timeout=0.3)
    for module in ("server", "channel", "task"):
        monkeypatch.setattr(f"waitress.{module}.time", SimpleNamespace(time=lambda: 5.0))
    assert read_all(connect(server)) == b""


def test_a_connection_that_rests_between_requests_is_dropped_too(
    start: Start, connect: Connect
) -> None:
    connection = connect(start(client_timeout=0.3))
    connection.sendall(SCRAPE)
    ((_, body),) = read_answers(connection, 1)
    assert body == TEXT
    assert read_all(connection) == b""


def test_a_connection_in_use_lives_longer_than_the_timeout(start: Start, connect: Connect) -> None:
    server = start(client_timeout=1.5)
    connection = connect(server)
    begin = time.monotonic()
    while time.monotonic() < begin + 2.5:
        connection.sendall(SCRAPE)
        ((_, body),) = read_answers(connection, 1)
        assert body == TEXT
        time.sleep(0.1)
        scrape(server, connect)  # lets the server look while the first one rests


@pytest.mark.parametrize(
    "request_start",
    [b"GET /metrics HTTP/1.1\r\nX: ", b"POST /-/reload HTTP/1.1\r\nContent-Length: 900\r\n\r\n"],
)
def test_a_client_that_drips_byte_by_byte_is_dropped_and_delays_nobody(
    start: Start, connect: Connect, request_start: bytes
) -> None:
    server = start(client_timeout=0.5)
    drippers = [connect(server) for _ in range(20)]
    for dripper in drippers:
        dripper.sendall(request_start)
    deadline = time.monotonic() + PATIENCE
    while drippers:
        assert time.monotonic() < deadline
        assert scrape(server, connect) == TEXT
        drippers = [dripper for dripper in drippers if drip(dripper)]


def drip(connection: socket.socket) -> bool:
    """Send one byte more; False once the server has closed."""
    connection.settimeout(0.002)
    try:
        connection.sendall(b"x")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_the_one_that_waited_longest_makes_room(start: Start, connect: Connect) -> None:
    server = start(max_connections=4)
    held = []
    for _ in range(3):
        held.append(connect(server))
        scrape(server, connect)  # by now it is accepted
    assert read_all(held[0]) == b""
    held[2].sendall(SCRAPE)
    assert read_answers(held[2], 1)[0][1] == TEXT


def test_clients_that_do_not_read_delay_nobody(start: Start, connect: Connect) -> None:
    threads = threading.active_count()
    server = start()
    slow = [connect(server) for _ in range(3 * web_server.THREADS)]
    tracemalloc.start()
    for connection in slow:
        connection.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    for _ in range(10):
        assert scrape(server, connect) == TEXT
    assert threading.active_count() <= threads + web_server.THREADS + 1
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert allocated < len(LARGE), "36 answers wait and share one body"
    assert read_answers(slow[0], 3)[2][1] == LARGE, "a slow client still gets all"


def test_a_client_that_never_reads_is_dropped(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "_DELIVERY_TIMEOUT", 0.3)
    server = start()
    connection = connect(server)
    connection.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = connection.recv(1)
    deadline = time.monotonic() + PATIENCE
    while server._listeners[0].active_channels:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 0 < len(received + read_all(connection)) < len(LARGE)


def test_pipelined_requests_are_answered_in_order(start: Start, connect: Connect) -> None:
    connection = connect(start())
    paths = [b"/-/healthy", b"/metrics", b"/nothing", b"/report", b"/-/ready"]
    connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % p for p in paths))
    answers = read_answers(connection, len(paths))
    assert [head.split()[1] for head, _ in answers] == [b"200", b"200", b"404", b"200", b"200"]
    assert answers[1][1] == TEXT
    assert answers[3][1] == LARGE


def test_endless_pipelining_ends_the_connection(start: Start, connect: Connect) -> None:
    server = start()
    connection = connect(server)
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000)
    read_all(connection)
    assert scrape(server, connect) == TEXT


def test_clients_that_reset_the_connection_do_no_harm(start: Start, connect: Connect) -> None:
    server = start()
    for path in (b"/metrics", b"/report", b"/") * 20:
        connection = connect(server)
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert scrape(server, connect) == TEXT


def test_oversized_headers_are_431(start: Start, connect: Connect) -> None:
    server = start()
    status, error = talk(server, connect, SCRAPE[:-2] + b"X: " + b"x" * 9000 + b"\r\n\r\n")
    assert status == 431
    assert "Header" in error["error"]
    status, _ = talk(server, connect, b"GET /" + b"x" * 20_000)
    assert status == 431
    assert scrape(server, connect) == TEXT


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100000", b"Content-Length: 99999999999999999999"],
)
def test_large_bodies_are_413(start: Start, connect: Connect, head: bytes) -> None:
    request = b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n"
    assert talk(start(), connect, request + b"x" * 5000)[0] == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"get /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/1.1\nHost: x\n\n",
        b"GET /metrics HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n: x\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /-/reload HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET /%ff%fe%00?%ff=%00 HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"* / HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_malformed_requests_get_a_json_error_and_reload_nothing(
    start: Start, connect: Connect, request_bytes: bytes
) -> None:
    server = start()
    if b"/metrics" not in request_bytes:
        status, error = talk(server, connect, request_bytes)
        assert 400 <= status < 600
        assert error["error"]
    else:
        connection = connect(server)
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[:9] in (b"HTTP/1.0 ", b"HTTP/1.1 ", b"")
    assert scrape(server, connect) == TEXT


@pytest.mark.parametrize(
    "path",
    [
        b"/reports/../../etc/passwd",
        b"/reports/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/reports/..%00",
        b"/reports//etc/passwd",
        b"/reports/",
        b"/reports/20261124T081530Z-deep-0000002a%0a",
        b"/reports/20261124T081530Z-deep-0000002a/..",
        b"/reports/%c0%ae%c0%ae",
        b"/../../etc/passwd",
        b"//etc/passwd",
    ],
)
def test_paths_lead_nowhere(start: Start, connect: Connect, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert talk(start(), connect, request)[0] == 404


def test_many_clients_at_once_get_identical_pages(start: Start, connect: Connect) -> None:
    server = start(max_connections=64)
    threads = threading.active_count()
    bodies: list[bytes] = []

    def client() -> None:
        bodies.extend(scrape(server, connect) for _ in range(5))

    clients = [threading.Thread(target=client) for _ in range(40)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(PATIENCE)
    assert bodies == [TEXT] * 200
    assert threading.active_count() == threads


def test_a_bug_in_a_handler_is_a_json_500_without_a_traceback(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(environ: object, start_response: object) -> list[bytes]:
        raise RuntimeError("secret detail")

    server = WebServer(broken, "127.0.0.1:0", 8, PATIENT)
    server.start()
    status, error = talk(server, connect, SCRAPE)
    server.stop(2)
    assert status == 500
    assert "secret" not in str(error)
    assert "secret detail" in caplog.text, "but the log has it"
    caplog.clear()
