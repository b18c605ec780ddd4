"""Terminal output of sessions: a progress bar, and the results."""

from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibration.common.console import output_json, print_table, progress_bar, say, say_next
from calibration.common.text import number_of
from physpatch.commands.results import describe_rate

if TYPE_CHECKING:
    from captures.session.live_session import SessionConfig
    from captures.sources.opening import Source
    from captures.viewers.controls import Viewer

_NAMED_LOSSES = 3


def record_session(
    source: "Source",
    config: "SessionConfig",
    session: Path,
    viewers: "Sequence[Viewer]" = (),
    *,
    resume: bool = False,
) -> None:
    """Run a session with a progress bar in the terminal, in addition to ``viewers``.

    Args:
        source: of frames.
        config: the settings.
        session: folder to record in.
        viewers: further viewers.
        resume: continue the session in the folder.
    """
    from captures.session.live_session import run_session
    from captures.viewers.terminal import TerminalViewer

    counts = [-(-len(source) // config.every)] if isinstance(source, Sized) else []
    if config.max_frames is not None:
        counts.append(config.max_frames)
    with progress_bar("frames") as bar:
        all_viewers = [TerminalViewer(bar, min(counts, default=None), alone=not viewers), *viewers]
        run_session(source, config, session, viewers=all_viewers, resume=resume)
        for model in (config.classifier, config.detector):
            if model is not None and model.queries is not None:
                bar.say(model.queries.words(model.name))


def show_session(session: Path, json_out: str | None = None) -> None:
    """Print the success rates of patch and controls, by model and sheet; write them as JSON if ``json_out`` is given."""
    from captures.results.recorded_session import RecordedSession

    recorded = RecordedSession.open(session)
    summaries = recorded.tally.summaries()
    if json_out != "-":
        rows = [
            (
                summary.model,
                summary.condition,
                str(summary.frames),
                str(summary.clips),
                describe_rate(summary.target),
                describe_rate(summary.wrong),
            )
            for summary in summaries
        ]
        print_table(("model", "sheet", "frames", "clips", "target first", "wrong or not detected"), rows, of_one=True)
        frames = len({row.frame for row in recorded.rows})
        click.echo(f"session: {session}, {number_of(frames, 'frame')}")
        _say_losses(session)
        say_next("report", session)
    output_json(json_out, [summary.to_dict() for summary in summaries])


def _say_losses(session: Path) -> None:
    """Name what of the source was not analysed, because it was lost or damaged."""
    from captures.sources.frame import UNREADABLE
    from captures.storage import read_events

    losses = [event for event in read_events(session) if event.kind in ("lost", UNREADABLE)]
    for event in losses[:_NAMED_LOSSES]:
        say(f"not analysed, at {event.time_s:.1f} s: {event.words}")
    if len(losses) > _NAMED_LOSSES:
        say(f"{len(losses) - _NAMED_LOSSES} more are among the events of {session}")
