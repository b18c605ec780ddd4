"""Analyse frames: locate the sheet and run the models."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import SheetFinder, SheetPose
from calibration.common.errors import PhyspatchError
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
from physpatch.victims.labels import named_alike
from physpatch.victims.protocol import Preprocessing, Victim

Lens = Callable[[tuple[int, ...]], Intrinsics]  # from a frame's (height, width, ...) to its intrinsics
_TOP = 5


@dataclass(frozen=True, eq=False)
class Located:
    """A frame with its sheet located, before the models run.

    Attributes:
        frame: the frame.
        pose: of the sheet; None without a sheet of this session.
        foreign: why the sheet is not one of this session, in words; ``pose`` is then None.
        region: the part of the undistorted frame that the classifier sees.
        seen: the undistorted frame, (H, W, 3) RGB uint8; the frame itself if the lens is not known.
        lens: that took the frame.
        corners_px: (4, 2) corners of the patch in ``seen``; None without a sheet.
    """

    frame: Frame
    pose: SheetPose | None
    foreign: str
    region: CropRegion
    seen: NDArray[np.uint8]
    lens: Intrinsics
    corners_px: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Analysis:
    """The results of all models on one frame.

    Attributes:
        located: the frame and its sheet.
        rows: one per model, the classifier's first.
        heat: (h, w) in [0, 1] over the region; None without Grad-CAM.
        top5: the classifier's top classes with their scores.
        boxes: the detections with their class names.
        target: name of the target class; None without a target.
        detector_heat: (h, w) in [0, 1] over the whole frame, for the object's class if it is known, or else for the box with
            the highest confidence; None without Grad-CAM.
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
        """Return the original frame."""
        return self.located.frame

    @property
    def pose(self) -> SheetPose | None:
        """Return the pose of the sheet; None without a sheet."""
        return self.located.pose


@cache
def _own_spelling(label: str, categories: tuple[str, ...]) -> str | None:
    """Find the class among ``categories`` that is called so, whether or not letters, hyphens and underscores agree."""
    indices = named_alike(label, categories)
    return categories[indices[0]] if indices else None


