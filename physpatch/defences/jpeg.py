"""JPEG as a defence (Dziugaite et al. 2016): it discards fine detail, which a patch may need."""

from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physpatch.defences.base import Defence

QUALITY = 30  # libjpeg's


def squeeze(images: Tensor) -> Tensor:
    """Compress and decompress images (B, 3, H, W) in [0, 1] with libjpeg at :data:`QUALITY`."""
    pictures = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = torch.from_numpy(np.stack([_round_trip(picture) for picture in pictures]))
    return decoded.permute(0, 3, 1, 2).to(images) / 255


def _round_trip(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, packed = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


class Jpeg(Defence):
    """Defence by :func:`squeeze`."""

    name: ClassVar[str] = "jpeg"
    summary: ClassVar[str] = f"JPEG of quality {QUALITY} (Dziugaite et al. 2016)"

    def __call__(self, images: Tensor) -> Tensor:
        return squeeze(images)
