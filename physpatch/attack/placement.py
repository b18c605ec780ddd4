"""The placement of a patch: on its sheet or cut out, on a drawn sign, or on an object that the photograph shows."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb
from kornia.geometry.linalg import transform_points
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor

from calibration.common.errors import InputError, unknown_name
from calibration.sheet.modules import draw_surroundings
from calibration.sheet.planning import plan_sheet
from calibration.sheet.road_signs import sign, together
from physpatch.attack.objectives import choose_goal
from physpatch.records.config import ObjectConfig, PatchConfig, TrainConfig
from physpatch.rendering.compositing import patch_size_px, place_patch
from physpatch.rendering.eot import EotParams, patch_corners
from physpatch.victims.protocol import Task, Victim

_TEXELS = 112  # along a sign's side, roughly
_SHEET_TEXELS = 40  # along a patch's side on its sheet, at least
_SHEET_MM = 100.0  # a patch's longer side; on other sizes markers and margin are about as large beside it
_LABELLED_AREA = 0.02  # of the image: sets the resolution of a patch on a labelled object


@dataclass(frozen=True, eq=False)
class Carrier:
    """What carries a patch: a flat sign, or its sheet. Both form one texture, so they share light, view and blur.

    Attributes:
        name: of the sign; empty for a sheet.
        texels: (3, T, T) sRGB in [0, 1].
        cover: (1, T, T) in [0, 1], 0 outside the sign's outline.
        outline: of the sign, (N, 2) in the unit square; empty for a sheet.
        box: left, top, width and height of the patch, in texels; a cell is a whole number of them.
        share: the patch's area as a share of the sign's.
        side: the texture's side in sides of the sign; above 1 where the patch lies beside the sign.
    """

    name: str
    texels: Tensor
    cover: Tensor
    outline: Tensor
    box: tuple[int, int, int, int]
    share: float
    side: float = 1.0

    @classmethod
    def of_sign(
        cls, name: str, grid: tuple[int, int], share: float = 0.2, at: tuple[float, float] = (0.5, 0.5)
    ) -> "Carrier":
        """Draw a sign of ``calibration.sheet.road_signs.SIGNS`` as the carrier of a patch.

        Args:
            name: of the sign.
            grid: rows and columns of the patch.
            share: the largest area of the patch, as a share of the sign's.
            at: the patch's centre, across and down, as shares of the sign's box; below 0 or above 1 lies beside it.

        Raises:
            InputError: no such sign, or the patch would extend beyond its edge.
        """
        drawn, (rows, columns) = sign(name), grid
        arrangement = together(drawn, grid, share, at)
        left, top, width, _ = arrangement.patch
        cell = arrangement.side * width / columns  # of the sign's side
        per_cell = max(1, round(cell * _TEXELS))
        own = math.ceil(per_cell / cell)
        side = max(own, math.ceil(own * arrangement.side))
        picture = torch.from_numpy(drawn.draw(own)).permute(2, 0, 1).float() / 255
        x, y = (round(first * side) for first in arrangement.sign)
        beyond = (x, side - own - x, y, side - own - y)
        outline = torch.from_numpy(np.concatenate(drawn.shapes[0].polygons)).float()
        box = (round(left * side), round(top * side), columns * per_cell, rows * per_cell)
        return cls(
            drawn.name,
            F.pad(picture[:3], beyond),
            F.pad(picture[3:], beyond),
            (outline * own + torch.tensor([x, y])) / side,
            box,
            box[2] * box[3] / (drawn.area * own**2),
            side / own,
        )

    @classmethod
    @lru_cache(maxsize=8)
    def of_sheet(cls, grid: tuple[int, int], cut: str = "sheet") -> "Carrier":
        """Draw the sheet of ``physpatch print`` around a patch: its margin, markers and QR code, or a circular cut.

        Args:
            grid: rows and columns of the patch.
            cut: ``sheet`` or ``circle``, see :class:`calibration.sheet.layout.SheetLayout`.
        """
        rows, columns = grid
        per_cell = max(1, math.ceil(_SHEET_TEXELS / max(grid)))
        layout = plan_sheet(max(_SHEET_MM, float(max(grid))), grid)
        texel = layout.cell_mm / per_cell
        cut_out = layout.cut if cut == "sheet" else layout.patch
        width, height = columns * per_cell, rows * per_cell
        left, top, right, bottom = (
            math.ceil(margin_mm / texel)
            for margin_mm in (
                layout.patch.x_mm - cut_out.x_mm,
                layout.patch.y_mm - cut_out.y_mm,
                cut_out.right_mm - layout.patch.right_mm,
                cut_out.bottom_mm - layout.patch.bottom_mm,
            )
        )
        across, down = left + width + right, top + height + bottom
        side = max(across, down)
        left, top = left + (side - across) // 2, top + (side - down) // 2
        if cut == "sheet":
            origin = (layout.patch.x_mm - left * texel, layout.patch.y_mm - top * texel)
            paper, cover = (torch.from_numpy(part) for part in draw_surroundings(layout, origin, texel, side))
        else:
            paper, cover = torch.ones(side, side), _disc(side, min(width, height))
        # A texel with ink on a part of it reflects that share of the paper's light.
        texels = linear_rgb_to_rgb(paper.expand(1, 3, -1, -1))[0]
        return cls("", texels, cover[None], torch.empty(0, 2), (left, top, width, height), 1.0)

    @property
    def patch_share(self) -> float:
        """Return the patch's area as a share of the square around the sign or sheet."""
        _, _, width, height = self.box
        return width * height * self.side**2 / self.texels.shape[-1] ** 2

    def cover_with(self, cells: Tensor | None) -> Tensor:
        """Return the opacity of the texels (1, T, T): of the sign, and of a patch that lies beside it."""
        if cells is None or self.side == 1:
            return self.cover
        return torch.maximum(self.cover, self.patch_mask)

    @property
    def patch_mask(self) -> Tensor:
        """Return a mask (1, T, T) that is 1 where the patch lies, else 0."""
        left, top, width, height = self.box
        mask = torch.zeros_like(self.cover)
        mask[:, top : top + height, left : left + width] = 1
        return mask

    def with_patch(self, cells: Tensor | None) -> Tensor:
        """Return the sign's texels ([B,] 3, T, T) with a patch on it.

        ``cells`` are ([B,] 3, rows, columns), and gradients flow to them; None leaves the sign bare.
        """
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
class Placement:
    """The way in which a patch is placed in photographs.

    Attributes:
        area: share of the image that the patch covers at scale 1. On a labelled object, the object's box decides instead.
        carrier: the drawn sign, or the sheet, that carries the patch; None for none.
        labelled: the class of the labelled objects that carry the patch; None for none.
        share, at: the share of a labelled object's box that the patch covers, and where in it the patch's centre lies, across
            and down.
        grid: the patch's rows and columns, where there is no carrier.
    """

    area: float
    carrier: Carrier | None = None
    labelled: str | None = None
    share: float = ObjectConfig.share
    at: tuple[float, float] = ObjectConfig.at
    grid: tuple[int, int] = PatchConfig.grid

    @classmethod
    def of(cls, config: TrainConfig) -> "Placement":
        """Create the placement that a run's config describes.

        Raises:
            InputError: no such sign, or the patch does not fit on it.
        """
        if config.object.labelled is not None:
            return cls(
                _LABELLED_AREA, None, config.object.labelled, config.object.share, config.object.at, config.patch.grid
            )
        if config.object.drawn_sign is None:
            return cls.cut(config.patch.cut, config.patch.area, config.patch.grid)
        carrier = Carrier.of_sign(config.object.drawn_sign, config.patch.grid, config.object.share, config.object.at)
        return cls.on_sign(carrier, config.object.sign_area)

    @classmethod
    def cut(cls, cut: str, area: float, grid: tuple[int, int]) -> "Placement":
        """Place a patch of ``area``, a share of the image at scale 1, as it is cut out of its sheet; ``sheet`` keeps that."""
        return cls(area, None if cut == "square" else Carrier.of_sheet(grid, cut), grid=grid)

    @classmethod
    def on_sign(cls, carrier: Carrier, sign_area: float) -> "Placement":
        """Place a patch on a sign whose square covers ``sign_area`` of the image at scale 1."""
        return cls(sign_area * carrier.patch_share, carrier)

    @property
    def _canvas_area(self) -> float:
        """Share of the image that the carrier's texture covers; it is larger than the sign where the patch lies beside it."""
        assert self.carrier is not None
        return self.area / self.carrier.patch_share * self.carrier.side**2

    @property
    def object(self) -> str | None:
        """Return the name of the object that carries the patch, as the user gave it; None for none."""
        return self.labelled if self.carrier is None else self.carrier.name or None

    @property
    def sign(self) -> Carrier | None:
        """Return the drawn sign that carries the patch; None for none."""
        return self.carrier if self.carrier is not None and self.carrier.name else None

    def aimed(self, params: EotParams, objects: Tensor | None, size: int) -> EotParams:
        """Change a draw so that the patch lies on labelled objects; without such objects, return it unchanged.

        Args:
            params: a draw for B images.
            objects: (B, 4) left, top, right, bottom in pixels.
            size: side of the square images in pixels.
        """
        if self.labelled is None or objects is None:
            return params
        boxes = objects.to(params.scale)
        extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        nominal = patch_size_px(self.area, self.grid, (size, size))
        factor = (self.share * extent.prod(dim=1) / (nominal[0] * nominal[1])).sqrt()
        sized = params.changed(scale=params.scale * factor, place=torch.zeros_like(params.place))
        corners = patch_corners(sized, nominal, (size, size))
        reach = corners.amax(dim=1) - corners.amin(dim=1)
        center = boxes[:, :2] + extent * torch.tensor(self.at).to(extent)
        return sized.changed(place=(center - reach / 2) / (size - reach).clamp(min=1))

    def compose(self, images: Tensor, cells: Tensor | None, params: EotParams) -> Tensor:
        """Place the patch in photographs (B, 3, H, W), see :func:`place_patch`.

        ``cells`` are ([B,] 3, rows, columns) sRGB in [0, 1]; None shows the carrier bare.

        Raises:
            ValueError: neither cells nor a carrier.
        """
        if self.carrier is None:
            if cells is None:
                raise ValueError("nothing to place: neither cells nor a carrier")
            return place_patch(images, cells, params, self.area)[0]
        carrier, area = self.carrier, self._canvas_area
        return place_patch(images, carrier.with_patch(cells), params, area, carrier.cover_with(cells))[0]

    @torch.no_grad()
    def coverage(self, images: Tensor, cells: Tensor, params: EotParams) -> Tensor:
        """Compute how much of each pixel of photographs (B, 3, H, W) the patch itself covers: (B, 1, H, W) in [0, 1]."""
        if self.carrier is None:
            return place_patch(images, cells, params, self.area)[1]
        texels, mask = self.carrier.texels.to(images), self.carrier.patch_mask * self.carrier.cover_with(cells)
        return place_patch(images, texels, params, self._canvas_area, mask)[1]

    def patch_boxes(self, params: EotParams, size: int) -> Tensor:
        """Compute the patches' boxes in square images of side ``size``: (B, 4) left, top, right, bottom in pixels."""
        if self.carrier is None:
            corners = patch_corners(params, patch_size_px(self.area, self.grid, (size, size)), (size, size)) + 0.5
            return _around(corners, size)
        texels = self.carrier.texels.shape[-1]
        left, top, width, height = (side / texels for side in self.carrier.box)
        square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        return self._on_carrier(torch.tensor([left, top]) + square * torch.tensor([width, height]), params, size)

    def boxes(self, params: EotParams, size: int) -> Tensor:
        """Compute the signs' boxes in square images of side ``size``: (B, 4) left, top, right, bottom in pixels.

        Raises:
            ValueError: no sign.
        """
        if self.sign is None:
            raise ValueError("this patch is on no sign")
        return self._on_carrier(self.sign.outline, params, size)

    def _on_carrier(self, points: Tensor, params: EotParams, size: int) -> Tensor:
        """Compute the boxes (B, 4) around points (N, 2) of the carrier's unit square."""
        assert self.carrier is not None
        texels = self.carrier.texels.shape[-1]
        extent = patch_size_px(self._canvas_area, (texels, texels), (size, size))
        corners = patch_corners(params, extent, (size, size)) + 0.5
        unit = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]).expand(len(corners), 4, 2)
        return _around(
            transform_points(get_perspective_transform(unit, corners), points.expand(len(corners), -1, 2)), size
        )


