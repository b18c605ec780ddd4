"""``result.json``: what a run or a session says about each model, in one form for other tools."""

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from calibration.common.records import Record, RecordPart
from captures.results.curves import Curve, accuracy_drop, curve_measures, curves_of, every_view
from captures.results.object_precision import object_precision
from captures.results.recorded_session import RecordedSession, require_kind
from captures.results.sequence_summary import summaries_of
from physpatch.records.evaluation_record import (
    DifferenceValue,
    EvaluationRecord,
    ObjectDistance,
    PrecisionValue,
    RateValue,
)
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord
from physpatch.stats.intervals import Difference, Interval, Rate, independent_difference, wilson

RESULT_FILE = "result.json"
_NOTHING = Rate(None, None, 0)
_NO_CHANGE = Difference(None, None, 0)


class CurveValue(RecordPart):
    """Success in one bin of a factor, or at one threshold.

    Attributes:
        low, high: the bounds, ``from`` and ``to`` in the file; ``to`` is None without one. At a threshold, both are it.
        success: of the views that are right with the grey control.
        of_all: of all views.
        frames: number of frames.
    """

    low: float = Field(validation_alias="from", serialization_alias="from")
    high: float | None = Field(validation_alias="to", serialization_alias="to")
    success: RateValue
    of_all: RateValue
    frames: int


class CurveResult(RecordPart):
    """Success of one sheet along what varies.

    Attributes:
        measure: what counts, one of ``calibration.common.success.MEASURES``.
        sheet: ``patch`` or a control.
        by: ``distance_m``, ``angle_deg``, ``px_per_cell``, ``view_share``, ``object_distance`` (in the patch's sides), or
            ``threshold``, the least confidence that counts.
        points: in order.
    """

    measure: str
    sheet: str
    by: str
    points: list[CurveValue]


class LongestRun(RecordPart):
    """The largest number of consecutive frames with success in a clip: the median over clips."""

    measure: str
    sheet: str
    median: float | None
    ci95: Interval | None
    n: int


class ModelResult(RecordPart):
    """The effect of the patch on one model, with 95 % intervals.

    Attributes:
        model: its name.
        sha256: of its weights; empty where it is not recorded.
        target_first: how often the target came first; not measured without a target.
        made_wrong: how often the answer was wrong. Both are of the views that are right with the grey control.
        accuracy_drop: how much accuracy the patch costs: in a run, of clean photographs, with an interval that does not pair
            them; in a session, of all views, beside the grey control, paired.
        controls: ``target_first`` of each harmless control.
        target_first_of_all, made_wrong_of_all: of all views, right with the grey control or not; None if not known.
        curves: success along what varies in a session; empty for runs.
        longest_runs: by measure and sheet, of clips with enough consecutive frames; empty for runs.
        by_patch_distance: a detector's objects by distance from the patch. A session has no ``missed``; its curves say it.
    """

    model: str
    sha256: str = ""
    target_first: RateValue
    made_wrong: RateValue
    accuracy_drop: DifferenceValue
    controls: dict[str, RateValue] = Field(default_factory=dict)
    target_first_of_all: RateValue | None = None
    made_wrong_of_all: RateValue | None = None
    curves: list[CurveResult] = Field(default_factory=list)
    longest_runs: list[LongestRun] = Field(default_factory=list)
    by_patch_distance: list[ObjectDistance] = Field(default_factory=list)


class ResultRecord(Record):
    """The content of ``result.json``.

    Attributes:
        kind: ``run``: composited into held-out photographs; ``session``: filmed.
        name: of the folder.
        patch: id of the patch; empty where it is not recorded.
        target: name of the target class; None for an untargeted patch.
        imported: whether the patch was made elsewhere.
        virtual: whether a rig computed a session's frames.
        scene: of the rendered rig, by name or file; empty otherwise.
        models: the results by model.
    """

    what: ClassVar[str] = "result of a run or a session"
    cure: ClassVar[str] = "write it again with `physpatch report`"
    current: ClassVar[int] = 1

    kind: Literal["run", "session"]
    name: str
    patch: str = ""
    target: str | None = None
    imported: bool = False
    virtual: bool = False
    scene: str = ""
    models: list[ModelResult] = Field(default_factory=list)


def result_of(folder: Path) -> ResultRecord:
    """Summarise a run or a session.

    Raises:
        InputError: the folder is neither.
    """
    return result_of_run(folder) if require_kind(folder) == "run" else result_of_session(RecordedSession.open(folder))


