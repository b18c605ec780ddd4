"""Heat on pictures and pictures in videos, with OpenCV alone."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import PhyspatchError


def heat_overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32], strength: float = 0.45) -> NDArray[np.uint8]:
    """Lay a heat map (h, w) in [0, 1] over a (H, W, 3) RGB uint8 picture."""
    scaled = cv2.resize(heat, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap((np.clip(scaled, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.addWeighted(picture, 1 - strength, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), strength, 0)


def open_video(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    """An MP4 writer that is open.

    Raises:
        PhyspatchError: this OpenCV cannot write MP4.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    if not writer.isOpened():
        raise PhyspatchError(f"OpenCV cannot write the video {path}; is the folder writable, has OpenCV FFmpeg?")
    return writer
