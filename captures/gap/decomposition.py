"""From digital to physical: where on the way a patch loses its effect, and what to do about it."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from calibration.sheet.layout import SHEET_KINDS
from captures.gap.replay import STEPS, Judge, View, replay
from captures.gap.replay import example as replay_example
from captures.gap.session_colours import session_lights
from captures.results.aggregation import CONTROL, Tally, Unit
from captures.results.recorded_session import RecordedSession, Shown
from captures.results.verdict import REAL, WAY, GapStep, verdict
from captures.storage import FrameRow
from physpatch.attack.objectives import choose_goal
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch
from physpatch.stats.clustered import Observation
from physpatch.stats.intervals import Difference, Forecast, Rate, forecast
from physpatch.victims.boxes import to_found_boxes
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim

_MOST_VIEWS = 80


@dataclass(frozen=True)
class Gap:
    """Where one model's session lost a patch's effect.

    Attributes:
        model: its name.
        measure: one of ``calibration.common.success.MEASURES``.
        unit: what ``n`` counts.
        background: the sheet in whose place the patch was drawn.
        digital: the same on the run's held-out photographs, as ``run.json`` says; None where it does not.
        steps: from ``trained`` to ``captured``.
        total: what is lost from the first step to the last, pair by pair.
        views, draws: frames that were drawn into, and draws of the training's transformations in each.
        left_out: units in which the patch was captured and no kept frame with the background sheet could be measured: nothing
            here is about them.
        colours: where the colours were measured.
        cause: name of the step that lost most; None where none can be told from chance.
        second: name of another that lost about as much, if there is one.
        sentence: the same in words, with what to do.
        prediction: of the captured rates by the last replayed ones, unit by unit.
        predicted, captured: both of these rates, in the order of the units.
        example: the steps in one frame, and a captured one of the same unit, in words and as (S, S, 3) RGB.
    """

    model: str
    measure: str
    unit: str
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
        """As plain JSON values, without the pictures."""
        return asdict(replace(self, example=()))


def measure_gap(
    session: RecordedSession,
    victim: Victim,
    patch: Patch,
    config: TrainConfig,
    *,
    profile: RigProfile | None = None,
    digital: dict[str, Any] | None = None,
    draws: int = 4,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gap:
    """Replay a session.

    Args:
        session: with frames kept as they came.
        victim: one of the session's models, as it was then.
        patch: the one that was shown.
        config: of its training.
        profile: the rig's colours; None takes them from the session's own sheets.
        digital: the run's results on held-out photographs.
        draws: of the training's transformations in each frame.
        progress: called with the number of frames replayed and their total.

    Raises:
        InputError: no frames with a sheet were kept, the patch was not shown, or it cannot be said what success is.
    """
    measure = _measure(session, victim)
    tally = session.tally
    measured, told = session_lights(session, victim.name) if profile is None else (profile, "the rig's profile")
    background, frames = _background(session, victim.name)
    weights = tally.weights(victim.name, measure)
    captured = [one for one in tally.observations(victim.name, measure, "patch") if one.weight > 0]
    real = {one.cell for one in captured}
    views, rows = [], []
    for shown, shot in frames:
        if tally.unit(shown.row) in real:
            views.append(View.of(shown, shot, _colours(measured, shown.row.light), victim))
            rows.append(shown.row)
    if not views:
        raise InputError(
            f"no frame that was kept shows the {background} sheet where the patch was shown and the model was right; "
            "keep more of them with `physpatch live --keep all`"
        )
    left_out = len(real - {tally.unit(row) for row in rows})
    chosen = torch.linspace(0, len(views) - 1, min(len(views), _MOST_VIEWS)).round().long().tolist()
    views, rows = ([values[i] for i in chosen] for values in (views, rows))
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
    replayed = {one.cell for one in shares[STEPS[0]]}
    shares[REAL] = [one for one in captured if one.cell in replayed]
    steps = _steps(shares, tally)
    known = _digital(digital, measure)
    total = tally.difference_over(shares[STEPS[0]], shares[REAL])
    found = verdict(steps, total, MEASURES[measure], digital=known, conditional=weights is not None)
    foretold, seen = _by_unit(shares[STEPS[-1]]), _by_unit(shares[REAL])
    predicted, real_shares = (tuple(values[unit] for unit in foretold) for values in (foretold, seen))
    return Gap(
        model=victim.name,
        measure=measure,
        unit=session.tally.unit_kind,
        background=background,
        digital=known,
        steps=steps,
        total=total,
        views=len(views),
        draws=draws,
        left_out=left_out,
        colours=told,
        cause=found.cause,
        second=found.second,
        sentence=found.sentence,
        prediction=forecast(predicted, real_shares, alike=tally.unit_kind == "pose cell"),
        predicted=predicted,
        captured=real_shares,
        example=_example(session, victim, cells, views[0], tally.unit(rows[0]), config),
    )


def _measure(session: RecordedSession, victim: Victim) -> str:
    measure = "wrong" if session.target is None else "target"
    if session.tally.rates(victim.name, measure, "patch"):
        return measure
    raise InputError(
        f"it cannot be said when {victim.name} was fooled in this session: the patch was not shown where the model is right "
        "with the grey control, or, for an untargeted patch, the true class is not known (--label)"
    )


def _background(session: RecordedSession, model: str) -> tuple[str, list[tuple[Shown, ChartShot]]]:
    """The harmless sheet that is best to draw over, and where it was seen well enough."""
    for condition in (CONTROL, *(kind for kind in SHEET_KINDS[::-1] if kind != CONTROL)):
        looked = ((shown, observe(shown.picture, shown.pose)) for shown in session.shown(model, condition))
        found = [(shown, shot) for shown, shot in looked if shot is not None]
        if found:
            return condition, found
    raise InputError("no frame in which a sheet can be measured was kept; record with --keep key, or all")


def _colours(profile: RigProfile, light: str | None) -> ColourMap | None:
    """The map of that light, else of the first."""
    named = [one for one in profile.lights if one.name == light] or list(profile.lights)
    return named[0].map if named else None


def _patch_area(config: TrainConfig) -> float | None:
    """Share of the image that the patch was trained at; None where it was trained as a share of an object."""
    return None if config.object.name is not None else config.patch.area


def _judge(victim: Victim, measure: str, patch: Patch, config: TrainConfig) -> Judge:
    """What the session's own definition of success says of replayed pictures."""
    target = None if patch.target is None else victim.target_index(patch.target)
    if not isinstance(victim, Detector):

        def of_answers(inputs: Tensor, view: View) -> Tensor:
            answers = victim.scores(inputs.to(victim.device)).argmax(dim=1).tolist()
            if measure == "target":
                outcomes = [judge_answer(answer, None, target) for answer in answers]
            else:
                outcomes = [judge_answer(victim.categories[answer], view.label, None) for answer in answers]
            return _said(outcomes, measure)

        return of_answers
    on_object = config.object.name is not None
    goal = choose_goal(config.objective.goal, target, on_object)

    def of_boxes(inputs: Tensor, view: View) -> Tensor:
        own = victim.category_index(view.label) if view.label in victim.categories else None
        sign, at_patch = view.places(victim.preprocessing.size)
        aim = Aim(goal, config.objective.scope, own, target)
        outcomes = [
            judge(to_found_boxes(detections), aim, object_xyxy=sign, patch_xyxy=at_patch, on_object=on_object)
            for detections in victim.find(inputs.to(victim.device))
        ]
        return _said(outcomes, measure)

    return of_boxes


