"""Decompose the gap between digital and physical success: at which step a patch loses its effect, and how to avoid it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_map import ColourMap
from calibration.colour.rig_profile import RigProfile
from calibration.colour.sheet_colour import observe
from calibration.common.errors import InputError
from calibration.common.success import MEASURES, Aim, Outcome, judge, judge_answer
from captures.gap.replay import STEPS, Judge, ReplayView, replay
from captures.gap.replay import example as replay_example
from captures.gap.session_colours import session_lights
from captures.results.aggregation import CONTROL, Tally, Unit
from captures.results.recorded_session import RecordedSession, Shown
from captures.results.verdict import REAL, WAY, GapStep, verdict
from captures.storage import FrameRow
from physpatch.attack.objectives import choose_goal
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch
from physpatch.stats.clustered import Observation, averaged
from physpatch.stats.intervals import Difference, Forecast, Rate, forecast
from physpatch.victims.boxes import to_found_boxes
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim

_GOLDEN = (5**0.5 - 1) / 2
_BACKGROUNDS = (CONTROL, "shuffled", "random", "patch", "drawing")  # sheets to draw the patch over, the best first
MOST_VIEWS = 80


class UnmeasurableError(InputError):
    """A session in which a replay finds nothing to measure."""


@dataclass(frozen=True)
class Gap:
    """The losses of one model in a session, step by step.

    Attributes:
        model: name of the model.
        measure: one of ``calibration.common.success.MEASURES``.
        unit: the kind of unit in which the sheets are compared.
        counted: the kind of unit that ``n`` counts.
        background: the sheet in whose place the patch was drawn.
        digital: the rate on the run's held-out photographs, from ``run.json``; None if unknown.
        steps: from ``trained`` to ``captured``.
        total: paired loss from the first step to the last.
        views: number of frames into which the patch was drawn.
        draws: samples of the training transformations per frame.
        left_out: units with the patch that are excluded, because no kept frame with the background sheet could be measured,
            or the views that are replayed are of others.
        colours: source of the measured colours.
        cause: name of the step with the largest loss; None if no loss is significant.
        second: name of another step with a similar loss; None without one.
        sentence: the result in words, with advice.
        prediction: quality of predicting the captured rates from the last replayed step, by unit.
        predicted, captured: these rates, in the same order of units.
        example: description and picture, (S, S, 3) RGB uint8, of each step in one frame, and a captured frame of the same unit.
    """

    model: str
    measure: str
    unit: str
    counted: str
    background: str
    digital: Rate | None
    steps: tuple[GapStep, ...]
    total: Difference
    views: int
    draws: int
    left_out: int
    colours: str
    cause: str | None
    second: str | None
    sentence: str
    prediction: Forecast | None
    predicted: tuple[float, ...] = field(repr=False)
    captured: tuple[float, ...] = field(repr=False)
    example: tuple[tuple[str, NDArray[np.uint8]], ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, without the pictures."""
        return asdict(replace(self, example=()))


