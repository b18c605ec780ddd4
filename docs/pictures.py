"""Make the pictures of README and site from a finished demo; photographs are scikit-image's, which are free to share.

python docs/pictures.py demo docs/images
"""

import sys
import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_chart import ChartShot, read_chart
from calibration.colour.rig_profile import LightProfile
from calibration.common.errors import InputError
from calibration.sheet.pdf_reader import rasterise
from captures import RenderedRig, SessionConfig, VirtualRig, run_session
from captures.gap.decomposition import measure_gap
from captures.inference.analyser import Analysis
from captures.report.figures.plots import strip_plot
from captures.results.recorded_session import RecordedSession
from captures.session.live_session import film_rig
from captures.sources.rendered import scene_names
from captures.sources.rendered.camera.effects import EFFECTS
from captures.sources.rendered.scene_file import Scene as RenderedScene
from captures.sources.rendered.shots import ShotCache
from captures.sources.virtual_rig import RIG_HFOV_DEG
from physpatch import Patch, TrainConfig, Victim, load_victim
from physpatch.attack.placement import Placement
from physpatch.data.photographs import list_photos, load_photos
from physpatch.evaluation.classification import Scene
from physpatch.evaluation.figures.examples import save_eot_samples, save_pictures
from physpatch.records.run_record import RunRecord
from physpatch.rendering.eot import sample
from printouts import print_on_sign, print_sheets, print_targets

PHOTOGRAPHS = ("coffee", "chelsea")
CLASSES = {"coffee": "espresso", "chelsea": "Egyptian cat", "rocket": "missile", "astronaut": None}
Picture = NDArray[np.uint8]


def main(demo: Path, out: Path) -> None:
    """Write every picture that shows what the program makes."""
    out.mkdir(parents=True, exist_ok=True)
    victim, learned = load_victim("efficientnet_lite0"), demo / "learned"
    patch = Patch.load(learned / "run")
    save(out / "sheet.png", rasterise(learned / "sheet.pdf", 72))
    history = load_file(learned / "run/checkpoint/state.safetensors")["history"]
    save(out / "evolution.png", filmstrip(history, count=7, cell_px=9))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in CLASSES:
            save(work / f"photographs/{name}.png", getattr(skimage.data, name)())
        save_printed(out, work, patch)
        save(out / "colours.png", rig_colours(work))
        save_training(out, work, victim, patch, TrainConfig.of(grid=patch.grid))
        save(out / "session.jpg", session_frames(learned, work))
        (out / "gap.png").write_bytes(gap_strip(demo, work, victim))
        save(out / "rendered.jpg", rendered_scenes(learned / "sheet.pdf", work))
        save(out / "moving.jpg", moving_scenes(learned / "sheet.pdf", work))
        save(out / "camera.jpg", camera_effects(learned / "sheet.pdf", work))


def filmstrip(history: Picture, count: int, cell_px: int) -> Picture:
    """Put a few snapshots side by side, first to last, as one (H, W, 3) picture."""
    chosen = np.unique(np.linspace(0, len(history) - 1, count).round().astype(int))
    gap = np.full((history[0].shape[0] * cell_px, cell_px, 3), 255, dtype=np.uint8)
    parts = [part for i in chosen for part in (history[i].repeat(cell_px, 0).repeat(cell_px, 1), gap)]
    return np.concatenate(parts[:-1], axis=1)


def save_printed(out: Path, work: Path, patch: Patch) -> None:
    """Write what comes out of a printer: controls, a poster's map and a tile, a sign, the calibration sheets."""
    kinds = ("grey", "random", "shuffled")
    print_sheets(patch, 100, work / "controls.pdf", controls=kinds)
    save(out / "controls.png", pages(work / "controls.pdf", (0, 1, 2, 3), 36))
    print_sheets(patch, 600, work / "poster.pdf")
    save(out / "poster.png", pages(work / "poster.pdf", (0, 6), 54))
    print_on_sign(patch, "stop", 150, work / "sign.pdf")
    save(out / "sign.png", pages(work / "sign.pdf", (0,), 72))
    print_targets(work / "calibration.pdf")
    save(out / "calibration.png", pages(work / "calibration.pdf", (0, 1), 54))


def pages(pdf: Path, numbers: tuple[int, ...], dpi: int) -> Picture:
    """Draw pages side by side, each with a thin frame."""
    framed = [
        cv2.copyMakeBorder(rasterise(pdf, dpi, n), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(170,) * 3) for n in numbers
    ]
    gap = np.full((framed[0].shape[0], 14, 3), 255, np.uint8)
    return np.hstack([part for page in framed for part in (page, gap)][:-1])


def rig_colours(work: Path, shots: int = 5) -> Picture:
    """Draw the chart as sent, as a simulated rig on plain paper sees it, and as the fitted map predicts it."""
    save(work / "wall.png", np.full((10, 10, 3), 128, np.uint8))
    lens = Intrinsics.from_hfov(1280, 960, RIG_HFOV_DEG)
    rig = VirtualRig(work / "calibration.pdf", [(work / "wall.png", None)], lens=lens, seed=1)
    usable_shots: list[ChartShot] = []
    for frame in rig.film(1, 40, np.random.default_rng(1), turn_deg=15, reach=0.15):
        try:
            usable_shots.append(read_chart(frame.image, rig.layouts[1], lens))
        except InputError:  # blurred or cut off; a person would take it again
            continue
        if len(usable_shots) == shots:
            break
    cells = rig.layouts[1].cells
    assert cells is not None
    return LightProfile.fit("lamp", cells, usable_shots).picture()


