"""
The settings: their names, units, limits and defaults.

The text under each setting is its description in the JSON Schema, where the
default is added to it (`exporter.config_schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from analysis.model import RESOURCES
from collectors.bpf.probe import discover
from exporter.config_quantity import duration, size
from exporter.config_value import OneOf, absolute_path, crontab, listen_address

_STANDARD = ("runqlat", "biolatency", "tcpconnlat", "tcpretrans", "dnslat")
_DEEP = (
    "runqlat", "runqlen", "biolatency", "biosnoop", "tcpconnlat", "tcpretrans", "tcprtt",
    "dnslat", "profile", "offcputime", "cachestat", "execsnoop",
)  # fmt: skip
PROBES = frozenset(discover())
FOCUS = ("stacks", "all", *RESOURCES)


@dataclass(frozen=True)
class Known:
    """
    The names that a configuration may use, from whoever loads their modules.

    Attributes:
        collectors: Every collector.
        probes: Every eBPF probe.
        rules: Rule id to its default thresholds for warning and critical.

    """

    collectors: frozenset[str] = frozenset()
    probes: frozenset[str] = PROBES
    rules: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)


class Section(BaseModel):
    """What all parts of the configuration share: closed, frozen, no guessing of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Address = Annotated[
    str,
    AfterValidator(listen_address),
    Field(json_schema_extra={"pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"}),
]
Directory = Annotated[
    str, AfterValidator(absolute_path), Field(json_schema_extra={"pattern": "^/"})
]
OptionalDirectory = Annotated[
    str,
    AfterValidator(lambda raw: raw and absolute_path(raw)),
    Field(json_schema_extra={"pattern": "^(/|$)"}),
]


class Web(Section):
    """Where and how pages are served."""

    listen_address: Address = "127.0.0.1:10987"
    """Where to serve [HOST:PORT, or [IPv6]:PORT; port 0 takes a free one]."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Most clients at once [connections]; further ones are turned away."""
    client_timeout: Annotated[float, duration("100ms", "10m")] = 5.0
    """Longest silence of a client [duration] before it is turned away."""


class PathSettings(Section):
    """Where the examined host is, as seen from inside a container."""

    procfs: Directory = "/proc"
    """Where the host's procfs is mounted [path]."""
    sysfs: Directory = "/sys"
    """Where the host's sysfs is mounted [path]."""
    rootfs: Directory = "/"
    """Where the host's root directory is mounted [path]."""


class ScheduleTime(Section):
    """When a profile runs: exactly one of the two."""

    every: Annotated[float, duration("1s", "31d")] | None = None
    """Time between two starts [duration]; not shorter than the profile's duration."""
    cron: Annotated[str, AfterValidator(crontab)] | None = None
    """Crontab line [MINUTE HOUR DAY MONTH WEEKDAY, local time], instead of `every`."""


Seconds = Annotated[float, duration("1s", "1h")]
Interval = Annotated[float, duration("100ms", "5m")]
Timeout = Annotated[float, duration("1s", "2h")]
ProbeNames = tuple[Annotated[str, OneOf("probe", "probes", tuple(sorted(PROBES)))], ...]
FocusNames = tuple[Annotated[str, OneOf("focus", fixed=FOCUS)], ...]


class Profile(Section):
    """One way to examine the host; a subclass has the defaults of each."""

    enabled: bool = True
    """Whether it runs on schedule [true or false]."""
    duration: Seconds
    """How long the host is observed [duration]."""
    sample_interval: Interval = 1.0
    """Time between two samples [duration]; not longer than the profile's duration."""
    timeout: Timeout
    """When a sweep ends at the latest [duration from its start]; longer than its duration."""
    schedule: ScheduleTime
    """When it runs [exactly one of every and cron]."""
    probes: ProbeNames = ()
    """Its eBPF probes [list of names]."""
    focus: FocusNames = ()
    """What it looks into more closely [list of stacks, all, or a resource]."""


class QuickProfile(Profile):
    """Often, and cheap."""

    duration: Seconds = 10.0
    timeout: Timeout = 30.0
    schedule: ScheduleTime = ScheduleTime(every=60.0)


class StandardProfile(Profile):
    """With the latencies that only the kernel can measure."""

    duration: Seconds = 30.0
    timeout: Timeout = 90.0
    schedule: ScheduleTime = ScheduleTime(every=900.0)
    probes: ProbeNames = _STANDARD


