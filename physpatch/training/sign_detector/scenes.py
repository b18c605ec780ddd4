"""Rendered scenes with road signs: what the embedded detector learns from and is tested on.

Signs are drawn by ``calibration.sheet.road_signs`` and seen through physpatch's own camera model, in photographs. Half of
them carry a sticker, plain or of random cells, since a sign must be found with a harmless control on it; a quarter is
printed on a sheet with markers around; and there are things of the same colours that are no signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from numpy.typing import NDArray
from torch import Tensor

from calibration.sheet.layout import ARUCO_DICTIONARY
from calibration.sheet.road_signs import BLACK, BLUE, RED, SIGNS, SPEEDS, WHITE, speed_limit
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import place_at
from physpatch.rendering.eot import patch_corners, sample

NAMES = tuple(SIGNS)
VIEW = EotConfig(
    rotation_deg=(-18.0, 18.0),
    tilt_deg=(-55.0, 55.0),
    scale=(1.0, 1.0),
    bend=(0.0, 0.02),
    gain=(0.35, 1.5),
    shadow=(0.0, 0.7),
    glare=(0.0, 0.4),
    blur_px=(0.0, 1.3),
    motion_px=(0.0, 2.5),
    temperature=(0.85, 1.18),
    tint=(1.0, 1.0),  # as the embedded detector was trained
    noise=(0.0, 0.05),
    gamma=(0.8, 1.25),
    jpeg=(40.0, 99.0),
)
_TEXELS = 96
_GROUPS_PX = (
    40.0,
    110.0,
)  # scenes with things of about one size are rendered together, in windows no larger than that needs
_SIZES_PX = (13.0, 0.95)  # the smallest side, and the largest as a share of the picture
_STICKER, _SHEET, _NO_SIGN = 0.5, 0.25, 0.25  # how often
_STICKER_SIDE = (0.15, 0.5)  # of the sign's
_CENTRAL, _OFF_CENTRE = (
    0.5,
    0.1,
)  # how often a sticker lies about the middle, and how far from it, as a share of the sign
_ON_SHEET = 0.62  # the sign's side, of the sheet's
_LEAST_ROOM = 0.1  # of a box that may lie under another
_SHADES = (RED, WHITE, BLACK, BLUE, (230, 190, 20), (30, 120, 50), (128, 128, 128))


@dataclass(frozen=True)
class Truth:
    """What a scene shows: class indices (N,) and boxes (N, 4), left, top, right, bottom in pixels."""

    classes: Tensor
    boxes: Tensor


@dataclass(frozen=True, eq=False)
class _Thing:
    """Something to place: texels (T, T, 4) RGBA in [0, 1], a sign's class or -1, and its outline (N, 2) in the unit square."""

    texels: NDArray[np.float32]
    index: int
    outline: NDArray[np.float64]


