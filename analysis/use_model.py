"""The USE model: utilization, saturation and errors of resources and their devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.model import UNKNOWN, Distribution


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """
    Errors of one kind.

    Attributes:
        total: As counted by the kernel since boot (or since the device appeared).
        increase: Within this sweep's window.

    """

    total: int | None = None
    increase: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """
    Utilization, saturation and errors of one device.

    Attributes:
        utilization: Busy share of the window [ratio].
        saturation: Signal name to share of time or of a limit [ratio].
        queue_length: Mean number of requests or tasks waiting.
        errors: Error kind to its count.

    """

    utilization: Distribution = UNKNOWN
    saturation: Mapping[str, float | None] = field(default_factory=dict)
    queue_length: float | None = None
    errors: Mapping[str, ErrorCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """
    Utilization, saturation and errors of a resource as a whole, and of its devices.

    Attributes:
        utilization: Of the whole [ratio]; unknown where only devices have one.
        saturation: Signal name to share of time or of a limit [ratio].
        queue_length: Mean number of requests or tasks waiting.
        pressure: "some" and "full": share of the window in which tasks stalled [ratio].
        errors: Error kind to its count.
        devices: Device name to its use.

    """

    utilization: Distribution = UNKNOWN
    saturation: Mapping[str, float | None] = field(default_factory=dict)
    queue_length: float | None = None
    pressure: Mapping[str, float | None] = field(default_factory=dict)
    errors: Mapping[str, ErrorCount] = field(default_factory=dict)
    devices: Mapping[str, DeviceUse] = field(default_factory=dict)
