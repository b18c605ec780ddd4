"""Replay the effects of printing and filming step by step in the kept frames of a session.

The digital patch is drawn in place of the harmless control. At first everything is as in training. Then one property after
another is set to its measured value: the angle, the size and resolution, the colours and the light, blur and noise. The
network's answers at each step show where the effect is lost.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_map import ColourMap
from calibration.common.success import Edges, around
from captures.inference.analyser import to_input
from captures.inference.region import CropRegion
from captures.results.recorded_session import Shown
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import patch_size_px, place_at
from physpatch.rendering.eot import EotParams, patch_corners, sample
from physpatch.rendering.rig_ranges import WhiteBalance
from physpatch.victims.freezing import untouched
from physpatch.victims.letterbox import PADDING_GREY
from physpatch.victims.protocol import Victim

_MOST_TILT_DEG = 85.0
_CAMERA_JPEG = 95.0  # for frames: a camera's compression is not measured, but its chroma has half the resolution
STEPS = ("trained", "posed", "sized", "coloured", "blurred")
Judge = Callable[[Tensor, "ReplayView"], Tensor]


@dataclass(frozen=True, eq=False)
class ReplayView:
    """A frame with the control, whose place the replay draws the patch in.

    Attributes:
        picture: the part of the frame that the network saw, (h, w, 3) RGB uint8.
        corners: (4, 2) corners of the patch in ``picture``, in pixels, clockwise from the patch's own top left.
        facing: cosine of the tilt against the line of sight, by which the visible area shrinks.
        shot: light, blur and noise as measured on the sheet.
        colours: the colour map in this light; None if it was not measured.
        label: the true class, if known.
        object_xyxy: box in pixels of the sign that carries the patch; None without a sign.
    """

    picture: NDArray[np.uint8]
    corners: NDArray[np.float32]
    facing: float
    shot: ChartShot
    colours: ColourMap | None
    label: str | None = None
    object_xyxy: tuple[float, float, float, float] | None = None

    @classmethod
    def of(cls, shown: Shown, shot: ChartShot, colours: ColourMap | None, victim: Victim) -> "ReplayView":
        """Build the view of a classifier, its region of the frame, or of a detector, the whole frame padded to a square.

        Args:
            shown: a frame with the control.
            shot: measured on its sheet.
            colours: the colour map in its light; None if unknown.
            victim: the network.
        """
        if victim.task == "classify":
            part, offset = shown.region.cut(shown.picture), (shown.region.left, shown.region.top)
        else:
            height, width = shown.picture.shape[:2]
            down, across = max(0, width - height), max(0, height - width)
            borders = (down // 2, down - down // 2, across // 2, across - across // 2)
            part = cv2.copyMakeBorder(shown.picture, *borders, cv2.BORDER_CONSTANT, value=(PADDING_GREY,) * 3)
            offset = (-borders[2], -borders[0])
        corners = shown.pose.patch_corners_px - np.array(offset, dtype=np.float32)
        facing = math.cos(math.radians(min(shown.pose.tilt_deg, _MOST_TILT_DEG)))
        sign = shown.pose.carrier_xyxy
        object_xyxy = None if sign is None else around((np.reshape(sign, (2, 2)) - offset).tolist())
        return cls(np.ascontiguousarray(part), corners, facing, shot, colours, shown.row.label, object_xyxy)

    def places(self, size: int) -> tuple[Edges | None, Edges]:
        """Return the boxes of the object, or None, and of the patch, in pixels of a network's input of side ``size``."""
        height, width = self.picture.shape[:2]
        scale = np.array([size / width, size / height])
        sign = None if self.object_xyxy is None else around((np.reshape(self.object_xyxy, (2, 2)) * scale).tolist())
        return sign, around((self.corners * scale).tolist())


