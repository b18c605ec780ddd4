"""Does the cheap rig predict the dear one? Patches composited by EOT, before the virtual rig, and in rendered scenes.

    python benchmarks/rendered_panel.py --run RUN [--run RUN …] --data DIR [--scene NAME …] [--clips 12] [--work DIR]

Each run's sheet of 10 cm is held before photographs of DIR by the virtual rig and in each scene that Mitsuba renders
(``physpatch live --help`` names them; without ``--scene``, all with a photograph behind a sheet that a hand holds). Every clip
shows the patch once, and the grey control at the same pose. Counted is the target where grey does not show it, whatever the
network takes the view for then: a sheet hides most photographs. The unit is the clip. ``digital`` is the patch composited by
the preset ``desk`` into the same photographs, in ten poses each. With three runs and more, ``rank_correlation`` is Spearman's,
with an interval by bootstrap over patches. One JSON line is printed. What is in --work already is not rendered again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from print_panel import digital, said
from scipy import stats

from calibration.common.files import read_json, write_json
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts
from captures.inference.analyser import to_input
from captures.sources.opening import Rig
from captures.sources.rendered import scene_names
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene
from captures.sources.virtual_rig import VirtualRig
from physpatch import Patch, TrainConfig, Victim, load_victim
from physpatch.data.photographs import Photo, limited, photos_for
from physpatch.stats.intervals import Rate, clip_rate
from printouts.sheet_pdf import print_sheets

_SIZE_MM = 100.0
_VIRTUAL = "virtual"
_RESAMPLES = 4000
_DIGITAL_POSES = 10  # of each photograph, as many views as rigs show and more
Answers = dict[str, list[int]]  # of each kind of sheet, by clip
Backgrounds = list[tuple[Path, str | None]]
Stage = Callable[[Path], Rig]  # a rig that shows a PDF's sheets


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--scene", action="append", help="by name; default all that are held before photographs")
    parser.add_argument("--clips", type=int, default=12, help="photographs in each scene, and before the virtual rig")
    parser.add_argument("--seed", type=int, default=0, help="of printers, cameras, poses and light")
    parser.add_argument("--work", type=Path, help="where answers are kept")
    options = parser.parse_args()
    config = TrainConfig.load(options.run[0] / "run.json")
    victim = load_victim(config.victim.model, weights=config.victim.weights)
    photos = limited(photos_for(victim, options.data), options.clips, options.seed)
    behind: Backgrounds = [(photo.path, None) for photo in photos]
    stages = staged(options.scene or still_scenes(), behind, options.clips, options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        patches = {run.name: measured(run, victim, photos, stages, options.seed, work) for run in options.run}
    result: dict[str, Any] = {"scenes": [name for name in stages if name != _VIRTUAL], "photographs": len(photos)}
    print(json.dumps(result | {"patches": patches, "rank_correlation": correlations(patches)}))  # noqa: T201


def still_scenes() -> list[str]:
    """Name the scenes before photographs in which a hand holds the sheet."""
    scenes = {name: Scene.read(name) for name in scene_names()}
    return [
        name for name, scene in scenes.items() if scene.background == "photograph" and not scene.motion.moves_camera
    ]


def staged(scenes: Sequence[str], behind: Backgrounds, clips: int, seed: int) -> dict[str, Stage]:
    """Return what shows a PDF's sheets, by name: the virtual rig and each scene, with one frame of each sheet in a clip."""

    def virtual(sheet: Path) -> Rig:
        return VirtualRig(sheet, behind, clips=clips, frames_per_clip=1, seed=seed)

    def rendered(number: int, name: str) -> Stage:
        scene = Scene.read(name)
        return lambda sheet: RenderedRig(sheet, scene, behind, clips=clips, frames_per_clip=1, seed=seed + number)

    return {_VIRTUAL: virtual} | {name: rendered(number, name) for number, name in enumerate(scenes)}


