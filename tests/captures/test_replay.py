"""The replay on a tiny victim: what was measured is what is drawn."""

import numpy as np
import pytest
import torch

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_space import srgb_to_linear
from captures.gap.replay import STEPS, ReplayView, example
from physpatch import EotConfig


@pytest.mark.parametrize("white", [(0.6, 0.7, 0.5), (0.55, 0.5, 0.6)])
def test_the_coloured_step_shows_the_measured_white_in_all_three_channels(white, tiny_victim) -> None:
    shot = ChartShot(np.ones((2, 2, 3)), np.array(white), (0.5, 0.7), 0.0, 0.0, 0.3, 8.0, (64, 64))
    corners = np.array([[16, 16], [48, 16], [48, 48], [16, 48]], dtype=np.float32)
    view = ReplayView(np.full((64, 64, 3), 40, dtype=np.uint8), corners, 1.0, shot, None)
    steps = example(tiny_victim, torch.ones(3, 4, 4), view, 0.25, EotConfig.none())
    shown = dict(zip(STEPS, steps, strict=True))
    for step in ("coloured", "blurred"):
        seen = srgb_to_linear(shown[step][16, 16] / 255)
        assert seen == pytest.approx(white, abs=0.01), step  # whole grey levels
