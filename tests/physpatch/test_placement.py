"""A patch on a sign: where it lies, what the camera makes of both, and what a detector should find."""

import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_perspective_transform
from support import colour_detector, colour_photographs
from torch.autograd import gradcheck

from calibration.common.errors import InputError
from physpatch.attack.placement import Carrier, Placement
from physpatch.records.config import TrainConfig, parse_place
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import place_at, place_patch
from physpatch.rendering.eot import patch_corners, sample
from physpatch.training.trainer import Trainer

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
    with pytest.raises(InputError, match="reaches over the edge of the stop sign"):
        Carrier.of_sign("stop", (10, 10), 0.2, (0.1, 0.5))
    with pytest.raises(InputError, match="reaches over the edge of the yield sign"):
        Carrier.of_sign("yield", (10, 10), 0.5)
    with pytest.raises(InputError, match="unknown sign"):
        Placement.of(TrainConfig.of(object="tree", object_from="drawn"))
    assert Placement.of(TrainConfig()).carrier is None


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
    with pytest.raises(ValueError, match="has no carrier"):
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
