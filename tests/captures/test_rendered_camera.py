"""The camera after the render: each effect alone does what it says, and without any nothing changes."""

from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from calibration.common.errors import InputError
from captures.sources.held_sheet import RigPose
from captures.sources.rendered.camera import ClipCamera, Development
from captures.sources.rendered.camera.effects import EFFECTS, Clip, DevelopEffect, Effect, Stage, camera_effects
from captures.sources.rendered.camera.effects.h264 import Stream
from captures.sources.rendered.camera.exposure import Exposure, Rows, expose
from captures.sources.rendered.mitsuba_scene import SheetScene
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene, SceneCamera
from captures.sources.rendered.shots import Shot, ShotCache
from captures.sources.rendered.spectra import linear_from_recorded, white

CAMERA, LIGHT = "Nikon 5100 (NPL)", "LED-B1"
FPS = 10.0
HEIGHT, WIDTH = 60, 80
QUIET = Development(CAMERA, LIGHT, exposure=1.0, read_noise=0, shot_noise=0, jpeg_quality=100)
STILL = RigPose(0.3, 0.0, 0.0, 0.0, 0.0, 0.0)


def begun(name: str, **settings: object) -> tuple[Effect, Clip]:
    effect = camera_effects({name: settings})[name]
    return effect, Clip(FPS, np.array([2.0, 1.0, 1.5]), np.random.default_rng(0))


def step(name: str, **settings: object):
    effect, clip = begun(name, **settings)
    return effect.begin(clip)


def filming(effects: dict[str, dict[str, object]], development: Development = QUIET) -> ClipCamera:
    return ClipCamera(development, camera_effects(effects).values(), fps=FPS, rng=np.random.default_rng(0))


def recorded(linear: np.ndarray) -> np.ndarray:
    """What the camera records of greys (H, W) or colours (H, W, 3) in white-balanced units."""
    diffuser = white(CAMERA, LIGHT)
    colours = linear if linear.ndim == 3 else np.repeat(linear[..., None], 3, axis=2)
    return (colours * (diffuser / diffuser[1])).astype(np.float32)


def with_sheet(behind: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    frame = behind.copy()
    frame[10:50, 20:60] = recorded(np.array(colour).reshape(1, 1, 3))
    return frame


def test_without_effects_the_picture_is_the_plain_camera_s() -> None:
    """By the formula that the camera had before there were effects, bit by bit."""
    light = np.random.default_rng(1).uniform(0, 1.2, (HEIGHT, WIDTH, 3)).astype(np.float32)
    camera = replace(QUIET, exposure=0.8, read_noise=0.01, shot_noise=0.02, cast=(1.03, 1.0, 0.97), jpeg_quality=88)
    rng = np.random.default_rng(5)
    exposed = light * 0.8
    noise = np.sqrt(0.01**2 + 0.02**2 * exposed.clip(0, None))
    exposed = (exposed + rng.standard_normal(exposed.shape, np.float32) * noise).clip(0, None)
    diffuser = white(CAMERA, LIGHT)
    balanced = (exposed / (diffuser / diffuser[1]) * camera.cast).clip(0, 1)
    linear = balanced @ linear_from_recorded(CAMERA, LIGHT).T
    pixels = (linear_to_srgb(linear.clip(0, 1)) * 255).round().astype(np.uint8)
    _, packed = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    expected = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]
    plain = filming({}, camera)
    plain.look(light / 2)
    np.testing.assert_array_equal(plain.develop(light, np.random.default_rng(5)), expected)
    np.testing.assert_array_equal(camera.develop(light, np.random.default_rng(5)), expected)


def test_every_effect_says_what_it_does_and_can_be_switched_on_alone() -> None:
    assert len(EFFECTS) == 10 and all(kind.summary for kind in EFFECTS.values())
    frame = recorded(np.random.default_rng(0).uniform(0, 1, (HEIGHT, WIDTH, 3)) * (1.0, 0.8, 0.6))
    plain = filming({}).develop(frame, np.random.default_rng(0))
    for name, kind in EFFECTS.items():
        if issubclass(kind, DevelopEffect):
            camera = filming({name: {}})
            camera.look(frame * 0.5)
            assert np.abs(camera.develop(frame, np.random.default_rng(0)).astype(int) - plain).mean() > 0.3, name


