"""The first screen of a report: question, answer, pictures, numbers, where it was lost, and what to do next."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from calibration.common.errors import InputError
from calibration.common.pictures import open_picture
from calibration.sheet.paper_sizes import print_options
from captures.gap.decomposition import Gap, digital_rate
from captures.report.answer import (
    Answer,
    answer_of,
    beyond_chance,
    effect_words,
    next_steps,
    numbers_words,
    stronger_training,
    unanswered_words,
    verdict_words,
)
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
_RUN_PICTURES = {"patch": "the patch, as designed", "sheet": "its sheet", "examples": "on photographs"}


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
        yield Text(unanswered_words(session), "lead")
    else:
        yield Text(answer.question, "question")
        yield Text(answer.verdict, "verdict")
        yield Text(answer.sentence, "lead")
    yield from source_blocks(session)
    yield from _evidence(session, answer)
    if answer is not None:
        yield from (Text(gap.sentence) for gap in gaps if (gap.model, gap.measure) == (answer.model, answer.measure))
    yield NextSteps(
        [
            (step.why, step.command)
            for step in next_steps(session, answer, gaps, whole=whole, weak=_weak(session, answer))
        ]
    )


def run_screen(folder: Path) -> Iterator[Block]:
    """Yield the blocks about a run that a person sees first; none without results, or if its record is damaged."""
    try:
        run = RunRecord.of(folder)
        config = run.train_config
    except InputError:  # which the chapter about the patch says
        return
    results, weights = run.results, run.weights
    if results is None or weights is None:
        yield from _unmeasured(folder, run, config)
        return
    targeted = run.target is not None
    measure, target = ("target", run.target.name) if run.target is not None else ("wrong", None)
    rate = results.targeted_success if targeted else results.untargeted_success
    if rate.rate is None or rate.ci95 is None:
        return
    measured = results.control_targeted_success if targeted else results.control_untargeted_success
    # A wrong answer with the grey control is not counted, so its rate is 0 by definition.
    controls = {name: own for name, own in measured.items() if own.rate is not None and (targeted or name != CONTROL)}
    clear = beyond_chance([kinds.targeted if targeted else kinds.untargeted for kinds in results.differences.values()])
    yield Text(f"Does this patch {effect_words(measure, target, weights.model)}, on held-out photographs?", "question")
    yield Text(verdict_words(rate, clear, "photograph"), "verdict")
    in_part = () if results.poses == 1 else ("patch", *controls)
    yield Text(numbers_words(measure, rate, controls, "photographs", clear, in_part), "lead")
    yield Gallery(list(_run_pictures(folder)))
    on_screen = results.screen_targeted_success if targeted else results.screen_untargeted_success
    numbers = [_number(rate, "with the patch, in views as in training")]
    if on_screen is not None and on_screen.rate is not None:
        numbers.append(_number(on_screen, "with the patch, on a screen"))
    if controls:
        numbers.append(_of_controls(controls))
    yield Numbers(numbers)
    steps = [_printing(folder, config), ("Film it", f"physpatch live {shlex.quote(str(folder))} --source 0")]
    if rate.ci95[1] < _WORKS and run.imported is None:
        steps.insert(0, ("Train a stronger patch: this one seldom works", stronger_training(folder, config)))
    yield NextSteps(steps)


def _unmeasured(folder: Path, run: RunRecord, config: TrainConfig) -> Iterator[Block]:
    """Yield the first screen of a run that was not tried on held-out photographs."""
    yield Text("Not measured yet", "verdict")
    quoted_path = shlex.quote(str(folder))
    why, command = "Measure it on labelled photographs", f"physpatch evaluate {quoted_path} --data DIR"
    if run.imported is not None:
        yield Text("This patch was imported; how often it works is not known.", "lead")
        command += " --model NAME --save"
    elif run.status == "training":
        yield Text("Its training has not ended; if it was interrupted, it can go on.", "lead")
        why, command = "Go on training", f"physpatch train --resume --out {quoted_path}"
    else:
        yield Text("There were no labelled photographs to measure it on.", "lead")
    yield Gallery(list(_run_pictures(folder)))
    yield NextSteps([(why, command), _printing(folder, config)])


def _printing(folder: Path, config: TrainConfig) -> tuple[str, str]:
    """Return the step that prints a run's patch."""
    options = " ".join(print_options(sign=config.object.drawn_sign is not None))
    return "Print it with its controls", f"physpatch print {shlex.quote(str(folder))} {options}"


def _run_pictures(folder: Path, names: Iterable[str] = tuple(_RUN_PICTURES)) -> Iterator[Picture]:
    for name in names:
        file = folder / f"{name}.png"
        try:
            open_picture(file)
        except (InputError, OSError):  # missing, or damaged, which is said where it would be shown large
            continue
        yield Picture(file.read_bytes(), _RUN_PICTURES[name], pixelated=name == "patch")


