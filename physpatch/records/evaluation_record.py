"""The results of a patch on one network, as in the files of runs, benches, ``evaluate --json`` and ``train --json``.

The module imports neither torch nor SciPy, so that reading a run is fast.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from calibration.common.records import Record, RecordPart
from calibration.common.text import has_controls
from physpatch.stats.rates import Count, Difference, Interval, Rate, Share

Kind = Literal["targeted", "untargeted"]
RateValue = Annotated[Rate, PlainSerializer(Rate.to_dict)]
DifferenceValue = Annotated[Difference, PlainSerializer(Difference.to_dict)]


def _shown(text: str) -> str:
    """Check that a name can be shown and written.

    Raises:
        ValueError: it has control characters or lone surrogates.
    """
    if has_controls(text):
        raise ValueError(f"the name {text!r} has characters that cannot be shown")
    return text


ShownName = Annotated[str, AfterValidator(_shown)]


class TargetClass(RecordPart):
    """The target class.

    Attributes:
        index: in the categories of the attacked network.
        name: of the class.
    """

    index: int
    name: ShownName

    @classmethod
    def of(cls, target: Mapping[str, Any] | None) -> "TargetClass | None":
        """Create the record of a patch's target; None for None."""
        return None if target is None else cls.model_validate(target)


class PairedDifferences(RecordPart):
    """Success of the patch minus that of a control, paired by photograph."""

    targeted: DifferenceValue
    untargeted: DifferenceValue


class DefenceEffect(RecordPart):
    """The effect of a defence and its cost.

    Attributes:
        clean_accuracy_paid: accuracy on clean photographs without the defence minus that with it.
        certified_accuracy: the share of clean photographs that no patch of the defence's size can have answered wrongly; None
            for a defence without a certificate.
        targeted_success_change, untargeted_success_change: success with the defence minus without, paired by photograph.
    """

    clean_accuracy_paid: float
    certified_accuracy: RateValue | None = None
    targeted_success_change: DifferenceValue | None = None
    untargeted_success_change: DifferenceValue


class MeanPrecision(RecordPart):
    """COCO's mAP of the object's class, at IoU 0.5 and over 0.5 to 0.95."""

    map50: float
    map: float


class ObjectSize(RecordPart):
    """Success on objects whose side in the network's input, in pixels, lies between two bounds.

    Attributes:
        from_px, below_px: the bounds, ``from`` and ``below`` in the file; ``below`` is None without an upper bound.
        success: untargeted.
        controls: the same of each control.
    """

    from_px: float = Field(validation_alias="from", serialization_alias="from")
    below_px: float | None = Field(validation_alias="below", serialization_alias="below")
    success: RateValue
    controls: dict[str, RateValue] = Field(default_factory=dict)

    def rate(self, sheet: str) -> Rate:
        """Return the success of the patch or of a control; an old record has only the patch's."""
        return self.success if sheet == "patch" else self.controls.get(sheet, Rate(None, None, 0))


class DrawnSign(RecordPart):
    """What harmless drawings of other signs do in the patch's place.

    Attributes:
        sign: the one that the object is taken for with the patch.
        lost: untargeted success of its drawing.
        by_sign: the same by sign, of all but the object's own; empty in records from before these were measured.
    """

    sign: ShownName
    lost: RateValue
    by_sign: dict[ShownName, RateValue] = Field(default_factory=dict)

    @property
    def by_effect(self) -> list[tuple[str, Rate]]:
        """List the drawings with their success, the strongest first."""
        drawings = self.by_sign or {self.sign: self.lost}
        return sorted(drawings.items(), key=lambda drawing: -(drawing[1].rate or 0.0))


class PrecisionValue(RecordPart):
    """Average precision at an IoU of 0.5, with its 95 % interval over photographs, and the number of objects."""

    ap50: Share | None
    ci95: Interval | None
    objects: Count


class ObjectDistance(RecordPart):
    """Results on all objects of a class whose distance from the patch, in its sides, lies between two bounds.

    Attributes:
        from_sides, below_sides: the bounds, ``from`` and ``below`` in the file, from edge to edge; ``below`` is None without an
            upper bound.
        missed: rates of missed objects among those found with the grey control, by condition.
        precision: of the class, by condition and without a patch.
    """

    from_sides: float = Field(validation_alias="from", serialization_alias="from")
    below_sides: float | None = Field(validation_alias="below", serialization_alias="below")
    missed: dict[str, RateValue]
    precision: dict[str, PrecisionValue]