def test_the_mosaic_keeps_greys_grey_and_gives_edges_colour_fringes() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    slanted = np.where(x + 0.3 * y > 45, 0.8, 0.05)
    flat, edge = (filming({"mosaic": {}}).develop(recorded(grey), None) for grey in (np.full(x.shape, 0.4), slanted))
    assert np.ptp(flat.astype(int), axis=2).max() <= 2  # rounding and JPEG
    plain = filming({}).develop(recorded(slanted), None)
    chroma, before = (np.ptp(picture.astype(int), axis=2) for picture in (edge, plain))
    beside = np.abs(x + 0.3 * y - 45) < 3
    assert chroma[beside].max() > 40 > 10 > before[beside].max()
    bilinear = filming({"mosaic": {"method": "bilinear"}}).develop(recorded(slanted), None)
    assert np.ptp(bilinear.astype(int), axis=2)[beside].mean() > chroma[beside].mean()


def test_the_noise_of_a_mosaic_is_its_pixels_and_shifts_no_dark_colour() -> None:
    record = np.zeros((HEIGHT, WIDTH, 3)) + np.random.default_rng(0).normal(0, 0.02, (HEIGHT, WIDTH, 3))
    seen = step("mosaic", method="bilinear")(record)
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), 0, atol=0.002)
    np.testing.assert_allclose(seen[::2, ::2, 0], record[::2, ::2, 0], atol=1e-4)  # red pixels see red
    np.testing.assert_allclose(seen[1::2, 1::2, 2], record[1::2, 1::2, 2], atol=1e-4)
    neighbours = np.corrcoef(seen[2:-2, 2:-2, 0].ravel(), seen[2:-2, 3:-1, 0].ravel())[0, 1]
    assert neighbours > 0.3  # others are interpolated


def test_a_white_sheet_darkens_what_is_behind_it_frame_by_frame() -> None:
    behind = recorded(np.full((HEIGHT, WIDTH), 0.13))
    frame, corner = with_sheet(behind, (0.9, 0.9, 0.9)), (slice(0, 8), slice(0, 8))
    camera = filming({"auto_exposure": {"time_s": 0.2}})
    camera.look(behind)
    levels = [srgb_to_linear(camera.develop(frame, None)[corner] / 255).mean() for _ in range(12)]
    assert levels[0] == pytest.approx(0.13, rel=0.03)  # exposed for what was seen before
    assert all(later < earlier - 1e-4 for earlier, later in pairwise(levels[:6]))
    assert levels[-1] < 0.4 * levels[0]
    halfway = (levels[2] / levels[0], (levels[-1] / levels[0]) ** (1 - np.exp(-1)))
    assert halfway[0] == pytest.approx(halfway[1], rel=0.05)  # after a time constant, in powers of two
    recovering = [camera.develop(behind, None)[corner].mean() for _ in range(12)]
    assert recovering[-1] > recovering[0] + 20


def test_exposure_is_corrected_no_further_than_its_limit() -> None:
    dark = recorded(np.full((HEIGHT, WIDTH), 0.002))
    seen = filming({"auto_exposure": {"limit_ev": 1.0}}).develop(dark, None)
    assert srgb_to_linear(seen / 255).mean() == pytest.approx(0.004, rel=0.15)


def test_a_red_sheet_gives_what_is_behind_it_a_cast_frame_by_frame() -> None:
    behind = recorded(np.full((HEIGHT, WIDTH), 0.4))
    frame, corner = with_sheet(behind, (0.8, 0.15, 0.1)), (slice(0, 8), slice(0, 8))
    camera = filming({"auto_white_balance": {"time_s": 0.3}})
    camera.look(behind)
    redness = []
    for _ in range(10):
        red, green, _ = srgb_to_linear(camera.develop(frame, None)[corner] / 255).mean(axis=(0, 1))
        redness.append(red / green)
    assert redness[0] == pytest.approx(1, abs=0.03)
    assert redness[-1] < redness[3] - 0.02 < redness[1] - 0.04
    steady = step("auto_white_balance", strength=0.0)(frame)
    np.testing.assert_allclose(steady, frame)


def test_tone_lifts_shadows_and_keeps_detail() -> None:
    rng = np.random.default_rng(0)
    detail = np.exp2(rng.normal(0, 0.15, (240, 320)))
    base = np.where(np.arange(320) < 160, 0.02, 0.5)
    linear = np.repeat((base * detail)[..., None], 3, axis=2)
    mapped = step("tone", compression=0.5, curve=0.0)(linear)
    dark, bright = (slice(None), slice(20, 120)), (slice(None), slice(200, 300))

    def contrast(picture: np.ndarray) -> float:
        return float(np.log2(np.median(picture[bright]) / np.median(picture[dark])))

    assert contrast(mapped) == pytest.approx(0.5 * contrast(linear), rel=0.15)
    for part in (dark, bright):
        assert np.log2(mapped[part]).std() == pytest.approx(np.log2(linear[part]).std(), rel=0.1)
    np.testing.assert_allclose(np.median(mapped[bright]), np.median(linear[bright]), rtol=0.1)


