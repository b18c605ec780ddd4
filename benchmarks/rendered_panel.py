"""Does the cheap rig predict the dear one? Patches composited by EOT, before the virtual rig, and in rendered scenes.

    python benchmarks/rendered_panel.py --run RUN [--run RUN …] --data DIR [--scene NAME …] [--clips 12] [--work DIR]

Each run's sheet of 10 cm is held before photographs of DIR by the virtual rig and in each scene that Mitsuba renders
(``physpatch live --help`` names them; without ``--scene``, all with a photograph behind a sheet that a hand holds). Every clip
shows the patch once, and the grey control at the same pose. Counted is the target where grey does not show it, whatever the
network takes the view for then: a sheet hides most photographs. The unit is the photograph, also over all scenes. ``digital``
is the patch composited by the preset ``desk`` into the same photographs, in ten poses each; they need a labels.csv. All are
shown to the first run's network. With three runs and more, ``rank_correlation`` is Spearman's, with an interval by bootstrap
over patches. One JSON line is printed. What is in --work already, of the same patch, photographs, model, seed and clips, is
not rendered again.
"""

import argparse
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_results import kept_or_made
from numpy.typing import NDArray
from one_line import run_main
from print_panel import Row, by_photograph, digital, said
from rig_films import labelled_photos, victim_of
from scipy import stats

from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts
from captures.inference.analyser import to_input
from captures.sources.opening import Rig
from captures.sources.rendered import scene_names
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene
from captures.sources.virtual_rig import VirtualRig
from physpatch import Patch, TrainConfig, Victim
from physpatch.data.photographs import Photo, limited
from physpatch.stats.intervals import percentile_bootstrap
from printouts.sheet_pdf import print_sheets

