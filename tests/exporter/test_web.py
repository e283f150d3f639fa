"""The web interface: routes, negotiation, errors and the status page."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.negotiation import wants_gzip, wants_openmetrics
from exporter.status_style import POLICY, STYLE
from exporter.store import Store, StoredReport
from exporter.web import Application, ServiceState, WebServer

TEXT = b"# TYPE sysdx_health_score gauge\nsysdx_health_score 87\n" * 50
OPENMETRICS = TEXT + b"# EOF\n"
PAGES = SimpleNamespace(
    text=TEXT,
    text_gzip=gzip.compress(TEXT),
    openmetrics=OPENMETRICS,
    openmetrics_gzip=gzip.compress(OPENMETRICS),
)
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
STATE = ServiceState(
    version="1.2.3",
    hostname="web-17",
    started="2026-11-24T06:00:00Z",
    ready=True,
    stale=False,
    next_sweep_seconds=41.3,
    running_profile=None,
    collectors=(("cpu", "ok", None), ("gpu", "unavailable", "there is none")),
    config_problem=None,
    stopping=False,
)


def make(profile: str = "quick", content: dict[str, Any] | None = None) -> StoredReport:
    report_id = f"20261124T081530Z-{profile}-0000002a"
    body = json.dumps(content or {"metadata": {"report_id": report_id}, "x": "y" * 2000}).encode()
    return StoredReport(report_id, profile, "2026-11-24T08:15:30Z", True, 87.5, len(body), body)


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)


@dataclass
class Service:
    """A running server, and what its callables return."""

    store: Store = field(default_factory=lambda: Store(None, 5, 1 << 20))
    state: ServiceState = STATE
    reload_problem: str | None = None
    reloads: int = 0
    server: WebServer = field(init=False)

    def __post_init__(self) -> None:
        self.application = Application(
            metrics=lambda: PAGES,
            store=self.store,
            state=lambda: self.state,
            schema=lambda: b'{"title": "report"}',
            reload=self.reload,
        )
        self.server = WebServer(self.application, "127.0.0.1:0", 64, 5.0)

    def reload(self) -> str | None:
        self.reloads += 1
        return self.reload_problem

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask over a new connection; `Accept_Encoding` stands for Accept-Encoding."""
        connection = http.client.HTTPConnection(self.server.address, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def ask_as(self, client: str, path: str, method: str = "GET", **environ: str) -> Answer:
        """Ask the application itself, as a client at another address."""
        taken: list[Any] = []
        body = self.application(
            {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": client, **environ},
            lambda status, headers: taken.append((status, headers)),
        )
        message = Message()
        for name, value in taken[0][1]:
            message[name] = value
        return Answer(int(taken[0][0].split()[0]), message, b"".join(body))


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    running.server.start()
    yield running
    running.server.stop(2)


ROUTES = ("/", "/metrics", "/report", "/report/schema", "/reports", "/-/healthy", "/-/ready")


@pytest.mark.parametrize("path", [*ROUTES, f"/reports/{make().report_id}"])
def test_every_route_answers_and_head_gives_the_same_headers_without_a_body(
    service: Service, path: str
) -> None:
    service.store.put(make())
    full, head = service.ask(path), service.ask(path, "HEAD")
    assert full.status == head.status == 200
    assert full.body
    assert head.body == b""
    assert int(full.headers["Content-Length"]) == len(full.body)
    changing = ("Date", "X-Sysdx-Report-Age-Seconds")
    one, other = (
        [item for item in answer.headers.items() if item[0] not in changing]
        for answer in (full, head)
    )
    assert one == other


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/reports/x", "/report?profile=x"])
def test_every_answer_carries_the_security_headers_and_no_server_name(
    service: Service, path: str
) -> None:
    headers = service.ask(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] is None
    assert "waitress" not in str(headers).lower()


def test_two_scrapes_are_identical_byte_by_byte(service: Service) -> None:
    answers = [service.ask("/metrics", Accept=PROMETHEUS_ACCEPT) for _ in range(2)]
    assert answers[0].body == answers[1].body == OPENMETRICS


def test_metrics_answer_before_the_first_sweep_and_under_any_host_name(service: Service) -> None:
    service.state = replace(STATE, ready=False, stopping=True)
    assert service.ask("/metrics", Host="metrics.example.org").body == TEXT


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/json", False),
        (PROMETHEUS_ACCEPT, True),
        ("application/openmetrics-text", True),
        ('Application/OpenMetrics-Text; Version="1.0.0"; charset=utf-8', True),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.8", False),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.8", True),
        ("*/*;q=0.9, application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.000,*/*", False),
        ("application/openmetrics-text;q=2", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=0.0.1", False),
        (";;;,,,=;q=,application/openmetrics-text", True),
    ],
)
def test_openmetrics_goes_to_those_who_prefer_it_by_name(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("identity", False),
        ("gzip", True),
        ("GZIP;q=1.0, br", True),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0.2, identity;q=0.8", False),
        ("identity;q=0, gzip;q=0.1", True),
    ],
)
def test_gzip_goes_to_those_who_take_it(header: str, expected: bool) -> None:
    assert wants_gzip(header) is expected


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", TEXT),
        (
            PROMETHEUS_ACCEPT,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            OPENMETRICS,
        ),
    ],
)
def test_metrics_come_in_the_form_asked_for_plain_or_packed(
    service: Service, accept: str, kind: str, body: bytes
) -> None:
    plain = service.ask("/metrics", Accept=accept)
    packed = service.ask("/metrics", Accept=accept, Accept_Encoding="gzip")
    assert plain.headers["Content-Type"] == packed.headers["Content-Type"] == kind
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.body == gzip.decompress(packed.body) == body


