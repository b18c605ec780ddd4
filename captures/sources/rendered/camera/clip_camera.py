"""A camera over the frames of a clip, with the effects that are switched on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from captures.sources.held_sheet import RigPose
from captures.sources.rendered.camera.development import Development
from captures.sources.rendered.camera.effects import Clip, DevelopEffect, Effect, ShutterEffect, Stage
from captures.sources.rendered.camera.exposure import Exposure, Shoot, Shot, expose


class ClipCamera:
    """A camera that films one sheet of one clip: what it remembers of earlier frames begins anew with each."""

    def __init__(
        self,
        development: Development,
        effects: Iterable[Effect] = (),
        *,
        fps: float,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Begin a clip.

        Args:
            development: of all frames.
            effects: that are switched on, in any order.
            fps: frames a second.
            rng: for what effects draw once a clip; by default one of seed 0.
        """
        ordered = sorted(effects, key=lambda effect: (effect.rank, effect.name))
        clip = Clip(fps, development.gains, rng or np.random.default_rng(0))
        self._development, self._interval_s, self._filmed = development, 1 / fps, 0
        self._shutter = [effect.begin(clip) for effect in ordered if isinstance(effect, ShutterEffect)]
        self._steps = {
            stage: [
                effect.begin(clip) for effect in ordered if isinstance(effect, DevelopEffect) and effect.stage is stage
            ]
            for stage in Stage
        }

    def look(self, recorded: NDArray[np.floating]) -> None:
        """Let effects see what the camera sees before the clip: the scene (H, W, 3) without the sheet, without noise.

        What reacts to frames starts from there; without a look it starts from the first frame.
        """
        if any(self._steps.values()):
            self.develop(recorded, None)

    def expose(self, shoot: Shoot, before: RigPose, pose: RigPose, *, height: int, seed: int) -> Shot:
        """Expose the next frame, of ``height`` rows, as the sheet moves on from ``before`` to ``pose``."""
        exposure = Exposure()
        for change in self._shutter:
            exposure = change(exposure, self._filmed * self._interval_s)
        self._filmed += 1
        return expose(shoot, exposure, before, pose, interval_s=self._interval_s, height=height, seed=seed)

    def develop(self, recorded: NDArray[np.floating], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Develop the next frame, (H, W, 3), into an sRGB picture, (H, W, 3) uint8; ``rng`` is for noise, None for none."""
        return self._development.develop(recorded, rng, self._steps)
