"""What a session needs, found beside the run, loaded and checked."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.rig_profile import RigProfile
from calibration.common.errors import InputError
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import carried_layouts, measured_scale, printed_layouts
from captures.protocol.plan import Protocol
from physpatch.attack.objectives import choose_goal
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim, normal_name
from physpatch.victims.registry import load_detector, load_victim


def session_models(
    config: TrainConfig | None,
    *,
    classifier: str | None,
    weights: str | None,
    detector: str | None,
    device: str,
    trust: bool,
    say: Callable[[str], None],
) -> tuple[Victim, Detector | None]:
    """The models that were named, else the run's own in its role, else an automatic classifier.

    Raises:
        InputError: a detector given as the classifier, or one of them cannot be loaded.
    """
    boxes = load_detector(detector, device=device, trust=trust) if detector else None
    if classifier is None and weights is None and config is not None:
        own = load_victim(config.victim.model, weights=config.victim.weights, device=device, trust=trust, say=say)
        if not isinstance(own, Detector):
            return own, boxes
        boxes = boxes or own
    victim = load_victim(classifier or "auto", weights=weights, device=device, trust=trust, say=say)
    if victim.task == "detect":
        raise InputError(f"{victim.name} is a detector; give it as --detector, and a classifier as --classifier")
    return victim, boxes


def session_sheet(beside_run: Path | None, folder: Path | None, patch: Patch | None, given: Path | None) -> Path | None:
    """The PDF that was named, else the run's, where it is there.

    Raises:
        InputError: it shows another patch than the run's.
    """
    sheet = given or (beside_run if beside_run and beside_run.is_file() else None)
    if sheet and patch and carried_layouts(sheet)[0].patch_id != patch.id:
        raise InputError(f"{sheet} shows another patch than {folder}; print it anew with `physpatch print {folder}`")
    return sheet


def session_layouts(sheet: Path, profile: Path | None) -> tuple[SheetLayout, ...]:
    """In true millimetres: by the rulers of this very print, else by those that the rig's printer was measured with."""
    layouts = printed_layouts(sheet)
    scale = RigProfile.load(profile).print_scale if profile and measured_scale(sheet) is None else None
    return tuple(layout.printed(scale) for layout in layouts) if scale else layouts


def measured_lens(profile: Path | None) -> Intrinsics | None:
    """The camera's of a rig profile; None without a profile.

    Raises:
        InputError: the profile holds none.
    """
    if profile is None:
        return None
    lens = RigProfile.load(profile).intrinsics
    if lens is None:
        raise InputError(f"{profile} holds no lens yet; add it with `physpatch calibrate camera --profile {profile}`")
    return lens


def session_notes(session: Path, folder: Path | None, sheet: Path | None, **more: Any) -> dict[str, Any]:
    """Where run and sheet are, seen from the session, so that both can be moved together; and what else is to be noted."""
    paths = {"run": folder, "sheet": sheet}
    return more | {k: os.path.relpath(p.resolve(), session.resolve()) for k, p in paths.items() if p is not None}


def detector_goal(config: TrainConfig, patch: Patch | None) -> str:
    """Say what a run wants of a detector, with ``auto`` answered."""
    target = None if patch is None or patch.target is None else int(patch.target["index"])
    return choose_goal(config.objective.goal, target, config.object.name is not None)


def class_named(text: str, classifier: Victim, detector: Detector | None) -> str:
    """Find a class by the name that the models have for it: the detector's, or else the classifier's.

    Raises:
        InputError: none of them knows it.
    """
    wanted = normal_name(text)
    if detector is not None:
        for category in detector.categories:
            if normal_name(category) == wanted:
                return category
    return classifier.categories[classifier.category_index(text)]


def refuse_unprinted(protocol: Protocol, layouts: Sequence[SheetLayout]) -> None:
    """Refuse a plan whose sheets are not printed: it could never be finished.

    Raises:
        InputError: names the sheets.
    """
    printed = {layout.kind for layout in layouts if layout.markers}
    missing = [condition for condition in protocol.conditions if condition not in printed]
    if missing:
        raise InputError(
            f"the plan asks for {', '.join(missing)}, which the sheet does not hold with markers; "
            "print it with `physpatch print --controls`"
        )