def save_training(out: Path, work: Path, victim: Victim, patch: Patch, config: TrainConfig) -> None:
    """Write sixteen draws of the transformations, and what the patch does to photographs, with Grad-CAM."""
    listed = list_photos(str(work / "photographs"), victim.categories)
    photographs = load_photos(listed, victim.preprocessing)
    save_eot_samples(work / "eot.png", victim, photographs, patch, config)
    save(out / "eot.jpg", cv2.cvtColor(cv2.imread(str(work / "eot.png")), cv2.COLOR_BGR2RGB))
    labelled_indices = [i for i, photo in enumerate(listed) if CLASSES[photo.path.stem] is not None]
    labels = torch.tensor([victim.category_index(str(CLASSES[listed[i].path.stem])) for i in labelled_indices])
    size = victim.preprocessing.size
    images = photographs.central(size)[labelled_indices].float() / 255
    params = sample(config.eot, len(images), torch.Generator().manual_seed(5))
    units = photographs.units[labelled_indices]
    save_pictures(work, victim, Scene(images, labels, units, params, Placement.of(config)), patch)
    for name in ("examples", "gradcam"):
        save(out / f"{name}.jpg", cv2.cvtColor(cv2.imread(str(work / f"{name}.png")), cv2.COLOR_BGR2RGB))


def session_frames(demo: Path, work: Path) -> Picture:
    """Draw annotated frames of the virtual rig: the grey control and the patch at the same pose, before two photographs."""
    victim, patch = load_victim("efficientnet_lite0"), Patch.load(demo / "run")
    rig = VirtualRig(demo / "sheet.pdf", backgrounds(work), clips=2, frames_per_clip=1, seed=2)
    config = SessionConfig(victim, layouts=rig.layouts, intrinsics=rig.intrinsics, target=patch.target)
    pictures: dict[tuple[int | None, str], Picture] = {}

    def keep(analysis: Analysis, picture: Picture) -> bool:
        pictures[analysis.frame.clip, analysis.rows[0].condition] = cv2.resize(picture, None, fx=0.75, fy=0.75)
        return True

    run_session(rig, config, work / "session", on_frame=keep)
    return np.vstack([np.hstack([pictures[clip, kind] for kind in ("grey", "patch")]) for clip in (0, 1)])


def rendered_scenes(sheet: Path, work: Path) -> Picture:
    """Render the sheet in every scene whose camera stays, in the same pose, five beside each other."""
    behind, frames = backgrounds(work)[1:], []
    for scene in map(RenderedScene.read, scene_names()):
        if scene.motion.moves_camera:
            continue
        rig = RenderedRig(sheet, scene, behind, clips=1, frames_per_clip=1, seed=2, samples=64)
        frames.append(cv2.resize(next(iter(rig)).image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    frames += [np.full_like(frames[0], 255)] * (-len(frames) % 5)
    return np.vstack([np.hstack(frames[i : i + 5]) for i in range(0, len(frames), 5)])


def moving_scenes(sheet: Path, work: Path, frames: int = 4) -> Picture:
    """Render a few frames of every scene in which the camera moves, one scene a row."""
    rows = []
    for scene in map(RenderedScene.read, scene_names()):
        if scene.motion.moves_camera:
            rig = RenderedRig(sheet, scene, backgrounds(work)[1:], clips=1, frames_per_clip=frames, seed=2)
            filmed = [
                cv2.resize(frame.image, (320, 240), interpolation=cv2.INTER_AREA) for frame in islice(rig, frames)
            ]
            rows.append(np.hstack(filmed))
    return np.vstack(rows)


def camera_effects(sheet: Path, work: Path) -> Picture:
    """Draw a corner of the patch before a plain camera, with each effect alone and with all of them, four beside each other."""
    scene, shots, crops = RenderedScene.read("phone"), ShotCache(work / "shots"), []
    every = scene.camera.effects
    for effects in ({}, *({name: every[name]} for name in EFFECTS), every):
        filmed = scene.changed(camera=scene.camera.to_dict() | {"effects": effects})
        behind = backgrounds(work)[1:]
        rig = RenderedRig(sheet, filmed, behind, clips=1, frames_per_clip=2, seed=2, samples=64, cache=shots)
        *_, frame = islice(rig, 2)  # the second, as some effects follow from the first
        bottom, right = np.argwhere(frame.truth.patch).max(axis=0)
        corner = frame.image[bottom - 65 : bottom + 10, right - 85 : right + 15]
        enlarged = cv2.resize(corner, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_NEAREST)
        crops.append(cv2.copyMakeBorder(enlarged, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3))
    return np.vstack([np.hstack(crops[i : i + 4]) for i in range(0, len(crops), 4)])


def gap_strip(demo: Path, work: Path, victim: Victim) -> bytes:
    """Draw one frame of the patch for a screen through the steps of the replay, as PNG."""
    patch, config = Patch.load(demo / "run"), RunRecord.of(demo / "run").train_config
    rig = VirtualRig(demo / "sheet.pdf", backgrounds(work), clips=2, frames_per_clip=2, seed=2)
    folder = film_rig(rig, victim, patch.target, work / "gap", keep="all", sheet=str((demo / "sheet.pdf").resolve()))
    gap = measure_gap(RecordedSession.open(folder), victim, patch, config.changed(seed=1), draws=1)
    return strip_plot(gap.example)


def backgrounds(work: Path) -> list[tuple[Path, str | None]]:
    """List photographs to hold the sheets before."""
    return [(work / f"photographs/{name}.png", None) for name in PHOTOGRAPHS]


def save(path: Path, picture: Picture) -> None:
    """Write an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
