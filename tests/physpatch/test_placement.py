"""A patch on a sign: where it lies, what the camera makes of both, and what a detector should find."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_perspective_transform
from support import colour_detector, colour_photographs
from torch.autograd import gradcheck

from calibration.colour.colour_space import srgb_to_linear
from calibration.common.errors import InputError
from calibration.sheet.pdf_reader import rasterise_sheet
from physpatch.attack.placement import Carrier, Placement
from physpatch.records.config import TrainConfig, parse_place
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch, printable_cells
from physpatch.rendering.compositing import place_at, place_patch
from physpatch.rendering.eot import patch_corners, sample
from physpatch.training.trainer import Trainer
from printouts import print_sheets

STOP = Carrier.of_sign("stop", (10, 10), 0.2)


def draw(config: EotConfig = EotConfig(), batch: int = 4):
    return sample(config, batch, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("grid", "share"), [((10, 10), 0.2), ((8, 16), 0.15), ((32, 32), 0.2), ((3, 3), 0.05)])
def test_the_patch_is_no_more_of_the_sign_than_allowed(grid: tuple[int, int], share: float) -> None:
    carrier = Carrier.of_sign("stop", grid, share)
    bare, dark = carrier.with_patch(None), carrier.with_patch(torch.zeros(3, *grid))
    changed = (bare != dark).any(dim=0) & (carrier.cover[0] > 0)
    assert 0.9 * share < carrier.share <= share
    assert float(changed.sum()) / float(carrier.cover.sum()) == pytest.approx(carrier.share, rel=0.02)
    left, _top, width, height = carrier.box
    assert width * grid[0] == height * grid[1]  # square cells
    assert left + width / 2 == pytest.approx(carrier.texels.shape[-1] / 2, abs=1)


def test_a_patch_over_the_edge_of_its_sign_is_refused() -> None:
    with pytest.raises(InputError, match="extends over the edge of the stop sign"):
        Carrier.of_sign("stop", (10, 10), 0.2, (0.1, 0.5))
    with pytest.raises(InputError, match="extends over the edge of the yield sign"):
        Carrier.of_sign("yield", (10, 10), 0.5)
    with pytest.raises(InputError, match="unknown sign"):
        Placement.of(TrainConfig.of(object="tree", object_from="drawn"))
    assert Placement.of(TrainConfig.of(cut="square")).carrier is None


@pytest.mark.parametrize("grid", [(10, 10), (6, 9), (32, 32)])
def test_the_sheet_of_training_is_the_sheet_of_the_pdf(grid: tuple[int, int], tmp_path: Path) -> None:
    """Margin, markers and code lie where the PDF has them, and are as dark, at the resolution of training."""
    placement = Placement.cut("sheet", 0.15, grid)
    carrier = placement.carrier
    assert carrier is not None and placement.object is None and placement.area == 0.15
    cells = torch.rand(3, *grid, generator=torch.Generator().manual_seed(0))
    patch = Patch(printable_cells(cells))
    (layout,) = print_sheets(patch, 100, tmp_path / "sheet.pdf")
    per_texel = 8
    texel_mm = layout.cell_mm * grid[1] / carrier.box[2]
    raster = rasterise_sheet(tmp_path / "sheet.pdf", layout, 0, 25.4 * per_texel / texel_mm)
    left, top = (round(at * per_texel / texel_mm) for at in (layout.patch.x_mm, layout.patch.y_mm))
    left, top = left - carrier.box[0] * per_texel, top - carrier.box[1] * per_texel
    side = carrier.texels.shape[-1]
    window = np.full((side * per_texel, side * per_texel, 3), 255, np.uint8)
    rows, columns = slice(max(0, -top), None), slice(max(0, -left), None)
    part = raster[max(0, top) : top + len(window), max(0, left) : left + len(window)]
    window[rows, columns][: part.shape[0], : part.shape[1]] = part
    light = srgb_to_linear(window / 255).reshape(side, per_texel, side, per_texel, 3).mean(axis=(1, 3))
    shown = srgb_to_linear(carrier.with_patch(cells_from_patch(patch)).permute(1, 2, 0).numpy())
    inside = carrier.cover[0].numpy() > 0.99
    assert 0.5 < inside.mean() < 0.9 and np.abs(light - shown)[inside].mean() < 0.015
    dark = (shown.mean(axis=2) < 0.5) & inside & (carrier.patch_mask[0].numpy() == 0)
    assert dark.sum() > 40 and np.corrcoef(light.mean(axis=2)[inside], shown.mean(axis=2)[inside])[0, 1] > 0.98


def test_a_sheet_is_shown_with_its_margin_and_a_circle_without_corners() -> None:
    still = sample(EotConfig.none(), 2, torch.Generator().manual_seed(0))
    images, white = torch.zeros(2, 3, 300, 300), torch.ones(3, 10, 10)
    shares = {
        cut: float(Placement.cut(cut, 0.1, (10, 10)).compose(images, white, still).mean())
        for cut in ("square", "sheet", "circle")
    }
    assert shares["square"] == pytest.approx(0.1, abs=0.003) and shares["circle"] == pytest.approx(0.0785, abs=0.003)
    assert 0.15 < shares["sheet"] < 0.185  # the cut-out is 1.85 times the patch, less the markers
    for cut in shares:
        placement = Placement.cut(cut, 0.1, (10, 10))
        covered = placement.coverage(images, white, still).mean(dim=(1, 2, 3))
        own = 0.1 * (torch.pi / 4 if cut == "circle" else 1)  # a disc has no corners
        torch.testing.assert_close(covered, torch.full((2,), own), atol=0.003, rtol=0)
        boxes = placement.patch_boxes(still, 300)
        extent = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / 300**2
        torch.testing.assert_close(extent, torch.full((2,), 0.1), atol=0.003, rtol=0)
    with pytest.raises(ValueError, match="on no sign"):
        Placement.cut("sheet", 0.1, (10, 10)).boxes(still, 300)


@pytest.mark.parametrize("at", [(0.5, 1.3), (-0.4, 0.4), (1.3, 0.5)])
def test_beside_the_sign_it_lies_on_a_plate_of_its_own(at: tuple[float, float]) -> None:
    """On the sign's plane: at the place, of the size and in the colours that it would have there; the sign stays whole."""
    still = sample(EotConfig.none(), 2, torch.Generator().manual_seed(0))
    carrier = Carrier.of_sign("stop", (10, 10), 0.2, at)
    placement, images = Placement.on_sign(carrier, 0.15), torch.full((2, 3, 300, 300), 0.5)
    white = placement.compose(images, torch.ones(3, 10, 10), still)
    bare, own, plate = (
        placement.compose(images, None, still),
        placement.boxes(still, 300),
        placement.patch_boxes(still, 300),
    )
    side = own[:, 2] - own[:, 0]  # a stop sign is as wide as its square
    torch.testing.assert_close(side, torch.full((2,), 300 * 0.15**0.5), rtol=0.02, atol=0)
    middle = (plate[:, :2] + plate[:, 2:]) / 2
    torch.testing.assert_close(middle, own[:, :2] + side[:, None] * torch.tensor(at), atol=1.5, rtol=0)
    assert carrier.share == pytest.approx(0.2, rel=0.1) and carrier.side > 1.2
    changed = (white - bare).abs().amax(dim=1) > 0.1
    for mask, box in zip(changed, plate, strict=True):
        y, x = mask.nonzero().float().unbind(dim=1)
        assert [float(v) for v in (x.min(), y.min(), x.max(), y.max())] == pytest.approx(box.tolist(), abs=1.6)
    coverage = placement.coverage(images, torch.ones(3, 10, 10), still)[:, 0] > 0.5
    assert (coverage == changed).float().mean() > 0.995
    Trainer(colour_detector(), colour_photographs(4, 108), TrainConfig.of(object="stop", object_at=at, steps=1))


