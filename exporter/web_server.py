"""The HTTP server: waitress, with a limit on how long a client may take."""

from __future__ import annotations

import errno
import json
import logging
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

SECURITY_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
THREADS = 4
_DELIVERY_TIMEOUT = 60.0  # [s] to take one answer, however slow the line
_MAX_HEADER = 8 * 1024  # [bytes]
_MAX_BODY = 1024  # [bytes] no request here has a body worth reading
_MAX_PIPELINED = 16
# One answer is never larger than this. Below it, waitress keeps what a slow
# client has not taken yet beside the connection, and no thread waits for it.
_WATERMARK = 1 << 30  # [bytes]
_LOOK_INTERVAL = 0.5  # [s] between two looks at the clocks of the connections
_IDLE = 60.0  # [s] until the next look when there are none
_STEP = 0.01  # [s]
_ADDRESS = re.compile(r"(?:\[[^\[\]\s]+\]|[^\[\]\s:]+):(?P<port>[0-9]{1,5})", re.ASCII)
_LAST_PORT = 65535
_NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def error_body(sentence: str, hint: str | None = None) -> bytes:
    """
    Return the JSON text of an error.

    Args:
        sentence: What is wrong.
        hint: What to do about it.

    Returns:
        An object with `error` and, where there is one, `hint`.

    """
    content = {"error": sentence} if hint is None else {"error": sentence, "hint": hint}
    return (json.dumps(content) + "\n").encode()


class WebServer:
    """
    Serve a WSGI application on one address.

    One thread does all waiting, so a silent or slow client costs a connection
    and no thread. A client has `client_timeout` for each request and for the
    pause before the next; when all connections are taken, the one that has
    waited longest makes room.

    Attributes:
        address: Where it listens: `127.0.0.1:10987`, `[::1]:10987`; with the real port.

    """

    def __init__(
        self,
        app: Callable[..., Any],
        listen_address: str,
        max_connections: int,
        client_timeout: float,
    ) -> None:
        """
        Prepare a server; nothing is opened yet.

        Args:
            app: The WSGI application.
            listen_address: `HOST:PORT`; IPv6 in brackets; port 0 takes a free one.
            max_connections: Most connections at a time.
            client_timeout: Time a client has to send a request [s].

        """
        self.address = listen_address
        self._app = app
        self._max_connections = max_connections
        self._client_timeout = client_timeout
        self._map: dict[int, Any] = {}
        self._listeners: list[_Listener] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    def start(self) -> None:
        """
        Listen, then serve in a thread of its own.

        Raises:
            OSError: The address is malformed, not of this host, in use or not allowed.

        """
        for name in ("waitress", "waitress.queue"):
            logging.getLogger(name).setLevel(logging.ERROR)
        adjustments = self._adjustments()
        self._dispatcher = ThreadedTaskDispatcher()
        try:
            self._listen(adjustments)
        except OSError:
            wasyncore.close_all(self._map)
            raise
        self._dispatcher.set_thread_count(THREADS)
        host, port = self._listeners[0].effective_host, self._listeners[0].effective_port
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """
        Accept nothing new, let running answers finish, then close everything.

        Args:
            timeout: Time for that [s]; afterwards connections are cut.

        """
        if not self._listeners:
            return
        deadline = time.monotonic() + timeout
        self._listeners[0].trigger.pull_trigger(self._stop_listening)
        while self._is_busy() and time.monotonic() < deadline:
            time.sleep(_STEP)
        self._dispatcher.shutdown(timeout=max(0.0, deadline - time.monotonic()))
        self._ended.set()
        self._listeners[0].pull_trigger()
        self._thread.join(max(_STEP, deadline - time.monotonic()))
        if not self._thread.is_alive():
            wasyncore.close_all(self._map)
        self._listeners = []

    def _adjustments(self) -> Adjustments:
        """Return the settings; a malformed address raises OSError."""
        match = _ADDRESS.fullmatch(self.address)
        if match is None or int(match["port"]) > _LAST_PORT:
            raise OSError(errno.EINVAL, f"not HOST:PORT: {self.address!r}")
        try:
            return Adjustments(
                listen=self.address,
                ident=None,
                threads=THREADS,
                connection_limit=self._max_connections + 4,  # it counts listeners and pipes too
                channel_timeout=math.ceil(self._client_timeout),
                cleanup_interval=1,
                max_request_header_size=_MAX_HEADER,
                max_request_body_size=_MAX_BODY,
                outbuf_overflow=_WATERMARK,
                outbuf_high_watermark=_WATERMARK,
                asyncore_use_poll=True,
                expose_tracebacks=False,
                # The application believes no forwarding header, but it must see
                # that there is one: a proxy on this host makes every client look local.
                clear_untrusted_proxy_headers=False,
            )
        except ValueError as error:
            raise OSError(errno.EINVAL, f"no such host: {self.address}") from error

    def _listen(self, adjustments: Adjustments) -> None:
        """Open the sockets of all addresses that the name stands for."""
        missing: OSError | None = None
        for number, target in enumerate(adjustments.listen):
            if number and target[3][1] == 0:
                break  # a free port is a different one on each address
            try:
                listener = _Listener(
                    self._app,
                    self._map,
                    dispatcher=self._dispatcher,
                    adj=adjustments,
                    sockinfo=target,
                )
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing = error  # a host without IPv6, or without IPv4
                continue
            listener.limit(self._max_connections, self._client_timeout)
            self._listeners.append(listener)
        if missing is not None and not self._listeners:
            raise missing

    def _serve(self) -> None:
        """Wait for clients until told to end."""
        next_look = 0.0
        while not self._ended.is_set():
            busy = any(listener.active_channels for listener in self._listeners)
            wait = _LOOK_INTERVAL if busy else _IDLE
            wasyncore.loop(timeout=wait, use_poll=True, map=self._map, count=1)
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _LOOK_INTERVAL
                for listener in self._listeners:
                    listener.end_overdue(now)

    def _stop_listening(self) -> None:
        """Close the listening sockets; their wake-up pipes stay."""
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)

    def _is_busy(self) -> bool:
        """Tell whether a request is being answered."""
        channels = [c for listener in self._listeners for c in [*listener.active_channels.values()]]
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