def replay(
    victim: Victim,
    cells: Tensor,
    views: Sequence[ReplayView],
    area: float | None,
    eot: EotConfig,
    judge: Judge,
    *,
    draws: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Tensor]:
    """Judge the patch at each step of :data:`STEPS` in every view.

    Args:
        victim: the network.
        cells: the patch, (3, rows, columns) sRGB in [0, 1].
        views: V frames to draw it in.
        area: the patch's share of the image in training. None for a patch on an object, which was trained as a share of the
            object: it is drawn on the object from the start, in its actual size and light.
        eot: the transformations used in training.
        judge: maps inputs (N, 3, S, S) on the CPU and their view to results (N, ...).
        draws: samples of these transformations per view; measured properties are the same in all samples.
        seed: for the samples.
        progress: called with the number of finished views and their total.

    Returns:
        The results (V, draws, ...) by step.
    """
    answers: dict[str, list[Tensor]] = {step: [] for step in STEPS}
    with untouched(victim), torch.no_grad():
        for number, view in enumerate(views):
            drawn = sample(eot, draws, torch.Generator().manual_seed(seed * 100_003 + number))
            inputs = torch.cat([_inputs(picture, victim) for picture in _pictures(view, cells, drawn, area, victim)])
            for step, part in zip(STEPS, judge(inputs, view).split(draws), strict=True):
                answers[step].append(part)
            progress(number + 1, len(views))
    return {step: torch.stack(parts) for step, parts in answers.items()}


