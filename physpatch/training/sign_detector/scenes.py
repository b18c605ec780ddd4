"""Rendered scenes with road signs, for training and testing the embedded detector.

Signs are drawn by ``calibration.sheet.road_signs`` and rendered into photographs by physpatch's camera model. Half of them
carry a sticker, plain or of random cells, because a sign must be detected with a harmless control on it. A quarter are
printed on a sheet with markers. There are also objects in the same colours that are not signs.

Photographs of real signs differ from the drawings in their lettering, and in the light: signs lie in shade before a bright
background, and at night they shine in headlights or are nearly black. So letters vary, and the light on each object and in
each scene does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from numpy.typing import NDArray
from torch import Tensor

from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from calibration.sheet.modules import marker_bits
from calibration.sheet.road_signs import BLACK, BLUE, RED, SIGNS, SPEEDS, WHITE, Lettering, Sign, speed_limit, stop
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import place_at
from physpatch.rendering.eot import EotParams, patch_corners, sample

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
    tint=(1.0, 1.0),  # as in the training of the embedded detector
    noise=(0.0, 0.05),
    gamma=(0.8, 1.25),
    jpeg=(40.0, 99.0),
)
_GROUPS_PX = (40.0, 110.0)  # scenes are rendered in groups of objects of similar size, in windows that fit them
_TEXELS = (96, 96, 256)  # a side of an object, in each group
_SIZES_PX = (13.0, 0.95)  # the smallest side, and the largest as a share of the picture
_NEAR, _NEAR_SIDE = 0.3, 0.25  # probability that an object is a near one, and the smallest side of these, as that share
_DIM, _DIM_GAIN = 0.25, (0.02, 0.35)  # probability that an object is in shade or in the dark, and the light on it
_LIT, _LIT_GAIN = 0.1, (1.5, 3.0)  # the same in headlights or overexposed
_NIGHT, _NIGHT_GAIN = 0.2, (0.01, 0.4)  # the same of a whole background
_WASHED, _WASH = 0.15, (0.02, 0.3)  # the same of light that is reflected all over a sign, or of a veil in the lens
_WALL = 0.15  # probability that the background is a picture on a plain wall
_OTHER_LETTERS = 0.6  # probability that a stop sign's letters are not the drawing's
_LETTERS = 12  # other letterings of stop signs
_STICKER, _SHEET, _NO_SIGN = 0.5, 0.25, 0.25  # probabilities
_STICKER_SIDE = (0.15, 0.5)  # of the sign's
# Probability that a sticker lies near the sign's centre, and its distance from there, as a share of the sign.
_CENTRAL, _OFF_CENTRE = 0.5, 0.1
# More and larger stickers in varied scenes: where the letters are covered, only the outline tells a stop sign from no entry.
_MORE_STICKERS, _MORE_CENTRAL, _LARGE_SIDE = 0.7, 0.75, (0.35, 0.5)
_ON_SHEET = 0.62  # the sign's side as a share of the sheet's
_MOST_HIDDEN = 0.1  # share of a box that may be hidden by another
_SHADES = (RED, WHITE, BLACK, BLUE, (230, 190, 20), (30, 120, 50), (128, 128, 128))


@dataclass(frozen=True)
class Truth:
    """The signs in a scene: class indices (N,) and boxes (N, 4), left, top, right, bottom in pixels."""

    classes: Tensor
    boxes: Tensor


@dataclass(frozen=True, eq=False)
class _Object:
    """An object to place: texels (T, T, 4) RGBA in [0, 1], a sign's class or -1, its outline (N, 2) in the unit square."""

    texels: NDArray[np.float32]
    index: int
    outline: NDArray[np.float64]