class _ErrorTask(ErrorTask):  # type: ignore[misc] # the library has no types
    """Answer what cannot be parsed in the same form as every other error."""

    def execute(self) -> None:
        """Send the error as JSON and end the connection."""
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        content = error_body(f"{error.reason}: {error.body}.")
        self.response_headers.extend([*SECURITY_HEADERS, ("Content-Type", "application/json")])
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)


class _Parser(HTTPRequestParser):  # type: ignore[misc] # the library has no types
    """A parser that takes every malformed request for the client's mistake."""

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head of a request; what only the standard library refuses is refused too."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address like [::1, a length of thousands of digits
            raise ParsingError("Malformed request line or header") from error


class _Channel(HTTPChannel):  # type: ignore[misc] # the library has no types
    """
    A connection that knows how long its client has been taking.

    Attributes:
        since: When it was opened or its last request was answered, monotonic [s].
            Bytes that trickle in do not move it.

    """

    error_task_class = _ErrorTask
    parser_class = _Parser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.since = time.monotonic()
        super().__init__(*args, **kwargs)

    @property
    def is_waiting(self) -> bool:
        """True while it is the client's turn to send a request."""
        return not self.requests and not self.total_outbufs_len

    def received(self, data: bytes) -> bool:
        """Take bytes; end the connection of a client that asks without listening."""
        taken: bool = super().received(data)
        if len(self.requests) > _MAX_PIPELINED:
            self.will_close = True
        return taken

    def service(self) -> None:
        """Answer a request, and start the client's clock anew."""
        super().service()
        self.since = time.monotonic()


class _Listener(TcpWSGIServer):  # type: ignore[misc] # the library has no types
    """A listening socket that ends connections by the monotonic clock."""

    channel_class = _Channel
    next_channel_cleanup = math.inf  # the library's own look uses the wall clock

    def limit(self, max_connections: int, client_timeout: float) -> None:
        """
        Set the limits.

        Args:
            max_connections: Most connections at a time.
            client_timeout: Time a client has to send a request [s].

        """
        self._max_connections = max_connections
        self._client_timeout = client_timeout

    def end_overdue(self, now: float) -> None:
        """
        End the connections whose time is up; called between two waits.

        A mark for the library to close them later would not do: it closes when
        the socket takes bytes, and that of a client that never reads does not.

        Args:
            now: The monotonic clock [s].

        """
        for channel in [*self.active_channels.values()]:
            allowed = self._client_timeout if channel.is_waiting else _DELIVERY_TIMEOUT
            if now - channel.since > allowed:
                channel.handle_close()

    def handle_accept(self) -> None:
        """Take a connection; when it is the last free one, end the one that waited longest."""
        super().handle_accept()
        if len(self.active_channels) < self._max_connections:
            return
        waiting = [c for c in self.active_channels.values() if c.is_waiting and not c.will_close]
        if waiting:
            min(waiting, key=lambda channel: channel.since).will_close = True
