"""The interface of victims that find boxes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.common.success import DETECTION_THRESHOLD
from physpatch.victims.boxes import Detection, best_scores, judged_scores, select_boxes
from physpatch.victims.letterbox import Letterbox
from physpatch.victims.protocol import Victim


@dataclass(frozen=True, eq=False)
class Detector(Victim):
    """A victim that finds boxes, whichever library it came from; a subclass implements :meth:`predictions`.

    Attributes:
        exclusive: whether an object has one class only, such as a road sign, so that the most confident of overlapping boxes
            suppresses those of other classes, too.
    """

    threshold: float = DETECTION_THRESHOLD
    exclusive: bool = False

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict boxes, before suppression; gradients flow to the images.

        Args:
            images: (B, 3, S, S) RGB in [0, 1].

        Returns:
            Boxes (B, A, 4), left, top, right, bottom in pixels, and the probability of each class (B, A, K).
        """
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        """Compute the logits (B, K) of the most confident box of each class."""
        return best_scores(self.predictions(images))

    def scores_near(self, images: Tensor, places: Tensor, *, centred: bool = False) -> Tensor:
        """Compute :meth:`scores` among boxes that overlap with, or are ``centred`` in, places (B, 4), one per image.

        See :func:`best_scores`.
        """
        return best_scores(self.predictions(images), places, centred=centred)

    def judged(self, scores: Tensor) -> Tensor:
        """Turn logits into those by which success is judged: where the threshold lies at :data:`DETECTION_THRESHOLD`.

        Objectives may so have one threshold for all detectors.
        """
        return scores + _logit(DETECTION_THRESHOLD) - _logit(self.threshold)

    def judged_boxes(
        self, predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False
    ) -> Tensor:
        """Compute the logits (B, K) by which success is judged; see :func:`judged_scores` and :meth:`judged`."""
        return self.judged(judged_scores(predictions, places, centred=centred, exclusive=self.exclusive))

    @torch.no_grad()
    def find(self, images: Tensor, least: float | None = None) -> list[list[Detection]]:
        """Find boxes of confidence ``least`` or more, by default the threshold, in images (B, 3, H, W).

        See :func:`select_boxes`.
        """
        return self.select(self.predictions(images), least)

    def select(self, predictions: tuple[Tensor, Tensor], least: float | None = None) -> list[list[Detection]]:
        """Select boxes of confidence ``least`` or more, by default the threshold; see :func:`select_boxes`."""
        return select_boxes(predictions, self.threshold if least is None else least, exclusive=self.exclusive)

    def letterboxed(self, frame: NDArray[np.uint8]) -> Letterbox:
        """Fit a frame (H, W, 3) of any size, RGB uint8, into the network's input."""
        return Letterbox.of(frame, self.preprocessing.size)

    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Find boxes in a frame (H, W, 3) of any size, RGB uint8, the most confident first; see :meth:`letterboxed`."""
        letterbox = self.letterboxed(frame)
        return [letterbox.back(box) for box in self.find(letterbox.images.to(self.device))[0]]


def _logit(confidence: float) -> float:
    return math.log(confidence / (1 - confidence))


@dataclass(frozen=True, eq=False)
class TableDetector(Detector):
    """A detector whose module answers with a :class:`physpatch.victims.networks.box_tables.BoxTable`, for square input only."""

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        table = self.raw(images)
        return table[..., :4], table[..., 4:]

    def letterboxed(self, frame: NDArray[np.uint8]) -> Letterbox:
        return Letterbox.of(frame, self.preprocessing.size, square=True)
