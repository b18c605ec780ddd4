"""What the models make of one frame."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.qr_label import SheetLabel
from calibration.camera.sheet_pose import SheetFinder, SheetPose
from calibration.common.success import Aim, around, judge, judge_answer
from calibration.sheet.layout import SheetLayout
from captures.inference.region import CropRegion, RegionRule
from captures.inference.sheet_labels import LabelWatch
from captures.sources.frame import NO_SHEET, Frame
from captures.storage import FrameRow
from physpatch.attack.placement import known_object
from physpatch.evaluation.grad_cam import HeatMapper, grad_cam, heat_share
from physpatch.victims.boxes import Detection, to_found_boxes
from physpatch.victims.detector import Detector
from physpatch.victims.letterbox import Letterbox
from physpatch.victims.protocol import Preprocessing, Victim

Lens = Callable[[tuple[int, ...]], Intrinsics]  # from a frame's (height, width, ...) to its intrinsics
_TOP = 5


@dataclass(frozen=True, eq=False)
class Located:
    """A frame before the models: where the sheet is, and what the classifier will see.

    Attributes:
        pose: of the sheet, or None.
        foreign: what the sheet says of itself where it is none of this session's; then it has no pose.
    """

    frame: Frame
    pose: SheetPose | None
    foreign: SheetLabel | None
    region: CropRegion


@dataclass(frozen=True, eq=False)
class Analysis:
    """One frame and what was found in it.

    Attributes:
        rows: one for each model, the classifier's first.
        heat: (h, w) in [0, 1] over the region, or None without Grad-CAM.
        detector_heat: (h, w) over the whole frame, of the object's class where that is known, else of the surest box.
        top5: the classifier's likeliest classes with their scores.
        boxes: the detector's.
        target: name of the class aimed at, or None.
    """

    located: Located
    rows: list[FrameRow]
    heat: NDArray[np.float32] | None
    top5: list[tuple[str, float]]
    boxes: list[tuple[str, Detection]]
    target: str | None
    detector_heat: NDArray[np.float32] | None = None

    @property
    def frame(self) -> Frame:
        """The frame as it came."""
        return self.located.frame

    @property
    def pose(self) -> SheetPose | None:
        """Of the sheet, or None."""
        return self.located.pose


class Analyser:
    """Finds the sheet, and runs a classifier and, if given, a detector over frames.

    :meth:`locate` and :meth:`judge` may run in threads of their own; each takes the frames in their order. ``rule`` may be
    changed between frames.
    """

    def __init__(
        self,
        classifier: Victim,
        detector: Detector | None,
        layouts: Sequence[SheetLayout],
        lens: Lens,
        target: dict[str, Any] | None,
        cam: HeatMapper | None,
        rule: RegionRule,
        label: str | None,
        further: Sequence[Victim] = (),
        detector_cam: HeatMapper | None = None,
        goal: str = "auto",
        scope: str = "patch",
    ) -> None:
        self.classifier, self.detector, self.target, self.rule = classifier, detector, target, rule
        self._lens, self._label, self._further, self._goal, self._scope = lens, label, further, goal, scope
        self._cam, self._detector_cam = cam, detector_cam
        self._finder = SheetFinder(layouts) if layouts else None
        self._labels = LabelWatch(layouts)
        self._carrier = next((layout.carrier for layout in layouts if layout.carrier), "")

    def locate(self, frame: Frame) -> Located:
        """Find the sheet in a frame, and the part of it that the classifier shall see."""
        pose = self._finder.find(frame.image, self._lens(frame.image.shape)) if self._finder else None
        foreign = self._labels.foreign(frame.image, pose)
        pose = None if foreign else pose
        return Located(frame, pose, foreign, self.rule.at(frame.image.shape, pose))

    def judge(self, located: Located) -> Analysis:
        """Run the models; condition and clip of the rows are as the source says, or empty."""
        frame, pose, region = located.frame, located.pose, located.region
        images = to_input(frame.image, self.classifier.preprocessing, region).to(self.classifier.device)
        scores, heat = self._classified(images)
        boxes: list[tuple[str, Detection]] = []
        detector_heat = None
        if self.detector is not None:
            found, detector_heat = self._detected(self.detector, located)
            boxes = [(self.detector.categories[d.index], d) for d in found]
        confidence = self.classifier.confidences(scores)[0].cpu()
        top5 = _top5(self.classifier, confidence)
        share = heat_share(heat, region.mask(pose.patch_corners_px, heat.shape)) if pose and heat is not None else None
        delay = None if frame.captured is None else round(time.monotonic() - frame.captured, 4)
        more = {
            "heat_in_patch": _rounded(share, 4),
            "top5": _as_json(top5),
            "region": json.dumps([region.left, region.top, region.width, region.height]),
            "delay_s": delay,
        }
        rows = [self._row(located, self.classifier, confidence, more)]
        for other in self._further:
            with torch.no_grad():
                answer = other.confidences(other.scores(images))[0].cpu()
            own = {"heat_in_patch": None, "top5": _as_json(_top5(other, answer))}
            rows.append(self._row(located, other, answer, more | own))
        if self.detector is not None:
            strongest = torch.zeros(len(self.detector.categories))
            for _, detection in boxes:
                strongest[detection.index] = max(float(strongest[detection.index]), detection.score)
            listed = [[name, round(d.score, 4), *(round(edge, 1) for edge in d.xyxy)] for name, d in boxes]
            row = self._row(
                located,
                self.detector,
                strongest,
                {
                    "boxes": json.dumps(listed),
                    "delay_s": delay,
                    "heat_in_patch": _rounded(_heat_in_patch(detector_heat, frame, pose), 4),
                    "object_xyxy": _edges_as_json(_carrier_xyxy(located)),
                },
            )
            rows.append(replace(row, success=self._detector_success(located, self.detector, [d for _, d in boxes])))
        target = None if self.target is None else str(self.target["name"])
        return Analysis(located, rows, heat, top5, boxes, target, detector_heat)

    def _detected(self, detector: Detector, located: Located) -> tuple[list[Detection], NDArray[np.float32] | None]:
        """What a detector finds in the frame and, with Grad-CAM, its heat, by one forward pass."""
        frame = located.frame
        if self._detector_cam is None:
            return detector.detect(frame.image), None
        boxed = Letterbox.of(frame.image, detector.preprocessing.size)
        truth, sign = self._truth(frame, detector), _carrier_xyxy(located)
        place = None if sign is None else torch.tensor(boxed.into(np.reshape(sign, (2, 2))).ravel())

        def aim(found: list[Detection]) -> tuple[int, Tensor | None] | None:
            if truth is not None:
                return detector.category_index(truth), place
            return (found[0].index, torch.tensor(found[0].xyxy)) if found else None

        found, heat = self._detector_cam.found(boxed.images.to(detector.device), aim)
        return [boxed.back(one) for one in found], boxed.cut(heat)

    def _detector_success(self, located: Located, detector: Detector, detections: list[Detection]) -> int | None:
        """Tell whether the run's goal is reached; None where it cannot be said.

        A sheet that is not seen tells no place: then boxes anywhere count.
        """
        aimed = None if self.target is None else detector.target_index(self.target)
        if self.target is not None and aimed is None:
            return None
        target = None if aimed is None else detector.categories[aimed]
        truth = self._truth(located.frame, detector)
        outcome = judge(
            to_found_boxes(detections, detector.categories),
            Aim(self._goal, self._scope, truth, target),
            object_xyxy=_carrier_xyxy(located),
            patch_xyxy=None if located.pose is None else around(located.pose.patch_corners_px.tolist()),
            on_object=bool(self._carrier) and truth is not None,
        )
        return None if outcome.success is None else int(outcome.success)

    def _classified(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32] | None]:
        """Scores and, with Grad-CAM, the heat of the answer, by one forward pass."""
        if self._cam:
            scores, maps = self._cam.top(images)
            return scores, maps[0]
        with torch.no_grad():
            return self.classifier.scores(images), None

    def _truth(self, frame: Frame, model: Victim) -> str | None:
        """What a model should answer: a detector the sign that carries the patch, in its own word for it.

        None for a detector that knows no such class: it would never find it.
        """
        if model.task == "detect" and self._carrier:
            index = known_object(model, self._carrier)
            return None if index is None else model.categories[index]
        label = self._label or frame.label
        return label if model.task == "classify" or label in model.categories else None

    def _row(self, located: Located, model: Victim, confidence: Tensor, more: dict[str, Any]) -> FrameRow:
        frame, pose = located.frame, located.pose
        label = self._truth(frame, model)
        score, top = confidence.max(dim=0)
        found = float(score) > 0
        name = model.categories[int(top)] if found else ""
        aim = None if self.target is None else model.target_index(self.target)
        known = label if label in model.categories else None  # of another class it cannot be said
        # The target by index, the truth by name: two classes of one name are one truth, but not one target.
        if self.target is None:
            success = judge_answer(name, known, None).success
        else:
            success = None if aim is None else judge_answer(int(top) if found else None, None, aim).success
        return FrameRow(
            frame=frame.number,
            time_s=round(frame.time_s, 4),
            condition=frame.condition or (pose.layout.kind if pose else NO_SHEET),
            clip=frame.clip or 0,
            model=model.name,
            top1=name,
            top1_score=round(float(score), 5),
            target_score=None if aim is None else round(float(confidence[aim]), 5),
            success=None if success is None else int(success),
            distance_m=_rounded(pose.distance_m if pose else None, 4),
            yaw_deg=_rounded(pose.yaw_deg if pose else None, 2),
            pitch_deg=_rounded(pose.pitch_deg if pose else None, 2),
            roll_deg=_rounded(pose.roll_deg if pose else None, 2),
            patch_px=_rounded(pose.patch_area_px if pose else None, 1),
            px_per_cell=_rounded(pose.px_per_cell if pose else None, 2),
            label=label,
            patch_xy=json.dumps(pose.patch_corners_px.round(1).astype(float).tolist()) if pose else None,
            **more,
        )


@contextmanager
def open_analyser(
    classifier: Victim,
    detector: Detector | None,
    layouts: Sequence[SheetLayout],
    lens: Lens,
    target: dict[str, Any] | None,
    *,
    with_cam: bool = True,
    rule: RegionRule | None = None,
    label: str | None = None,
    further: Sequence[Victim] = (),
    goal: str = "auto",
    scope: str = "patch",
) -> Iterator[Analyser]:
    """An analyser whose Grad-CAM hooks are taken off the models when the block ends.

    ``goal`` and ``scope`` are what the patch shall do to a detector, see ``calibration.common.success.Aim``. ``label`` is
    what is before the camera, where the source does not know. ``further`` classifiers of the same input, such as the same
    behind a defence, are shown the same region.
    """
    with (
        grad_cam(classifier) if with_cam else nullcontext() as cam,
        grad_cam(detector) if with_cam and detector is not None else nullcontext() as detector_cam,
    ):
        yield Analyser(
            classifier,
            detector,
            layouts,
            lens,
            target,
            cam,
            rule or RegionRule(),
            label,
            further,
            detector_cam,
            goal,
            scope,
        )


def to_input(image: NDArray[np.uint8], preprocessing: Preprocessing, region: CropRegion | None = None) -> Tensor:
    """A region of a frame (H, W, 3) RGB uint8, by default its central square, as a classifier's input (1, 3, S, S) in [0, 1].

    All of the region is shown: what stands at its edge would be cut away by the usual margin.
    """
    part = (region or RegionRule().at(image.shape, None)).cut(image)
    shrinks = min(part.shape[:2]) > preprocessing.size
    resized = cv2.resize(
        part, (preprocessing.size, preprocessing.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255


def _heat_in_patch(heat: NDArray[np.float32] | None, frame: Frame, pose: SheetPose | None) -> float | None:
    """Share of a map over the whole frame that lies in the patch."""
    if heat is None or pose is None:
        return None
    whole = CropRegion(0, 0, frame.image.shape[1], frame.image.shape[0])
    return heat_share(heat, whole.mask(pose.patch_corners_px, heat.shape))


def _carrier_xyxy(located: Located) -> tuple[float, float, float, float] | None:
    """The box in pixels of the sign that carries the patch, where there is one and its sheet is seen."""
    return None if located.pose is None else located.pose.carrier_xyxy


def _edges_as_json(edges: tuple[float, float, float, float] | None) -> str | None:
    return None if edges is None else json.dumps([round(edge, 1) for edge in edges])


def _top5(victim: Victim, confidence: Tensor) -> list[tuple[str, float]]:
    best, order = confidence.topk(min(_TOP, len(confidence)))
    return [(victim.categories[i], s) for i, s in zip(order.tolist(), best.tolist(), strict=True)]


def _as_json(top5: list[tuple[str, float]]) -> str:
    return json.dumps([[name, round(score, 5)] for name, score in top5])


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