def test_a_report_comes_plain_or_packed_with_its_id(service: Service) -> None:
    service.store.put(make())
    plain, packed = service.ask("/report"), service.ask("/report", Accept_Encoding="gzip")
    assert plain.body == gzip.decompress(packed.body) == make().body
    assert len(packed.body) < len(plain.body)
    for answer in (plain, packed):
        assert answer.headers["ETag"] == f'W/"{make().report_id}"'
        assert answer.headers["X-Sysdx-Report-Id"] == make().report_id
        assert answer.headers["Vary"] == "Accept-Encoding"


def test_a_client_that_has_the_report_gets_304(service: Service) -> None:
    service.store.put(make())
    tag = service.ask("/report").headers["ETag"]
    again = service.ask("/report", If_None_Match=f'"other", {tag}')
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert service.ask("/report", If_None_Match='"other"').status == 200


def test_a_report_of_a_profile_can_be_asked_for(service: Service) -> None:
    service.store.put(make("deep"))
    service.store.put(make("quick"))
    assert service.ask("/report?profile=deep").body == make("deep").body
    missing = service.ask("/report?profile=standard")
    assert missing.status == 404
    assert "standard" in missing.json["error"]


@pytest.mark.parametrize("query", ["profile=fast", "profile=", "profile=quick&profile=deep"])
def test_an_unknown_profile_is_400_and_names_the_allowed(service: Service, query: str) -> None:
    answer = service.ask(f"/report?{query}")
    assert answer.status == 400
    assert all(name in answer.json["hint"] for name in ("quick", "standard", "deep"))


@pytest.mark.parametrize(
    ("seconds", "running", "retry", "words"),
    [
        (41.3, None, "42", "due in 42 s"),
        (82.0, "quick", "8", "(quick) is running; ask again in 8 s"),
        (-3.0, None, "1", "due in 1 s"),
        (None, None, "10", "no sweep is due"),
        (None, "deep", "8", "(deep) is running"),
    ],
)
def test_before_the_first_sweep_a_report_is_503_and_says_when_to_come_back(
    service: Service, seconds: float | None, running: str | None, retry: str, words: str
) -> None:
    service.state = replace(
        STATE,
        ready=False,
        next_sweep_seconds=seconds,
        running_profile=running,
        running_seconds_left=7.4,
    )
    for path in ("/report", "/report?profile=deep", "/-/ready"):
        answer = service.ask(path)
        assert answer.status == 503
        assert answer.headers["Retry-After"] == retry
        assert words in answer.json["error"]


