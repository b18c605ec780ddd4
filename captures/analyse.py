"""What the models make of one frame."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.camera import Intrinsics
from calibration.label import SheetLabel
from calibration.pose import SheetPose, find_sheet, make_detector
from calibration.sheet import SheetLayout
from captures.frame import Frame
from captures.labels import LabelWatch
from captures.store import FrameRow
from physpatch.explain import HeatMapper, grad_cam, heat_share
from physpatch.victims.base import Detection, Preprocessing, Victim
from physpatch.victims.ultralytics_detectors import YoloVictim

Lens = Callable[[tuple[int, ...]], Intrinsics]  # from a frame's (height, width, ...) to its intrinsics
_TAKE_GAP_S = 1.0
NO_SHEET = "none"  # the condition of a frame in which no sheet was recognised and the source named none


@dataclass(frozen=True, eq=False)
class Analysis:
    """One frame and what was found in it.

    Attributes:
        rows: one for each model.
        pose: of the sheet, or None.
        heat: (h, w) in [0, 1] over the central square of the frame, or None without Grad-CAM.
        boxes: the detector's.
        target: name of the class aimed at, or None.
        foreign: what the sheet says of itself where it is none of this session's; then it has no pose.
    """

    frame: Frame
    rows: list[FrameRow]
    pose: SheetPose | None
    heat: NDArray[np.float32] | None
    boxes: list[tuple[str, Detection]]
    target: str | None
    foreign: SheetLabel | None = None


@dataclass(frozen=True, eq=False)
class Analyser:
    """Runs a classifier and, if given, a detector over frames."""

    classifier: Victim
    detector: YoloVictim | None
    layouts: Sequence[SheetLayout]
    lens: Lens
    target: dict[str, Any] | None
    cam: HeatMapper | None
    fallback: str
    labels: LabelWatch
    markers: cv2.aruco.ArucoDetector = field(default_factory=make_detector)
    clips: "ClipCutter" = field(default_factory=lambda: ClipCutter())

    def analyse(self, index: int, frame: Frame) -> Analysis:
        """Look at one frame: sheet pose, classifier with heat, detector."""
        pose = (
            find_sheet(frame.image, self.layouts, self.lens(frame.image.shape), self.markers) if self.layouts else None
        )
        foreign = self.labels.foreign(frame.image, pose)
        pose = None if foreign else pose
        condition = frame.condition or (pose.layout.kind if pose else self.fallback)
        clip = self.clips.number(condition, frame.time_s) if frame.clip is None else frame.clip
        frame = replace(frame, condition=condition, clip=clip)
        images = to_input(frame.image, self.classifier.preprocessing).to(self.classifier.device)
        scores, heat = self._classified(images)
        confidence = self.classifier.confidences(scores)[0].cpu()
        share = (
            None
            if heat is None or pose is None
            else heat_share(heat, patch_mask(pose, frame.image.shape[:2], heat.shape))
        )
        rows = [self._row(index, frame, pose, self.classifier, confidence, heat_in_patch=share)]
        boxes: list[tuple[str, Detection]] = []
        if self.detector is not None:
            boxes = [(self.detector.categories[d.index], d) for d in self.detector.detect(frame.image)]
            best = torch.zeros(len(self.detector.categories))
            for _, detection in boxes:
                best[detection.index] = max(float(best[detection.index]), detection.score)
            listed = [[name, round(d.score, 4), *(round(edge, 1) for edge in d.xyxy)] for name, d in boxes]
            rows.append(self._row(index, frame, pose, self.detector, best, boxes=json.dumps(listed)))
        return Analysis(
            frame, rows, pose, heat, boxes, None if self.target is None else str(self.target["name"]), foreign
        )

    def _classified(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32] | None]:
        """Scores and, with Grad-CAM, the heat of the answer, by one forward pass."""
        if self.cam:
            scores, maps = self.cam.top(images)
            return scores, maps[0]
        with torch.no_grad():
            return self.classifier.scores(images), None

    def _row(
        self,
        index: int,
        frame: Frame,
        pose: SheetPose | None,
        model: Victim,
        confidence: Tensor,
        *,
        heat_in_patch: float | None = None,
        boxes: str | None = None,
    ) -> FrameRow:
        score, top = confidence.max(dim=0)
        found = float(score) > 0
        index_seen = int(top) if found else None
        name = model.categories[int(top)] if found else ""
        aim = None if self.target is None else model.target_index(self.target)
        success: int | None = None
        if self.target is not None:
            success = int(index_seen == aim) if aim is not None else None
        elif frame.label is not None and model.task == "classify":
            success = int(name != frame.label)
        return FrameRow(
            frame=index,
            time_s=round(frame.time_s, 4),
            condition=frame.condition or NO_SHEET,
            clip=frame.clip or 0,
            model=model.name,
            top1=name,
            top1_score=round(float(score), 5),
            target_score=None if aim is None else round(float(confidence[aim]), 5),
            success=success,
            distance_m=_rounded(pose.distance_m if pose else None, 4),
            yaw_deg=_rounded(pose.yaw_deg if pose else None, 2),
            pitch_deg=_rounded(pose.pitch_deg if pose else None, 2),
            roll_deg=_rounded(pose.roll_deg if pose else None, 2),
            patch_px=_rounded(pose.patch_px if pose else None, 1),
            px_per_cell=_rounded(pose.px_per_cell if pose else None, 2),
            label=frame.label,
            heat_in_patch=_rounded(heat_in_patch, 4),
            boxes=boxes,
        )


@contextmanager
def open_analyser(
    classifier: Victim,
    detector: YoloVictim | None,
    layouts: Sequence[SheetLayout],
    lens: Lens,
    target: dict[str, Any] | None,
    *,
    with_cam: bool = True,
    fallback: str = NO_SHEET,
) -> Iterator[Analyser]:
    """An analyser whose Grad-CAM hooks are taken off the classifier when the block ends.

    ``fallback`` is the condition of frames in which no sheet is recognised and of which the source says nothing.
    """
    with grad_cam(classifier) if with_cam else nullcontext() as cam:
        yield Analyser(classifier, detector, layouts, lens, target, cam, fallback, LabelWatch(layouts))


class ClipCutter:
    """Numbers the takes of a camera: a clip is a stretch in which one sheet is seen, with no long gap.

    Frames of one take are much alike, so the take is what counts once; showing the sheet again begins another.
    """

    def __init__(self) -> None:
        self._clip, self._kind, self._last_s = 0, NO_SHEET, 0.0

    def number(self, condition: str, time_s: float) -> int:
        """The clip of a frame that shows ``condition``, of frames in the order of their times."""
        away = time_s - self._last_s > _TAKE_GAP_S
        if self._kind != NO_SHEET and (away or condition not in (self._kind, NO_SHEET)):
            self._clip += 1
            self._kind = NO_SHEET
        if condition != NO_SHEET:
            self._kind, self._last_s = condition, time_s
        return self._clip


def to_input(image: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """The central square of a frame (H, W, 3) RGB uint8 as a classifier's input (1, 3, S, S) in [0, 1].

    The whole square is shown: what stands at the edge of the picture would be cut away by the usual margin.
    """
    left, top, side = central_square(image.shape[:2])
    square = image[top : top + side, left : left + side]
    shrinks = side > preprocessing.size
    resized = cv2.resize(
        square, (preprocessing.size, preprocessing.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255


def central_square(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Left, top and side of the central square of a frame of (height, width)."""
    side = min(shape)
    return (shape[1] - side) // 2, (shape[0] - side) // 2, side


def patch_mask(pose: SheetPose, frame_shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The patch's outline in the central square, as a mask of ``mask_shape`` with 0 and 1."""
    left, top, side = central_square(frame_shape)
    corners = (pose.patch_corners_px - (left, top)) * (mask_shape[0] / side)
    mask = np.zeros(mask_shape, dtype=np.float32)
    cv2.fillConvexPoly(mask, corners.round().astype(np.int32), 1.0)
    return mask


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
