"""What was measured of a patch on one network, as files hold it: runs, benches, ``evaluate --json`` and ``train --json``.

Torch-free, and free of SciPy, so that reading a run costs little.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainSerializer

from calibration.common.records import Record, RecordPart
from physpatch.stats.rates import Difference, Interval, Rate

Kind = Literal["targeted", "untargeted"]
RateValue = Annotated[Rate, PlainSerializer(Rate.to_dict)]
DifferenceValue = Annotated[Difference, PlainSerializer(Difference.to_dict)]


class TargetClass(RecordPart):
    """The class aimed at.

    Attributes:
        index: in the categories of the network that was attacked.
        name: its own.
    """

    index: int
    name: str

    @classmethod
    def of(cls, target: Mapping[str, Any] | None) -> "TargetClass | None":
        """Read a target as a patch has it."""
        return None if target is None else cls.model_validate(target)


class PairedDifferences(RecordPart):
    """Success of the patch less a control's, paired by photograph."""

    targeted: DifferenceValue
    untargeted: DifferenceValue


class DefenceEffect(RecordPart):
    """What a defence is worth and what it costs.

    Attributes:
        clean_accuracy_paid: the accuracy on clean photographs without it less that with it.
        targeted_success_change, untargeted_success_change: success with it less without, paired by photograph.
    """

    clean_accuracy_paid: float
    targeted_success_change: DifferenceValue | None = None
    untargeted_success_change: DifferenceValue


class MeanPrecision(RecordPart):
    """COCO's mAP of the object's class, at IoU 0.5 and over 0.5 to 0.95."""

    map50: float
    map: float


class ObjectSize(RecordPart):
    """Success where the object's side in the network's input, in pixels, lies between two bounds.

    Attributes:
        from_px, below_px: the bounds, ``from`` and ``below`` in the file; None is without an upper one.
        success: untargeted.
    """

    from_px: float = Field(validation_alias="from", serialization_alias="from")
    below_px: float | None = Field(validation_alias="below", serialization_alias="below")
    success: RateValue


class HeatRecord(RecordPart):
    """Where the network looks, see :func:`physpatch.evaluation.figures.examples.measure_heat`; None was not measured.

    What is a number by condition is a mapping; ``ci95`` has the intervals by the same keys.
    """

    n: int
    n_reached: int | None = None
    n_missed: int | None = None
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
        """What stands at a path such as ``pointing.patch``; None where nothing does."""
        name, _, condition = path.partition(".")
        found = getattr(self, name)
        return found.get(condition) if condition else found

    def interval(self, path: str) -> Interval | None:
        """The interval of what stands at a path; None where there is none."""
        name, _, condition = path.partition(".")
        found = self.ci95.get(name)
        return found.get(condition) if isinstance(found, dict) else found


class EvaluationRecord(Record):
    """What a patch does on one network, beside its controls at the same poses; see ``Evaluation`` for how it is counted.

    Attributes:
        n, poses: photographs, or labelled objects, and in how many poses each was seen.
        clean_accuracy, patched_accuracy: without a patch and with it.
        controls: the accuracy with each harmless control.
        targeted_success, untargeted_success: of the patch, on views that are right with the grey control.
        control_targeted_success, control_untargeted_success: the same of each control.
        targeted_success_of_all, untargeted_success_of_all: of all views, of the patch and each control.
        differences: the patch less each control.
        caution: a sentence where the photographs are easier for the network than others.
        target: the class aimed at; None for an untargeted patch.
        object: the class of a detector that the patch was put on; with it, ``hidden``, ``relabelled``,
            ``false_boxes_per_image`` and ``mean_precision`` by condition, and ``by_size_px``.
        defence: what the defence changes, where the network was behind one.
        grad_cam: where the network looks; of a run's own network.
        others: the same of the further networks that a run was trained on, by name.
    """

    what: ClassVar[str] = "record of a measurement"
    cure: ClassVar[str] = "measure again with `physpatch evaluate`"
    current: ClassVar[int] = 1

    n: int
    poses: int
    clean_accuracy: float
    patched_accuracy: float
    controls: dict[str, float]
    targeted_success: RateValue
    untargeted_success: RateValue
    control_targeted_success: dict[str, RateValue]
    control_untargeted_success: dict[str, RateValue]
    targeted_success_of_all: dict[str, RateValue] = Field(default_factory=dict)
    untargeted_success_of_all: dict[str, RateValue] = Field(default_factory=dict)
    differences: dict[str, PairedDifferences] = Field(default_factory=dict)
    caution: str | None = None
    target: TargetClass | None = None
    object: str | None = None
    hidden: dict[str, RateValue] = Field(default_factory=dict)
    relabelled: dict[str, RateValue] = Field(default_factory=dict)
    false_boxes_per_image: dict[str, float] = Field(default_factory=dict)
    mean_precision: dict[str, MeanPrecision] = Field(default_factory=dict)
    by_size_px: list[ObjectSize] = Field(default_factory=list)
    defence: DefenceEffect | None = None
    grad_cam: HeatRecord | None = None
    others: dict[str, "EvaluationRecord"] = Field(default_factory=dict)

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Evaluations of before there were several poses saw each photograph in one."""
        return {"poses": 1} | value

    def success_of_all(self, kind: Kind, shown: str = "patch") -> Rate:
        """Success over all views with the patch or a control; of nothing where it was not measured."""
        rates = self.targeted_success_of_all if kind == "targeted" else self.untargeted_success_of_all
        return rates.get(shown) or Rate(None, None, 0)


def measured_by_model(results: dict[str, EvaluationRecord]) -> dict[str, Any]:
    """What ``evaluate --json`` writes: measurements by network, as plain JSON."""
    return {model: result.to_dict() for model, result in results.items()}
