"""The virtual rig: a PDF's sheets in front of a simulated camera.

It uses numpy and OpenCV and shares no code with EOT, so that it tests a patch on effects that training did not use: a real
printing condition that training leaves out, another lens, other light and other noise. It also lets you rehearse a session.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_space import linear_to_srgb
from calibration.colour.printing_condition import PAPERS, PrintingCondition, held_back_conditions
from calibration.common.errors import InputError, unknown_name
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts
from captures.sources.frame import Frame
from captures.sources.held_sheet import (
    CLIPS,
    FRAMES_PER_CLIP,
    GREY_WALL,
    RigPose,
    framed_background,
    printed_sheets,
    require_extent,
    shuffled_backgrounds,
)
from captures.sources.opening import FileSource

FRAME_WH = (640, 480)
RIG_HFOV_DEG = 60.0
RIG_FPS = 10.0
_SUPERSAMPLE = 2
_SHARPENING_PX = 1.0


@dataclass(frozen=True)
class RigTruth:
    """The true properties of a simulated printer and camera, which calibration estimates and training must not use.

    Attributes:
        printing: what its printer and paper make of colours.
        sensor: (3, 3) colour matrix of the camera, including white balance.
        blur_px, read_noise, shot_noise, vignette, jpeg_quality: of the camera.
        gamma, saturation, sharpening: how the camera develops a picture: an exponent on sRGB values, a factor on their distance
            from grey, and the amount of an unsharp mask.
    """

    printing: PrintingCondition
    sensor: NDArray[np.float64]
    blur_px: float
    read_noise: float
    shot_noise: float
    vignette: float
    jpeg_quality: int
    gamma: float = 1.0
    saturation: float = 1.0
    sharpening: float = 0.0

    @classmethod
    def draw(cls, seed: int, paper: str | None = None) -> "RigTruth":
        """Draw a real printing condition that training leaves out, of one kind of paper or any, and a plausible camera.

        Raises:
            InputError: no such kind of paper: ``coated``, ``uncoated`` or ``newspaper``.
        """
        conditions = [c for c in held_back_conditions() if paper in (None, PAPERS[c.name])]
        if not conditions:
            raise unknown_name("kind of paper", str(paper), set(PAPERS.values()))
        rng = np.random.default_rng(seed)
        printing = conditions[int(rng.integers(len(conditions)))]
        mixing = rng.normal(0, 0.03, (3, 3)) * (1 - np.eye(3))
        sensor = (np.eye(3) - np.diag(mixing.sum(axis=1)) + mixing) * rng.uniform(0.94, 1.06, (3, 1))
        return cls(
            printing,
            sensor,
            rng.uniform(0.5, 0.9),
            rng.uniform(0.002, 0.006),
            rng.uniform(0.008, 0.015),
            rng.uniform(0.1, 0.3),
            int(rng.integers(85, 95)),
        )


class VirtualRig(FileSource):
    """A source that shows the sheets of a PDF, cut out, in front of photographs at random poses.

    Each clip has one background and one pose, at which all sheets are shown in turn, so that patch and controls have the same
    poses.
    """

    def __init__(
        self,
        pdf: Path,
        backgrounds: Sequence[tuple[Path, str | None]],
        *,
        clips: int = CLIPS,
        frames_per_clip: int = FRAMES_PER_CLIP,
        seed: int = 0,
        frame_wh: tuple[int, int] = FRAME_WH,
        lens: Intrinsics | None = None,
        truth: RigTruth | None = None,
    ) -> None:
        """Rasterise the sheets.

        Args:
            pdf: written by ``physpatch print``.
            backgrounds: photographs, each with its class or None.
            clips: number of clips.
            frames_per_clip: number of frames of each sheet in a clip.
            seed: for printer, camera, poses and noise.
            frame_wh: size of the frames.
            lens: intrinsics of the camera, with distortion, which replace ``frame_wh``; default a pinhole camera.
            truth: the printer and camera; by default drawn with ``seed``.

        Raises:
            InputError: if the PDF is not readable, there are no backgrounds, or a count is below 1.
        """
        size = frame_wh if lens is None else (lens.width, lens.height)
        require_extent(size, seed, clips=clips, frames_per_clip=frames_per_clip)
        if not backgrounds:
            raise InputError("the virtual rig needs at least one background photograph")
        self.layouts = printed_layouts(pdf)
        self.truth = truth or RigTruth.draw(seed)
        self.intrinsics = lens or replace(Intrinsics.from_hfov(*frame_wh, RIG_HFOV_DEG), assumed=False)
        self._rays = _rays(self.intrinsics)
        self.fps = RIG_FPS
        self._sheets = [_pyramid(sheet) for sheet in printed_sheets(pdf, self.truth.printing)]
        self._backgrounds = shuffled_backgrounds(backgrounds, seed)
        self.clips, self.frames_per_clip, self.seed = clips, frames_per_clip, seed

    @property
    def scenes(self) -> list[int]:
        """Return the number of each clip's background."""
        return [clip % len(self._backgrounds) for clip in range(self.clips)]

    def __len__(self) -> int:
        return self.clips * self.frames_per_clip * len(self.layouts)

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        for clip, scene in enumerate(self.scenes):
            path, label = self._backgrounds[scene]
            behind = self.background(path)
            for page, layout in enumerate(self.layouts):
                hand = np.random.default_rng([self.seed, 2, clip])  # the same pose and light for every sheet
                pose = self._draw_pose(hand, layout)
                for _ in range(self.frames_per_clip):
                    image = self.render(page, pose.jittered(hand), behind, hand)
                    index += 1
                    self.captured = index
                    yield Frame(image, (index - 1) / self.fps, index, condition=layout.kind, clip=clip, label=label)

    def film(
        self, page: int, count: int, rng: np.random.Generator, *, turn_deg: float = 35.0, reach: float = 0.7
    ) -> Iterator[Frame]:
        """Film stills of one sheet in front of grey for calibration, at random distances, angles and places.

        Args:
            page: index of the sheet in the PDF.
            count: number of stills.
            rng: for poses, light and noise.
            turn_deg: largest rotation about each axis.
            reach: largest distance from the centre of the picture, as a share of half its size.
        """
        lens, layout = self.intrinsics, self.layouts[page]
        behind = np.full((lens.height, lens.width, 3), GREY_WALL)
        for number in range(count):
            pose = RigPose.for_still(rng, layout, lens, turn_deg=turn_deg, reach=reach)
            yield Frame(self.render(page, pose, behind, rng), number / self.fps, number + 1, clip=number)

    def background(self, path: Path) -> NDArray[np.floating]:
        """Load a photograph that fills the frame, (H, W, 3), linear.

        Raises:
            InputError: if it is not readable.
        """
        return framed_background(path, self.intrinsics)

    def render(
        self, page: int, pose: RigPose, behind: NDArray[np.floating], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Render one frame, (H, W, 3) RGB uint8.

        Args:
            page: index of the sheet in the PDF.
            pose: of the sheet.
            behind: the background, (H, W, 3), linear.
            rng: for light and noise.
        """
        layout, truth = self.layouts[page], self.truth
        width, height = self.intrinsics.width, self.intrinsics.height
        light = rng.uniform(0.75, 1.05) * _light_falloff((height, width), rng)
        sheet, cover = self._project(self._sheets[page], layout, pose)
        # In single precision throughout, which halves the time of a frame.
        scene = sheet * light[..., None] + (1 - cover[..., None]) * behind.astype(np.float32, copy=False)
        scene = cv2.GaussianBlur(scene, (0, 0), truth.blur_px)
        scene = cv2.transform(scene, truth.sensor.astype(np.float32))
        scene = np.clip(scene, 0, None) * _vignette((height, width), truth.vignette)[..., None]
        noise = np.sqrt(truth.read_noise**2 + truth.shot_noise**2 * scene)
        exposed = np.clip(scene + rng.standard_normal(scene.shape, np.float32) * noise, 0, 1)
        pixels = (_developed(linear_to_srgb(exposed), truth) * 255).round().astype(np.uint8)
        _, packed = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, truth.jpeg_quality])
        return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def _project(
        self, sheet: list[NDArray[np.float32]], layout: SheetLayout, pose: RigPose
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Project the cut-out sheet through the lens, supersampled: light (H, W, 3) times coverage, and coverage (H, W)."""
        width, height = self.intrinsics.width, self.intrinsics.height
        # From rays to millimetres on the sheet.
        to_plane = np.linalg.inv(np.column_stack([pose.rotation[:, :2], pose.shift_mm]))
        on_sheet = cv2.transform(self._rays, to_plane.astype(np.float32))
        center = layout.patch.corners_mm.mean(axis=0)
        level = self._level(sheet, layout, pose)
        per_mm = level.shape[1] / layout.cut.width_mm
        with np.errstate(divide="ignore", invalid="ignore"):
            x = ((on_sheet[..., 0] / on_sheet[..., 2] + center[0] - layout.cut.x_mm) * per_mm - 0.5).astype(np.float32)
            y = ((on_sheet[..., 1] / on_sheet[..., 2] + center[1] - layout.cut.y_mm) * per_mm - 0.5).astype(np.float32)
        layers = cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0))
        layers = cv2.resize(layers, (width, height), interpolation=cv2.INTER_AREA)
        return layers[..., :3], layers[..., 3]

    def _level(self, sheet: list[NDArray[np.float32]], layout: SheetLayout, pose: RigPose) -> NDArray[np.float32]:
        """Return the level of the pyramid that matches the resolution in the frame, which avoids aliasing."""
        seen_per_mm = _SUPERSAMPLE * self.intrinsics.fx / (1000 * pose.distance_m)
        halvings = np.log2(max(1.0, sheet[0].shape[1] / layout.cut.width_mm / seen_per_mm))
        return sheet[min(len(sheet) - 1, int(halvings))]

    def _draw_pose(self, rng: np.random.Generator, layout: SheetLayout) -> RigPose:
        return RigPose.in_hand(rng, layout, self.intrinsics)