class Analyser:
    """Locate the sheet, and run a classifier and optionally a detector on frames.

    :meth:`locate` and :meth:`judge` may run in different threads; each must be called with the frames in order. ``rule`` may
    be changed between frames.
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
        """Locate the sheet in a frame, and choose the region that the classifier sees."""
        lens = self._lens(frame.image.shape)
        pose = self._finder.find(frame.image, lens) if self._finder else None
        foreign = self._labels.foreign(frame.image, pose)
        pose = None if foreign else pose
        again = None if frame.recorded is None else frame.recorded.region
        corners_px = None if pose is None else lens.undistorted_px(pose.patch_corners_px)
        straight = None if pose is None or corners_px is None else replace(pose, patch_corners_px=corners_px)
        region = self.rule.at(frame.image.shape, straight) if again is None else CropRegion(*again)
        return Located(frame, pose, foreign, region, lens.undistorted(frame.image), lens, corners_px)

    def judge(self, located: Located) -> Analysis:
        """Run the models; the rows have the condition and clip that the source gives, if any."""
        frame, pose, region = located.frame, located.pose, located.region
        images = to_input(located.seen, self.classifier.preprocessing, region).to(self.classifier.device)
        scores, heat = self._classified(images)
        boxes: list[tuple[str, Detection]] = []
        detector_heat = None
        if self.detector is not None:
            detections, detector_heat = self._detected(self.detector, located)
            boxes = [(self.detector.categories[d.index], d) for d in detections]
        confidence = _confidence(self.classifier, scores)
        top5 = _top5(self.classifier, confidence)
        corners = located.corners_px
        share = None if corners is None or heat is None else heat_share(heat, region.mask(corners, heat.shape))
        delay = None if frame.captured is None else round(time.monotonic() - frame.captured, 4)
        columns = {
            "heat_in_patch": _rounded(share, 4),
            "top5": _as_json(top5),
            "region": json.dumps([region.left, region.top, region.width, region.height]),
            "delay_s": delay,
        }
        rows = [self._row(located, self.classifier, confidence, columns)]
        for victim in self._further:
            with torch.no_grad():
                answer = _confidence(victim, victim.scores(images))
            own = {"heat_in_patch": None, "top5": _as_json(_top5(victim, answer))}
            rows.append(self._row(located, victim, answer, columns | own))
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
        """Find the detections in the frame and, with Grad-CAM, the heat, from one forward pass."""
        frame = located.frame
        if self._detector_cam is None:
            return detector.detect(frame.image), None
        boxed = detector.letterboxed(frame.image)
        truth, sign = self._truth(frame, detector), _carrier_xyxy(located)
        place = None if sign is None else torch.tensor(boxed.into(np.reshape(sign, (2, 2))).ravel())

        def aim(detections: list[Detection]) -> tuple[int, Tensor | None] | None:
            if truth is not None:
                return detector.category_index(truth), place
            return (detections[0].index, torch.tensor(detections[0].xyxy)) if detections else None

        detections, heat = self._detector_cam.found(boxed.images.to(detector.device), aim)
        return [boxed.back(detection) for detection in detections], boxed.cut(heat)

    def _detector_success(self, located: Located, detector: Detector, detections: list[Detection]) -> int | None:
        """Tell whether the goal is reached; None if it cannot be determined.

        If no sheet is found, the place of the object is unknown, and boxes anywhere count.
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
            least=detector.threshold,
        )
        return None if outcome.success is None else int(outcome.success)

    def _classified(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32] | None]:
        """Compute scores and, with Grad-CAM, the heat of the top class, from one forward pass."""
        if self._cam:
            scores, maps = self._cam.top(images)
            return scores, maps[0]
        with torch.no_grad():
            return self.classifier.scores(images), None

    def _truth(self, frame: Frame, model: Victim) -> str | None:
        """Return the true class for a model; for a detector, its name of the sign that carries the patch.

        None for a model that does not have this class, with which it cannot answer.
        """
        if model.task == "detect" and self._carrier:
            index = known_object(model, self._carrier)
            return None if index is None else model.categories[index]
        label = self._label or frame.label
        return None if label is None else _own_spelling(label, model.categories)

    def _row(self, located: Located, model: Victim, confidence: Tensor, columns: dict[str, Any]) -> FrameRow:
        frame, pose = located.frame, located.pose
        label = self._truth(frame, model)
        score, top = confidence.max(dim=0)
        has_answer = float(score) > 0 and float(score) >= model.threshold
        name = model.categories[int(top)] if has_answer else ""
        aim = None if self.target is None else model.target_index(self.target)
        # The target is compared by index, the truth by name: classes of one name are the same truth, but not the same target.
        if self.target is None:
            success = judge_answer(name, label, None).success
        else:
            success = None if aim is None else judge_answer(int(top) if has_answer else None, None, aim).success
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
            true_distance_m=_rounded(frame.true_distance_m, 4),
            camera=json.dumps(dict(frame.camera)) if frame.camera else None,
            **columns,
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
    """Open an analyser, and remove its Grad-CAM hooks from the models when the block ends.

    Args:
        classifier: sees a region of each frame.
        detector: sees whole frames; None for no detector.
        layouts: the printed sheets to look for.
        lens: gives the intrinsics for the shape of a frame.
        target: the target class, as in a patch file; None for an untargeted patch.
        with_cam: whether to compute Grad-CAM, of the models that have it.
        rule: how the region is chosen; default the central square.
        label: the true class, if the source does not give it.
        further: more classifiers with the same input, such as the same network behind a defence.
        goal, scope: the intended effect on a detector, see ``calibration.common.success.Aim``.
    """
    with (
        grad_cam(classifier) if with_cam and classifier.explains else nullcontext() as cam,
        grad_cam(detector)
        if with_cam and detector is not None and detector.explains
        else nullcontext() as detector_cam,
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
    """Convert a region of a frame, (H, W, 3) RGB uint8, to the input of a classifier, (1, 3, S, S) in [0, 1].

    The whole region is used, without the usual crop, which would cut off what is at its edges. The default region is the
    central square.
    """
    part = (region or RegionRule().at(image.shape, None)).cut(image)
    shrinks = min(part.shape[:2]) > preprocessing.size
    resized = cv2.resize(
        part, (preprocessing.size, preprocessing.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255


def _heat_in_patch(heat: NDArray[np.float32] | None, frame: Frame, pose: SheetPose | None) -> float | None:
    """Compute the share of the heat over the whole frame that lies inside the patch."""
    if heat is None or pose is None:
        return None
    whole = CropRegion(0, 0, frame.image.shape[1], frame.image.shape[0])
    return heat_share(heat, whole.mask(pose.patch_corners_px, heat.shape))


def _carrier_xyxy(located: Located) -> tuple[float, float, float, float] | None:
    """Return the box in pixels of the sign that carries the patch; None without a sign or a located sheet."""
    return None if located.pose is None else located.pose.carrier_xyxy


def _edges_as_json(edges: tuple[float, float, float, float] | None) -> str | None:
    return None if edges is None else json.dumps([round(edge, 1) for edge in edges])


def _confidence(victim: Victim, scores: Tensor) -> Tensor:
    """Turn a classifier's scores (1, K) into the probabilities of its classes, (K,).

    Raises:
        PhyspatchError: they are not finite, so there is no answer to record.
    """
    confidence = victim.confidences(scores)[0].cpu()
    if not bool(confidence.isfinite().all()):
        raise PhyspatchError(
            f"{victim.name} answers with scores that are not finite, as a network may in half precision; try `physpatch "
            "models --check`"
        )
    return confidence


def _top5(victim: Victim, confidence: Tensor) -> list[tuple[str, float]]:
    best, order = confidence.topk(min(_TOP, len(confidence)))
    return [(victim.categories[i], s) for i, s in zip(order.tolist(), best.tolist(), strict=True)]


def _as_json(top5: list[tuple[str, float]]) -> str:
    return json.dumps([[name, round(score, 5)] for name, score in top5])


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