def source_blocks(session: RecordedSession) -> Iterator[Block]:
    """Say so where a rig computed the frames."""
    if session.record.virtual:
        yield Text(_RENDERED if session.record.scene else _SIMULATED, "soft")


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
    numbers = list(_numbers(session, answer))
    if numbers:
        yield Numbers(numbers)


def _pictures(session: RecordedSession, answer: Answer | None) -> Iterator[Picture]:
    """Yield the patch, a frame with it, and a frame of the same clip with the grey control."""
    if session.run is not None:
        yield from _run_pictures(session.run, ["patch"])
    frames = key_frames(session.folder)
    rows = {row.frame: row for row in session.rows if answer is None or row.model == answer.model}
    patched = [number for number, condition in frames if condition == "patch" and number in rows]
    if not patched:
        return

    weights = None if answer is None else session.tally.weights(answer.model, answer.measure)

    def telling(number: int) -> tuple[bool, bool, bool]:
        """Prefer a view that counts, a success, and a clip in which the control was filmed too."""
        success = answer is not None and frame_success(rows[number], session.target).get(answer.measure, False)
        counts = weights is None or weights.get(session.tally.unit(rows[number]), 0.0) > 0
        return counts, success, harmless(number) is not None

    def harmless(number: int) -> int | None:
        """Find the control in the same clip, at the nearest distance where sheet or camera move."""
        distance_m, clip = _distance_m(rows[number]), rows[number].clip
        same_clip = [n for n, condition in frames if condition == CONTROL and n in rows and rows[n].clip == clip]
        return min(same_clip, key=lambda n: abs(_distance_m(rows[n]) - distance_m), default=None)

    best_number = max(patched, key=telling)
    for number, condition, caption in (
        (best_number, "patch", "the printed patch in a frame"),
        (harmless(best_number), CONTROL, "the same with a grey sheet"),
    ):
        if number is None:
            continue
        picture = read_key_frame(frames[number, condition])
        if picture is not None:
            answer_words = _said(rows[number])
            yield Picture(packed(picture, ".jpg"), f"{caption}{answer_words}")


def _said(row: FrameRow) -> str:
    """Word what a classifier said of a frame, and how surely."""
    sure = "" if row.top1_score is None else f", {100 * row.top1_score:.0f} %"
    return f": {row.top1}{sure}" if row.top1 else ""


def _distance_m(row: FrameRow) -> float:
    """Return the sheet's distance, measured or as a rig planned it; 0 if neither is known."""
    return row.distance_m or row.true_distance_m or 0.0


def _numbers(session: RecordedSession, answer: Answer | None) -> Iterator[Number]:
    digital = _digital(session, answer)
    if digital is not None and digital.rate is not None:
        yield _number(digital, "digitally, on held-out photographs")
    if answer is None:
        return
    yield _number(answer.rate, "printed, on camera")
    models = session.record.models
    behind = {noted.name: noted.defence for noted in models if noted.defence and noted.alone == answer.model}
    for summary in session.tally.summaries():
        if summary.condition == "patch" and summary.model in behind:
            rate = summary.rate(answer.measure)
            if rate.rate is not None:
                yield _number(rate, f"the same, behind the defence {behind[summary.model]}")
    if answer.controls:
        yield _of_controls(answer.controls)


def _of_controls(controls: Mapping[str, Rate]) -> Number:
    """Return the number of the most harmful control, or of all if they are alike."""
    worst = max(controls, key=lambda name: controls[name].rate or 0.0)
    differ = len({control.rate for control in controls.values()}) > 1
    label = "the most harmful control" if differ else "harmless controls"
    return _number(controls[worst], f"{label}: {worst if differ else ', '.join(controls)}")


def _digital(session: RecordedSession, answer: Answer | None) -> Rate | None:
    """Return the rate on photographs; without an answer, of the session's first model and its target, or of wrong answers."""
    if session.run is None or (answer is None and not session.tally.models):
        return None
    measure = ("target" if session.target else "wrong") if answer is None else answer.measure
    model = session.tally.models[0] if answer is None else answer.model
    try:
        run = RunRecord.of(session.run)
    except InputError:  # damaged, which the report says where it would show the run
        return None
    return digital_rate(run.measured.get(model), measure)


def _weak(session: RecordedSession, answer: Answer | None) -> TrainConfig | None:
    """Return the settings of a patch that does not work in half of the photographs, for certain; None for another."""
    digital = None if answer is None else _digital(session, answer)
    if session.run is None or digital is None or digital.ci95 is None or digital.ci95[1] >= _WORKS:
        return None
    run = RunRecord.of(session.run)
    with suppress(InputError):  # settings of another version
        return run.train_config if run.imported is None else None
    return None


def _number(rate: Rate, label: str) -> Number:
    share = 100 * (rate.rate or 0.0)
    certainty = (
        f"n = {rate.n}"
        if rate.ci95 is None
        else f"{100 * rate.ci95[0]:.0f} to {100 * rate.ci95[1]:.0f} %, n = {rate.n}"
    )
    return Number(f"{share:.0f} %", certainty, label)
