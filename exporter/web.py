"""The web interface: metrics, reports, status page and control, as one WSGI application."""

from __future__ import annotations

import gzip
import io
import ipaddress
import json
import math
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from exporter import clock
from exporter.negotiation import OPENMETRICS, TEXT, wants_gzip, wants_openmetrics
from exporter.status_page import POLICY, PageCache, ServiceState
from exporter.web_server import SECURITY_HEADERS, WebServer, error_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exporter.store import Store, StoredReport

__all__ = ["Application", "MetricsPages", "ServiceState", "WebServer"]

PROFILES = ("quick", "standard", "deep")
_READ = ("GET", "HEAD")
_JSON = "application/json"
_REASONS = {
    200: "OK",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_DEFAULT_RETRY = 10.0  # [s] when nobody knows when the first report comes
_WORTH_PACKING = 512  # [bytes]
_LEVEL = 1  # 22 % more bytes than level 9, eight times faster
_BLOCK = 64 * 1024  # [bytes]
# A program on this host that forwards requests is not the client; any of these
# shows that there is one.
_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")
_BROWSER = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")


class MetricsPages(Protocol):
    """The metrics page in every form it is served in: the same bytes until the next sweep."""

    @property
    def text(self) -> bytes:
        """Prometheus text format 0.0.4."""

    @property
    def text_gzip(self) -> bytes:
        """The same, packed."""

    @property
    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0.0."""

    @property
    def openmetrics_gzip(self) -> bytes:
        """The same, packed."""


@dataclass(frozen=True, slots=True)
class _Request:
    """
    What the application looks at in a request.

    Attributes:
        method: In upper case.
        path: Decoded; begins with a slash.
        query: Parameter -> its values.
        environ: The WSGI environment, for headers and the client's address.

    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    environ: Mapping[str, Any]

    def header(self, name: str) -> str:
        """Return a header, empty when absent."""
        return str(self.environ.get(f"HTTP_{name}", ""))

    @property
    def is_local(self) -> bool:
        """True for a client on this host."""
        try:
            return ipaddress.ip_address(str(self.environ.get("REMOTE_ADDR"))).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class _Reply:
    """
    An answer.

    Attributes:
        status: HTTP status code.
        body: The content.
        content_type: Its media type.
        headers: More headers.
        packed: Whether the content is in gzip already.

    """

    status: int
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()
    packed: bool = False


class Application:
    """
    Answer requests from what is in memory; no request collects or computes anything.

    The callables are asked at every request and must return at once.
    """

    def __init__(
        self,
        *,
        metrics: Callable[[], MetricsPages],
        store: Store,
        state: Callable[[], ServiceState],
        schema: Callable[[], bytes],
        reload: Callable[[], str | None],
    ) -> None:
        """
        Prepare the routes.

        Args:
            metrics: Gives the rendered pages.
            store: Holds the reports.
            state: Tells how the service is.
            schema: Gives the JSON Schema of reports.
            reload: Reads the configuration again; gives the error, None on success.

        """
        self._metrics = metrics
        self._store = store
        self._state = state
        self._schema = schema
        self._reload = reload
        self._pages = PageCache()
        self._routes: dict[str, Callable[[_Request], _Reply]] = {
            "/": self._page,
            "/metrics": self._scrape,
            "/report": self._newest,
            "/report/schema": self._report_schema,
            "/reports": self._list,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
            "/-/reload": self._reread,
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request, as PEP 3333 demands."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        request = _Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], query, environ)
        reply = self._answer(request)
        body, headers = _encode(reply, request)
        start_response(f"{reply.status} {_REASONS[reply.status]}", headers)
        if request.method == "HEAD":
            return []
        # A file over the shared bytes: what a slow client has not read yet costs no copy.
        wrap = environ.get("wsgi.file_wrapper")
        return wrap(io.BytesIO(body), _BLOCK) if wrap is not None else [body]

    def _answer(self, request: _Request) -> _Reply:
        """Find the route, check method and host, and ask the handler."""
        handler = self._routes.get(request.path)
        if handler is None and request.path.startswith("/reports/"):
            handler = self._one
        if handler is None:
            return _error(404, f"There is nothing at {request.path[:200]}.", "GET / lists it all.")
        allowed = ("POST",) if request.path == "/-/reload" else _READ
        if request.method not in allowed:
            names = ", ".join(allowed)
            message = f"{request.path[:200]} answers {names} only."
            return _error(405, message, headers=(("Allow", names),))
        if request.path not in ("/metrics", "/-/healthy", "/-/ready"):
            refusal = self._check_host(request)
            if refusal is not None:
                return refusal
        return handler(request)

    def _check_host(self, request: _Request) -> _Reply | None:
        """
        Refuse names that this host does not have, to a client on this host.

        A web page can point its own name at 127.0.0.1 and let the browser of
        whoever reads it fetch the report. Such a request carries the page's
        name. An address cannot be pointed elsewhere, so any address passes.
        Metrics and health stay open: they say little, and proxies use any name.
        """
        host = _host_name(request.header("HOST")).rstrip(".")
        known = {"", "localhost", self._state().hostname.lower()}
        if not request.is_local or host in known or _is_address(host):
            return None
        return _error(
            421,
            "This name is not one of this host's.",
            "Ask for localhost, an address or the host's own name; "
            "a proxy on this host should send one of these in the Host header.",
        )

    def _page(self, _request: _Request) -> _Reply:
        """Show the state and the newest report."""
        page = self._pages.render(self._store, self._state(), clock.now())
        policy = (("Content-Security-Policy", POLICY), ("X-Frame-Options", "DENY"))
        return _Reply(200, page, "text/html; charset=utf-8", policy)

    def _scrape(self, request: _Request) -> _Reply:
        """Hand out the rendered metrics."""
        pages, packed = self._metrics(), wants_gzip(request.header("ACCEPT_ENCODING"))
        if wants_openmetrics(request.header("ACCEPT")):
            body = pages.openmetrics_gzip if packed else pages.openmetrics
            return _Reply(200, body, OPENMETRICS, _VARY, packed=packed)
        body = pages.text_gzip if packed else pages.text
        return _Reply(200, body, TEXT, _VARY, packed=packed)

    def _newest(self, request: _Request) -> _Reply:
        """Hand out the newest report, of any or of one profile."""
        names = request.query.get("profile", [])
        if len(names) > 1 or any(name not in PROFILES for name in names):
            allowed = ", ".join(PROFILES)
            return _error(400, "There is no such profile.", f"profile is one of: {allowed}.")
        profile = names[0] if names else None
        report = self._store.newest(profile)
        if report is not None:
            return self._report(report, request)
        if self._store.newest() is not None:
            return _error(
                404, f"No {profile} sweep has finished yet.", "GET /reports lists what there is."
            )
        return _not_yet(self._state())

    def _one(self, request: _Request) -> _Reply:
        """Hand out a report by its id."""
        report = self._store.get(request.path.removeprefix("/reports/"))
        if report is None:
            return _error(404, "There is no such report.", "GET /reports lists what is kept.")
        return self._report(report, request)

    def _report(self, report: StoredReport, request: _Request) -> _Reply:
        """Return a report, or 304 to a client that has it already."""
        # Weak, because the packed and the plain form are not the same bytes.
        tag = f'W/"{report.report_id}"'
        headers = [("ETag", tag), ("X-Sysdx-Report-Id", report.report_id)]
        age = _age(report.started_at)
        if age is not None:
            headers.append(("X-Sysdx-Report-Age-Seconds", str(age)))
        known = request.header("IF_NONE_MATCH")
        if report.report_id in (part.strip(' "W/') for part in known.split(",")):
            return _Reply(304, b"", headers=tuple(headers))
        return _Reply(200, report.body, headers=tuple(headers))

    def _list(self, _request: _Request) -> _Reply:
        """List the reports, newest first."""
        reports = [asdict(h) | {"url": f"/reports/{h.report_id}"} for h in self._store.list()]
        return _json(200, {"reports": reports, "problem": self._store.problem})

    def _report_schema(self, _request: _Request) -> _Reply:
        """Hand out the JSON Schema of reports."""
        return _Reply(200, self._schema(), "application/schema+json")

    def _healthy(self, _request: _Request) -> _Reply:
        """Say that the process answers."""
        return _json(200, {"status": "healthy", "version": self._state().version})

    def _ready(self, _request: _Request) -> _Reply:
        """Say whether there is a fresh report."""
        state = self._state()
        if state.stopping:
            return _error(503, "sysdx is stopping.")
        if not state.ready:
            return _not_yet(state)
        if state.stale:
            return _error(503, "The newest report is stale: sweeps fail or do not run.", "See /.")
        return _json(200, {"status": "ready"})

    def _reread(self, request: _Request) -> _Reply:
        """Read the configuration again, for a client on this host that is no browser."""
        forwarded = any(name in request.environ for name in _FORWARDED)
        if forwarded or not request.is_local:
            hint = "Use it on the host itself, or send SIGHUP."
            return _error(403, "Only a client on this host may reload.", hint)
        if any(name in request.environ for name in _BROWSER):
            hint = "curl -X POST http://localhost/-/reload, with the right port."
            return _error(403, "A browser may not reload.", hint)
        problem = self._reload()
        if problem is not None:
            return _error(500, problem, "The configuration in force is the one before.")
        return _json(200, {"status": "reloaded"})


_VARY = (("Vary", "Accept, Accept-Encoding"),)


def _encode(reply: _Reply, request: _Request) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body as the client takes it, and all headers."""
    body = reply.body
    headers = [*SECURITY_HEADERS, ("Content-Type", reply.content_type), *reply.headers]
    packed, varies = reply.packed, any(name == "Vary" for name, _ in headers)
    if not varies and len(body) >= _WORTH_PACKING:
        headers.append(("Vary", "Accept-Encoding"))
        packed = wants_gzip(request.header("ACCEPT_ENCODING"))
        body = _pack(body) if packed else body
    if packed:
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    return body, headers


@lru_cache(maxsize=2)
def _pack(body: bytes) -> bytes:
    """Return bytes in gzip; the newest report is asked for again and again."""
    return gzip.compress(body, _LEVEL, mtime=0)


def _json(status: int, content: object) -> _Reply:
    """Return an answer in JSON."""
    return _Reply(status, (json.dumps(content) + "\n").encode())


def _error(
    status: int,
    sentence: str,
    hint: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> _Reply:
    """Return an error in JSON."""
    return _Reply(status, error_body(sentence, hint), headers=headers)


def _not_yet(state: ServiceState) -> _Reply:
    """Say when the first report is due."""
    due = state.next_sweep_seconds
    if state.running_profile is not None:
        due = state.running_seconds_left
    wait = max(1, math.ceil(_DEFAULT_RETRY if due is None else due))
    if state.running_profile is not None:
        sentence = f"The first sweep ({state.running_profile}) is running; ask again in {wait} s."
    elif state.next_sweep_seconds is None:
        sentence = "There is no report yet, and no sweep is due."
    else:
        sentence = f"There is no report yet; the first sweep is due in {wait} s."
    return _error(503, sentence, headers=(("Retry-After", str(wait)),))


def _age(started_at: str) -> int | None:
    """Return the age of a report [s], None when the clock says it is not born yet."""
    try:
        age = (clock.now() - datetime.fromisoformat(started_at)).total_seconds()
    except (ValueError, TypeError):
        return None
    return int(age) if age >= 0 else None


def _host_name(host: str) -> str:
    """Return the name or address of a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _is_address(host: str) -> bool:
    """Tell whether a host is written as an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