class SceneMaker:
    """Makes batches of scenes, the same for the same seed."""

    def __init__(self, photographs: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """``photographs`` (H, W, 3) RGB, at least some of them larger than the scenes wanted."""
        self._photographs = photographs
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        kinds = {name: [maker()] for name, maker in SIGNS.items()}
        kinds["speed limit"] = [speed_limit(number) for number in SPEEDS]
        self._signs = [
            [(one.draw(_TEXELS), np.concatenate(one.shapes[0].polygons)) for one in kind] for kind in kinds.values()
        ]

    def batch(self, count: int, size: int, most: int = 4) -> tuple[Tensor, list[Truth]]:
        """``count`` scenes (count, 3, size, size) sRGB in [0, 1], and what they show; up to ``most`` things in each."""
        images = torch.from_numpy(np.stack([self._background(size) for _ in range(count)])).permute(0, 3, 1, 2) / 255
        wanted = self._rng.integers(0, most + 1, count)
        taken: list[list[NDArray[np.float64]]] = [[] for _ in range(count)]
        classes: list[list[int]] = [[] for _ in range(count)]
        for turn in range(most):
            here = np.flatnonzero(wanted > turn)
            if len(here):
                images[here] = self._placed(images[here], here, taken, classes)
        truths = []
        for boxes, indices in zip(taken, classes, strict=True):
            signs = [i for i, index in enumerate(indices) if index >= 0]
            inside = np.array([boxes[i] for i in signs]).reshape(-1, 4).clip(0, size)
            truths.append(Truth(torch.tensor([indices[i] for i in signs]), torch.from_numpy(inside).float()))
        return images, truths

    def _placed(
        self, images: Tensor, rows: NDArray[np.int64], taken: list[list[NDArray[np.float64]]], classes: list[list[int]]
    ) -> Tensor:
        """One thing more in each image, where there is room for it."""
        count, size = len(images), images.shape[-1]
        things = [self._thing() for _ in range(count)]
        drawn = sample(VIEW, count, self._generator)
        # small ones are as many as large ones, octave by octave
        least, largest = np.log(_SIZES_PX[0]), np.log(_SIZES_PX[1] * size)
        sides = np.exp(self._rng.uniform(least, largest, count)) / np.where([t.index >= 0 for t in things], 1, 1.5)
        side = float(np.median(sides))
        drawn = drawn.changed(scale=torch.from_numpy(sides / side).float())
        drawn = drawn.changed(blur_px=drawn.blur_px * torch.from_numpy(np.clip(sides / 40, 0.4, 1)).float())
        corners = patch_corners(drawn, (side, side), (size, size))
        free = []
        for i, row in enumerate(rows):
            to_image = cv2.getPerspectiveTransform(
                np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), corners[i].numpy() + 0.5
            )
            at = cv2.perspectiveTransform(things[i].outline[None], to_image)[0]
            box = np.concatenate([at.min(axis=0), at.max(axis=0)])
            whole = corners[i].numpy() + 0.5
            covered = np.concatenate([whole.min(axis=0), whole.max(axis=0)])
            if all(_hidden(other, covered) < _LEAST_ROOM for other in taken[row]):
                free.append(i)
                taken[row].append(box)
                classes[row].append(things[i].index)
        images = images.clone()
        for least, most in zip((0.0, *_GROUPS_PX), (*_GROUPS_PX, np.inf), strict=True):
            alike = [i for i in free if least <= sides[i] < most]
            if not alike:
                continue
            texels = torch.from_numpy(np.stack([things[i].texels for i in alike])).permute(0, 3, 1, 2)
            group = float(np.median(sides[alike]))
            chosen = drawn.part(torch.tensor(alike))
            chosen = chosen.changed(scale=chosen.scale * side / group)
            colours = self._other_inks(texels[:, :3])
            images[alike] = place_at(images[alike], colours, chosen, corners[alike], (group, group), texels[:, 3:])[0]
        return images

    def _background(self, size: int) -> NDArray[np.uint8]:
        picture = self._photographs[int(self._rng.integers(len(self._photographs)))]
        height, width = picture.shape[:2]
        side = int(self._rng.uniform(0.5, 1) * min(height, width))
        left, top = self._rng.integers(width - side + 1), self._rng.integers(height - side + 1)
        cut = picture[top : top + side, left : left + side]
        if self._rng.random() < 0.5:
            cut = cut[:, ::-1]
        way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=way))

    def _thing(self) -> _Thing:
        if self._rng.random() < _NO_SIGN:
            return _Thing(self._no_sign(), -1, np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
        index = int(self._rng.integers(len(self._signs)))
        texels, outline = self._signs[index][self._rng.integers(len(self._signs[index]))]
        if self._rng.random() < _STICKER:
            texels = self._with_sticker(texels)
        if self._rng.random() < _SHEET:
            margin = (1 - _ON_SHEET) / 2
            texels, outline = self._on_sheet(texels, margin), margin + _ON_SHEET * outline
        return _Thing((texels / 255).astype(np.float32), index, outline)

    def _with_sticker(self, texels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = round(_TEXELS * self._rng.uniform(*_STICKER_SIDE))
        left, top = self._rng.integers(_TEXELS - side + 1, size=2)
        if self._rng.random() < _CENTRAL:
            off = self._rng.normal(0, _OFF_CENTRE * _TEXELS, 2)
            left, top = ((_TEXELS - side) / 2 + off).round().astype(int).clip(0, _TEXELS - side)
        covered = texels.copy()
        covered[top : top + side, left : left + side, :3] = self._cells(side)
        return covered

    def _cells(self, side: int) -> NDArray[np.uint8]:
        """(side, side, 3): grey, plain, or cells of random colours."""
        kind = self._rng.random()
        if kind < 0.4:
            return np.full((side, side, 3), self._rng.integers(90, 165), np.uint8)
        if kind < 0.55:
            return np.full((side, side, 3), self._rng.integers(0, 256, 3), np.uint8)
        count = int(self._rng.integers(3, 13))
        cells = self._rng.integers(0, 256, (count, count, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST))

    def _on_sheet(self, texels: NDArray[np.uint8], margin: float) -> NDArray[np.uint8]:
        """White paper with markers in its corners and the sign in its middle."""
        sheet = np.full((_TEXELS, _TEXELS, 4), 250, np.uint8)
        sheet[..., 3] = 255
        side, first = round(_TEXELS * _ON_SHEET), round(_TEXELS * margin)
        small = cv2.resize(texels, (side, side), interpolation=cv2.INTER_AREA)
        there = small[..., 3:] / 255
        middle = sheet[first : first + side, first : first + side, :3]
        middle[:] = (there * small[..., :3] + (1 - there) * middle).round()
        dictionary = cv2.aruco.getPredefinedDictionary(ARUCO_DICTIONARY)
        mark = round(_TEXELS * margin * 0.75)
        edge = round(_TEXELS * margin * 0.12)
        for y in (edge, _TEXELS - edge - mark):
            for x in (edge, _TEXELS - edge - mark):
                picture = dictionary.generateImageMarker(int(self._rng.integers(50)), 6)
                marker = cv2.resize(picture, (mark, mark), interpolation=cv2.INTER_NEAREST)
                sheet[y : y + mark, x : x + mark, :3] = marker[..., None]
        return sheet

    def _no_sign(self) -> NDArray[np.float32]:
        """A polygon, a disc or a square of a sign's colours, or a sheet of cells."""
        texels = np.zeros((_TEXELS, _TEXELS, 4), np.uint8)
        kind = self._rng.integers(4)
        middle, reach = _TEXELS // 2, _TEXELS // 2 - 1
        shades = [_SHADES[i] for i in self._rng.permutation(len(_SHADES))[:2]]
        if kind == 0:
            texels[..., :3], texels[..., 3] = self._cells(_TEXELS), 255
            sheet = self._on_sheet(texels, (1 - _ON_SHEET) / 2) if self._rng.random() < 0.5 else texels
            return np.asarray((sheet / 255).astype(np.float32))
        corners = int(self._rng.integers(3, 7))  # of a polygon: fewer than a stop sign's
        for scale, shade in zip((1.0, self._rng.uniform(0.2, 0.8)), shades, strict=True):
            colour = (*shade, 255)
            if kind == 1:
                cv2.circle(texels, (middle, middle), round(scale * reach), colour, -1)
            elif kind == 2:
                half = round(scale * reach)
                cv2.rectangle(texels, (middle - half, middle - half), (middle + half, middle + half), colour, -1)
            else:
                turn = self._rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
                points = middle + scale * reach * np.column_stack([np.cos(turn), np.sin(turn)])
                cv2.fillPoly(texels, [points.round().astype(np.int32)], colour)
        return np.asarray((texels / 255).astype(np.float32))

    def _other_inks(self, colours: Tensor) -> Tensor:
        """(B, 3, T, T) sRGB as printers mix them: towards one another, with less black and less white."""
        count = len(colours)
        bleed = torch.rand(count, 3, 3, generator=self._generator) * 0.12
        mixing = bleed + torch.diag_embed(1 - bleed.sum(dim=2))
        floor = torch.rand(count, 1, 1, 1, generator=self._generator) * 0.06
        power = 1 + 0.6 * torch.rand(count, 1, 1, 1, generator=self._generator)
        mixed = torch.einsum("bij,bjhw->bihw", mixing, rgb_to_linear_rgb(colours) ** power)
        return linear_rgb_to_rgb((floor + (1 - floor) * mixed).clamp(0, 1)).clamp(0, 1)


def _hidden(box: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How much of the smaller box lies within the other."""
    width, height = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [float(np.prod(part[2:] - part[:2])) for part in (box, other)]
    return float(width * height) / max(min(areas), 1.0)
