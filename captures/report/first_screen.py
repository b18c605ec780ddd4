"""The first screen of a session's report: question, answer, pictures, numbers, where it was lost, and what to do next."""

from collections.abc import Iterator, Sequence

from calibration.common.errors import InputError
from captures.gap.decomposition import Gap, digital_rate
from captures.report.answer import Answer, answer_of, next_steps
from captures.report.blocks import Block, Gallery, NextSteps, Number, Numbers, Picture, Text
from captures.report.sections.pictures import key_frames, read_key_frame
from captures.report.wording import packed
from captures.results.aggregation import CONTROL
from captures.results.recorded_session import RecordedSession
from captures.results.success import frame_success
from captures.storage import FrameRow
from physpatch.records.config import TrainConfig
from physpatch.records.run_record import RunRecord
from physpatch.stats.intervals import Rate

_WORKS = 0.5  # the rate on photographs from which on a print is worth filming
_SIMULATED = "These frames come from the virtual rig, a simulation of printer and camera, not from a camera."
_RENDERED = (
    "These frames come from the rendered rig: Mitsuba computed the light of a scene and what a camera's pixels record of it. "
    "No printer and no camera took part."
)
_EMPTY = "The session has no frames: it ended before the first one was analysed."
_NOTHING = (
    "No patch effect can be measured in this session: either no patch sheet was recognised, or there is no target and the true "
    "class is unknown (--label)."
)


def first_screen(session: RecordedSession, gaps: Sequence[Gap], *, whole: bool = True) -> Iterator[Block]:
    """Yield the blocks that a person sees first.

    Args:
        session: to report on.
        gaps: results of the replay.
        whole: whether no file of the session is damaged.
    """
    answer = answer_of(session)
    if answer is None:
        yield Text("Nothing to answer from", "verdict")
        yield Text(_NOTHING if session.rows else _EMPTY, "lead")
    else:
        yield Text(answer.question, "question")
        yield Text(answer.verdict, "verdict")
        yield Text(answer.sentence, "lead")
    if session.record.virtual:
        yield Text(_RENDERED if session.record.scene else _SIMULATED, "soft")
    yield from _evidence(session, answer)
    if answer is not None:
        yield from (Text(gap.sentence) for gap in gaps if (gap.model, gap.measure) == (answer.model, answer.measure))
    yield NextSteps(
        [
            (step.why, step.command)
            for step in next_steps(session, answer, gaps, whole=whole, weak=_weak(session, answer))
        ]
    )


def summary_blocks(session: RecordedSession) -> Iterator[Block]:
    """Yield the answer, the pictures and the numbers of a session in short, for a comparison."""
    answer = answer_of(session)
    if answer is None:
        yield Text("Nothing to answer from", "verdict")
    else:
        yield Text(answer.verdict, "verdict")
        yield Text(answer.sentence)
    yield from _evidence(session, answer)


def _evidence(session: RecordedSession, answer: Answer | None) -> Iterator[Block]:
    pictures = list(_pictures(session, answer))
    if pictures:
        yield Gallery(pictures)
    if answer is not None:
        yield Numbers(list(_numbers(session, answer)))


def _pictures(session: RecordedSession, answer: Answer | None) -> Iterator[Picture]:
    """The patch, a frame with it, and a frame of the same clip with the grey control."""
    cells = None if session.run is None else session.run / "patch.png"
    if cells is not None and cells.is_file():
        yield Picture(cells.read_bytes(), "the patch, as designed", pixelated=True)
    frames = key_frames(session.folder)
    rows = {row.frame: row for row in session.rows if answer is None or row.model == answer.model}
    patched = [number for number, condition in frames if condition == "patch" and number in rows]
    if not patched:
        return

    def telling(number: int) -> tuple[bool, bool]:
        """Prefer a success, and a clip in which the control was filmed too."""
        success = answer is not None and frame_success(rows[number], session.target).get(answer.measure, False)
        return success, harmless(number) is not None

    def harmless(number: int) -> int | None:
        """Find the control in the same clip, at the nearest distance where sheet or camera move."""
        here, clip = _distance_m(rows[number]), rows[number].clip
        same_clip = [n for n, condition in frames if condition == CONTROL and n in rows and rows[n].clip == clip]
        return min(same_clip, key=lambda n: abs(_distance_m(rows[n]) - here), default=None)

    shown = max(patched, key=telling)
    for number, what in ((shown, "the printed patch in a frame"), (harmless(shown), "the same with a grey sheet")):
        if number is None:
            continue
        picture = read_key_frame(frames[number, rows[number].condition])
        if picture is not None:
            said = f": {rows[number].top1}" if rows[number].top1 else ""
            yield Picture(packed(picture, ".jpg"), f"{what}{said}")


def _distance_m(row: FrameRow) -> float:
    """The sheet's distance, measured or as a rig planned it; 0 if neither is known."""
    return row.distance_m or row.true_distance_m or 0.0


def _numbers(session: RecordedSession, answer: Answer) -> Iterator[Number]:
    digital = _digital(session, answer)
    if digital is not None and digital.rate is not None:
        yield _number(digital, "digitally, on held-out photographs")
    yield _number(answer.rate, "printed, on camera")
    if answer.controls:
        worst = max(answer.controls, key=lambda name: answer.controls[name].rate or 0.0)
        differ = len({control.rate for control in answer.controls.values()}) > 1
        shown = "the most harmful control" if differ else "harmless controls"
        yield _number(answer.controls[worst], f"{shown}: {worst if differ else ', '.join(answer.controls)}")


def _digital(session: RecordedSession, answer: Answer) -> Rate | None:
    if session.run is None:
        return None
    try:
        run = RunRecord.of(session.run)
    except InputError:  # damaged, which the report says where it would show the run
        return None
    return digital_rate(run.measured.get(answer.model), answer.measure)


def _weak(session: RecordedSession, answer: Answer | None) -> TrainConfig | None:
    """Return the settings of a patch that does not work in half of the photographs, for certain; None for another."""
    digital = None if answer is None else _digital(session, answer)
    if session.run is None or digital is None or digital.ci95 is None or digital.ci95[1] >= _WORKS:
        return None
    run = RunRecord.of(session.run)
    return run.train_config if run.imported is None else None


def _number(rate: Rate, label: str) -> Number:
    share = 100 * (rate.rate or 0.0)
    certainty = (
        f"n = {rate.n}"
        if rate.ci95 is None
        else f"{100 * rate.ci95[0]:.0f} to {100 * rate.ci95[1]:.0f} %, n = {rate.n}"
    )
    return Number(f"{share:.0f} %", certainty, label)