def test_the_curve_of_tone_adds_contrast_in_the_middle() -> None:
    greys = np.linspace(0, 1, 256)
    linear = np.repeat(np.broadcast_to(srgb_to_linear(greys), (16, 256))[..., None], 3, axis=2)
    curved = linear_to_srgb(step("tone", compression=0.0, curve=0.3)(linear))[0, :, 0]
    assert np.all(np.diff(curved) >= 0) and curved[0] == 0 and curved[-1] == pytest.approx(1)
    assert np.diff(curved)[127] * 255 == pytest.approx(1.3, rel=0.02)


def test_denoising_removes_colour_noise_more_than_brightness_and_keeps_edges() -> None:
    rng = np.random.default_rng(0)
    clean = np.full((HEIGHT, WIDTH, 3), 0.3)
    clean[:, WIDTH // 2 :] = 0.7
    noisy = clean + rng.normal(0, 0.02, clean.shape)
    seen = step("denoise")(noisy)
    flat = (slice(5, -5), slice(5, 30))

    def noises(picture: np.ndarray) -> tuple[float, float]:
        return picture[flat].mean(axis=2).std(), (picture[flat][..., 0] - picture[flat][..., 1]).std()

    luma, chroma = (after / before for before, after in zip(noises(noisy), noises(seen), strict=True))
    assert chroma < 0.35 < luma < 0.9
    assert seen[:, WIDTH // 2 + 1].mean() - seen[:, WIDTH // 2 - 2].mean() > 0.37


def test_sharpening_leaves_a_halo_of_its_amount() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 0.3)
    picture[:, WIDTH // 2 :] = 0.6
    seen = step("sharpen", amount=0.5, radius_px=3.0)(picture)
    over = seen[30, :, 1].max() - 0.6
    # Half a pixel from the edge the bell-shaped mean lacks this share of the step.
    share = 0.5 * (1 - 2 * 0.0662)
    assert over == pytest.approx(0.5 * 0.3 * share, rel=0.03)
    assert 0.3 - seen[30, :, 1].min() == pytest.approx(over, rel=0.03)


class Edge:
    """A stage with a vertical edge at the sheet's place, of pixels as wide as the light on them says."""

    def __init__(self) -> None:
        self.refocused: list[float] = []
        self.seeds: list[int] = []

    def __call__(
        self, pose: RigPose, seed: int, *, rows: Rows | None = None, share: float = 1.0, refocus_dpt: float = 0.0
    ) -> Shot:
        top, bottom = rows or (0, HEIGHT)
        edge_px = WIDTH / 2 + 1000 * pose.x_m  # a pixel is a millimetre
        lit = (edge_px - np.arange(WIDTH)).clip(0, 1)
        self.refocused.append(refocus_dpt)
        self.seeds.append(seed)
        coverage = np.broadcast_to(lit, (bottom - top, WIDTH)).astype(np.float32)
        return Shot(np.repeat(coverage[..., None], 3, axis=2), coverage)


def moving(effects: dict[str, dict[str, object]], mm_per_frame: float) -> tuple[np.ndarray, Edge]:
    stage = Edge()
    before = replace(STILL, x_m=-mm_per_frame / 1000)
    exposure = filming(effects).next_exposure() or Exposure(1 / FPS)
    shot = expose(stage, exposure, before, STILL, HEIGHT, seed=7)
    assert shot.light.shape == (HEIGHT, WIDTH, 3) and shot.coverage.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(shot.light[..., 1], shot.coverage)
    return shot.coverage, stage


def test_a_rolling_shutter_skews_what_moves_sideways_by_speed_times_readout() -> None:
    seen, stage = moving({"rolling_shutter": {"readout_s": 0.03, "bands": 12}}, mm_per_frame=40)
    edges = seen.sum(axis=1)
    rows = np.arange(HEIGHT)
    skew = np.polyfit(rows, edges, 1)[0] * HEIGHT
    assert skew == pytest.approx(400 * 0.03, rel=0.05)  # pixels a second, times seconds
    assert edges.mean() == pytest.approx(moving({}, 40)[0].sum(axis=1).mean(), abs=0.1)  # true in the middle
    assert len(set(stage.seeds)) == 12


def test_motion_blur_is_as_wide_as_the_way_during_the_exposure() -> None:
    seen, stage = moving({"motion_blur": {"exposure_s": 0.02, "samples": 8}}, mm_per_frame=40)
    ramp = seen[0]
    assert ramp[(ramp > 0.05) & (ramp < 0.95)].size == pytest.approx(400 * 0.02, abs=1.5)
    assert ramp.sum() == pytest.approx(moving({}, 40)[0][0].sum(), abs=0.1)
    assert len(set(stage.seeds)) == 8


def test_shutter_effects_act_together_and_a_still_sheet_stays_sharp() -> None:
    both = {"motion_blur": {"samples": 2}, "rolling_shutter": {"bands": 3}}
    seen, stage = moving(both, mm_per_frame=0)
    np.testing.assert_allclose(seen, moving({}, 0)[0])
    assert len(stage.seeds) == 6
    borders = [instants[0].rows for instants in Exposure(0.1, bands=7).instants(HEIGHT)]
    assert borders[0][0] == 0 and borders[-1][1] == HEIGHT
    assert [bottom for _, bottom in borders[:-1]] == [top for top, _ in borders[1:]]


def test_focus_hunts_and_settles() -> None:
    settings = {"focus_hunt": {"amplitude_dpt": 5.0, "frequency_hz": 1.5, "time_s": 0.4}}
    errors = np.array(refocused(settings, 25))
    assert errors[:8].min() < -0.5 and errors[:8].max() > 0.5  # to both sides
    assert np.abs(errors).max() <= 5 and np.abs(errors[-5:]).max() < 0.05
    assert refocused(settings, 3) == errors[:3].tolist()


def refocused(effects: dict[str, dict[str, object]], frames: int) -> list[float]:
    camera, stage = filming(effects), Edge()
    for _ in range(frames):
        expose(stage, camera.next_exposure(), STILL, STILL, HEIGHT, seed=0)
    return stage.refocused


def clip_of(count: int) -> list[np.ndarray]:
    """Noisy frames (120, 160, 3) in which a texture moves by three pixels a frame."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (120, 400, 3)), (0, 0), 3)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    return [
        (texture[:, 3 * i : 3 * i + 160] + rng.normal(0, 3, (120, 160, 3))).clip(0, 255).astype(np.uint8)
        for i in range(count)
    ]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_h264_keeps_to_its_bit_rate_and_predicts_frames_from_those_before() -> None:
    frames = clip_of(40)
    stream = Stream((160, 120), FPS, 200_000, keyframe_every=10)
    decoded, sizes = [], []
    for frame in frames:
        before = stream.bits
        decoded.append(stream.coded(frame))
        sizes.append(stream.bits - before)
    assert stream.bits / len(frames) * FPS == pytest.approx(200_000, rel=0.3)
    for number, seen in enumerate(decoded):  # each at its turn
        likeness = [psnr(seen, frame) for frame in frames]
        assert np.argmax(likeness) == number and likeness[number] > 26
    alone = Stream((160, 120), FPS, 200_000, keyframe_every=10)
    assert sizes[20] > 2 * np.median(sizes)  # a frame that stands for itself is dearer
    assert psnr(alone.coded(frames[5]), decoded[5]) < 60  # and another one than that in the stream


def test_h264_takes_its_share_of_a_full_hd_stream_and_any_size() -> None:
    coarse, fine = (step("h264", mbit_s=rate) for rate in (1.0, 40.0))
    frames = [frame[:119, :159] for frame in clip_of(8)]
    worse, better = ([psnr(coded(frame), frame) for frame in frames] for coded in (coarse, fine))
    assert coarse(frames[0]).shape == (119, 159, 3)
    assert np.mean(better) > np.mean(worse) + 2


def test_the_stages_follow_a_camera_s_order() -> None:
    order = ["auto_exposure", "mosaic", "auto_white_balance", "tone", "denoise", "sharpen", "h264"]
    stages = list(Stage)
    kinds = [EFFECTS[name] for name in order]
    places = [(stages.index(kind.stage), kind.rank) for kind in kinds]
    assert places == sorted(places)


def test_effects_are_read_from_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    lights = '[[lights]]\nkind = "ambient"\n'
    path.write_text(f"{lights}[camera.effects]\nmosaic = {{}}\nh264 = {{ mbit_s = 8 }}\n")
    scene = Scene.read(str(path))
    assert scene.camera.effects == camera_effects({"mosaic": {}, "h264": {"mbit_s": 8.0}})
    assert Scene.model_validate(scene.to_dict()) == scene
    assert SceneCamera().effects == {}
    for text, words in (
        ("mosaik = {}", r"unknown camera effect 'mosaik'.*'mosaic'"),
        ("h264 = { mbit_s = 0 }", r"camera\.effects\.h264\.mbit_s should be greater than or equal to 0.01"),
        ("h264 = { mbits = 1 }", r"camera\.effects\.h264: unknown key 'mbits'; did you mean 'mbit_s'"),
        ("tone = 1", r"camera\.effects\.tone should be an object"),
        ("[camera]\naperture_mm = 0\neffects = { focus_hunt = {} }", "a pinhole has no focus"),
    ):
        table = text if text.startswith("[") else f"[camera.effects]\n{text}"
        path.write_text(f"{lights}{table}\n")
        with pytest.raises(InputError, match=words):
            Scene.read(str(path))


def test_video_of_any_rate_is_encoded() -> None:
    """A walk of hours in a few frames, or of a moment in many, has a rate that no encoder plans for."""
    frame = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    for fps in (1e-5, 1e6):
        coded = camera_effects({"h264": {}})["h264"].begin(Clip(fps, np.ones(3), np.random.default_rng(0)))
        assert coded(frame).shape == frame.shape


# Through Mitsuba.


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), np.full((300, 400, 3), 128, np.uint8))
    return path


def test_rows_share_and_focus_of_a_shot(shared_sheet_pdf: Path, wall: Path) -> None:
    scene = Scene(lights=[{"kind": "ambient"}], camera={"aperture_mm": 12.0})
    rig = RenderedRig(shared_sheet_pdf, scene, [(wall, None)], frame_wh=(160, 120))
    stage = SheetScene(rig._sheets[0], rig.layouts[0], scene, rig.intrinsics, STILL, samples=16)
    whole = stage.shoot(STILL, 0)
    blurred = stage._render(STILL, 0, refocus_dpt=8.0)
    assert 0.1 < sharpness(blurred.light) / sharpness(whole.light) < 0.5
    np.testing.assert_allclose(stage.shoot(STILL, 0).light, whole.light, atol=1e-3)  # in focus again
    for refocus_dpt, expected in ((0.0, whole), (8.0, blurred)):
        shots = [
            stage._render(STILL, 1, rows=rows, share=0.5, refocus_dpt=refocus_dpt)
            for rows in ((0, 40), (40, 80), (80, 120))
        ]
        light, coverage = (np.concatenate([getattr(shot, name) for shot in shots]) for name in ("light", "coverage"))
        assert np.abs(cv2.blur(light - expected.light, (5, 5))).mean() < 0.02
        assert np.abs(coverage - expected.coverage).mean() < 0.02


def sharpness(light: np.ndarray) -> float:
    smooth = cv2.GaussianBlur(light[..., 1], (0, 0), 1)  # without the noise of few samples
    return float(np.hypot(*np.gradient(smooth)).max())


def test_a_phone_films(shared_sheet_pdf: Path, wall: Path) -> None:
    scene = Scene.read("phone")
    assert set(scene.camera.effects) == set(EFFECTS)

    def frames() -> list[np.ndarray]:
        rig = RenderedRig(
            shared_sheet_pdf, scene, [(wall, None)], clips=1, frames_per_clip=2, seed=4, frame_wh=(160, 120), samples=4
        )
        return [frame.image for frame in islice(rig, 2)]

    first, second = frames()
    assert first.shape == (120, 160, 3) and first.std() > 15
    assert np.abs(first.astype(int) - second).mean() > 0.5
    np.testing.assert_array_equal(frames(), [first, second])


def test_what_is_done_after_the_render_needs_no_rendering(
    shared_sheet_pdf: Path, wall: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(effects: dict[str, dict[str, object]]) -> np.ndarray:
        scene = Scene(lights=[{"kind": "ambient"}], camera={"effects": effects})
        rig = RenderedRig(
            shared_sheet_pdf, scene, [(wall, None)], frame_wh=(160, 120), samples=4, cache=ShotCache(tmp_path)
        )
        return next(iter(rig)).image

    plain = film({})
    monkeypatch.setattr(SheetScene, "_render", lambda *_, **__: pytest.fail("rendered again"))
    after = {name: {} for name, kind in EFFECTS.items() if issubclass(kind, DevelopEffect)}
    assert np.abs(film(after).astype(int) - plain).mean() > 0.5
    with pytest.raises(pytest.fail.Exception):
        film({"motion_blur": {}})
