"""Shots are kept under the hash of what they show."""

from pathlib import Path

import numpy as np
import pytest

from captures.sources.held_sheet import RigPose
from captures.sources.rendered.shots import Shot, ShotCache, shot_key


class Renderer:
    """Renders noise, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Shot:
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        return Shot(
            rng.random((24, 32, 3), np.float32), (rng.integers(17, size=(24, 32)) / 16).astype(np.float32)
        ).rounded()


@pytest.fixture
def render() -> Renderer:
    return Renderer()


def test_a_kept_shot_is_the_rendered_one_bit_for_bit(tmp_path: Path, render: Renderer) -> None:
    first = ShotCache(tmp_path).shot("a", render)
    again = ShotCache(tmp_path).shot("a", render)
    assert render.calls == 1
    np.testing.assert_array_equal(again.light, first.light)
    np.testing.assert_array_equal(again.coverage, first.coverage)
    assert again.light.dtype == np.float32


def test_rounding_is_far_below_the_noise() -> None:
    light = np.geomspace(1e-4, 1e3, 2000, dtype=np.float32).reshape(20, 100, 1).repeat(3, axis=2)
    np.testing.assert_allclose(Shot(light, light[..., 0] * 0).rounded().light, light, rtol=5e-4)
    glare = Shot(np.full((2, 2, 3), 1e9, np.float32), np.zeros((2, 2), np.float32)).rounded()
    assert np.isfinite(glare.light).all()


def test_a_damaged_file_is_rendered_again(tmp_path: Path, render: Renderer) -> None:
    shots = ShotCache(tmp_path)
    shots.shot("a", render)
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    for damaged in (whole[:100], whole[:300] + bytes(200) + whole[500:]):
        file.write_bytes(damaged)
        calls = render.calls
        shots.shot("a", render)
        shots.shot("a", render)
        assert render.calls == calls + 1


def test_a_pickle_is_not_opened(tmp_path: Path, render: Renderer) -> None:
    np.savez(tmp_path / "a.npz", light=np.array([object()]), coverage=np.zeros(1))
    ShotCache(tmp_path).shot("a", render)
    assert render.calls == 1


def test_those_not_used_for_longest_go_first(tmp_path: Path, render: Renderer) -> None:
    ShotCache(tmp_path).shot("a", render)
    size = (tmp_path / "a.npz").stat().st_size
    for key in "bacad":  # each by a run of its own; what is used again stays
        ShotCache(tmp_path, limit_bytes=round(2.5 * size)).shot(key, render)
    assert {file.stem for file in tmp_path.glob("*.npz")} == {"a", "d"}


def test_a_run_larger_than_the_limit_keeps_its_own_shots(tmp_path: Path, render: Renderer) -> None:
    """So that one which is interrupted does not begin anew; what others left goes first."""
    ShotCache(tmp_path).shot("other", render)
    for frames in ("abc", "abcdef"):  # interrupted, then again
        run = ShotCache(tmp_path, limit_bytes=1)
        for key in frames:
            run.shot(key, render)
        assert {file.stem for file in tmp_path.glob("*.npz")} == set(frames)
    assert render.calls == 1 + len("abcdef")
    ShotCache(tmp_path, limit_bytes=1).shot("another run", render)
    assert [file.stem for file in tmp_path.glob("*.npz")] == ["another run"]


def test_kept_shots_are_compressed(tmp_path: Path) -> None:
    light = np.zeros((240, 320, 3), np.float32)
    light[60:180, 80:240] = np.random.default_rng(0).random((120, 160, 3), np.float32)
    shot = Shot(light, (light[..., 0] > 0).astype(np.float32)).rounded()
    kept = ShotCache(tmp_path)
    kept.shot("a", lambda: shot)
    (file,) = tmp_path.glob("*.npz")
    assert file.stat().st_size < 0.3 * (light.size + shot.coverage.size) * 2
    again = kept.shot("a", lambda: pytest.fail("rendered again"))
    np.testing.assert_array_equal(again.light, shot.light)
    np.testing.assert_array_equal(again.coverage, shot.coverage)


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, render: Renderer) -> None:
    (tmp_path / "file").write_text("not a folder")
    shots = ShotCache(tmp_path / "file" / "shots")
    for _ in range(2):
        assert shots.shot("a", render).light.shape == (24, 32, 3)
    assert render.calls == 2


def test_keys_tell_values_shapes_and_order_apart() -> None:
    array = np.arange(6.0)
    keys = [
        shot_key(array, 1),
        shot_key(array.reshape(2, 3), 1),
        shot_key(array.astype(np.float32), 1),
        shot_key(array, 2),
        shot_key(1, array),
        shot_key(array),
    ]
    assert len(set(keys)) == len(keys)
    assert shot_key(np.arange(6.0), 1) == keys[0]


def test_a_key_does_not_depend_on_how_numpy_prints() -> None:
    """Libraries of networks and of colours change its options when they are imported."""

    def key(x_m: float) -> str:
        return shot_key(RigPose(0.4, np.float64(x_m), 0.0, 1.0, 2.0, 3.0), (np.array([x_m]), 7))

    plain = key(1 / 3)
    with np.printoptions(formatter={"float_kind": "{:.5g}".format}, legacy="1.13"):
        assert key(1 / 3) == plain != key(1 / 3 + 1e-9)
