"""Derive training ranges and backgrounds from a session, which closes the loop."""

import hashlib
import math
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.sheet_pose import SheetPose
from calibration.common.errors import InputError
from calibration.common.files import write_picture
from calibration.common.text import number_of
from captures.gap.session_colours import session_lights
from captures.inference.region import CropRegion
from captures.results.recorded_session import RecordedSession
from captures.storage import FrameRow
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.rig_ranges import eot_for_rig
from physpatch.transforms import Range, parameters
from physpatch.victims.protocol import Victim

# What can be learned from a session, and the fields of `EotConfig` that the first two parts set.
PARTS = ("ranges", "colours", "area", "scenes")
_FIELDS = {
    "ranges": ("rotation_deg", "tilt_deg", "scale", "blur_px", "noise"),
    "colours": ("prints", "gain", "temperature", "tint", "gamma", "saturation"),
}
_TAILS = (0.02, 0.98)
_MARGIN_DEG, _MARGIN_SCALE = 3.0, 1.05  # a short session does not show the full range
_LEAST_ROWS = 5
_BACKGROUNDS = "backgrounds"  # folder of a session
_MOST_BACKGROUNDS = 200
_REPAIR_SIDE = 320  # pixels: inpainting is slow, and more detail is not needed
_REPAIR_RADIUS = 4


@dataclass(frozen=True)
class Learned:
    """Training settings learned from a session.

    Attributes:
        eot: the session's ranges of pose, colours, light, blur and noise; all other ranges are those of the base.
        area: median share of the network's input that the patch covered; always measured.
        backgrounds: folder of scenes with the sheets removed, with ``labels.csv`` if the classes are known; None if no
            original frame was kept, and for the virtual rig, whose scenes are held-out photographs.
        colours: source of the colours.
        frames: number of poses used.
    """

    eot: EotConfig
    area: float
    backgrounds: Path | None
    colours: str
    frames: int


def learn_from(
    session: RecordedSession,
    victim: Victim,
    base: EotConfig,
    *,
    parts: Collection[str] = PARTS,
    say: Callable[[str], None] = lambda line: None,
) -> Learned:
    """Learn ranges of pose, colours and scenes from a session.

    Args:
        session: with recognised sheets.
        victim: the classifier to train against; its rows are used if the session has any.
        base: ranges for everything that the session does not determine, usually a preset.
        parts: which of :data:`PARTS` to learn: ``ranges`` of pose, blur and noise; ``colours`` of print, light and white
            balance; ``area``, which the caller applies; ``scenes`` as backgrounds.
        say: receives messages about what could not be learned.

    Raises:
        InputError: if a sheet was recognised in too few frames.
    """
    models = list(dict.fromkeys(row.model for row in session.rows))
    model = victim.name if victim.name in models else models[0] if models else ""
    rows = [row for row in session.rows if row.model == model and row.patch_px]
    if len(rows) < _LEAST_ROWS:
        raise InputError(
            f"{session.folder} has only {number_of(len(rows), 'frame')} with a recognised sheet; at least "
            f"{_LEAST_ROWS} are needed"
        )
    shares = [_share(session, row) for row in rows]
    area = min(0.9, max(0.001, median(shares)))
    turns = [angle for row in rows for angle in (row.yaw_deg, row.pitch_deg) if angle is not None]
    measured = base.changed(
        rotation_deg=_range_of("rotation_deg", [row.roll_deg or 0.0 for row in rows], _MARGIN_DEG),
        tilt_deg=_range_of("tilt_deg", turns or [0.0], _MARGIN_DEG),
        scale=_grown("scale", [math.sqrt(share / area) for share in shares]),
    )
    profile, colours = session_lights(session, model)
    if profile.lights:
        # Blur and noise are in camera pixels, so they depend on the size of the region that the network sees.
        sides = [row.region_px[2:] for row in rows if row.region_px] or [profile.lights[0].frame_wh]
        region_wh = (round(median(w for w, _ in sides)), round(median(h for _, h in sides)))
        lights = tuple(replace(light, frame_wh=region_wh) for light in profile.lights)
        measured = eot_for_rig(measured, replace(profile, lights=lights), victim.preprocessing.size)
    else:
        say(f"colours, light and blur could not be measured ({colours}) and are unchanged")
    learned = {name: getattr(measured, name) for part in parts for name in _FIELDS.get(part, ())}
    backgrounds = _scenes_to_learn(session, model, victim, say) if "scenes" in parts else None
    return Learned(base.changed(**learned), area, backgrounds, colours, len(rows))


