"""The measurement method."""

from collections.abc import Iterator
from typing import ClassVar

from calibration.common.errors import InputError
from captures.report.blocks import Block, Details, Heading, Table, Text
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import UNITS, moment_words
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SessionRecord
from captures.storage import read_events

_ENDS = {  # by the status in session.json
    "": "not recorded",
    "recording": "it was killed, or still runs",
    "ended": "the source ended",
    "interrupted": "it was interrupted",
    "failed": "an error ended it",
}


class Method(ReportSection):
    """Models, sheets, settings and events."""

    name: ClassVar[str] = "method"
    summary: ClassVar[str] = "models, sheets, settings and events"
    heading: ClassVar[str] = "How it was measured"
    rank: ClassVar[int] = 60

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _method(material.session)


def _parts(record: SessionRecord) -> str:
    """Word the parts of a session that was resumed; "" for one that was filmed without a pause."""
    later = [f"from frame {part.after_frame + 1} on, {moment_words(part.begun)}" for part in record.continued]
    return f"{1 + len(later)}: {moment_words(record.begun)}; {'; '.join(later)}" if later else ""


def _lens(record: SessionRecord) -> str:
    if record.intrinsics is None:
        hfov_deg = record.hfov_deg
        return (
            "not recorded; a field of view is assumed"
            if hfov_deg is None
            else f"field of view of {hfov_deg:g}°, as given"
        )
    return "assumed field of view" if record.intrinsics_assumed else "measured, or of the rig"


def _method(session: RecordedSession) -> Iterator[Block]:
    record, tally = session.record, session.tally
    delay = record.delay_s
    facts = {
        "frames analysed": str(len({row.frame for row in session.rows})),
        "captured, dropped": f"{record.captured}, {record.dropped}" if record.captured is not None else "",
        "unreadable stills": str(record.unreadable or ""),
        "gaps": f"{record.gaps}, {record.gap_seconds or 0:.1f} s in total" if record.gaps else "",
        "how it ended": _ENDS.get(record.status, record.status),
        "source": record.source or ("virtual rig" if record.virtual else ""),
        "rendered scene": record.scene,
        "filmed in parts": _parts(record),
        "analysed again": record.reanalysis.in_words if record.reanalysis else "",
        "region that the classifier saw": record.region,
        "true class": record.label or "from the source, if known",
        "target": str(session.target or "none: untargeted"),
        "rates are paired by": tally.unit_kind,
        "intervals are over": UNITS[tally.independent_kind],
        "delay": "" if not delay else f"mean {1000 * delay.mean:.0f} ms, longest {1000 * delay.longest:.0f} ms",
        "lens": _lens(record),
        "device": record.device,
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    yield Table(["property", "value"], [[name, value] for name, value in facts.items() if value])
    if record.models:
        yield Heading("Models and sheets", 2)
        yield Table(
            ["model", "task", "weights", "SHA-256"],
            [[m.name, m.task, m.source, m.sha256] for m in record.models],
        )
    if record.sheets:
        yield Table(
            ["sheet", "id", "width of the patch"], [[s.kind, s.id, f"{s.size_mm:.1f} mm"] for s in record.sheets]
        )
    try:
        events = [event for event in read_events(session.folder) if event.kind not in ("step", "done")]
    except InputError as error:
        yield Text(f"The events are lost: {error}.")
        return
    if events:
        yield Details("Events", "\n".join(f"{e.time_s:9.2f} s  {e.kind:10} {e.words}" for e in events))
