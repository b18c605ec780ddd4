"""The rendered rig: a PDF's sheets in a scene that Mitsuba renders, before a camera whose pixels have spectral sensitivities.

It shares with EOT neither code nor assumptions, and with the virtual rig only what is held: the printed sheets and the poses of
a hand. Nothing in training was tuned to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.printing_condition import PrintingCondition, held_back_conditions
from calibration.common.errors import InputError
from calibration.sheet.pdf_reader import printed_layouts
from captures.sources.frame import Frame, FrameTruth
from captures.sources.held_sheet import (
    CLIPS,
    GREY_WALL,
    RigPose,
    framed_background,
    printed_sheets,
    require_extent,
    shuffled_backgrounds,
)
from captures.sources.opening import FileSource
from captures.sources.rendered.backdrop import turned_backdrop
from captures.sources.rendered.camera import ClipCamera, Development
from captures.sources.rendered.camera.effects import ShutterEffect
from captures.sources.rendered.camera.exposure import Exposure, Rows, begun, expose, require_exposable
from captures.sources.rendered.mitsuba_scene import SheetScene
from captures.sources.rendered.scene_file import Scene
from captures.sources.rendered.shots import Shot, ShotCache
from captures.sources.rendered.spectra import recorded_from_linear, white
from captures.sources.rendered.surfaces import require_fit

FRAME_WH = (640, 480)
RENDERED_HFOV_DEG = 60.0
_STRENGTH = (0.75, 1.05)  # of what a perfect diffuser that faces all lights would make of the picture's white
_MITSUBA_SEEDS = 2**31
_MOST_SAMPLES = 2**31  # of a frame; Mitsuba counts up to twice as many, and a pixel's are rounded up
SAMPLES = 12  # a pixel, denoised: rooms and poles in less than 2 s on two slow cores


class RenderedRig(FileSource):
    """A source that shows the sheets of a PDF in a rendered scene, in front of photographs or in a room.

    Each clip has one background and the poses of one motion, in which all sheets are shown in turn. Its frames carry the truth:
    pose, light, and which pixels show the patch.
    """

    def __init__(
        self,
        pdf: Path,
        scene: Scene,
        backgrounds: Sequence[tuple[Path, str | None]],
        *,
        clips: int = CLIPS,
        frames_per_clip: int | None = None,
        seed: int = 0,
        frame_wh: tuple[int, int] = FRAME_WH,
        printing: PrintingCondition | None = None,
        samples: int = SAMPLES,
        denoise: bool = True,
        cache: ShotCache | None = None,
    ) -> None:
        """Print the sheets.

        Args:
            pdf: written by ``physpatch print``.
            scene: see :meth:`Scene.read`.
            backgrounds: photographs, each with its class or None; ignored in a room.
            clips: number of clips.
            frames_per_clip: number of frames of each sheet in a clip; None for that of the scene's motion.
            seed: for printing, camera, poses, light and noise.
            frame_wh: size of the frames.
            printing: what press and paper make of colours; by default drawn with ``seed`` from those that training leaves out.
            samples: a pixel; more of them leave less noise and take longer.
            denoise: whether what they leave is removed, by Intel's Open Image Denoise.
            cache: where what Mitsuba rendered is kept; None renders all.

        Raises:
            InputError: if the PDF is not readable, there are no backgrounds, a count is below 1 or too large, a sheet is too
                wide for what it is bent around, or a frame is exposed for much longer than it takes.
            UnavailableError: if Mitsuba, its denoiser or colour-science is not installed.
        """
        frames_per_clip = scene.motion.frames if frames_per_clip is None else frames_per_clip
        require_extent(frame_wh, seed, clips=clips, frames_per_clip=frames_per_clip, samples=samples)
        if frame_wh[0] * frame_wh[1] * samples > _MOST_SAMPLES:
            raise InputError(
                f"{samples} samples a pixel are too many for frames of {frame_wh[0]}x{frame_wh[1]}; "
                f"expected at most {_MOST_SAMPLES // (frame_wh[0] * frame_wh[1])}"
            )
        if not backgrounds and scene.background == "photograph":
            raise InputError("this scene needs at least one background photograph")
        self.scene, self.layouts = scene, printed_layouts(pdf)
        for layout in self.layouts:
            require_fit(layout, scene.support)
        self.intrinsics = replace(Intrinsics.from_hfov(*frame_wh, RENDERED_HFOV_DEG), assumed=False)
        self.frames_per_clip = frames_per_clip
        self.fps = scene.motion.fps(self.frames_per_clip)
        effects = scene.camera.effects.values()
        exposed_s = sum(effect.lasts_s for effect in effects if isinstance(effect, ShutterEffect))
        require_exposable(exposed_s, 1 / self.fps)
        rng = np.random.default_rng(seed)
        conditions = held_back_conditions()
        self.printing = printing or conditions[int(rng.integers(len(conditions)))]
        self._sheets = printed_sheets(pdf, self.printing)
        self._backgrounds = [] if scene.background == "room" else shuffled_backgrounds(backgrounds, seed)
        self.clips, self.seed, self._cache = clips, seed, cache
        self._samples, self._denoise = samples, denoise

    @property
    def scenes(self) -> list[int]:
        """Return the number of each clip's photograph; empty in a room, where all clips share one place, as a camera's do."""
        return [clip % len(self._backgrounds) for clip in range(self.clips)] if self._backgrounds else []

    def __len__(self) -> int:
        return self.clips * self.frames_per_clip * len(self.layouts)

    def __iter__(self) -> Iterator[Frame]:
        index, motion, photographs = 0, self.scene.motion, self.scenes
        for clip in range(self.clips):
            path, label = self._backgrounds[photographs[clip]] if photographs else (None, None)
            behind = None if path is None else self._recorded(framed_background(path, self.intrinsics))
            without_sheet = None
            for page, layout in enumerate(self.layouts):
                hand = np.random.default_rng([self.seed, 2, clip])  # the same poses, light and noise for every sheet
                held = RigPose.in_hand(hand, layout, self.intrinsics)
                camera = self._camera(clip, self._development(hand))
                start, poses = motion.start(held), motion.poses(hand, held, self.frames_per_clip)
                stage = self._stage(page, start, hand)
                if camera.has_effects:
                    if without_sheet is None:
                        without_sheet = self._without_sheet(behind, page, start, poses[0])
                    camera.look(without_sheet)
                for before, pose in pairwise(begun(poses)):
                    exposure, seed = camera.next_exposure(), int(hand.integers(_MITSUBA_SEEDS))
                    shot = stage.shoot(pose, seed, before=before, exposure=exposure)
                    backdrop = None if behind is None else self._seen_behind(behind, start, before, pose, exposure)
                    image = camera.develop(shot.before(backdrop), hand)
                    index += 1
                    self.captured = index
                    mask = stage.patch_mask(pose, before=before, exposure=exposure)
                    truth = FrameTruth(pose, self.scene.spectrum, mask)
                    time_s = (index - 1) / self.fps
                    yield Frame(image, time_s, index, condition=layout.kind, clip=clip, label=label, truth=truth)

    def film(
        self, page: int, count: int, rng: np.random.Generator, *, turn_deg: float = 35.0, reach: float = 0.7
    ) -> Iterator[Frame]:
        """Film stills of one sheet before grey for calibration, under one arrangement of lights and with one exposure.

        For arguments see :meth:`captures.sources.virtual_rig.VirtualRig.film`.
        """
        lens, layout = self.intrinsics, self.layouts[page]
        behind = self._recorded(np.full((lens.height, lens.width, 3), GREY_WALL, np.float32))
        own = np.random.default_rng([self.seed, 3])  # the same camera for every sheet
        camera = self._camera(0, self._development(own))
        camera.look(behind)
        stage = self._stage(page, RigPose.for_still(own, layout, lens, turn_deg=0, reach=0), own)
        for number in range(count):
            pose = RigPose.for_still(rng, layout, lens, turn_deg=turn_deg, reach=reach)
            truth = FrameTruth(pose, self.scene.spectrum, stage.patch_mask(pose))
            shot = stage.shoot(pose, int(rng.integers(_MITSUBA_SEEDS)), exposure=camera.next_exposure())
            image = camera.develop(shot.before(behind), rng)
            yield Frame(image, number / self.fps, number + 1, clip=number, truth=truth)

    def _development(self, rng: np.random.Generator) -> Development:
        camera = self.scene.camera.sensitivities
        return Development.draw(rng, camera, self.scene.spectrum, rng.uniform(*_STRENGTH) / self._power)

    def _camera(self, clip: int, development: Development) -> ClipCamera:
        effects = self.scene.camera.effects.values()
        return ClipCamera(development, effects, fps=self.fps, rng=np.random.default_rng([self.seed, 4, clip]))

    def _without_sheet(
        self, behind: NDArray[np.float32] | None, page: int, start: RigPose, pose: RigPose
    ) -> NDArray[np.float32]:
        """Return what the camera sees, (H, W, 3), before the sheet, which is to have a pose, is put on what holds it."""
        if behind is not None:
            return self._seen_behind(behind, start, pose, pose, None)
        empty = self._arranged(np.zeros_like(self._sheets[page]), page, start)
        return empty.shoot(pose, self.seed % _MITSUBA_SEEDS).light

    def _stage(self, page: int, pose: RigPose, rng: np.random.Generator) -> SheetScene:
        occluder = self.scene.occluder
        return self._arranged(
            self._sheets[page],
            page,
            pose,
            occluded=0.0 if occluder is None else rng.uniform(*occluder.covers),
            occluder_deg=rng.uniform(45, 135),  # a hand holds it from below
            phase=rng.uniform(0, 2 * np.pi),
        )

    def _arranged(
        self,
        sheet: NDArray[np.float32],
        page: int,
        pose: RigPose,
        *,
        occluded: float = 0.0,
        occluder_deg: float = 0.0,
        phase: float = 0.0,
    ) -> SheetScene:
        return SheetScene(
            sheet,
            self.layouts[page],
            self.scene,
            self.intrinsics,
            pose,
            samples=self._samples,
            denoise=self._denoise,
            occluded=occluded,
            occluder_deg=occluder_deg,
            phase=phase,
            cache=self._cache,
        )

    def _seen_behind(
        self, behind: NDArray[np.float32], start: RigPose, before: RigPose, pose: RigPose, exposure: Exposure | None
    ) -> NDArray[np.float32]:
        """Return the background while a frame is exposed; it is so far away that only the camera's turns change it.

        Args:
            behind: the background before the camera of ``start``.
            start: the sheet's pose that the photograph was placed for.
            before: the sheet's pose a frame earlier.
            pose: the sheet's pose.
            exposure: of the frame; None for all at once.
        """
        if not self.scene.motion.moves_camera:
            return behind

        def turned(
            pose: RigPose, seed: int, *, rows: Rows | None = None, share: float = 1.0, refocus_dpt: float = 0.0
        ) -> Shot:
            backdrop = turned_backdrop(behind, self.intrinsics, start.camera_at(pose)[1], rows)
            return Shot(backdrop, np.zeros(backdrop.shape[:2], np.float32))

        if exposure is None:
            return turned(pose, 0).light
        return expose(turned, exposure, before, pose, self.intrinsics.height, 0).light

    def _recorded(self, photograph: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what pixels record of a photograph (H, W, 3), linear, under all lights' power in the strongest's colour."""
        camera, light = self.scene.camera.sensitivities, self.scene.spectrum
        diffuser = white(camera, light)
        to_record = recorded_from_linear(camera, light) * (diffuser / diffuser[1])[:, None]
        brightness = self.scene.background_strength * self._power
        return cv2.transform(photograph, (brightness * to_record).astype(np.float32)).clip(0, None)

    @property
    def _power(self) -> float:
        return sum(light.power for light in self.scene.lights)
