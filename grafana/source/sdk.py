"""
The SDK, imported in one place.

Its Dashboard announces a successor when it is imported; that one needs Grafana 12,
and ours is to be read by older ones too.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        dashboard,
        gauge,
        heatmap,
        prometheus,
        stat,
        statetimeline,
        table,
        timeseries,
    )
    from grafana_foundation_sdk.builders import common as options
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as kinds
    from grafana_foundation_sdk.models import dashboard as model
    from grafana_foundation_sdk.models import heatmap as heatmap_kinds
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "JSONEncoder",
    "PromQueryFormat",
    "bargauge",
    "dashboard",
    "gauge",
    "heatmap",
    "heatmap_kinds",
    "kinds",
    "model",
    "options",
    "prometheus",
    "stat",
    "statetimeline",
    "table",
    "timeseries",
]