class SceneMaker:
    """Render batches of scenes, reproducibly by seed."""

    def __init__(self, photographs: Sequence[NDArray[np.uint8]], seed: int, *, varied: bool = True) -> None:
        """Prepare to render into photographs (H, W, 3), RGB; some should be larger than the scenes.

        ``varied``: near signs, other letters, shade, headlights and nights too; without, signs as drawn in the usual light.
        """
        self._varied = varied
        self._photographs = photographs
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        kinds = {name: [maker()] for name, maker in SIGNS.items()}
        kinds["speed limit"] = [speed_limit(number) for number in SPEEDS]
        kinds["stop"] += [stop(_lettering(self._rng)) for _ in range(_LETTERS)]
        self._signs = {
            texels: [[_drawn(sign, texels) for sign in kind] for kind in kinds.values()] for texels in set(_TEXELS)
        }

    def batch(self, count: int, size: int, most: int = 4) -> tuple[Tensor, list[Truth]]:
        """Render scenes (count, 3, size, size), sRGB in [0, 1], with up to ``most`` objects each; also return their signs."""
        images = torch.from_numpy(np.stack([self._background(size) for _ in range(count)])).permute(0, 3, 1, 2) / 255
        counts = self._rng.integers(0, most + 1, count)
        boxes: list[list[NDArray[np.float64]]] = [[] for _ in range(count)]
        classes: list[list[int]] = [[] for _ in range(count)]
        for turn in range(most):
            rows = np.flatnonzero(counts > turn)
            if len(rows):
                images[rows] = self._placed(images[rows], rows, boxes, classes)
        truths = []
        for image_boxes, indices in zip(boxes, classes, strict=True):
            signs = [i for i, index in enumerate(indices) if index >= 0]
            inside = np.array([image_boxes[i] for i in signs]).reshape(-1, 4).clip(0, size)
            truths.append(Truth(torch.tensor([indices[i] for i in signs]), torch.from_numpy(inside).float()))
        return images, truths

    def _placed(
        self, images: Tensor, rows: NDArray[np.int64], boxes: list[list[NDArray[np.float64]]], classes: list[list[int]]
    ) -> Tensor:
        """Place another object in each image that has room for it."""
        count, size = len(images), images.shape[-1]
        is_sign = self._rng.random(count) >= _NO_SIGN
        sides = self._sides(count, size) / np.where(is_sign, 1, 1.5)
        groups = np.digitize(sides, _GROUPS_PX)
        objects = [self._object(sign, _TEXELS[group]) for sign, group in zip(is_sign, groups, strict=True)]
        drawn = self._in_its_light(sample(VIEW, count, self._generator))
        side = float(np.median(sides))
        drawn = drawn.changed(scale=torch.from_numpy(sides / side).float())
        drawn = drawn.changed(blur_px=drawn.blur_px * torch.from_numpy(np.clip(sides / 40, 0.4, 1)).float())
        corners = patch_corners(drawn, (side, side), (size, size))
        free = []
        for i, row in enumerate(rows):
            to_image = cv2.getPerspectiveTransform(
                np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), corners[i].numpy() + 0.5
            )
            outline = cv2.perspectiveTransform(objects[i].outline[None], to_image)[0]
            box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
            whole = corners[i].numpy() + 0.5
            covered = np.concatenate([whole.min(axis=0), whole.max(axis=0)])
            if all(_hidden(earlier, covered) < _MOST_HIDDEN for earlier in boxes[row]):
                free.append(i)
                boxes[row].append(box)
                classes[row].append(objects[i].index)
        images = images.clone()
        for group_of_size in range(len(_TEXELS)):
            alike = [i for i in free if groups[i] == group_of_size]
            if not alike:
                continue
            texels = torch.from_numpy(np.stack([objects[i].texels for i in alike])).permute(0, 3, 1, 2)
            group = float(np.median(sides[alike]))
            chosen = drawn.part(torch.tensor(alike))
            chosen = chosen.changed(scale=chosen.scale * side / group)
            colours = self._other_inks(texels[:, :3])
            colours = self._washed(colours)
            images[alike] = place_at(images[alike], colours, chosen, corners[alike], (group, group), texels[:, 3:])[0]
        return images

    def _share(self, probability: float) -> float:
        return probability if self._varied else 0.0

    def _sides(self, count: int, size: int) -> NDArray[np.float64]:
        """Draw sides (count,) in pixels: uniform in the logarithm, so that there are as many small as large, and near ones."""
        sides = np.exp(self._rng.uniform(np.log(_SIZES_PX[0]), np.log(_SIZES_PX[1] * size), count))
        near = self._rng.uniform(_NEAR_SIDE * size, _SIZES_PX[1] * size, count)
        return np.where(self._rng.random(count) < self._share(_NEAR), near, sides)

    def _in_its_light(self, drawn: EotParams) -> EotParams:
        """Put some objects into the dark, and some into headlights."""
        kind = self._rng.random(drawn.batch)
        dim, lit = (
            np.exp(self._rng.uniform(np.log(low), np.log(high), drawn.batch)) for low, high in (_DIM_GAIN, _LIT_GAIN)
        )
        usual = np.where(kind > 1 - self._share(_LIT), lit, drawn.gain.numpy())
        gain = np.where(kind < self._share(_DIM), dim, usual)
        return drawn.changed(gain=torch.from_numpy(gain).float())

    def _washed(self, colours: Tensor) -> Tensor:
        """Add white light all over some objects (B, 3, T, T), sRGB."""
        count = len(colours)
        light = self._rng.uniform(*_WASH, count) * (self._rng.random(count) < self._share(_WASHED))
        added = torch.from_numpy(light).float()[:, None, None, None]
        return linear_rgb_to_rgb(added + (1 - added) * rgb_to_linear_rgb(colours))

    def _background(self, size: int) -> NDArray[np.uint8]:
        picture = self._cut(size)
        if self._rng.random() < self._share(_WALL):
            wall = np.full_like(picture, self._rng.integers(0, 256, 1 if self._rng.random() < 0.6 else 3))
            side = int(self._rng.uniform(0.2, 0.9) * size)
            left, top = self._rng.integers(size - side + 1, size=2)
            wall[top : top + side, left : left + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
            picture = wall
        if self._rng.random() < self._share(_NIGHT):
            light = srgb_to_linear(picture / 255) * np.exp(self._rng.uniform(*np.log(_NIGHT_GAIN)))
            picture = (linear_to_srgb(light) * 255).round().astype(np.uint8)
        return picture

    def _cut(self, size: int) -> NDArray[np.uint8]:
        picture = self._photographs[int(self._rng.integers(len(self._photographs)))]
        height, width = picture.shape[:2]
        side = int(self._rng.uniform(0.5, 1) * min(height, width))
        left, top = self._rng.integers(width - side + 1), self._rng.integers(height - side + 1)
        cut = picture[top : top + side, left : left + side]
        if self._rng.random() < 0.5:
            cut = cut[:, ::-1]
        way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=way))

    def _object(self, is_sign: bool, side: int) -> _Object:
        if not is_sign:
            return _Object(self._no_sign(side), -1, np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
        signs = self._signs[side]
        index = int(self._rng.integers(len(signs)))
        varied = len(signs[index]) > 1 and (NAMES[index] != "stop" or self._rng.random() < self._share(_OTHER_LETTERS))
        texels, outline = signs[index][self._rng.integers(len(signs[index])) if varied else 0]
        if self._rng.random() < (_MORE_STICKERS if self._varied else _STICKER):
            texels = self._with_sticker(texels)
        if self._rng.random() < _SHEET:
            margin = (1 - _ON_SHEET) / 2
            texels, outline = self._on_sheet(texels, margin), margin + _ON_SHEET * outline
        return _Object((texels / 255).astype(np.float32), index, outline)

    def _with_sticker(self, texels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        whole = len(texels)
        large = self._varied and self._rng.random() < 0.5
        side = round(whole * self._rng.uniform(*(_LARGE_SIDE if large else _STICKER_SIDE)))
        left, top = self._rng.integers(whole - side + 1, size=2)
        if self._rng.random() < (_MORE_CENTRAL if self._varied else _CENTRAL):
            off = self._rng.normal(0, _OFF_CENTRE * whole, 2)
            left, top = ((whole - side) / 2 + off).round().astype(int).clip(0, whole - side)
        covered = texels.copy()
        covered[top : top + side, left : left + side, :3] = self._cells(side)
        return covered

    def _cells(self, side: int) -> NDArray[np.uint8]:
        """Draw a sticker (side, side, 3): grey, plain, or cells of random colours."""
        kind = self._rng.random()
        if kind < 0.4:
            return np.full((side, side, 3), self._rng.integers(90, 165), np.uint8)
        if kind < 0.55:
            return np.full((side, side, 3), self._rng.integers(0, 256, 3), np.uint8)
        count = int(self._rng.integers(3, 13))
        cells = self._rng.integers(0, 256, (count, count, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST))

    def _on_sheet(self, texels: NDArray[np.uint8], margin: float) -> NDArray[np.uint8]:
        """Draw a white sheet with markers in its corners and the sign in its centre."""
        whole = len(texels)
        sheet = np.full((whole, whole, 4), 250, np.uint8)
        sheet[..., 3] = 255
        side, first = round(whole * _ON_SHEET), round(whole * margin)
        small = cv2.resize(texels, (side, side), interpolation=cv2.INTER_AREA)
        opacity = small[..., 3:] / 255
        middle = sheet[first : first + side, first : first + side, :3]
        middle[:] = (opacity * small[..., :3] + (1 - opacity) * middle).round()
        mark = round(whole * margin * 0.75)
        edge = round(whole * margin * 0.12)
        for y in (edge, whole - edge - mark):
            for x in (edge, whole - edge - mark):
                picture = marker_bits(int(self._rng.integers(50))).astype(np.uint8) * 255
                marker = cv2.resize(picture, (mark, mark), interpolation=cv2.INTER_NEAREST)
                sheet[y : y + mark, x : x + mark, :3] = marker[..., None]
        return sheet

    def _no_sign(self, side: int) -> NDArray[np.float32]:
        """Draw a polygon, a disc or a square in the colours of signs, or a sheet of cells."""
        texels = np.zeros((side, side, 4), np.uint8)
        kind = self._rng.integers(4)
        middle, reach = side // 2, side // 2 - 1
        shades = [_SHADES[i] for i in self._rng.permutation(len(_SHADES))[:2]]
        if kind == 0:
            texels[..., :3], texels[..., 3] = self._cells(side), 255
            sheet = self._on_sheet(texels, (1 - _ON_SHEET) / 2) if self._rng.random() < 0.5 else texels
            return np.asarray((sheet / 255).astype(np.float32))
        corners = int(self._rng.integers(3, 7))  # of a polygon, fewer than a stop sign has
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
        """Simulate a printer on colours (B, 3, T, T), sRGB: channels mix, and black and white lose contrast."""
        count = len(colours)
        bleed = torch.rand(count, 3, 3, generator=self._generator) * 0.12
        mixing = bleed + torch.diag_embed(1 - bleed.sum(dim=2))
        floor = torch.rand(count, 1, 1, 1, generator=self._generator) * 0.06
        power = 1 + 0.6 * torch.rand(count, 1, 1, 1, generator=self._generator)
        mixed = torch.einsum("bij,bjhw->bihw", mixing, rgb_to_linear_rgb(colours) ** power)
        return linear_rgb_to_rgb((floor + (1 - floor) * mixed).clamp(0, 1)).clamp(0, 1)


def _hidden(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Compute the share of the smaller box that lies within the larger one."""
    width, height = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    return float(width * height) / max(min(areas), 1.0)


def _drawn(sign: Sign, texels: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Draw a sign (texels, texels, 4), and return its outline (N, 2) in the unit square."""
    return sign.draw(texels), np.concatenate(sign.shapes[0].polygons)


def _lettering(rng: np.random.Generator) -> Lettering:
    """Draw a lettering like those of real stop signs, whose letters are a third of the sign high or more."""
    pitch = rng.uniform(0.165, 0.215)
    return Lettering(
        rim=rng.uniform(0.03, 0.09),
        height=rng.uniform(0.24, 0.42),
        width=pitch * rng.uniform(0.7, 0.9),
        pitch=pitch,
        pen=rng.uniform(0.16, 0.34),
    )
