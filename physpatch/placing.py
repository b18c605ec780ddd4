"""Where a patch lies: by itself in the scene, or on a sign that stands there."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from kornia.geometry.linalg import transform_points
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor

from calibration.errors import InputError
from calibration.signs import patch_box, sign
from physpatch.compose import patch_size_px, place_patch
from physpatch.config import TrainConfig
from physpatch.eot import EotParams, patch_corners
from physpatch.victims.base import Victim

_TEXELS = 112  # about so many along a sign's side


@dataclass(frozen=True, eq=False)
class Carrier:
    """A sign that a patch is stuck on, flat: one texture with it, so one light, one view and one blur for both.

    Attributes:
        name: the sign's.
        texels: (3, T, T) sRGB in [0, 1].
        cover: (1, T, T) in [0, 1], 0 beyond the sign's outline.
        outline: (N, 2) in the unit square.
        box: left, top, width and height of the patch, in texels; a cell is a whole number of them.
        share: of the sign's area that the patch is.
    """

    name: str
    texels: Tensor
    cover: Tensor
    outline: Tensor
    box: tuple[int, int, int, int]
    share: float

    @classmethod
    def of_sign(
        cls, name: str, grid: tuple[int, int], share: float = 0.2, at: tuple[float, float] = (0.5, 0.5)
    ) -> "Carrier":
        """One of ``calibration.signs.SIGNS``.

        Args:
            name: of the sign.
            grid: rows and columns of the patch.
            share: of the sign's area that the patch may be at most.
            at: the patch's middle on the sign, across and down, as shares of its box.

        Raises:
            InputError: no such sign, or the patch would reach over its edge.
        """
        drawn, (rows, columns) = sign(name), grid
        left, top, width, _ = patch_box(drawn, grid, share, at)
        cell = width / columns  # of the sign's side
        per_cell = max(1, round(cell * _TEXELS))
        side = math.ceil(per_cell / cell)
        picture = torch.from_numpy(drawn.draw(side)).permute(2, 0, 1).float() / 255
        box = (round(left * side), round(top * side), columns * per_cell, rows * per_cell)
        outline = torch.from_numpy(np.concatenate(drawn.shapes[0].polygons)).float()
        covered = box[2] * box[3] / (drawn.area * side**2)
        return cls(drawn.name, picture[:3], picture[3:], outline, box, covered)

    def with_patch(self, cells: Tensor | None) -> Tensor:
        """The sign's texels with cells ([B,] 3, rows, columns) on it; gradients flow to them. None leaves it bare."""
        if cells is None:
            return self.texels
        left, top, width, height = self.box
        fine = cells.repeat_interleave(height // cells.shape[-2], dim=-2).repeat_interleave(
            width // cells.shape[-1], dim=-1
        )
        texels = self.texels.to(cells).expand(*cells.shape[:-3], -1, -1, -1).clone()
        texels[..., top : top + height, left : left + width] = fine
        return texels


@dataclass(frozen=True, eq=False)
class Placing:
    """How a patch is put into photographs.

    Attributes:
        area: share of the image that the patch covers at scale 1, or, on a carrier, that the carrier's square covers.
        carrier: what it is stuck on; None for nothing.
    """

    area: float
    carrier: Carrier | None = None

    @classmethod
    def of(cls, config: TrainConfig) -> "Placing":
        """As a run asks for.

        Raises:
            InputError: no such sign, or the patch does not fit it.
        """
        if config.object is None:
            return cls(config.area)
        return cls(config.area, Carrier.of_sign(config.object, config.grid, config.object_share, config.object_at))

    def compose(self, images: Tensor, cells: Tensor | None, params: EotParams) -> Tensor:
        """Photographs (B, 3, H, W) with the patch, see :func:`place_patch`; ``cells`` None shows the carrier bare.

        Raises:
            ValueError: neither cells nor a carrier.
        """
        if self.carrier is None:
            if cells is None:
                raise ValueError("nothing to place: neither cells nor a carrier")
            return place_patch(images, cells, params, self.area)[0]
        return place_patch(images, self.carrier.with_patch(cells), params, self.area, self.carrier.cover)[0]

    @torch.no_grad()
    def coverage(self, images: Tensor, cells: Tensor, params: EotParams) -> Tensor:
        """How much of each pixel of photographs (B, 3, H, W) the patch itself covers: (B, 1, H, W) in [0, 1]."""
        if self.carrier is None:
            return place_patch(images, cells, params, self.area)[1]
        mask = torch.zeros_like(self.carrier.cover)
        left, top, width, height = self.carrier.box
        mask[:, top : top + height, left : left + width] = 1
        return place_patch(images, self.carrier.texels.to(images), params, self.area, mask)[1]

    def boxes(self, params: EotParams, size: int) -> Tensor:
        """The carriers' boxes in square images of ``size`` pixels: (B, 4), left, top, right, bottom.

        Raises:
            ValueError: no carrier.
        """
        if self.carrier is None:
            raise ValueError("a patch alone is no object")
        texels = self.carrier.texels.shape[-1]
        corners = patch_corners(params, patch_size_px(self.area, (texels, texels), (size, size)), (size, size)) + 0.5
        unit = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]).expand(len(corners), 4, 2)
        outline = transform_points(
            get_perspective_transform(unit, corners), self.carrier.outline.expand(len(corners), -1, 2)
        )
        return torch.cat([outline.amin(dim=1), outline.amax(dim=1)], dim=1).clamp(0, size)


def object_class(victim: Victim, name: str) -> int:
    """The class that a detector should find a sign as.

    Raises:
        InputError: a classifier, or one that knows no such class.
    """
    if victim.task != "detect":
        raise InputError(
            f"a patch on a {name} sign needs a detector, such as --model signs; {victim.name} is a classifier"
        )
    found = known_object(victim, name)
    if found is None:
        raise InputError(f"{victim.name} knows no {name} sign; known: {', '.join(victim.categories[:8])}")
    return found


def known_object(victim: Victim, name: str) -> int | None:
    """The same where the victim knows it, ``stop`` also as COCO's ``stop sign``; else None."""
    indices = (victim.target_index({"index": -1, "name": words}) for words in (name, f"{name} sign"))
    return next((index for index in indices if index is not None), None)