def _pyramid(picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the picture at full size, half size and so on."""
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 32:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def _rays(lens: Intrinsics) -> NDArray[np.float32]:
    """Return the direction (x, y, 1) of every supersampled pixel, (2H, 2W, 3)."""
    across, down = ((np.arange(_SUPERSAMPLE * n) + 0.5) / _SUPERSAMPLE - 0.5 for n in (lens.width, lens.height))
    rays = np.ones((len(down), len(across), 3), np.float32)
    if any(lens.distortion):
        pixels = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(pixels, lens.matrix, np.array(lens.distortion))
        rays[..., :2] = plane.reshape(len(down), len(across), 2)
    else:  # the closed form, without iterating for each pixel
        rays[..., 0] = (across - lens.cx) * (1 / lens.fx)
        rays[..., 1] = ((down - lens.cy) * (1 / lens.fy))[:, None]
    return rays


def _developed(picture: NDArray[np.floating], truth: RigTruth) -> NDArray[np.floating]:
    """Develop sRGB (H, W, 3) in [0, 1] as the camera does: tone, saturation and sharpness."""
    if truth.gamma != 1:
        picture = picture**truth.gamma
    if truth.saturation != 1:
        grey = picture.mean(axis=2, keepdims=True)
        picture = grey + truth.saturation * (picture - grey)
    if truth.sharpening:
        picture = picture + truth.sharpening * (picture - cv2.GaussianBlur(picture, (0, 0), _SHARPENING_PX))
    return picture.clip(0, 1)


def _light_falloff(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the light of a lamp on one side: a linear slope across the frame with mean 1."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    y, x = _plane(shape)
    return (1 + slope * np.cos(angle) / 2 * x + slope * np.sin(angle) / 2 * y).astype(np.float32)


def _vignette(shape: tuple[int, int], strength: float) -> NDArray[np.float32]:
    y, x = _plane(shape)
    return 1 - np.float32(strength / 2) * (x**2 + y**2)


@cache
def _plane(shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return rows (H, 1) and columns (1, W) of a frame, from -1 to 1."""
    height, width = shape
    return np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