def _scenes_to_learn(session: RecordedSession, model: str, victim: Victim, say: Callable[[str], None]) -> Path | None:
    if session.record.virtual:
        say("the scenes of the virtual rig are held-out photographs, so they are not used for training")
        return None
    backgrounds = save_backgrounds(session, model, victim)
    if backgrounds is None:
        say("no original frames were kept, so no scenes are used; record with --keep key or --keep all")
    return backgrounds


def save_backgrounds(session: RecordedSession, model: str, victim: Victim) -> Path | None:
    """Save the scenes of a session, as the network saw them but with sheets removed, below its ``backgrounds``.

    The folder is named by its content, so that a run that was trained on other scenes of the session keeps its own.

    Returns:
        The folder; None if there are no scenes.
    """
    making = session.folder / _BACKGROUNDS / ".new"
    shutil.rmtree(making, ignore_errors=True)  # of a run that was interrupted
    labelled: list[tuple[str, int]] = []
    content, number = hashlib.sha256(), 0
    for row, picture in _scenes(session, model):
        name, number = f"{row.frame:06d}.png", number + 1
        making.mkdir(parents=True, exist_ok=True)
        write_picture(making / name, picture)
        content.update(name.encode() + picture.tobytes())
        if row.label in victim.categories:
            labelled.append((name, victim.category_index(row.label)))
    if not number:
        return None
    if len(labelled) == number:
        table = "file,class_index\n" + "".join(f"{name},{index}\n" for name, index in labelled)
        (making / "labels.csv").write_text(table)
        content.update(table.encode())
    folder = making.with_name(content.hexdigest()[:16])
    if folder.is_dir():
        shutil.rmtree(making)
    else:
        making.rename(folder)
    return folder


def _scenes(session: RecordedSession, model: str) -> Iterator[tuple[FrameRow, NDArray[np.uint8]]]:
    """Yield equally many frames from each clip, with the sheet removed."""
    clips: dict[int, list[FrameRow]] = {}
    for row in session.rows:
        if row.model == model and session.keeps(row):
            clips.setdefault(row.clip, []).append(row)
    per_clip = max(1, _MOST_BACKGROUNDS // max(1, len(clips)))
    for rows in clips.values():
        for row in rows[:: -(-len(rows) // per_clip)]:
            frame = session.seen(row)
            if frame is None:
                continue
            pose = session.pose(frame, row)
            if pose is None and row.distance_m is not None:
                continue  # the place of the sheet is unknown
            region = CropRegion(*row.region_px) if row.region_px else CropRegion(0, 0, frame.shape[1], frame.shape[0])
            yield row, _painted_out(frame, pose, region)


def _painted_out(frame: NDArray[np.uint8], pose: SheetPose | None, region: CropRegion) -> NDArray[np.uint8]:
    """Return the region with the sheet removed by coarse inpainting (Telea 2004)."""
    part = region.cut(frame)
    factor = min(1.0, _REPAIR_SIDE / min(part.shape[:2]))
    size = (round(part.shape[1] * factor), round(part.shape[0] * factor))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    if pose is None:
        return np.asarray(small, dtype=np.uint8)
    mask = region.mask(pose.to_pixels(pose.layout.cut.corners_mm), (size[1], size[0]))
    mask = cv2.dilate((mask * 255).astype(np.uint8), np.ones((2 * _REPAIR_RADIUS + 1,) * 2, np.uint8))
    return np.asarray(cv2.inpaint(small, mask, _REPAIR_RADIUS, cv2.INPAINT_TELEA), dtype=np.uint8)


def _share(session: RecordedSession, row: FrameRow) -> float:
    """Compute the share of the network's input that the patch would cover if it faced the camera.

    A classifier's input is its region; a detector's is the frame, filled up to a square.
    """
    if row.region_px:
        _, _, width, height = row.region_px
    elif session.frame_size is not None:
        width = height = max(session.frame_size)
    else:
        raise InputError(
            f"the size of the frames of {session.folder} is not recorded, so the patch's size in them is unknown; train with "
            "the ranges of a preset"
        )
    facing = math.cos(math.radians(row.yaw_deg or 0)) * math.cos(math.radians(row.pitch_deg or 0))
    return (row.patch_px or 0.0) / (width * height) / max(0.2, facing)


def _range_of(name: str, values: list[float], margin: float) -> Range:
    low, high = (float(at) for at in np.quantile(values, _TAILS))
    return parameters()[name].clipped(low - margin, high + margin)


def _grown(name: str, values: list[float]) -> Range:
    low, high = (float(at) for at in np.quantile(values, _TAILS))
    return parameters()[name].clipped(low / _MARGIN_SCALE, high * _MARGIN_SCALE)