def result_of_run(folder: Path) -> ResultRecord:
    """Summarise a run.

    Raises:
        InputError: a file of it is damaged.
    """
    record = RunRecord.of(folder)
    hashes = {name: weights.sha256 for name, weights in record.also.items()}
    if record.weights is not None:
        hashes[record.weights.model] = record.weights.sha256
    return ResultRecord(
        kind="run",
        name=folder.resolve().name,
        patch=Patch.load(folder).id if (folder / "patch.json").is_file() else "",
        target=record.target.name if record.target else None,
        imported=record.imported is not None,
        models=[
            ModelResult(
                model=name,
                sha256=hashes.get(name, ""),
                target_first=measured.targeted_success,
                made_wrong=measured.untargeted_success,
                accuracy_drop=_drop(measured),
                controls=measured.control_targeted_success,
                target_first_of_all=measured.targeted_success_of_all.get("patch"),
                made_wrong_of_all=measured.untargeted_success_of_all.get("patch"),
                by_patch_distance=measured.by_patch_distance,
            )
            for name, measured in record.measured.items()
            if measured is not None
        ],
    )


def _drop(measured: EvaluationRecord) -> Difference:
    """Compute clean accuracy minus that with the patch, as if they were of different photographs: a wide interval."""
    wrong = measured.success_of_all("untargeted")
    if wrong.rate is None:
        return _NO_CHANGE
    return independent_difference(wrong, wilson(round((1 - measured.clean_accuracy) * measured.n), measured.n))


def result_of_session(session: RecordedSession) -> ResultRecord:
    """Summarise a session that was opened.

    Raises:
        InputError: the record of its run is damaged.
    """
    tally, record = session.tally, session.record
    sheet = next((sheet.id for sheet in record.sheets if sheet.kind == "patch"), "")
    hashes = {model.name: model.sha256 for model in record.models}
    return ResultRecord(
        kind="session",
        name=session.folder.resolve().name,
        patch=sheet,
        target=session.target,
        imported=session.run is not None and RunRecord.of(session.run).imported is not None,
        virtual=record.virtual,
        scene=record.scene,
        models=[_model_of_session(session, model, hashes.get(model, "")) for model in tally.models],
    )


def _model_of_session(session: RecordedSession, model: str, sha256: str) -> ModelResult:
    tally = session.tally
    by_sheet = {summary.condition: summary for summary in tally.summaries() if summary.model == model}
    drop = accuracy_drop(session, model)
    patch = by_sheet.get("patch")
    return ModelResult(
        model=model,
        sha256=sha256,
        target_first=_NOTHING if patch is None else patch.target,
        made_wrong=_NOTHING if patch is None else patch.wrong,
        accuracy_drop=drop if drop.n else _NO_CHANGE,
        controls={condition: s.target for condition, s in by_sheet.items() if condition not in ("patch", "none")},
        target_first_of_all=every_view(session, model, "target").get("patch"),
        made_wrong_of_all=every_view(session, model, "wrong").get("patch"),
        curves=[
            _curve(curve)
            for measure in curve_measures(session, model)
            for curves in curves_of(session, model, measure).values()
            for curve in curves
        ],
        longest_runs=[
            LongestRun(measure=s.measure, sheet=s.condition, **asdict(s.longest_run))
            for s in summaries_of([s for s in session.sequences if s.is_long and s.model == model], tally)
        ],
        by_patch_distance=_precision(session, model),
    )


def _curve(curve: Curve) -> CurveResult:
    points = [
        CurveValue(low=point.low, high=point.high, success=point.right, of_all=point.every, frames=point.frames)
        for point in curve.points
    ]
    return CurveResult(measure=curve.measure, sheet=curve.condition, by=curve.by, points=points)


def _precision(session: RecordedSession, model: str) -> list[ObjectDistance]:
    parts: dict[tuple[float, float | None], dict[str, PrecisionValue]] = defaultdict(dict)
    for entry in object_precision(session, model):
        value = entry.precision
        parts[entry.low, entry.high][entry.condition] = PrecisionValue(
            ap50=value.ap, ci95=value.ci95, objects=value.objects
        )
    return [
        ObjectDistance(from_sides=low, below_sides=high, missed={}, precision=precision)
        for (low, high), precision in parts.items()
    ]
