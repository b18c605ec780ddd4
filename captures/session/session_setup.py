"""Find, load and check what a session needs: models, sheet, lens and target."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.rig_profile import RigProfile
from calibration.common.errors import InputError
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import carried_layouts, measured_scale, printed_layouts
from captures.protocol.plan import Protocol
from physpatch.attack.objectives import choose_goal
from physpatch.records.config import TrainConfig, model_file
from physpatch.records.patch_file import Patch
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim, normal_name
from physpatch.victims.registry import load_detector, load_victim, named_apart


def session_models(
    config: TrainConfig | None,
    *,
    classifier: str | None,
    weights: str | None,
    labels: str | None,
    detector: str | None,
    threshold: float | None,
    cam_layer: str | None,
    device: str,
    trust: bool,
    say: Callable[[str], None],
) -> tuple[Victim, Detector | None]:
    """Load the models: those that were named, or else the run's own model, or else an automatic classifier.

    Args:
        config: of the run; None without a run.
        classifier, weights, labels: name, weights and class names of the classifier; None for the default.
        detector: name or file of the detector, which is loaded as in training if it is the run's own; None for the default.
        threshold: lowest confidence at which a box of the detector counts; None for its own.
        cam_layer: name of the classifier's layer for Grad-CAM; None for its own.
        device: ``auto``, ``cpu`` or ``cuda``.
        trust: whether to load files of weights that can run code.
        say: receives messages about the choice of a model.

    Returns:
        The classifier, and the detector or None.

    Raises:
        InputError: if the classifier is a detector, or a model cannot be loaded.
    """
    boxes = None
    if detector:
        detector_options = _told_in_training(config, detector) | ({} if threshold is None else {"threshold": threshold})
        boxes = load_detector(detector, **detector_options, device=device, trust=trust, say=say)
    if classifier is None and config is not None:
        load = partial(load_victim, config.victim.model, device=device, trust=trust)
        options = config.victim.model_options | ({} if labels is None else {"labels": labels})
        replaced = options | {"weights": weights}
        try:
            own = load(**options, say=say)
        except InputError:  # such as that its weights are gone, which the given ones replace
            if weights is None:
                raise
            own = load(**replaced, say=say)
        else:
            if weights is not None and not isinstance(own, Detector):
                own = load(**replaced, say=say)
        if not isinstance(own, Detector):
            return _apart(own if cam_layer is None else own.with_cam_layer(cam_layer), boxes)
        boxes = boxes or (own if threshold is None else replace(own, threshold=threshold))
    victim = load_victim(
        classifier or "auto", weights=weights, labels=labels, cam_layer=cam_layer, device=device, trust=trust, say=say
    )
    if victim.task == "detect":
        raise InputError(f"{victim.name} is a detector; pass it to --detector, and a classifier to --classifier")
    return _apart(victim, boxes)


def _told_in_training(config: TrainConfig | None, model: str) -> dict[str, Any]:
    """Return the options of a run's own model; none for another model."""
    if config is None or model_file(model) != model_file(config.victim.model):
        return {}
    return config.victim.model_options


def _apart(classifier: Victim, detector: Detector | None) -> tuple[Victim, Detector | None]:
    """Name the detector apart from the classifier, as rows are kept by the model's name."""
    return classifier, None if detector is None else named_apart(detector, [classifier.name])


def session_sheet(beside_run: Path | None, folder: Path | None, patch: Patch | None, given: Path | None) -> Path | None:
    """Choose the PDF: the one that was named, or else the run's, if it exists.

    Args:
        beside_run: the PDF of the run, which may not exist.
        folder: the run.
        patch: of the run; None without a run.
        given: the PDF that was named.

    Raises:
        InputError: if it shows another patch than the run's.
    """
    sheet = given or (beside_run if beside_run and beside_run.is_file() else None)
    if sheet and patch and carried_layouts(sheet)[0].patch_id != patch.id:
        raise InputError(f"{sheet} shows another patch than {folder}; print it again with `physpatch print {folder}`")
    return sheet


def session_layouts(
    sheet: Path, profile: Path | None, scale: tuple[float, float] | None = None
) -> tuple[SheetLayout, ...]:
    """Read a PDF's layouts in true millimetres, by the rulers of this print, or else by the print scale of the profile.

    ``scale`` is used where there is neither: that with which its session was filmed.
    """
    layouts = printed_layouts(sheet)
    if measured_scale(sheet) is not None:
        return layouts
    scale = RigProfile.load(profile).print_scale if profile else scale
    return tuple(layout.printed(scale) for layout in layouts) if scale else layouts


def measured_lens(profile: Path | None) -> Intrinsics | None:
    """Return the intrinsics of a rig profile; None without a profile.

    Raises:
        InputError: if the profile has none.
    """
    if profile is None:
        return None
    lens = RigProfile.load(profile).intrinsics
    if lens is None:
        raise InputError(f"{profile} has no lens yet; add it with `physpatch calibrate camera --profile {profile}`")
    return lens


def session_notes(session: Path, folder: Path | None, sheet: Path | None, **notes: Any) -> dict[str, Any]:
    """Return the notes for ``session.json``, with the paths of run and sheet relative to the session.

    Relative paths stay valid if all are moved together.
    """
    paths = {"run": folder, "sheet": sheet}
    return notes | {k: os.path.relpath(p.resolve(), session.resolve()) for k, p in paths.items() if p is not None}


def detector_goal(config: TrainConfig, patch: Patch | None) -> str:
    """Return the goal of a run for a detector, with ``auto`` resolved."""
    target = None if patch is None or patch.target is None else int(patch.target["index"])
    return choose_goal(config.objective.goal, target, config.object.name is not None)


def class_named(text: str, classifier: Victim, detector: Detector | None) -> str:
    """Find a class by its name in the detector, or else by name or index in the classifier.

    Raises:
        InputError: if neither has such a class.
    """
    name = normal_name(text)
    if detector is not None:
        for category in detector.categories:
            if normal_name(category) == name:
                return category
    return classifier.categories[classifier.category_index(text)]


def refuse_unprinted(protocol: Protocol, layouts: Sequence[SheetLayout]) -> None:
    """Check that all sheets of a plan are printed, because it could not be finished otherwise.

    Raises:
        InputError: if sheets are missing; the message names them.
    """
    printed = {layout.kind for layout in layouts if layout.markers}
    missing = [condition for condition in protocol.conditions if condition not in printed]
    if missing:
        raise InputError(
            f"the plan needs {', '.join(missing)}, which the PDF does not contain with markers; "
            "print with `physpatch print --controls`"
        )
