"""A recorded session in the logs of other tools."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from captures.results.recorded_session import RecordedSession
from captures.results.success import is_counted
from physpatch.records.run_logs import open_logs
from physpatch.records.run_logs.base import Parameter
from physpatch.records.run_logs.values import rate_values


def log_session(folder: Path, logs: Sequence[str]) -> None:
    """Log a session for other tools: its settings, success by clip, the rates with their intervals, and the patch.

    Args:
        folder: the session's.
        logs: see :func:`physpatch.records.run_logs.open_logs`.

    Raises:
        InputError: there is no session, or it is damaged.
    """
    session = RecordedSession.open(folder)
    with open_logs(logs, folder, folder.resolve().name) as log:
        log.parameters(_settings(session))
        for clip, values in _by_clip(session).items():
            log.metrics(values, clip)
        for summary in session.tally.summaries():
            prefix = f"{summary.model}/{summary.condition}"
            log.results(
                rate_values(f"{prefix}/target_first", summary.target)
                | rate_values(f"{prefix}/made_wrong", summary.wrong)
            )
        if session.run is not None:
            log.picture("patch", session.run / "patch.png")


def _settings(session: RecordedSession) -> dict[str, Parameter]:
    record = session.record
    return {
        "source": record.source,
        "virtual": record.virtual,
        "target": session.target,
        "label": record.label,
        "run": record.run,
        "models": ", ".join(model.name for model in record.models),
        "sheets": ", ".join(f"{sheet.kind} {sheet.id}" for sheet in record.sheets),
        "frames": record.frames,
    }


def _by_clip(session: RecordedSession) -> dict[int, dict[str, float]]:
    """Compute by clip the share of frames with success, for each model and sheet, where it could be determined."""
    counted: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in session.rows:
        if row.success is not None and is_counted(row, session.tally.protocol):
            counted[row.clip][f"{row.model}/{row.condition}/success"].append(row.success)
    return {clip: {name: fmean(values) for name, values in named.items()} for clip, named in sorted(counted.items())}
