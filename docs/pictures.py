"""Make the README's pictures from a finished demo, with photographs of scikit-image as backgrounds (free to share).

python docs/pictures.py demo docs/images
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from safetensors.numpy import load_file

from calibration.sheet.pdf_reader import rasterise
from captures import SessionPlan, VirtualRig, run_session
from captures.inference.analyser import Analysis
from physpatch import Patch, load_victim

PHOTOGRAPHS = ("coffee", "chelsea")


def main(demo: Path, out: Path) -> None:
    """Write sheet.png, evolution.png and session.jpg."""
    out.mkdir(parents=True, exist_ok=True)
    sheet = rasterise(demo / "sheet.pdf", 72)
    save(out / "sheet.png", sheet)
    history = load_file(demo / "run/checkpoint/state.safetensors")["history"]
    save(out / "evolution.png", filmstrip(history, count=7, cell_px=9))
    with tempfile.TemporaryDirectory() as work:
        save(out / "session.jpg", session_frames(demo, Path(work)))


def filmstrip(history: NDArray[np.uint8], count: int, cell_px: int) -> NDArray[np.uint8]:
    """A few snapshots side by side, first to last, as one (H, W, 3) picture."""
    chosen = np.unique(np.linspace(0, len(history) - 1, count).round().astype(int))
    gap = np.full((history[0].shape[0] * cell_px, cell_px, 3), 255, dtype=np.uint8)
    parts = [part for i in chosen for part in (history[i].repeat(cell_px, 0).repeat(cell_px, 1), gap)]
    return np.concatenate(parts[:-1], axis=1)


def session_frames(demo: Path, work: Path) -> NDArray[np.uint8]:
    """Annotated frames of the virtual rig: the grey control and the patch at the same pose, before two photographs."""
    backgrounds: list[tuple[Path, str | None]] = []
    for name in PHOTOGRAPHS:
        save(work / f"{name}.png", getattr(skimage.data, name)())
        backgrounds.append((work / f"{name}.png", None))
    victim, patch = load_victim("efficientnet_lite0"), Patch.load(demo / "run")
    rig = VirtualRig(demo / "sheet.pdf", backgrounds, clips=2, frames_per_clip=1, seed=2)
    plan = SessionPlan(victim, layouts=rig.layouts, intrinsics=rig.intrinsics, target=patch.target)
    shown: dict[tuple[int | None, str], NDArray[np.uint8]] = {}

    def keep(analysis: Analysis, picture: NDArray[np.uint8]) -> bool:
        shown[analysis.frame.clip, analysis.rows[0].condition] = cv2.resize(picture, None, fx=0.75, fy=0.75)
        return True

    run_session(rig, plan, work / "session", on_frame=keep)
    return np.vstack([np.hstack([shown[clip, kind] for kind in ("grey", "patch")]) for clip in (0, 1)])


def save(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture."""
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