def measure_gap(
    session: RecordedSession,
    victim: Victim,
    patch: Patch,
    config: TrainConfig,
    *,
    profile: RigProfile | None = None,
    digital: EvaluationRecord | None = None,
    draws: int = 4,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gap:
    """Replay a session and measure the loss at each step.

    Args:
        session: with kept original frames.
        victim: one of the session's models, unchanged.
        patch: the patch that was shown.
        config: of its training.
        profile: rig profile with measured colours; None measures them on the session's sheets.
        digital: the run's results on held-out photographs.
        draws: samples of the training transformations per frame.
        progress: called with the number of replayed frames and their total.

    Raises:
        UnmeasurableError: no frames with a sheet were kept, the patch was not shown, or success is not defined.
        InputError: the PDF of the session's sheets is gone.
    """
    measure = _measure(session, victim)
    tally = session.tally
    measured, colour_source = session_lights(session, victim.name) if profile is None else (profile, "the rig profile")
    weights = tally.weights(victim.name, measure)
    captured = [filmed for filmed in tally.observations(victim.name, measure, "patch") if filmed.weight > 0]
    real = {filmed.cell for filmed in captured}
    background, frames = _background(session, victim.name, real)
    views = [ReplayView.of(frame, shot, _colours(measured, frame.row.light), victim) for frame, shot in frames]
    rows = [frame.row for frame, _ in frames]
    if not views:
        raise UnmeasurableError(
            f"no kept frame shows the {background} sheet at a pose at which the patch was shown and the model was right; "
            "keep more frames with `physpatch live --keep all`"
        )
    left_out = len(real - {tally.unit(row) for row in rows})
    cells = cells_from_patch(patch, victim.device)
    judged = replay(
        victim,
        cells,
        views,
        _patch_area(config),
        config.eot,
        _judge(victim, measure, patch, config),
        draws=draws,
        seed=config.optimisation.seed,
        progress=progress,
    )
    shares = {name: _observations(happened, rows, tally, weights) for name, happened in judged.items()}
    replayed = {drawn.cell for drawn in shares[STEPS[0]]}
    shares[REAL] = [filmed for filmed in captured if filmed.cell in replayed]
    steps = _steps(shares, tally)
    on_photographs = digital_rate(digital, measure)
    total = tally.difference_over(shares[STEPS[0]], shares[REAL])
    result = verdict(steps, total, MEASURES[measure], digital=on_photographs, conditional=weights is not None)
    predicted_by_unit, captured_by_unit = _by_unit(shares[STEPS[-1]]), _by_unit(shares[REAL])
    predicted, real_shares = (
        tuple(values[unit] for unit in predicted_by_unit) for values in (predicted_by_unit, captured_by_unit)
    )
    return Gap(
        model=victim.name,
        measure=measure,
        unit=session.tally.unit_kind,
        counted=session.tally.independent_kind,
        background=background,
        digital=on_photographs,
        steps=steps,
        total=total,
        views=len(views),
        draws=draws,
        left_out=left_out,
        colours=colour_source,
        cause=result.cause,
        second=result.second,
        sentence=result.sentence,
        prediction=forecast(predicted, real_shares, alike=tally.independent_kind != tally.unit_kind),
        predicted=predicted,
        captured=real_shares,
        example=_example(session, victim, cells, views[0], tally.unit(rows[0]), config),
    )


def _measure(session: RecordedSession, victim: Victim) -> str:
    measure = "wrong" if session.target is None else "target"
    if session.tally.rates(victim.name, measure, "patch"):
        return measure
    raise UnmeasurableError(
        f"success of the patch on {victim.name} is not defined in this session: the patch was not shown where the model is "
        "right with the grey control, or, for an untargeted patch, the true class is unknown (--label)"
    )


def _background(
    session: RecordedSession, model: str, units: Collection[Hashable]
) -> tuple[str, list[tuple[Shown, ChartShot]]]:
    """Find the harmless sheet that is best to draw over, and frames of these units in which it can be measured.

    They are spread over the units, and no more are decoded than are replayed: a picture takes several megabytes.
    """
    if session.record.sheet and session.sheet is None:  # before frames are decoded in vain
        raise InputError(
            "the PDF of its sheets was moved or deleted, so no sheet can be located in the frames; put it back"
        )
    located = 0
    for condition in _BACKGROUNDS:
        measurable: list[tuple[Shown, ChartShot]] = []
        of_sheet = [row for row in session.rows if row.model == model and row.condition == condition]
        counted = [row for row in of_sheet if session.tally.unit(row) in units]
        for frame in session.shown(model, condition, _spread(counted, session.tally)):
            located += 1
            shot = observe(frame.picture, frame.pose)
            if shot is not None:
                measurable.append((frame, shot))
            if len(measurable) == MOST_VIEWS:
                break
        if measurable:
            return condition, sorted(measurable, key=lambda pair: pair[0].row.frame)
        for frame in session.shown(model, condition, (row for row in of_sheet if session.tally.unit(row) not in units)):
            located += 1
            if observe(frame.picture, frame.pose) is not None:  # it can be measured, but not where it counts
                return condition, []
    if not located:
        raise UnmeasurableError("no kept frame shows a sheet whose markers are read; record with --keep all")
    raise UnmeasurableError(
        f"no sheet can be measured in the kept frames that show one ({located}), because its white border is cut off, narrower "
        "than 3 pixels, overexposed or not plain; show it whole and larger, and turn the camera's sharpening down"
    )


def _spread(rows: Iterable[FrameRow], tally: Tally) -> Iterator[FrameRow]:
    """Order rows so that the first ones are of all units in turn, and from all over each unit."""
    by_unit: dict[Hashable, list[FrameRow]] = defaultdict(list)
    for row in rows:
        by_unit[tally.unit(row)].append(row)
    # The multiples of the golden ratio lie evenly.
    spread = ([own[i] for i in sorted(range(len(own)), key=lambda i: i * _GOLDEN % 1)] for own in by_unit.values())
    return (row for turn in zip_longest(*spread) for row in turn if row is not None)


def _colours(profile: RigProfile, light: str | None) -> ColourMap | None:
    """Return the colour map of that light, or else of the first."""
    lights = [measured for measured in profile.lights if measured.name == light] or list(profile.lights)
    return lights[0].map if lights else None


def _patch_area(config: TrainConfig) -> float | None:
    """Return the patch's share of the image in training; None if it was trained as a share of an object."""
    return None if config.object.name is not None else config.patch.area


def _judge(victim: Victim, measure: str, patch: Patch, config: TrainConfig) -> Judge:
    """Build a function that judges replayed pictures by the session's definition of success."""
    target = None if patch.target is None else victim.target_index(patch.target)
    if not isinstance(victim, Detector):

        def of_answers(inputs: Tensor, view: ReplayView) -> Tensor:
            answers = victim.judged(victim.scores(inputs.to(victim.device))).argmax(dim=1).tolist()
            if measure == "target":
                outcomes = [judge_answer(answer, None, target) for answer in answers]
            else:
                names = (*victim.categories, "")  # the last one where no class reaches the threshold
                outcomes = [judge_answer(names[answer], view.label, None) for answer in answers]
            return _as_tensor(outcomes, measure)

        return of_answers
    on_object = config.object.name is not None
    goal = choose_goal(config.objective.goal, target, on_object)

    def of_boxes(inputs: Tensor, view: ReplayView) -> Tensor:
        own = victim.category_index(view.label) if view.label in victim.categories else None
        sign, at_patch = view.places(victim.preprocessing.size)
        aim = Aim(goal, config.objective.scope, own, target)
        outcomes = [
            judge(
                to_found_boxes(detections),
                aim,
                object_xyxy=sign,
                patch_xyxy=at_patch,
                on_object=on_object,
                least=victim.threshold,
            )
            for detections in victim.find(inputs.to(victim.device))
        ]
        return _as_tensor(outcomes, measure)

    return of_boxes


def _as_tensor(outcomes: Sequence[Outcome], measure: str) -> Tensor:
    return torch.tensor([bool(getattr(outcome, measure)) for outcome in outcomes])


def _example(
    session: RecordedSession, victim: Victim, cells: Tensor, view: ReplayView, unit: Unit, config: TrainConfig
) -> tuple[tuple[str, NDArray[np.uint8]], ...]:
    steps = replay_example(victim, cells, view, _patch_area(config), config.eot, seed=config.optimisation.seed)
    pictures = list(zip((step.shown for step in WAY), steps, strict=False))
    of_unit = (row for row in session.rows if session.tally.unit(row) == unit)
    first = next(session.shown(victim.name, "patch", of_unit), None)
    if first is not None:
        size = victim.preprocessing.size
        picture = ReplayView.of(first, view.shot, None, victim).picture
        pictures.append((WAY[-1].shown, cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)))
    return tuple(pictures)