def test_reports_lists_what_is_kept_and_each_can_be_fetched(service: Service) -> None:
    service.store.put(make("deep"))
    service.store.put(make("quick"))
    listed = service.ask("/reports").json["reports"]
    assert [entry["profile"] for entry in listed] == ["quick", "deep"]
    assert listed[0]["health_score"] == 87.5
    for entry in listed:
        assert service.ask(entry["url"]).body == make(entry["profile"]).body


def test_ready_is_503_while_stale_and_while_stopping(service: Service) -> None:
    assert service.ask("/-/ready").status == 200
    for change in ({"stale": True}, {"stopping": True}):
        service.state = replace(STATE, **change)  # type: ignore[arg-type]
        assert service.ask("/-/ready").status == 503
        assert service.ask("/-/healthy").status == 200


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/reportsx", "/-/", "/%2e%2e/etc"])
def test_unknown_paths_are_404(service: Service, path: str) -> None:
    answer = service.ask(path)
    assert answer.status == 404
    assert answer.json["error"].endswith(".")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_405_and_name_the_allowed(service: Service, method: str) -> None:
    answer = service.ask("/metrics", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "GET, HEAD" in answer.json["error"]


def test_reload_takes_post_only(service: Service) -> None:
    for method in ("GET", "HEAD"):
        answer = service.ask("/-/reload", method)
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST"
    assert service.reloads == 0


def test_reload_from_this_host_reloads_or_says_what_is_wrong(service: Service) -> None:
    assert service.ask("/-/reload", "POST").status == 200
    service.reload_problem = "config.yaml:3: profiles.quik: unknown key"
    failed = service.ask("/-/reload", "POST")
    assert failed.status == 500
    assert failed.json["error"] == service.reload_problem
    assert service.reloads == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-origin"},
        {"X_Forwarded_For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
    ],
)
def test_reload_refuses_browsers_and_what_a_proxy_passes_on(
    service: Service, headers: dict[str, str]
) -> None:
    assert service.ask("/-/reload", "POST", **headers).status == 403
    assert service.reloads == 0


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::1", "", "nonsense"])
def test_reload_refuses_other_hosts(service: Service, client: str) -> None:
    assert service.ask_as(client, "/-/reload", "POST").status == 403
    assert service.ask_as("::1", "/-/reload", "POST").status == 200
    assert service.reloads == 1


@pytest.mark.parametrize("path", ["/", "/report", "/reports", "/report/schema", "/reports/x"])
def test_a_foreign_name_that_points_at_this_host_is_refused(service: Service, path: str) -> None:
    service.store.put(make())
    for host in (
        "evil.example",
        "evil.example:10987",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
    ):
        answer = service.ask(path, Host=host)
        assert answer.status == 421
        assert "Host" in answer.json["hint"]
    assert service.ask("/-/reload", "POST", Host="evil.example").status == 421
    assert service.reloads == 0


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:10987", "127.0.0.1:1", "[::1]:10987", "[::1]", "web-17", "web-17.:80"],
)
def test_the_names_of_this_host_are_accepted(service: Service, host: str) -> None:
    service.store.put(make())
    assert service.ask("/report", Host=host).status == 200


def test_a_client_on_another_host_may_use_any_name(service: Service) -> None:
    service.store.put(make())
    assert service.ask_as("192.0.2.7", "/report", HTTP_HOST="web-17.example.org").status == 200


def test_the_schema_is_served(service: Service) -> None:
    answer = service.ask("/report/schema")
    assert answer.headers["Content-Type"] == "application/schema+json"
    assert json.loads(answer.body) == {"title": "report"}


def test_a_second_server_on_the_same_port_raises_in_the_caller(service: Service) -> None:
    with pytest.raises(OSError, match="in use"):
        WebServer(service.application, service.server.address, 8, 1.0).start()
    assert service.ask("/-/healthy").status == 200


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "192.0.2.1:0", "127.0.0.1:x", "a b:1", ""])
def test_an_address_that_cannot_be_used_raises_in_the_caller(
    service: Service, address: str
) -> None:
    server = WebServer(service.application, address, 8, 1.0)
    with pytest.raises(OSError, match=r"HOST:PORT|host|assign"):
        server.start()
    server.stop(1)