def _said(outcomes: Sequence[Outcome], measure: str) -> Tensor:
    return torch.tensor([bool(getattr(outcome, measure)) for outcome in outcomes])


def _example(
    session: RecordedSession, victim: Victim, cells: Tensor, view: View, unit: Unit, config: TrainConfig
) -> tuple[tuple[str, NDArray[np.uint8]], ...]:
    steps = replay_example(victim, cells, view, _patch_area(config), config.eot, seed=config.optimisation.seed)
    pictures = list(zip((step.shown for step in WAY), steps, strict=False))
    captured = (shown for shown in session.shown(victim.name, "patch") if session.tally.unit(shown.row) == unit)
    found = next(captured, None)
    if found is not None:
        size = victim.preprocessing.size
        seen = View.of(found, view.shot, None, victim).picture
        pictures.append((WAY[-1].shown, cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)))
    return tuple(pictures)


def _observations(
    happened: Tensor, rows: Sequence[FrameRow], tally: Tally, weights: dict[Unit, float] | None
) -> list[Observation]:
    """What was judged of frames, (V, draws), averaged over each unit of each take."""
    shares: dict[tuple[Hashable, Unit], list[float]] = defaultdict(list)
    for row, share in zip(rows, happened.float().mean(dim=1).tolist(), strict=True):
        shares[tally.take(row), tally.unit(row)].append(share)
    return [
        Observation(take, unit, fmean(values), 1.0 if weights is None else weights[unit])
        for (take, unit), values in shares.items()
    ]


def _by_unit(observations: Sequence[Observation]) -> dict[Hashable, float]:
    """The mean over the takes of each unit."""
    shares: dict[Hashable, list[float]] = defaultdict(list)
    for one in observations:
        shares[one.cell].append(one.share)
    return {unit: fmean(values) for unit, values in shares.items()}


def _steps(shares: dict[str, list[Observation]], tally: Tally) -> tuple[GapStep, ...]:
    steps: list[GapStep] = []
    before: list[Observation] | None = None
    for step in WAY:
        here = shares[step.name]
        loss = None if before is None else tally.difference_over(before, here, same_frames=step.name != REAL)
        steps.append(GapStep(step.name, step.shown, tally.rate_over(here), loss))
        before = here
    return tuple(steps)


def _digital(results: dict[str, Any] | None, measure: str) -> Rate | None:
    kind = {"target": "targeted_success", "wrong": "untargeted_success"}.get(measure)
    found = (results or {}).get(kind or "")
    return Rate.from_dict(found) if found else None
