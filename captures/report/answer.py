"""The answer of a session: what was shown of the patch, how sure that is, and what to do next."""

import math
import os.path
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.common.success import MEASURES
from calibration.common.units import parse_length_mm
from calibration.sheet.paper_sizes import PATCH_SIZE
from captures.gap.decomposition import Gap
from captures.report.wording import UNITS, measures_of
from captures.results.aggregation import CONTROL, Tally
from captures.results.recorded_session import RecordedSession
from captures.results.success import frame_success
from captures.sources.frame import NO_SHEET
from captures.sources.held_sheet import FRAMES_PER_CLIP
from physpatch.records.config import FINER_GRID, TrainConfig
from physpatch.records.run_paths import sheet_of
from physpatch.records.run_record import RUN_FILE
from physpatch.stats.intervals import Difference, Rate, clips_needed

NOT_COMPARED = "Seen, but not against a harmless sheet"
WIDE = 0.10  # the half width of an interval from which on more clips are advised
_COARSE_PX = 4.0  # a side of a cell, in pixels, below which a larger sheet is advised
_MOST_STEPS = 4
_SAYS_LITTLE = 0.6  # the width of an interval from which on it says hardly anything
_LEARN = "Train again for the angles, sizes, colours and scenes of this session"
_LEARN_OF_RIG = "Train again for the angles, sizes and colours of this session"  # its scenes are held-out photographs
_LEARN_BY_CAUSE = {  # by the step at which most was lost
    "posed": "Hold the sheet as it was trained for, or train for the angles of this session",
    "sized": "Print it larger, or train for the distances of this session",
    "coloured": "Train for the conditions of this session",
    "blurred": "Train for the blur of this session, or focus nearer",
}


@dataclass(frozen=True)
class Answer:
    """What a session says about its patch, for one model and one outcome.

    Attributes:
        question: in one sentence.
        verdict: in a few words.
        sentence: the numbers behind it, with their certainty.
        model, measure: of the outcome, one of ``calibration.common.success.MEASURES``.
        rate: on camera, with the patch.
        controls: the same with each harmless sheet that was filmed.
        needed: units to be filmed in all, of the kind that the rate counts, to know it to ± 10 points if as many of them count
            as here; None if it is known so well.
    """

    question: str
    verdict: str
    sentence: str
    model: str
    measure: str
    rate: Rate
    controls: Mapping[str, Rate]
    needed: int | None


def answer_of(session: RecordedSession) -> Answer | None:
    """Answer for the first model of a session and its most telling outcome; None if nothing can be counted."""
    tally, every = session.tally, session.tally.summaries()
    for model in tally.models:
        summaries = {s.condition: s for s in every if s.model == model}
        for measure in measures_of(tally, model):
            counted = "patch" in summaries and summaries["patch"].rate(measure).rate is not None
            if counted and (measure != "target" or session.target):
                rates = {condition: summary.rate(measure) for condition, summary in summaries.items()}
                return _answer(session, model, measure, rates)
    return None


def _answer(session: RecordedSession, model: str, measure: str, rates: Mapping[str, Rate]) -> Answer:
    tally, rate = session.tally, rates["patch"]
    controls = {
        condition: control
        for condition, control in rates.items()
        if condition not in ("patch", "none") and control.rate is not None
    }
    needed = None
    if rate.ci95 is None:
        needed = clips_needed(WIDE)
    elif (rate.ci95[1] - rate.ci95[0]) / 2 > WIDE:
        needed = clips_needed(WIDE, rate=sum(rate.ci95) / 2)
    if needed is not None:
        needed = math.ceil(needed * max(1.0, tally.filmed(model, "patch") / rate.n))
    verdict, sentence = _judged(tally, model, measure, rate, controls)
    if needed is not None:
        sentence += f" {needed} {UNITS[tally.independent_kind]} would tell it to ± {100 * WIDE:.0f} points."
    question = f"Does this patch, printed and filmed, still {effect_words(measure, session.target, model)}?"
    return Answer(question, verdict, sentence, model, measure, rate, controls, needed)