def measured(
    run: Path, victim: Victim, photos: list[Photo], stages: dict[str, Stage], seed: int, work: Path
) -> dict[str, Any]:
    """Measure a run's patch digitally, before the virtual rig and in each scene."""
    patch, config = Patch.load(run), TrainConfig.load(run / "run.json")
    target = None if patch.target is None else victim.target_index(patch.target)
    if target is None:
        sys.exit(f"the panel counts a target class; {run} has none")
    folder = work / run.name
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "sheet.pdf"
    print_sheets(patch, _SIZE_MM, sheet)
    (layout,) = printed_layouts(sheet)
    hits: dict[str, list[float]] = {}
    for name, stage in stages.items():
        grey = plain(victim, patch, layout, stage, name, work)
        patched = kept(folder / f"{name}.json", partial(film, stage, sheet, victim))["patch"]
        hits[name] = [
            float(said_patched == target)
            for said_grey, said_patched in zip(grey, patched, strict=True)
            if said_grey != target
        ]
        print(f"{run.name}, {name}: {_rate(hits[name])}", file=sys.stderr, flush=True)  # noqa: T201
    rendered = [hit for name, scene_hits in hits.items() if name != _VIRTUAL for hit in scene_hits]
    on_screen = digital(victim, photos, patch, config, config.patch.cut, seed, _DIGITAL_POSES)
    return {
        "digital": on_screen.targeted_of_all["patch"].to_dict(),
        "virtual": _rate(hits[_VIRTUAL]).to_dict(),
        "rendered": _rate(rendered).to_dict(),
        "by_scene": {name: _rate(scene_hits).to_dict() for name, scene_hits in hits.items() if name != _VIRTUAL},
    }


def plain(victim: Victim, patch: Patch, layout: SheetLayout, stage: Stage, name: str, work: Path) -> list[int]:
    """Return what the network says of each clip's grey control: once for all patches with the same sheet."""
    folder = work / f"grey-{layout.cut.width_mm:g}x{layout.cut.height_mm:g}"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "sheet.pdf"
    print_sheets(patch, _SIZE_MM, sheet, controls=("grey",))
    return kept(folder / f"{name}.json", partial(film, stage, sheet, victim))["grey"]


def film(stage: Stage, sheet: Path, victim: Victim) -> Answers:
    """Film all sheets of a PDF; return the first class of each clip's frame by kind of sheet."""
    inputs: dict[str, list[torch.Tensor]] = {}
    for frame in stage(sheet):
        inputs.setdefault(str(frame.condition), []).append(to_input(frame.image, victim.preprocessing))
    return {kind: said(victim, torch.cat(images)).tolist() for kind, images in inputs.items()}


def kept(path: Path, make: Callable[[], Answers]) -> Answers:
    """Read answers, or make and keep them."""
    if not path.is_file():
        write_json(path, make())
    answers: Answers = read_json(path)
    return answers


def correlations(patches: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Correlate the ranks of patches between each two ways of measuring; None for fewer than three patches."""
    if len(patches) < 3:
        return None
    ways = ("digital", "virtual", "rendered")
    rates = np.array([[patch[way]["rate"] for way in ways] for patch in patches.values()], dtype=float)
    return {f"{ways[a]}-{ways[b]}": spearman(rates[:, a], rates[:, b]) for a, b in combinations(range(len(ways)), 2)}


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
    """Compute Spearman's rank correlation and its percentile interval over resampled patches."""
    drawn = np.random.default_rng(0).integers(len(first), size=(_RESAMPLES, len(first)))
    resampled = [
        float(stats.spearmanr(first[at], second[at]).statistic)
        for at in drawn
        if np.ptp(first[at]) and np.ptp(second[at])
    ]
    low, high = np.quantile(resampled, (0.025, 0.975))
    rho = float(stats.spearmanr(first, second).statistic)
    return {"rho": rho, "ci95": [float(low), float(high)], "patches": len(first)}


def _rate(hits: Sequence[float]) -> Rate:
    return clip_rate(hits) if hits else Rate(None, None, 0)


if __name__ == "__main__":
    main()
