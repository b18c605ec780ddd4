"""Frames in, records out."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Frame": "captures.frame",
    "Protocol": "captures.protocol",
    "RegionRule": "captures.region",
    "SessionPlan": "captures.session",
    "VirtualRig": "captures.virtual",
    "open_source": "captures.sources",
    "run_session": "captures.session",
    "write_report": "captures.report",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'captures' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