def unanswered_words(session: RecordedSession) -> str:
    """Say why :func:`answer_of` has no answer."""
    return {
        "frames": "The session has no frames: it ended before the first one was analysed.",
        "sheet": "No printed sheet was recognised in any frame.",
        "patch": "Only harmless sheets were recognised, none with the patch.",
        "truth": "There is no target, and the true class of what was filmed is unknown (--label).",
        "views": f"No frame with the patch counts: {', '.join(_exclusions(session))}. Only where the model is right with a "
        "harmless sheet at the same pose can a patch be what misleads it.",
    }[_lacking(session)]


def _exclusions(session: RecordedSession) -> list[str]:
    return list(dict.fromkeys(why for model in session.tally.models for why in session.tally.exclusions(model)))


def _lacking(session: RecordedSession) -> Literal["frames", "sheet", "patch", "truth", "views"]:
    """Tell what a session lacks for an answer."""
    conditions = {row.condition for row in session.rows}
    if not conditions:
        return "frames"
    if conditions == {NO_SHEET}:
        return "sheet"
    if "patch" not in conditions:
        return "patch"
    judged = any(frame_success(row, session.target) for row in session.rows if row.condition == "patch")
    return "views" if judged and _exclusions(session) else "truth"


def _repeats(session: RecordedSession) -> bool:
    """Tell whether a rig has shown all of its scenes, so that more clips show no others."""
    return session.record.virtual and session.tally.independent_kind == "scene"


def effect_words(measure: str, target: str | None, model: str) -> str:
    """Word what a patch is to do to a model, such as ``mislead the model resnet50``."""
    return {
        "target": f"make {model} see “{target}”",
        "wrong": f"mislead the model {model}",
        "hidden": f"hide the object from {model}",
        "relabelled": f"make {model} take the object for something else",
        "false_boxes": f"make {model} see what is not there",
    }[measure]


def _judged(tally: Tally, model: str, measure: str, rate: Rate, controls: Mapping[str, Rate]) -> tuple[str, str]:
    """Return the verdict and the sentence of its numbers."""
    units = UNITS[tally.independent_kind]
    in_part = [name for name in ("patch", *controls) if not tally.counts_whole(model, measure, name)]
    if rate.rate and rate.ci95 is not None and not controls:
        sentence = numbers_words(measure, rate, controls, units, True, in_part)
        return NOT_COMPARED, (
            f"{sentence} No control was filmed, so that the sheet covers a part of the picture may be the whole cause."
        )
    compared = [c for c in tally.comparisons() if (c.model, c.measure) == (model, measure)]
    clear = beyond_chance([comparison.difference for comparison in compared])
    sentence = numbers_words(measure, rate, controls, units, clear, in_part)
    if clear is None and rate.rate and rate.ci95 is not None:
        sentence += " Too few sheets were shown at the same poses to compare them."
    return verdict_words(rate, clear, tally.independent_kind), sentence


def numbers_words(
    measure: str,
    rate: Rate,
    controls: Mapping[str, Rate],
    units: str,
    clear: bool | None,
    in_part: Collection[str] = (),
) -> str:
    """Say in a sentence how often a patch worked, how often it may elsewhere, and how often its controls did.

    Args:
        measure: of ``calibration.common.success.MEASURES``.
        rate: of the patch.
        controls: rates by name; empty where none is to be compared with.
        units: what the rates count, such as clips.
        clear: whether chance alone does not explain what the patch has beyond its controls; None where they could not be
            compared.
        in_part: ``patch`` and the controls of which some units count in part, so that their number is no number of successes.
    """
    happened = f"With the patch, {MEASURES[measure]} in {_share(rate, units, 'patch' in in_part)}"
    if rate.ci95 is None:
        return f"{happened}; other {units} may differ."
    low, high = (f"{100 * end:.0f}" for end in rate.ci95)
    if rate.rate == 0:
        possible = high if high != "0" else f"{100 * rate.ci95[1]:.1g}"  # of thousands: 0 % would be never
        return f"{happened}; with so few, up to {possible} % is possible."
    control_words = ", ".join(
        f"with the {name} control in {_share(control, units, name in in_part)}" for name, control in controls.items()
    )
    wide = f": so few {units} tell little of them" if rate.ci95[1] - rate.ci95[0] > _SAYS_LITTLE else ""
    sure = f"{happened} ({low} to {high} % in others like these{wide}){'; ' if control_words else ''}{control_words}."
    if clear is None:
        return f"{sure} What the patch has beyond a harmless sheet is unknown."
    return sure if clear else f"{sure} That is no more than chance may give."