@dataclass(frozen=True)
class AttackRegion:
    """The intended effect on a detector, and which of its boxes count.

    Attributes:
        placement: how the patch is placed in photographs.
        kind: which boxes count: those on the ``object``, those at the ``patch``, or all in the ``image``.
        goal: hide, relabel or appear; auto for a classifier.
    """

    placement: Placement
    kind: str
    goal: str = "auto"

    @classmethod
    def of(cls, config: TrainConfig, task: Task, target: int | None) -> "AttackRegion":
        """Create the region that a run's config describes, for a victim's task and a target class.

        Raises:
            InputError: an impossible goal, see :func:`physpatch.attack.objectives.choose_goal`, or a patch that does not
                fit on its sign.
        """
        placement = Placement.of(config)
        if task == "classify":
            return cls(placement, "image")
        on_object = placement.object is not None
        goal = choose_goal(config.objective.goal, target, on_object)
        if config.objective.scope == "image" or (goal == "hide" and not on_object):
            return cls(placement, "image", goal)
        return cls(placement, "patch" if goal == "appear" else "object", goal)

    def boxes(self, params: EotParams, objects: Tensor | None, size: int) -> Tensor | None:
        """Compute where boxes count in square images of side ``size`` pixels: (B, 4), or None for everywhere.

        ``objects`` (B, 4) are the labelled objects that carry the patch, if any.
        """
        if self.kind == "image":
            return None
        if self.kind == "patch":
            return self.placement.patch_boxes(params, size)
        return objects if self.placement.sign is None else self.placement.boxes(params, size)


def _disc(side: int, diameter: int) -> Tensor:
    """Draw a disc in the middle of a square: coverage (side, side) in [0, 1]."""
    at = torch.arange(side) + 0.5 - side / 2
    return (diameter / 2 - torch.hypot(at[:, None], at[None]) + 0.5).clamp(0, 1)


def _around(points: Tensor, size: int) -> Tensor:
    return torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=1).clamp(0, size)


def object_class(victim: Victim, name: str) -> int:
    """Find the class as which a detector should detect an object.

    Raises:
        InputError: the victim is a classifier, or has no such class.
    """
    if victim.task != "detect":
        raise InputError(f"a patch on an object needs a detector, such as --model signs; {victim.name} is a classifier")
    index = known_object(victim, name)
    if index is None:
        raise unknown_name("object", name, victim.categories)
    return index


def known_object(victim: Victim, name: str) -> int | None:
    """Find the class of an object; ``stop`` also matches COCO's ``stop sign``. None where the victim has no such class."""
    indices = (victim.target_index({"index": -1, "name": words}) for words in (name, f"{name} sign"))
    return next((index for index in indices if index is not None), None)