class HeatRecord(RecordPart):
    """Grad-CAM statistics of :func:`physpatch.evaluation.figures.examples.measure_heat`; None if not measured.

    Numbers by condition are mappings; ``ci95`` has the intervals under the same keys.
    """

    n: Count
    n_reached: Count | None = None
    n_missed: Count | None = None
    patch_area: float | None = None
    heat_in_patch: dict[str, float] = Field(default_factory=dict)
    pointing: dict[str, float] = Field(default_factory=dict)
    target_heat_in_patch: dict[str, float] = Field(default_factory=dict)
    similarity_to_target: float | None = None
    similarity_to_target_null: float | None = None
    similarity_to_target_same_class: float | None = None
    similarity_to_target_reached: float | None = None
    similarity_to_target_missed: float | None = None
    similarity_of_clean: float | None = None
    true_heat_in_patch: dict[str, float] = Field(default_factory=dict)
    true_similarity: dict[str, float] = Field(default_factory=dict)
    deletion: dict[str, float] = Field(default_factory=dict)
    deletion_gap: dict[str, float] = Field(default_factory=dict)
    ci95: dict[str, Interval | dict[str, Interval | None] | None] = Field(default_factory=dict)

    def number(self, path: str) -> float | None:
        """Look up a number by a path such as ``pointing.patch``; None if it is missing."""
        name, _, condition = path.partition(".")
        value = getattr(self, name)
        return value.get(condition) if condition else value

    def interval(self, path: str) -> Interval | None:
        """Look up the interval of the number at a path; None if it is missing."""
        name, _, condition = path.partition(".")
        value = self.ci95.get(name)
        return value.get(condition) if isinstance(value, dict) else value


class EvaluationRecord(Record):
    """The results of a patch, and of its controls at the same poses, on one network; see ``Evaluation`` for definitions.

    Attributes:
        n, poses: number of photographs, or of labelled objects, and of poses for each.
        clean_accuracy, patched_accuracy: accuracy without the patch and with it.
        controls: accuracy with each harmless control.
        targeted_success, untargeted_success: of the patch, on views with a right answer with the grey control.
        control_targeted_success, control_untargeted_success: the same of each control.
        targeted_success_of_all, untargeted_success_of_all: of all views, of the patch and each control.
        screen_targeted_success, screen_untargeted_success: of the patch on the same views in the colours of a screen; None
            where it was not shown as a print.
        differences: the patch minus each control.
        caution: a warning if the photographs are easier for the network than others; None for none.
        target: the target class; None for an untargeted patch.
        object: a detector's class for the object that carries the patch; None without an object.
        hidden, relabelled: rates of objects not detected, or detected as something else, by condition.
        false_boxes_per_image, mean_precision: number of boxes elsewhere, and mAP of the object's class, by condition.
        by_size_px: success by the size of the object.
        by_patch_distance: all objects of the class by their distance from the patch.
        drawn_sign: the nulls of a drawn sign that the patch has taken for another; None where it is not, or for other objects.
        defence: the effect of the defence, for a defended network.
        grad_cam: Grad-CAM statistics, for a run's own network.
        others: the results on the other networks that a run was trained on, by name.
    """

    what: ClassVar[str] = "record of a measurement"
    cure: ClassVar[str] = "measure again with `physpatch evaluate`"
    current: ClassVar[int] = 1

    n: Count
    poses: Count
    clean_accuracy: Share
    patched_accuracy: Share
    controls: dict[str, Share]
    targeted_success: RateValue
    untargeted_success: RateValue
    control_targeted_success: dict[str, RateValue]
    control_untargeted_success: dict[str, RateValue]
    targeted_success_of_all: dict[str, RateValue] = Field(default_factory=dict)
    untargeted_success_of_all: dict[str, RateValue] = Field(default_factory=dict)
    screen_targeted_success: RateValue | None = None
    screen_untargeted_success: RateValue | None = None
    differences: dict[str, PairedDifferences] = Field(default_factory=dict)
    caution: str | None = None
    target: TargetClass | None = None
    object: str | None = None
    hidden: dict[str, RateValue] = Field(default_factory=dict)
    relabelled: dict[str, RateValue] = Field(default_factory=dict)
    false_boxes_per_image: dict[str, float] = Field(default_factory=dict)
    mean_precision: dict[str, MeanPrecision] = Field(default_factory=dict)
    by_size_px: list[ObjectSize] = Field(default_factory=list)
    by_patch_distance: list[ObjectDistance] = Field(default_factory=list)
    drawn_sign: DrawnSign | None = None
    defence: DefenceEffect | None = None
    grad_cam: HeatRecord | None = None
    others: dict[str, "EvaluationRecord"] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_control_has_its_rates(self) -> Self:
        for name in ("control_targeted_success", "control_untargeted_success"):
            for control in self.controls:
                if control not in getattr(self, name):
                    raise ValueError(f"{name} should have a rate of the control {control!r}")
        return self

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Set one pose, as in evaluations from before there could be several."""
        return {"poses": 1} | value

    def success_of_all(self, kind: Kind, shown: str = "patch") -> Rate:
        """Return success over all views with the patch or a control; an empty rate if it was not measured."""
        rates = self.targeted_success_of_all if kind == "targeted" else self.untargeted_success_of_all
        return rates.get(shown) or Rate(None, None, 0)


def measured_by_model(results: dict[str, EvaluationRecord]) -> dict[str, Any]:
    """Convert the results by network to the JSON values of ``evaluate --json``."""
    return {model: result.to_dict() for model, result in results.items()}