def verdict_words(rate: Rate, clear: bool | None, kind: str = "clip") -> str:
    """Judge a rate in a few words; ``clear`` as for :func:`numbers_words`, ``kind`` says what it counts."""
    if rate.ci95 is None:
        return f"One {kind} tells little"
    if rate.rate == 0:
        return "Not shown"
    if clear is None:
        return NOT_COMPARED
    return "Not clear" if not clear else "Yes" if rate.ci95[0] >= 0.5 else "Yes, at times"


def beyond_chance(differences: Sequence[Difference]) -> bool | None:
    """Tell whether all intervals of differences from controls lie above 0; None where there are none."""
    intervals = [difference.ci95 for difference in differences if difference.ci95 is not None]
    return all(low > 0 for low, _ in intervals) if intervals else None


def _share(rate: Rate, units: str, in_part: bool) -> str:
    """Word a rate, such as ``3 of 7 clips``, ``41 % of 7 clips`` where they count in part, or of the views of one."""
    if rate.rate is None:
        return "–"
    if rate.n == 1:
        return f"{100 * rate.rate:.0f} % of the views counted"
    count = rate.rate * rate.n
    whole = rate.rate in (0.0, 1.0) or (not in_part and abs(count - round(count)) < 1e-6)
    return f"{round(count)} of {rate.n} {units}" if whole else f"{100 * rate.rate:.0f} % of {rate.n} {units}"


@dataclass(frozen=True)
class NextStep:
    """Something to do next: why, and the command."""

    why: str
    command: str


def next_steps(
    session: RecordedSession,
    answer: Answer | None,
    gaps: Sequence[Gap],
    *,
    whole: bool = True,
    weak: TrainConfig | None = None,
) -> list[NextStep]:
    """List what helps most after this session, at most four steps.

    Args:
        session: that was filmed.
        answer: of the session; None if there is none.
        gaps: results of the replay.
        whole: whether no file of the session is damaged; no training can learn from one that is not.
        weak: the settings of a patch that seldom works on photographs either; None for another.
    """
    steps = [*_repairs(session, whole), *_stronger(session, weak), *_steps(session, answer, gaps, whole)]
    return steps[:_MOST_STEPS]


def _repairs(session: RecordedSession, whole: bool) -> Iterator[NextStep]:
    if not whole:
        folder = shlex.quote(str(session.folder))
        yield NextStep("Restore what is not whole (below), and report again", f"physpatch report {folder}")


def _stronger(session: RecordedSession, weak: TrainConfig | None) -> Iterator[NextStep]:
    """Propose a training with finer cells, which reaches more, or a longer one where they are fine."""
    if weak is None or session.run is None:
        return
    yield NextStep(
        "Train a stronger patch: on photographs, too, this one seldom works", stronger_training(session.run, weak)
    )


def stronger_training(run: Path, weak: TrainConfig) -> str:
    """Return the command for a patch with finer cells than the one of ``run``, or where they are fine, more steps."""
    fine = max(weak.patch.grid) >= FINER_GRID
    change = f"--steps {2 * weak.optimisation.steps}" if fine else f"--grid {FINER_GRID}x{FINER_GRID}"
    return f"physpatch train --config {_config(run)} {change}"


