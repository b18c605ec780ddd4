"""What the session benchmarks plant and count."""

import numpy as np
import pytest
from planted_rig import CAUSES, planted, shaken, sharpened
from session_gain import ARMS, BEFORE, NULL, _arm

from captures.gap.session_eot import PARTS


def test_every_arm_is_compared_with_the_null_by_clip() -> None:
    rates = {
        BEFORE: {(3, clip): 0.0 for clip in range(8)} | {(4, clip): 0.5 for clip in range(8)},
        NULL: {(3, clip): 0.25 for clip in range(8)} | {(4, clip): 0.5 for clip in range(8)},
        "all": {(3, clip): 1.0 for clip in range(8)} | {(4, clip): 0.5 for clip in range(7)},
    }
    arm = _arm(rates, "all", [3, 4])
    assert arm["gain"]["n"] == 15 and arm["gain"]["difference"] == pytest.approx(8 / 15)
    assert arm["gain_over_null"]["by_seed"][3]["difference"] == 0.75
    assert arm["gain_over_null"]["over_seeds"]["mean"] == pytest.approx(0.375)
    assert "gain_over_null" not in _arm(rates, NULL, [3, 4])
    assert {NULL: (), **{part: (part,) for part in PARTS}, "all": PARTS} == ARMS


def test_only_the_planted_cause_differs_from_a_faithful_rig() -> None:
    faithful = planted("nothing", 0.0, 1)
    for cause in CAUSES:
        truth = planted(cause, CAUSES[cause].strength[1], 1)
        changed = {name for name in vars(truth) if not np.array_equal(getattr(truth, name), getattr(faithful, name))}
        assert changed == {"colour": {"printing", "sensor"}, "blur": {"blur_px"}}.get(cause, set())


def test_sharpening_overshoots_at_an_edge_and_a_rolling_shutter_bends_it() -> None:
    frame = np.full((64, 64, 3), 60, dtype=np.uint8)
    frame[:, 32:] = 180
    crisp = sharpened(frame, 2.0)
    assert crisp[:, 31].mean() < 40 and crisp[:, 32].mean() > 200 and abs(int(crisp[32, 5, 0]) - 60) < 3
    layer = np.tile((np.arange(64) >= 32).astype(float)[None, :, None], (64, 1, 2))
    edges = (shaken(layer, 4.0, 2.0, 0.0)[..., 0] > 0.5).argmax(axis=1)
    assert edges.max() - edges.min() == 8 and edges.mean() == pytest.approx(32, abs=0.5)