class DeepProfile(Profile):
    """Everything, for the question why."""

    duration: Seconds = 60.0
    timeout: Timeout = 180.0
    schedule: ScheduleTime = ScheduleTime(every=21_600.0)
    probes: ProbeNames = _DEEP
    focus: FocusNames = ("stacks", "all")


class Profiles(Section):
    """The three profiles."""

    quick: QuickProfile = QuickProfile()
    """Often, and cheap: procfs alone."""
    standard: StandardProfile = StandardProfile()
    """Adds the latencies that only the kernel can measure."""
    deep: DeepProfile = DeepProfile()
    """Everything, for the question why."""

    def items(self) -> list[tuple[str, Profile]]:
        """
        Return the profiles with their names.

        Returns:
            From the lightest to the heaviest.

        """
        return [("quick", self.quick), ("standard", self.standard), ("deep", self.deep)]


class Scheduling(Section):
    """What all schedules share."""

    splay: bool = True
    """Whether starts are shifted by a delay from the machine id [true or false]."""


class Collectors(Section):
    """Which sources are read."""

    disabled: tuple[
        Annotated[str, OneOf("collector", "collectors", more=": see sysdx collectors")], ...
    ] = ()
    """Collectors that never run [list of names; see `sysdx collectors`]."""


Threshold = Annotated[float, Field(gt=0)]


class RuleConfig(Section):
    """Changes to one rule."""

    enabled: bool = True
    """Whether the rule is applied [true or false]."""
    warning: Threshold | None = None
    """From here it is a warning [the rule's unit]; by default the rule's own."""
    critical: Threshold | None = None
    """From here it is critical [the rule's unit]; by default the rule's own."""


RuleName = Annotated[str, OneOf("rule", "rules", more=": see sysdx rules")]


class Analysis(Section):
    """How findings become anomalies and a score."""

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of known resources for which there is a health score [ratio]."""
    raise_sweeps: Annotated[int, Field(ge=1, le=100)] = 2
    """An anomaly needs a finding in so many of the last `of_sweeps` sweeps [sweeps]."""
    of_sweeps: Annotated[int, Field(ge=1, le=100)] = 3
    """How many sweeps back that looks [sweeps]."""
    hold: Annotated[float, duration("0s", "1d")] = 120.0
    """Shortest life of an anomaly [duration]."""
    linger: Annotated[float, duration("0s", "1d")] = 600.0
    """How long one stays while its signal keeps near the threshold, below it [duration]."""


class Metrics(Section):
    """The page for Prometheus."""

    max_series: Annotated[int, Field(ge=100, le=100_000)] = 1_500
    """Most series on the page [series]; the rest is added up as "other"."""
    stale_after_intervals: Annotated[float, Field(ge=1, le=1_000)] = 3
    """A sweep's values are withdrawn after so many of its profile's intervals [intervals]."""


class StoreSettings(Section):
    """Where reports are kept."""

    directory: OptionalDirectory = "/var/lib/sysdx"
    """Where reports are kept [path; "" keeps them in memory only]."""
    keep: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Most reports kept [reports]."""
    max_size: Annotated[int, size("1MiB", "1024GiB")] = 64 * 2**20
    """Most space for them [size]."""


class Process(Section):
    """What is told about processes."""

    top: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Length of each ranking of processes [processes]."""
    command_line: Literal["off", "argv0", "redacted"] = "off"
    """How much of a command line a report shows [off, argv0 or redacted]."""


class Log(Section):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severity logged [debug, info, warning or error]."""
    format: Literal["text", "json"] = "text"
    """How a line is written [text or json]."""


class Config(Section):
    """Settings of sysdx; whatever is left out has its default."""

    web: Web = Web()
    """Where and how pages are served."""
    paths: PathSettings = PathSettings()
    """Where the examined host is, as seen from inside a container."""
    profiles: Profiles = Profiles()
    """The three ways to examine the host."""
    schedule: Scheduling = Scheduling()
    """What all schedules share."""
    collectors: Collectors = Collectors()
    """Which sources are read."""
    rules: Mapping[RuleName, RuleConfig] = Field(default_factory=dict)
    """Changes to single rules, by rule id [see `sysdx rules`]."""
    analysis: Analysis = Analysis()
    """How findings become anomalies and a score."""
    metrics: Metrics = Metrics()
    """The page for Prometheus."""
    store: StoreSettings = StoreSettings()
    """Where reports are kept."""
    process: Process = Process()
    """What is told about processes."""
    log: Log = Log()
    """What is written to stderr."""