def _observations(
    happened: Tensor, rows: Sequence[FrameRow], tally: Tally, weights: dict[Unit, float] | None
) -> list[Observation]:
    """Average success in frames, (V, draws), over each unit of each clip."""
    shares = happened.float().mean(dim=1).tolist()
    observed = averaged((tally.clip(row), tally.unit(row), share) for row, share in zip(rows, shares, strict=True))
    return observed if weights is None else [replace(o, weight=weights[o.cell]) for o in observed]


def _by_unit(observations: Sequence[Observation]) -> dict[Hashable, float]:
    """Average the shares over the clips of each unit."""
    shares: dict[Hashable, list[float]] = defaultdict(list)
    for observation in observations:
        shares[observation.cell].append(observation.share)
    return {unit: fmean(values) for unit, values in shares.items()}


def _steps(shares: dict[str, list[Observation]], tally: Tally) -> tuple[GapStep, ...]:
    steps: list[GapStep] = []
    before: list[Observation] | None = None
    for step in WAY:
        observations = shares[step.name]
        loss = None if before is None else tally.difference_over(before, observations, same_frames=step.name != REAL)
        steps.append(GapStep(step.name, step.shown, tally.rate_over(observations), loss))
        before = observations
    return tuple(steps)


def digital_rate(results: EvaluationRecord | None, measure: str) -> Rate | None:
    """Return the rate of an outcome on held-out photographs; None without results, or where it was not measured there."""
    if results is None:
        return None
    return {
        "target": results.targeted_success,
        "wrong": results.untargeted_success,
        "hidden": results.hidden.get("patch"),
        "relabelled": results.relabelled.get("patch"),
    }.get(measure)