def example(
    victim: Victim, cells: Tensor, view: ReplayView, area: float | None, eot: EotConfig, *, seed: int = 0
) -> list[NDArray[np.uint8]]:
    """Draw one view at each step of :data:`STEPS` as the network sees it, (S, S, 3) RGB uint8."""
    drawn = sample(eot, 1, torch.Generator().manual_seed(seed * 100_003))
    inputs = torch.cat([_inputs(picture, victim) for picture in _pictures(view, cells, drawn, area, victim)])
    return list((inputs.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy())


def _pictures(view: ReplayView, cells: Tensor, drawn: EotParams, area: float | None, victim: Victim) -> list[Tensor]:
    """Draw the view with the patch at each step, (draws, 3, h, w)."""
    draws, (rows, columns) = drawn.batch, cells.shape[-2:]
    size = victim.preprocessing.size
    height, width = view.picture.shape[:2]
    near = _inputs(_batch(view.picture), victim)[0].expand(draws, -1, -1, -1)
    corners = torch.from_numpy(view.corners)
    per_pixel = torch.tensor([size / width, size / height])
    at_input = ((corners + 0.5) * per_pixel - 0.5).expand(draws, -1, -1)
    lit = _light_of(view.shot, draws)
    if area is None:  # in training, object and patch share one light: here that of the object
        drawn = drawn.changed(**lit)
    flat = drawn.changed(bend=torch.zeros(draws))
    if area is None:
        trained_wh = patch_size_px(float(_area(at_input[:1])) / size**2, (rows, columns), (size, size))
        trained = posed = at_input
    else:
        trained_wh = patch_size_px(area, (rows, columns), (size, size))
        turned = patch_corners(drawn, trained_wh, (size, size))
        trained = _kept_inside(turned - turned.mean(dim=1, keepdim=True) + at_input.mean(dim=1, keepdim=True), size)
        grown = (area * size * size * drawn.scale**2 * view.facing / _area(at_input)).sqrt()[:, None, None]
        middle = at_input.mean(dim=1, keepdim=True)
        posed = _kept_inside(middle + (at_input - middle) * grown, size)

    coarse = math.sqrt(width * height) / size  # camera pixels per pixel of the network's input
    whole = _batch(view.picture).expand(draws, -1, -1, -1)
    seen_wh = patch_size_px(float(_area(corners[None])) / (width * height), (rows, columns), (width, height))
    sized = flat.changed(
        scale=torch.ones(draws),
        blur_px=flat.blur_px * coarse,
        motion_px=flat.motion_px * coarse,
        noise=flat.noise * coarse,
    )
    coloured = sized.changed(**lit, **_print_of(view.colours, draws))
    blurred = coloured.changed(**_lens_of(view.shot, draws))
    at_camera = corners.expand(draws, -1, -1)
    return [
        place_at(near, cells, drawn, trained, trained_wh)[0],
        place_at(near, cells, flat, posed, trained_wh)[0],
        *(place_at(whole, cells, params, at_camera, seen_wh)[0] for params in (sized, coloured, blurred)),
    ]


def draw_as_measured(
    frame: NDArray[np.uint8], cells: Tensor, corners: NDArray[np.float32], shot: ChartShot, colours: ColourMap
) -> NDArray[np.uint8]:
    """Draw a patch into a frame with all measured properties: the last step of :data:`STEPS`.

    Args:
        frame: (H, W, 3) RGB uint8.
        cells: (3, rows, columns) sRGB in [0, 1].
        corners: (4, 2) corners of the patch in pixels, clockwise from its own top left.
        shot: light, blur and noise.
        colours: the colour map.

    Returns:
        (H, W, 3) RGB uint8.
    """
    height, width = frame.shape[:2]
    at_camera = torch.from_numpy(corners)[None]
    params = sample(EotConfig.none(), 1, torch.Generator().manual_seed(0))
    params = params.changed(**_light_of(shot, 1), **_print_of(colours, 1), **_lens_of(shot, 1))
    seen_wh = patch_size_px(
        float(_area(at_camera)) / (width * height), (cells.shape[1], cells.shape[2]), (width, height)
    )
    with torch.no_grad():
        drawn = place_at(_batch(frame), cells, params, at_camera, seen_wh)[0]
    return (drawn[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _light_of(shot: ChartShot, draws: int) -> dict[str, Any]:
    """Return the fields of :class:`EotParams` that depend on the light on a sheet."""
    white = WhiteBalance.of(shot.white)
    return {
        "gain": torch.full((draws,), white.gain),
        "temperature": torch.full((draws,), white.temperature),
        "tint": torch.full((draws,), white.tint),
        "shadow": torch.zeros(draws),
        "glare": torch.zeros(draws),
        "gamma": torch.ones(draws),
    }


def _print_of(colours: ColourMap | None, draws: int) -> dict[str, Any]:
    """Return the fields that depend on print and camera colours."""
    return {"prints": () if colours is None else (colours,), "light": torch.zeros(draws)}


def _lens_of(shot: ChartShot, draws: int) -> dict[str, Any]:
    """Return the fields that depend on the lens and the sensor."""
    return {
        "blur_px": torch.full((draws,), shot.blur_px),
        "motion_px": torch.zeros(draws),
        "noise": torch.full((draws,), math.hypot(shot.read_noise, shot.shot_noise)),
        "jpeg": torch.full((draws,), _CAMERA_JPEG),
    }


def _inputs(pictures: Tensor, victim: Victim) -> Tensor:
    """Convert pictures (B, 3, h, w) in [0, 1] to inputs of the network, rounded to 8 bits like a camera's frames."""
    levels = (pictures.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    height, width = levels.shape[1:3]
    whole = CropRegion(0, 0, width, height)
    return torch.cat([to_input(picture, victim.preprocessing, whole) for picture in levels])


def _batch(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def _area(corners: Tensor) -> Tensor:
    """Compute the areas of quadrilaterals (B, 4, 2), by the shoelace formula."""
    x, y = corners.unbind(-1)
    return 0.5 * (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(dim=1).abs()


def _kept_inside(corners: Tensor, size: int) -> Tensor:
    """Move corners (B, 4, 2) into a square picture, as in training; a larger patch is centred."""
    least, most = corners.amin(dim=1, keepdim=True), corners.amax(dim=1, keepdim=True)
    room = size - (most - least)
    origin = torch.where(room > 0, (least + 0.5).clamp(min=0).minimum(room.clamp(min=0)), room / 2)
    return corners - least + origin - 0.5