def test_ipv6_addresses_are_served(service: Service) -> None:
    server = WebServer(service.application, "[::1]:0", 8, 1.0)
    try:
        server.start()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    match = re.fullmatch(r"\[::1\]:(\d+)", server.address)
    assert match is not None
    connection = http.client.HTTPConnection("::1", int(match[1]), timeout=10)
    connection.request("GET", "/-/healthy")
    assert connection.getresponse().status == 200
    connection.close()
    server.stop(2)


def test_stop_closes_the_port_and_ends_the_threads() -> None:
    before = threading.active_count()
    service = Service()
    service.server.start()
    idle = socket.create_connection(service.server.address.split(":"), timeout=10)  # type: ignore[arg-type]
    assert service.ask("/-/healthy").status == 200
    service.server.stop(5)
    assert idle.recv(10) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        service.ask("/-/healthy")
    assert threading.active_count() == before
    service.server.stop(1)


def test_stop_lets_a_running_answer_finish() -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        entered.set()
        leave.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    server = WebServer(slow, "127.0.0.1:0", 8, 5.0)
    server.start()
    connection = http.client.HTTPConnection(server.address, timeout=10)
    connection.request("GET", "/")
    assert entered.wait(10)
    stopper = threading.Thread(target=server.stop, args=(10,))
    stopper.start()
    leave.set()
    assert connection.getresponse().read() == b"done"
    stopper.join(10)
    assert not stopper.is_alive()
    connection.close()


