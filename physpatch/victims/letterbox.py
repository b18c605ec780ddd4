"""Fitting a frame of any size into a detector's input, and boxes back into the frame."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physpatch.victims.boxes import Detection

PADDING_GREY = 114  # of 255, as ultralytics pads
STRIDE = 32  # of most detectors: the sides of their inputs are multiples of it


@dataclass(frozen=True, eq=False)
class Letterbox:
    """A frame prepared for a detector, as ultralytics does for prediction.

    The frame is scaled to fit the input's side, centred, and padded with grey to the next multiple of the stride, or to a
    square for a network that takes nothing else.

    Attributes:
        images: (1, 3, h, w) in [0, 1].
        left, top, width, height: where the frame lies in it, in pixels.
        frame_wh: the frame's own width and height.
    """

    images: Tensor
    left: int
    top: int
    width: int
    height: int
    frame_wh: tuple[int, int]

    @classmethod
    def of(cls, frame: NDArray[np.uint8], size: int, *, square: bool = False, stride: int = STRIDE) -> "Letterbox":
        """Fit a frame (H, W, 3), RGB uint8, into an input of side ``size`` in pixels."""
        height, width = frame.shape[:2]
        scale = size / max(height, width)
        inner = (round(width * scale), round(height * scale))
        small = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
        short = [size - side if square else -side % stride for side in inner]
        left, top = (round(missing / 2 - 0.1) for missing in short)
        boxed = np.full((inner[1] + short[1], inner[0] + short[0], 3), PADDING_GREY, np.uint8)
        boxed[top : top + inner[1], left : left + inner[0]] = small
        return cls(torch.from_numpy(boxed).permute(2, 0, 1)[None] / 255, left, top, *inner, (width, height))

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Scale from the frame to the input, across and down: rounding to whole pixels makes the two differ a little."""
        return np.array([self.width, self.height]) / self.frame_wh

    def back(self, detection: Detection) -> Detection:
        """Map a box of the input to pixels of the frame, clipped at its edges."""
        corners = (np.array(detection.xyxy).reshape(2, 2) - (self.left, self.top)) / self._scale
        x, y, right, bottom = corners.clip(0, self.frame_wh).ravel().tolist()
        return replace(detection, xyxy=(x, y, right, bottom))

    def into(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map points (N, 2) in pixels of the frame to pixels of the input."""
        return points * self._scale + (self.left, self.top)

    def cut(self, heat: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut the frame's part out of a map (h, w) over the whole input."""
        return heat[self.top : self.top + self.height, self.left : self.left + self.width]