_SIZE_MM = 100.0
_VIRTUAL, _PHOTOGRAPHS = "virtual", "photographs"
_SCENE_SEEDS = 2**16
_DIGITAL_VIEWS = 10  # of each photograph, as many views as rigs show and more
Answers = dict[str, list[Any]]  # classes, of each kind of sheet, and the photograph's name, by clip
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
    if len({run.name for run in options.run}) < len(options.run):
        parser.error("two runs have the same name, by which their answers are kept; rename one of them")
    victim = victim_of(TrainConfig.load(options.run[0] / "run.json"))
    photos = limited(labelled_photos(victim, options.data, options.run), options.clips, options.seed)
    behind = named(photos)
    stages = staged(options.scene or still_scenes(), behind, options.clips, options.seed)
    settings = {
        "model": victim.weights.sha256,
        "photographs": [name for _, name in behind],
        "clips": options.clips,
        "seed": options.seed,
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        patches = {run.name: measured(run, victim, photos, stages, settings, work) for run in options.run}
    result: dict[str, Any] = {"scenes": [name for name in stages if name != _VIRTUAL], "photographs": len(photos)}
    print(json.dumps(result | {"patches": patches, "rank_correlation": correlations(patches)}))  # noqa: T201


def named(photos: Sequence[Photo]) -> Backgrounds:
    """Give each photograph the name by which a frame says what it shows: its path, as each class may have its own 001.jpg."""
    return [(photo.path, str(photo.path)) for photo in photos]


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

    def rendered(name: str) -> Stage:
        scene = Scene.read(name)
        own = seed + zlib.crc32(name.encode()) % _SCENE_SEEDS  # the same beside whichever other scenes
        return lambda sheet: RenderedRig(sheet, scene, behind, clips=clips, frames_per_clip=1, seed=own)

    return {_VIRTUAL: virtual} | {name: rendered(name) for name in scenes}


def measured(
    run: Path, victim: Victim, photos: list[Photo], stages: dict[str, Stage], settings: dict[str, Any], work: Path
) -> dict[str, Any]:
    """Measure a run's patch digitally, before the virtual rig and in each scene; answers of these settings are kept."""
    patch, config = Patch.load(run), TrainConfig.load(run / "run.json")
    target = None if patch.target is None else victim.target_index(patch.target)
    if target is None:
        sys.exit(f"the panel counts a target class; {run} has none")
    folder = work / run.name
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "sheet.pdf"
    print_sheets(patch, _SIZE_MM, sheet)
    (layout,) = printed_layouts(sheet)
    rows: dict[str, list[Row]] = {}
    for name, stage in stages.items():
        staged_by = settings if name == _VIRTUAL else settings | {"scene": Scene.read(name).to_dict()}
        grey = plain(victim, patch, layout, stage, name, staged_by, work)
        patched = kept(folder / f"{name}.json", staged_by | {"patch": patch.id}, partial(film, stage, sheet, victim))
        if patched[_PHOTOGRAPHS] != grey[_PHOTOGRAPHS]:
            sys.exit(f"the sheets of {run} were shown before other photographs than the grey one; empty {work}")
        rows[name] = [
            {"photograph": photograph, "right": said_grey != target, "hits": {"patch": float(said_patched == target)}}
            for photograph, said_grey, said_patched in zip(
                patched[_PHOTOGRAPHS], grey["grey"], patched["patch"], strict=True
            )
        ]
        print(f"{run.name}, {name}: {by_photograph(rows[name])}", file=sys.stderr, flush=True)  # noqa: T201
    in_scenes = {name: scene_rows for name, scene_rows in rows.items() if name != _VIRTUAL}
    on_screen = digital(victim, photos, patch, config, config.patch.cut, settings["seed"], _DIGITAL_VIEWS)
    return {
        "digital": by_photograph([row | {"right": row["label"] != target} for row in on_screen]).to_dict(),
        "virtual": by_photograph(rows[_VIRTUAL]).to_dict(),
        "rendered": by_photograph([row for scene_rows in in_scenes.values() for row in scene_rows]).to_dict(),
        "by_scene": {name: by_photograph(scene_rows).to_dict() for name, scene_rows in in_scenes.items()},
    }


def plain(
    victim: Victim, patch: Patch, layout: SheetLayout, stage: Stage, name: str, settings: dict[str, Any], work: Path
) -> Answers:
    """Return what the network says of each clip's grey control: once for all patches with the same sheet."""
    folder = work / f"grey-{layout.cut.width_mm:g}x{layout.cut.height_mm:g}"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "sheet.pdf"
    print_sheets(patch, _SIZE_MM, sheet, controls=("grey",))
    return kept(folder / f"{name}.json", settings, partial(film, stage, sheet, victim))


def film(stage: Stage, sheet: Path, victim: Victim) -> Answers:
    """Film all sheets of a PDF; return the first class of each clip's frame by kind of sheet, and the clips' photographs."""
    inputs: dict[str, list[torch.Tensor]] = {}
    photographs = {}
    for frame in stage(sheet):
        inputs.setdefault(str(frame.condition), []).append(to_input(frame.image, victim.preprocessing))
        photographs[frame.clip] = frame.label
    answers = {kind: said(victim, torch.cat(images)).tolist() for kind, images in inputs.items()}
    return {**answers, _PHOTOGRAPHS: list(photographs.values())}


def kept(path: Path, settings: dict[str, Any], make: Callable[[], Answers]) -> Answers:
    """Read answers of these settings, or make and keep them."""
    return dict(kept_or_made(path, settings, lambda: {"answers": make()})["answers"])


def correlations(patches: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Correlate the ranks of patches between each two ways of measuring; None for fewer than three patches."""
    if len(patches) < 3:
        return None
    ways = ("digital", "virtual", "rendered")
    rates = np.array([[patch[way]["rate"] for way in ways] for patch in patches.values()], dtype=float)
    return {f"{ways[a]}-{ways[b]}": spearman(rates[:, a], rates[:, b]) for a, b in combinations(range(len(ways)), 2)}


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any] | None:
    """Compute Spearman's rank correlation and its percentile interval over resampled patches; None if one has no ranks."""
    if not (np.ptp(first) and np.ptp(second)):
        return None
    return {"rho": _rho(first, second), "ci95": percentile_bootstrap(_rho, first, second), "patches": len(first)}


def _rho(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    return float(stats.spearmanr(first, second).statistic) if np.ptp(first) and np.ptp(second) else None


if __name__ == "__main__":
    run_main(main)