class Page(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


HOSTILE = "<script>alert(1)</script>\"'&\x00\x1b[31m\n\u202e\ud800</td>"
SUMMARY = {
    "verdict": "Critical (42): tasks wait.",
    "health_score": 42.4,
    "band": "critical",
    "coverage": 0.96,
    "deductions": [
        {"cause": "cpu_wait", "resource": "cpu", "points": 57.6, "rule": "cpu_pressure"}
    ],
    "resources": {
        "cpu": {
            "utilization": {"mean": 0.97, "peak": 1.0, "samples": [0.9, 1.0, 0.99]},
            "saturation": {"steal": 0.02, "other": None},
            "queue_length": 7.5,
            "pressure": {"some": 0.41},
            "errors": {"mce": {"total": 4, "increase": 0}},
            "devices": {f"cpu{n}": {"utilization": {"mean": 0.5}} for n in range(64)},
        },
        "disk": {"utilization": {"mean": None}, "errors": {"io": {"total": 9, "increase": 3}}},
    },
    "anomalies": [
        {
            "rule": "cpu_pressure",
            "resource": "cpu",
            "severity": "critical",
            "message": "Tasks wait for a CPU 41 % of the time.",
            "value": 0.41,
            "unit": "ratio",
            "warning": 0.1,
            "critical": 0.25,
            "since": 1795508000.0,
            "evidence": [{"text": "waited", "value": 0.41, "unit": "ratio", "source": "/proc/x"}],
            "culprits": [{"kind": "process", "name": "stress-ng", "id": "812", "share": 0.97}],
        }
    ],
    "recommendations": [
        {
            "title": "Limit stress-ng",
            "kind": "fix",
            "why": "It takes all.",
            "commands": ["systemctl set-property user.slice CPUWeight=20"],
            "undo": ["systemctl revert user.slice"],
        }
    ],
}


def test_the_page_tells_what_an_engineer_needs_at_night(service: Service) -> None:
    service.store.put(make(content={"metadata": {"profile": "quick"}, "summary": SUMMARY}))
    answer = service.ask("/")
    page = Page(answer.body)
    assert page.open == []
    for words in (
        "web-17",
        "Critical (42): tasks wait.",
        "Tasks wait for a CPU 41 % of the time.",
        "stress-ng",
        "97 %",
        "/proc/x",
        "cpu_wait",
        "57.6 = 42.4",
        "steal 2 %",
        "stalled (some) 41 %",
        "queue 7.5",
        "io +3",
        "and 56 more",
        "systemctl revert user.slice",
        "there is none",
        "next in 41 s",
        make().report_id,
    ):
        assert words in page.text, words
    links = {value for name, value in page.attributes if name == "href"}
    assert set(ROUTES) - {"/"} <= links


def test_the_page_loads_nothing_and_its_policy_allows_nothing_else(service: Service) -> None:
    service.store.put(make(content={"summary": SUMMARY}))
    answer = service.ask("/")
    page = Page(answer.body)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert f"<style>{STYLE}</style>".encode() in answer.body
    assert not {"script", "img", "iframe", "object", "form"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    targets = [value or "" for name, value in page.attributes if name in ("href", "src")]
    assert all(value.startswith(("/", "data:")) for value in targets)


def poison(value: Any) -> Any:
    """Replace every text in a structure, keys too."""
    if isinstance(value, dict):
        return {f"{HOSTILE}{key}": poison(item) for key, item in value.items()} | {
            key: poison(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [poison(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_names_reach_the_page_as_harmless_text(service: Service) -> None:
    service.state = replace(
        STATE,
        version=HOSTILE,
        hostname=HOSTILE,
        started=HOSTILE,
        config_problem=HOSTILE,
        running_profile=HOSTILE,
        collectors=[(HOSTILE, HOSTILE, HOSTILE)],
    )
    for summary in (poison(SUMMARY), poison(SUMMARY) | {"band": "critical"}):
        report = make(content={"metadata": {"profile": HOSTILE}, "summary": summary})
        service.store = service.application._store = Store(None, 5, 1 << 20)
        service.store.put(report)
        service.application._pages = type(service.application._pages)()
        body = service.ask("/").body
        page = Page(body)
        assert "script" not in page.tags
        assert b"alert(1)" in body
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", body.decode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"summary": 7}',
        b'{"summary": {"anomalies": 3, "deductions": [1, null], "resources": [], "band": []}}',
        json.dumps(
            {
                "summary": {
                    "anomalies": [{"culprits": [7], "evidence": {}, "value": "x", "since": {}}],
                    "resources": {
                        "cpu": 3,
                        "disk": {"utilization": "x", "errors": 4, "devices": 9},
                    },
                    "recommendations": [None, {"commands": "rm"}],
                    "health_score": float("nan"),
                }
            }
        ).encode(),
        json.dumps(
            {
                "summary": {
                    "health_score": float("inf"),
                    "coverage": -1,
                    "resources": {
                        "a": {"utilization": {"mean": 1e300, "samples": [1, "x", None, 10**400, 2]}}
                    },
                    "anomalies": [{"since": 1e300, "severity": [], "resource": {}}],
                }
            }
        ).encode(),
        b"[" * 50_000,
    ],
)
def test_a_report_with_missing_or_odd_keys_still_gives_a_page(
    service: Service, content: bytes
) -> None:
    service.store.put(replace(make(), body=content, size_bytes=len(content)))
    answer = service.ask("/")
    assert answer.status == 200
    Page(answer.body)


def test_the_page_is_rendered_once_per_report(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[object] = []

    def render(report: object) -> str:
        rendered.append(report)
        return "part"

    monkeypatch.setattr("exporter.status_page.report_body", render)
    service.store.put(make())
    pages = [service.ask("/").body for _ in range(3)]
    assert len(rendered) == 1
    assert all(b"part" in page for page in pages)
    service.store.put(make("deep"))
    service.ask("/")
    assert len(rendered) == 2


def test_the_page_shows_trouble_of_the_service_itself(service: Service) -> None:
    empty = Page(service.ask("/").body).text
    assert "There is no report yet" in empty
    service.store.put(make())
    partial = "20261124T091530Z-quick-0000002b"
    service.store.put(replace(make(), report_id=partial, complete=False))
    service.store.problem = "the disk is full"
    service.state = replace(STATE, stale=True, stopping=True, config_problem="line 3 is wrong")
    text = Page(service.ask("/").body).text
    for words in ("stale", "is stopping", "line 3 is wrong", "the disk is full", partial):
        assert words in text
