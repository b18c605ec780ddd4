"""A camera over the frames of a clip, with the effects that are switched on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from captures.sources.rendered.camera.development import Development
from captures.sources.rendered.camera.effects import Clip, DevelopEffect, Effect, ShutterEffect, Stage
from captures.sources.rendered.camera.exposure import Exposure


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
        self._development, self._interval_s, self._exposed = development, 1 / fps, 0
        self._shutter = [effect.begin(clip) for effect in ordered if isinstance(effect, ShutterEffect)]
        self._steps = {
            stage: [
                effect.begin(clip) for effect in ordered if isinstance(effect, DevelopEffect) and effect.stage is stage
            ]
            for stage in Stage
        }

    @property
    def has_effects(self) -> bool:
        """Return whether effects develop its pictures, some of which remember what it looked at before the clip."""
        return any(self._steps.values())

    def look(self, recorded: NDArray[np.floating]) -> None:
        """Let effects see what the camera sees before the clip: the scene (H, W, 3) without the sheet, without noise.

        What reacts to frames starts from there; without a look it starts from the first frame.
        """
        if self.has_effects:
            self.develop(recorded, None)

    def next_exposure(self) -> Exposure | None:
        """Return how the next frame is exposed; None for all at once, in focus."""
        if not self._shutter:
            return None
        exposure = Exposure(self._interval_s)
        for change in self._shutter:
            exposure = change(exposure, self._exposed * self._interval_s)
        self._exposed += 1
        return exposure

    def develop(self, recorded: NDArray[np.floating], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Develop the next frame, (H, W, 3), into an sRGB picture, (H, W, 3) uint8; ``rng`` is for noise, None for none."""
        return self._development.develop(recorded, rng, self._steps)
