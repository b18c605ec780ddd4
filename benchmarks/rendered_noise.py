"""How many samples a pixel does a rendered frame need, so that noise changes no answer, and how long does it take?

    python benchmarks/rendered_noise.py --run RUN --data DIR [--scene NAME …] [--clips 8] [--samples 4 --samples 16 …]

The run's sheet of 10 cm and the grey control are filmed in each scene, before photographs of DIR. Poses, light, the camera's
own noise and its effects are the same whatever the number of samples, so that answers differ only by what renderer and denoiser
leave of noise, or blur. The reference is not denoised. ``changed`` is the share of frames whose first class is another one than
with the reference's samples, with an interval by clips, for ``raw`` frames and for ``denoised`` ones; ``null`` is the reference
with other random numbers, which says how many answers hang by a thread anyhow. ``seconds`` is the median over frames after the
first of each clip and sheet, which Mitsuba may have to compile for; ``cpu_seconds``, of all cores together, also tells on a
busy machine. One JSON line is printed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from one_line import run_main
from print_panel import said
from rendered_panel import Backgrounds
from rig_films import victim_of

from captures.inference.analyser import to_input
from captures.sources.rendered import scene_names
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene
from physpatch import Patch, TrainConfig, Victim
from physpatch.data.photographs import limited, photos_for
from physpatch.stats.intervals import clip_rate
from printouts.sheet_pdf import print_sheets

_SIZE_MM = 100.0
_FAR = 2**30  # of the seeds: the instants of a frame have its seed and those that follow
_FRAMES = 2  # of each sheet in a clip; the second is timed


class OtherNoise(RenderedRig):
    """A rig whose samples are other ones, and all else the same."""

    def _stage(self, *arguments: Any) -> Any:
        stage = super()._stage(*arguments)
        shoot = stage.shoot
        stage.shoot = lambda pose, seed, **options: shoot(pose, seed ^ _FAR, **options)
        return stage


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--scene", action="append", help="by name; default all")
    parser.add_argument("--clips", type=int, default=8, help="of each scene at most, each before its own photograph")
    parser.add_argument("--samples", type=int, action="append", help="a pixel; default 4, 9, 16 and 36")
    parser.add_argument("--reference", type=int, default=256, help="samples a pixel that frames are compared with")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = TrainConfig.load(options.run / "run.json")
    victim = victim_of(config)
    photos = limited(photos_for(victim, options.data), options.clips, options.seed)
    behind: Backgrounds = [(photo.path, None) for photo in photos]
    scenes = {}
    with tempfile.TemporaryDirectory() as temporary:
        sheet = Path(temporary) / "sheet.pdf"
        print_sheets(Patch.load(options.run), _SIZE_MM, sheet, controls=("grey",))
        for name in options.scene or scene_names():
            film = Film(victim, sheet, Scene.read(name), behind, options.seed)
            scenes[name] = film.compared(options.samples or [4, 9, 16, 36], options.reference)
            print(name, json.dumps(scenes[name]), file=sys.stderr, flush=True)  # noqa: T201
    print(json.dumps({"reference": options.reference, "clips": len(behind), "scenes": scenes}))  # noqa: T201


class Film:
    """A network's answers to one scene, rendered with more or fewer samples."""

    def __init__(self, victim: Victim, sheet: Path, scene: Scene, behind: Backgrounds, seed: int) -> None:
        """Take what is filmed, before each photograph once, as clips are the units; and the network that answers."""
        self._victim, self._sheet, self._scene = victim, sheet, scene
        self._behind, self._clips, self._seed = behind, len(behind), seed

    def compared(self, samples: Sequence[int], reference: int) -> dict[str, Any]:
        """Return the share of changed answers and the seconds a frame, by number of samples."""
        answers, times = self._shot(RenderedRig, reference)
        null_answers, _ = self._shot(OtherNoise, reference)
        by_samples: dict[int, dict[str, Any]] = {count: {} for count in samples}
        for count, (name, denoise) in product(samples, {"raw": False, "denoised": True}.items()):
            noisy, times_then = self._shot(RenderedRig, count, denoise=denoise)
            by_samples[count][name] = {"changed": self._changed(noisy, answers)} | times_then
        return {"null": self._changed(null_answers, answers), "reference": times, "by_samples": by_samples}

    def _changed(self, answers: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
        return clip_rate((answers != reference).mean(axis=1)).to_dict() | {"frames": answers.size}

    def _shot(
        self, kind: type[RenderedRig], samples: int, *, denoise: bool = False
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Film the scene; return first classes (clips, frames of a clip) and the medians of seconds a frame."""
        rig = kind(
            self._sheet,
            self._scene,
            self._behind,
            clips=self._clips,
            frames_per_clip=_FRAMES,
            seed=self._seed,
            samples=samples,
            denoise=denoise,
        )
        inputs, clips, durations = [], [], []
        started = np.array(_clocks())
        for number, frame in enumerate(rig):
            if number % _FRAMES:
                durations.append(np.array(_clocks()) - started)
            inputs.append(to_input(frame.image, self._victim.preprocessing))
            clips.append(int(frame.clip or 0))
            started = np.array(_clocks())
        first = said(self._victim, torch.cat(inputs))
        order = np.argsort(clips, kind="stable")
        seconds, cpu_seconds = np.median(durations, axis=0).round(2).tolist()
        return first[order].reshape(self._clips, -1), {"seconds": seconds, "cpu_seconds": cpu_seconds}


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    run_main(main)
