"""Camera sessions: sources of frames, live analysis, storage, viewers and reports."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Frame": "captures.sources.frame",
    "Protocol": "captures.protocol.plan",
    "RegionRule": "captures.inference.region",
    "SessionConfig": "captures.session.live_session",
    "RenderedRig": "captures.sources.rendered.rendered_rig",
    "VirtualRig": "captures.sources.virtual_rig",
    "open_source": "captures.sources.opening",
    "run_session": "captures.session.live_session",
    "write_report": "captures.report",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'captures' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