def _steps(session: RecordedSession, answer: Answer | None, gaps: Sequence[Gap], whole: bool) -> Iterator[NextStep]:
    folder, run, size_mm = shlex.quote(str(session.folder)), _run(session), _size_mm(session)
    sheet = f"physpatch print {run} --size {size_mm / 10:g}cm --controls"
    film = f"physpatch live {run} {_source(session)}{_sheet(session)}"
    if answer is None:
        lacking, label = _lacking(session), "" if session.record.virtual else " --label NAME"
        if lacking in ("frames", "sheet"):
            yield NextStep("Print the sheet with its controls and markers", sheet)
        if lacking == "views":
            yield from _more(session, clips_needed(WIDE), f"{film}{label}")
        else:
            yield NextStep(
                "Film all sheets, and say what is behind them" if label else "Film all sheets", f"{film}{label}"
            )
        return
    if CONTROL not in answer.controls:
        yield NextStep("Print harmless sheets to compare with", sheet)
    if answer.needed is not None:
        yield from _more(session, answer.needed, film)
    summaries = session.tally.summaries()
    cell_px = next((s.px_per_cell for s in summaries if s.condition == "patch" and s.px_per_cell is not None), None)
    if cell_px is not None and cell_px < _COARSE_PX:
        yield NextStep(
            f"Print it larger: a cell is {cell_px:.1f} pixels wide here",
            f"physpatch print {run} --size {2 * size_mm / 10:g}cm --controls",
        )
    if not whole:
        return
    cause = next((gap.cause for gap in gaps if gap.model == answer.model), None)
    if cause == "coloured":
        yield NextStep(
            "Measure what printer and camera make of colours, then train with it",
            f"physpatch calibrate colour --from-session {folder}",
        )
    learn = _LEARN_OF_RIG if session.record.virtual else _LEARN
    yield NextStep(_LEARN_BY_CAUSE.get(cause or "", learn), f"physpatch train --from-session {folder}")
    yield NextStep("Compare with what you film next", f"physpatch report {folder} NEXT")


def _more(session: RecordedSession, needed: int, film: str) -> Iterator[NextStep]:
    """Ask for so many units, or for other photographs where a rig has shown all that its run held out."""
    if _repeats(session):
        count, config = len(set(session.record.scenes)), "RUN/run.json" if session.run is None else _config(session.run)
        yield NextStep(
            f"Hold more photographs out: the rig has shown all {count}", f"physpatch train --config {config} --data DIR"
        )
        return
    number = f" --clips {needed}" if session.record.virtual else ""
    yield NextStep(f"Film {needed} {UNITS[session.tally.independent_kind]}", f"{film}{number}")


def _config(run: Path) -> str:
    return shlex.quote(str(Path(os.path.normpath(run)) / RUN_FILE))


def _run(session: RecordedSession) -> str:
    """Return the run's folder as the user can type it where the session's folder is right."""
    if session.run is None:
        return "RUN"
    return shlex.quote(str(Path(os.path.normpath(session.run))))


def _size_mm(session: RecordedSession) -> float:
    """Return the size of the session's sheet as ``physpatch print --size`` takes it."""
    if not session.layouts:
        return parse_length_mm(PATCH_SIZE)
    layout = session.layouts[0]
    layout = layout.printed((1 / layout.scale[0], 1 / layout.scale[1]))  # as asked for, not as measured
    sign = layout.carrier_rect
    return round(sign.width_mm if sign else max(layout.patch.width_mm, layout.patch.height_mm), 1)


def _source(session: RecordedSession) -> str:
    record = session.record
    if record.virtual:
        rig = f"rendered --scene {shlex.quote(record.scene)}" if record.scene else "virtual"
        frames = "" if record.rig is None else _frames(record.rig.frames_per_clip)
        return f"--source {rig}{frames} --headless"  # nobody has to hold anything
    return f"--source {shlex.quote(record.source or '0')}"


def _frames(per_clip: int) -> str:
    return "" if per_clip == FRAMES_PER_CLIP else f" --frames-per-clip {per_clip}"


def _sheet(session: RecordedSession) -> str:
    """Return the option, after a space, that names the session's PDF, unless it is the run's own, which is found without."""
    if session.sheet is None or session.run is None:
        return ""
    named = os.path.normpath(session.sheet)
    return "" if named == os.path.normpath(sheet_of(session.run)) else f" --sheet {shlex.quote(named)}"