@pytest.mark.parametrize("text", ["0.5", "a,b", "0.5,2.6", "1,2,3"])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="place"):
        parse_place(text)
    assert parse_place("0.25, 0.75") == (0.25, 0.75)


def test_the_patch_lies_on_the_sign_as_if_placed_there_by_itself() -> None:
    """The patch alone, at the corners that the sign's homography gives it, covers the same pixels with the same colours."""
    config = EotConfig(shadow=(0, 0), glare=(0, 0), noise=(0, 0), bend=(0, 0), jpeg=(100, 100), scale=(1, 1))
    params, images, cells = draw(config), torch.rand(4, 3, 160, 160), torch.rand(3, 10, 10)
    placement = Placement.on_sign(STOP, 0.3)
    together, coverage = placement.compose(images, cells, params), placement.coverage(images, cells, params)
    side = 160 * 0.3**0.5
    corners = patch_corners(params, (side, side), (160, 160))
    unit = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]).expand(4, 4, 2)
    left, top, width, height = (n / STOP.texels.shape[-1] for n in STOP.box)
    box = torch.tensor([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    homogeneous = torch.cat([box, torch.ones(4, 1)], dim=1)
    on_image = torch.einsum("bij,nj->bni", get_perspective_transform(unit, corners), homogeneous)
    alone, expected = place_at(
        images, cells, params, on_image[..., :2] / on_image[..., 2:], (width * side, height * side)
    )
    assert float((coverage - expected).abs().mean()) < 0.002
    inside = expected.expand_as(images) > 0.98
    assert float((together - alone).abs()[inside].mean()) < 0.02
    beyond = placement.compose(images, None, params) != images
    assert not ((together != images) & ~beyond).any()


def test_what_lies_beyond_the_outline_is_the_photograph() -> None:
    params = draw(EotConfig.none())
    images = torch.rand(4, 3, 120, 120)
    bare = Placement.on_sign(STOP, 0.3).compose(images, None, params)
    square, coverage = place_patch(images, STOP.texels, params, 0.3)
    corner = (coverage > 0.99) & ((bare == images).all(dim=1, keepdim=True))
    assert (
        0.05 < float(corner.sum() / (coverage > 0.99).sum()) < 0.17
    )  # an octagon leaves 17 % of its square, less the rim
    assert not torch.equal(bare, square)


def test_boxes_are_those_of_the_outline() -> None:
    params = draw(EotConfig(bend=(0, 0), motion_px=(0, 0), blur_px=(0, 0)), 8)
    white, black = torch.ones(8, 3, 200, 200), torch.zeros(8, 3, 200, 200)
    placement = Placement.on_sign(Carrier.of_sign("yield", (4, 4), 0.1), 0.2)
    seen = (placement.compose(white, None, params) - placement.compose(black, None, params)).abs().amax(dim=1) < 0.5
    for mask, box in zip(seen, placement.boxes(params, 200), strict=True):
        y, x = mask.nonzero(as_tuple=True)
        found = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert box.tolist() == pytest.approx([float(n) for n in found], abs=2.0)
    cornered = draw(EotConfig.none(), 1).changed(place=torch.ones(1, 2))
    assert float(placement.boxes(cornered, 200)[0, 2]) == pytest.approx(200, abs=0.02)  # it touches the image's edge
    with pytest.raises(ValueError, match="is on no sign"):
        Placement(0.2).boxes(params, 200)
    with pytest.raises(ValueError, match="nothing to place"):
        Placement(0.2).compose(white, None, params)


def test_gradients_flow_to_the_cells_on_a_sign() -> None:
    config = EotConfig(noise=(0, 0), jpeg=(100, 100))  # as in test_eot: these have gradients of their own
    params = draw(config, 2).to(torch.float64)
    carrier = Carrier.of_sign("stop", (3, 3), 0.2)
    carrier = Carrier(
        carrier.name, carrier.texels.double(), carrier.cover.double(), carrier.outline, carrier.box, carrier.share
    )
    images = torch.rand(2, 3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cells = torch.rand(3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).mul(0.6).add(0.2)
    placement = Placement.on_sign(carrier, 0.5)
    assert gradcheck(lambda c: placement.compose(images, c, params), cells.requires_grad_(), atol=1e-5, fast_mode=True)


def test_each_image_may_carry_a_patch_of_its_own() -> None:
    params, images = draw(batch=2), torch.rand(2, 3, 64, 64)
    cells = torch.rand(2, 3, 10, 10)
    both = Placement.on_sign(STOP, 0.3).compose(images, cells, params)
    first = Placement.on_sign(STOP, 0.3).compose(images, cells[0], params)
    assert torch.equal(both[0], first[0]) and not torch.equal(both[1], first[1])
    assert np.isfinite(both.numpy()).all()


def test_the_area_is_the_patchs_own_on_a_sign_too() -> None:
    config = TrainConfig.of(object="stop", sign_area=0.2, object_share=0.2, grid=(10, 10))
    placement = Placement.of(config)
    images = torch.zeros(1, 3, 300, 300)
    params = sample(EotConfig.none(), 1, torch.Generator().manual_seed(0))
    covered = placement.coverage(images, torch.ones(3, 10, 10), params).mean()
    assert float(covered) == pytest.approx(placement.area, rel=0.02) and placement.area < 0.2 * 0.2
    assert Placement.of(TrainConfig.of(area=0.2)).area == 0.2
