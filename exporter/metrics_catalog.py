"""The metrics contract: every family with its type, labels and bound."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.bpf.probe import discover

GAUGE, COUNTER, HISTOGRAM, INFO = "gauge", "counter", "histogram", "info"


@dataclass(frozen=True, slots=True)
class Family:
    """
    One metric family.

    Attributes:
        name: With its suffix, as scraped.
        type: gauge, counter, histogram or info.
        help: What it is, with unit and source.
        labels: Their names; every label has a bounded set of values.
        limit: Most series of this family; the rest is folded into "other".
        sweep: Whether its values belong to a sweep and are withdrawn when that is old.
        edges: Upper edges of a probe's histogram, without the infinite one.

    """

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()
    limit: int = 64
    sweep: bool = True
    edges: tuple[float, ...] = ()


def _of_sweep(
    name: str, kind: str, text: str, labels: tuple[str, ...] = (), limit: int = 64
) -> Family:
    return Family(name, kind, text, labels, limit)


def _of_self(
    name: str, kind: str, text: str, labels: tuple[str, ...] = (), limit: int = 64
) -> Family:
    return Family(name, kind, text, labels, limit, sweep=False)


_OWN: tuple[Family, ...] = (
    _of_sweep(
        "sysdx_health_score",
        GAUGE,
        "Health of the host from 0 to 100, from the latest sweep: 100 less all deductions. "
        "Absent when less than the configured coverage is known.",
    ),
    _of_sweep(
        "sysdx_health_coverage_ratio",
        GAUGE,
        "Weighted share of resources whose essential collectors answered in the latest sweep.",
    ),
    _of_sweep(
        "sysdx_health_deduction_points",
        GAUGE,
        "Points that a cause costs; their sum is 100 less the score, before the floor of 0.",
        ("resource", "cause"),
    ),
    _of_sweep(
        "sysdx_hypothesis_confidence_ratio",
        GAUGE,
        "How sure the diagnosis is of what may be behind the active anomalies; "
        "only what is suspected now.",
        ("cause", "resource"),
    ),
    _of_sweep(
        "sysdx_resource_health_score",
        GAUGE,
        "100 less the deductions charged to one resource; absent when it is unknown.",
        ("resource",),
    ),
    _of_sweep(
        "sysdx_resource_utilization_ratio",
        GAUGE,
        "Mean utilization over the latest sweep's window; device is empty for the whole resource.",
        ("resource", "device"),
        128,
    ),
    _of_sweep(
        "sysdx_resource_utilization_peak_ratio",
        GAUGE,
        "Highest utilization of a single sample interval in the latest sweep's window.",
        ("resource", "device"),
        128,
    ),
    _of_self(
        "sysdx_resource_utilization_sample_ratio",
        HISTOGRAM,
        "Utilization of a resource in each sample interval of all sweeps since start; "
        "for a resource of devices, of its busiest device.",
        ("resource",),
        8 * 9,
    ),
    _of_sweep(
        "sysdx_resource_saturation_ratio",
        GAUGE,
        "Share of time or of a limit by which a resource has more work than it can take.",
        ("resource", "device", "signal"),
        128,
    ),
    _of_sweep(
        "sysdx_resource_queue_length",
        GAUGE,
        "Mean number of tasks or requests that waited for a resource in the latest window.",
        ("resource", "device"),
        64,
    ),
    _of_sweep(
        "sysdx_resource_pressure_ratio",
        GAUGE,
        "Share of the latest window in which some or all tasks stalled (pressure stall "
        "information).",
        ("resource", "kind"),
    ),
    _of_sweep(
        "sysdx_resource_errors_total",
        COUNTER,
        "Errors as the kernel counts them since boot, or since the device appeared.",
        ("resource", "device", "kind"),
        192,
    ),
    _of_sweep(
        "sysdx_anomalies",
        GAUGE,
        "Active anomalies.",
        ("resource", "severity"),
    ),
    _of_sweep(
        "sysdx_anomaly_active",
        GAUGE,
        "1 while a rule's anomaly is active, else 0; every enabled rule is here. The severity "
        "is the present one of an active anomaly, and the highest possible one of a quiet rule.",
        ("rule", "resource", "severity"),
        256,
    ),
    _of_self(
        "sysdx_anomaly_transitions_total",
        COUNTER,
        "How often a rule's anomaly was raised or cleared since start; absent for rules that "
        "have not been.",
        ("rule",),
        256,
    ),
    _of_sweep(
        "sysdx_anomaly_since_timestamp_seconds",
        GAUGE,
        "When an active anomaly began.",
        ("rule",),
        256,
    ),
    _of_sweep(
        "sysdx_recommendations",
        GAUGE,
        "Recommendations in the latest report.",
        ("resource", "kind"),
    ),
    _of_self(
        "sysdx_sweeps_total",
        COUNTER,
        "Sweeps by how they ended: complete, partial, cancelled, failed, or skipped because "
        "another one was running.",
        ("profile", "outcome"),
    ),
    _of_self(
        "sysdx_sweep_duration_seconds",
        HISTOGRAM,
        "How long sweeps took, from initializing to publishing.",
        ("profile",),
    ),
    _of_self(
        "sysdx_sweep_last_success_timestamp_seconds",
        GAUGE,
        "When the last complete sweep ended; absent before the first.",
        ("profile",),
    ),
    _of_self(
        "sysdx_sweep_interval_seconds",
        GAUGE,
        "Time between two scheduled sweeps.",
        ("profile",),
    ),
    _of_self("sysdx_sweep_in_progress", GAUGE, "1 while a sweep runs, else 0.", ("profile",)),
    _of_sweep(
        "sysdx_report_info",
        INFO,
        "The report behind these values: /reports/ and its id.",
        ("report_id", "profile"),
    ),
    _of_sweep("sysdx_report_size_bytes", GAUGE, "Size of the latest report as JSON."),
    _of_self(
        "sysdx_collector_success",
        GAUGE,
        "1 when a collector brought its sample in the latest sweep, 0 when it failed; absent "
        "when this host does not have what it reads.",
        ("collector",),
    ),
    _of_self(
        "sysdx_collector_supported",
        GAUGE,
        "0 when this host does not have what a collector reads, else 1.",
        ("collector",),
    ),
    _of_self(
        "sysdx_collector_duration_seconds",
        GAUGE,
        "How long a collector's turn took in the latest sweep, its window included.",
        ("collector",),
    ),
    _of_self(
        "sysdx_collector_last_success_timestamp_seconds",
        GAUGE,
        "When a collector last brought its sample; absent before the first.",
        ("collector",),
    ),
    _of_self(
        "sysdx_collector_errors_total",
        COUNTER,
        "Turns in which a collector could not read something, by reason.",
        ("collector", "reason"),
        192,
    ),
    _of_self(
        "sysdx_probe_available",
        GAUGE,
        "1 when an eBPF probe works on this host; else 0, with the reason: disabled is one that no "
        "profile names. Absent until its first sweep.",
        ("probe", "reason"),
    ),
    _of_self(
        "sysdx_probe_observed_seconds_total",
        COUNTER,
        "How long an eBPF probe has watched; sweeps observe only part of the time, so a rate "
        "of what it counts is over this and not over wall time.",
        ("probe",),
    ),
    _of_self(
        "sysdx_probe_events_total",
        COUNTER,
        "Events that an eBPF probe saw in its windows.",
        ("probe",),
    ),
    _of_self(
        "sysdx_probe_lost_events_total",
        COUNTER,
        "Events that an eBPF probe could not keep, as buffers and tables were full, or was not "
        "called for, as another eBPF program ran on that CPU (counted since Linux 6.7).",
        ("probe",),
    ),
    _of_self(
        "sysdx_probe_map_memory_bytes",
        GAUGE,
        "Kernel memory of all eBPF maps in the last window that had probes; none between.",
    ),
    _of_self("sysdx_build_info", INFO, "The running version.", ("version", "python")),
    _of_self(
        "sysdx_worker_cpu_seconds_total",
        COUNTER,
        "CPU time of child processes: the eBPF worker and guards of file systems that may hang.",
    ),
    _of_self(
        "sysdx_worker_peak_memory_bytes",
        GAUGE,
        "Largest resident size of any child process so far; absent when there was none.",
    ),
    _of_self(
        "sysdx_samples_dropped_total",
        COUNTER,
        "Values that were not exposed: no number, written twice, or beyond a family's limit.",
        ("collector", "reason"),
    ),
    _of_self("sysdx_series", GAUGE, "Series on this page, these included."),
    _of_self(
        "sysdx_config_last_reload_successful", GAUGE, "1 when the configuration in force is the "
        "newest one; 0 when a newer one was refused.",
    ),
    _of_self(
        "sysdx_config_last_reload_success_timestamp_seconds",
        GAUGE,
        "When the configuration in force was read.",
    ),
)  # fmt: skip


def _of_probes() -> tuple[Family, ...]:
    """Describe the histograms that probes fill."""
    return tuple(
        Family(f.name, HISTOGRAM, f.help, f.labels, f.limit, sweep=False, edges=f.edges)
        for probe in discover().values()
        for f in probe.families
    )


FAMILIES = (*_OWN, *_of_probes())
BY_NAME = {family.name: family for family in FAMILIES}

UTILIZATION_BUCKETS = (0.05, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
# Around the default profiles' durations, and their timeouts.
SWEEP_BUCKETS = (1.0, 10.5, 12.0, 31.0, 33.0, 61.0, 64.0, 90.0, 180.0)
