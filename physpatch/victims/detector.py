"""The interface of victims that find boxes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.common.success import DETECTION_THRESHOLD
from physpatch.victims.boxes import Detection, best_scores, found_boxes
from physpatch.victims.letterbox import Letterbox
from physpatch.victims.protocol import Victim


@dataclass(frozen=True, eq=False)
class Detector(Victim):
    """A victim that finds boxes, whatever library it came from; a subclass gives :meth:`predictions`."""

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Every box that it considers in (B, 3, S, S) RGB in [0, 1], before any is suppressed; gradients flow.

        Returns:
            Boxes (B, A, 4), left, top, right, bottom in pixels, and each class's probability (B, A, K).
        """
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the most confident box of each class."""
        return best_scores(self.predictions(images))

    def scores_near(self, images: Tensor, places: Tensor, *, centred: bool = False) -> Tensor:
        """The same among the boxes about, or ``centred`` in, places (B, 4), one an image, see :func:`best_scores`."""
        return best_scores(self.predictions(images), places, centred=centred)

    @torch.no_grad()
    def find(self, images: Tensor, least: float = DETECTION_THRESHOLD) -> list[list[Detection]]:
        """Boxes of at least that confidence in (B, 3, H, W), see :func:`found_boxes`."""
        return found_boxes(self.predictions(images), least)

    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Boxes in a (H, W, 3) RGB uint8 frame of any size, the most confident first; see :class:`Letterbox`."""
        boxed = Letterbox.of(frame, self.preprocessing.size)
        return [boxed.back(one) for one in self.find(boxed.images.to(self.device))[0]]
