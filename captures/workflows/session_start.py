"""Prepare a session from the user's request: models, sheet, patch and frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.camera.intrinsics import Intrinsics
from calibration.common.errors import InputError
from calibration.common.files import require_writable
from captures.inference.region import RegionRule
from captures.protocol.plan import Protocol
from captures.session.live_session import SessionConfig
from captures.session.recorder import KeepRule
from captures.session.resumption import Earlier
from captures.session.session_setup import (
    class_named,
    detector_goal,
    measured_lens,
    refuse_unprinted,
    session_layouts,
    session_models,
    session_notes,
    session_sheet,
)
from captures.sources.opening import Rig, Source
from captures.sources.rendered.scene_file import Scene
from captures.storage import SESSION_DATABASE, refused_folder
from captures.viewers.controls import check_condition
from captures.workflows.virtual_session import (
    Extent,
    discarded_on_failure,
    print_for_rig,
    rendered_rig,
    require_patch,
    require_renderable,
    rig_record,
    virtual_rig,
)
from physpatch.commands.workflows import PrintRun
from physpatch.defences import EVERY, defended, named_defences, require_defences
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.records.run_config import load_run_config
from physpatch.records.run_paths import sheet_of
from physpatch.training.run import held_out_files
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim


@dataclass(frozen=True)
class SessionRequest:
    """The user's settings for a session; None selects a default.

    Attributes:
        run: a run folder or a patch.json.
        classifier, weights, labels, cam_layer, detector, threshold, device, trust_weights, defences: the models.
        sheet: the printed PDF.
        region: the part of a frame that the classifier sees.
        protocol: TOML file of the plan, or the plan itself.
        label: the true class.
        condition, light, every, max_fps, max_frames: see :class:`SessionConfig`.
        hfov_deg, profile: the camera's field of view, or its rig profile.
        grad_cam: whether to compute Grad-CAM.
        keep: which original frames are kept; see :meth:`KeepRule.parse`.
        seed, clips, frames_per_clip: of the rig.
        scene: of the rendered rig, by name or file; None for the virtual rig.
        lens, print_scale: of an earlier session, for lack of a profile.
        resume: continue the session that is in its folder.
    """

    run: Path | None
    classifier: str | None
    weights: str | None
    labels: str | None
    cam_layer: str | None
    detector: str | None
    threshold: float | None
    device: str
    trust_weights: bool
    defences: tuple[str, ...]
    sheet: Path | None
    region: RegionRule
    protocol: Path | Protocol | None
    label: str | None
    condition: str | None
    light: str | None
    hfov_deg: float | None
    profile: Path | None
    grad_cam: bool
    every: int
    max_fps: float | None
    max_frames: int | None
    keep: str
    seed: int
    clips: int | None
    frames_per_clip: int | None
    scene: str | None = None
    lens: Intrinsics | None = None
    print_scale: tuple[float, float] | None = None
    resume: bool = False


def prepare_session(
    request: SessionRequest,
    session: Path,
    frames: Source | None,
    *,
    attended: bool,
    print_run: PrintRun,
    say: Callable[[str], None],
    **notes: Any,
) -> tuple[Source, SessionConfig]:
    """Load models, sheet and patch.

    Args:
        request: the user's settings.
        session: the future folder of the session.
        frames: an open source; None uses a rig.
        attended: whether the user can confirm steps of the plan, in a window or on a page.
        print_run: prints a sheet for the rig if there is none.
        say: receives messages about choices that were made.
        notes: additional content of ``session.json``.

    Returns:
        The source of frames, and the settings of the session.

    Raises:
        InputError: if a setting is invalid or a file is missing; what needs no model is checked before one is loaded.
    """
    if request.resume:
        Earlier.read(session)
    elif (session / SESSION_DATABASE).exists():
        raise refused_folder(session)
    require_writable(session)
    if request.condition is not None:
        check_condition(request.condition)
    scene = None if request.scene is None else Scene.read(request.scene)
    if scene is not None:
        require_renderable(scene)
    keep, protocol = KeepRule.parse(request.keep), _protocol(request.protocol, attended)
    config, patch = load_run_config(request.run), Patch.load(request.run) if request.run else None
    beside_run = sheet_of(request.run) if request.run else None
    sheet = session_sheet(beside_run, request.run, patch, request.sheet)
    layouts = session_layouts(sheet, request.profile, request.print_scale) if sheet else ()
    if frames is None and sheet is None:
        require_patch(patch)
    elif protocol is not None:
        refuse_unprinted(protocol, layouts)
    if frames is not None and sheet is None:
        say("there is no printed sheet, so none will be recognised: print one with `physpatch print`, or pass --sheet")
    lens = measured_lens(request.profile) or request.lens
    if request.hfov_deg is not None:
        Intrinsics.from_hfov(1, 1, request.hfov_deg)  # refuses one that is impossible
    require_defences(request.defences, EVERY)
    classifier, detector = session_models(
        config,
        classifier=request.classifier,
        weights=request.weights,
        labels=request.labels,
        detector=request.detector,
        threshold=request.threshold,
        cam_layer=request.cam_layer,
        device=request.device,
        trust=request.trust_weights,
        say=say,
    )
    label = None if request.label is None else class_named(request.label, classifier, detector)
    rig = None
    if frames is None:
        needs_photographs = scene is None or scene.background == "photograph"
        behind = _photographs(request, config, classifier, detector) if needs_photographs else ()
        with discarded_on_failure(session):
            if sheet is None:
                sheet = print_for_rig(patch, config, session, print_run, say)
            frames = rig = _rig(sheet, behind, request, scene)
        layouts = tuple(rig.layouts)  # it prints to scale, and its lens is its own, whatever a profile says
    settings = config or TrainConfig()
    session_config = SessionConfig(
        classifier=classifier,
        detector=detector,
        defended=[defended(classifier, name) for name in named_defences(request.defences, classifier)],
        layouts=layouts,
        intrinsics=rig.intrinsics if rig else lens,
        hfov_deg=request.hfov_deg,
        target=patch.target if patch else None,
        goal=settings.objective.goal if config is None else detector_goal(config, patch),
        scope=settings.objective.scope,
        label=label,
        condition=request.condition,
        light=request.light,
        grad_cam=request.grad_cam,
        region=request.region,
        protocol=protocol,
        every=request.every,
        max_fps=request.max_fps,
        max_frames=request.max_frames,
        keep=keep,
        notes=session_notes(
            session,
            request.run,
            sheet,
            virtual=rig is not None,
            rig=None if rig is None else rig_record(rig),
            scene=request.scene or "",
            scene_settings={} if scene is None else scene.to_dict(),
            **notes,
        ),
    )
    return frames, session_config


def _protocol(plan: Path | Protocol | None, attended: bool) -> Protocol | None:
    protocol = Protocol.load(plan) if isinstance(plan, Path) else plan
    if protocol and len(protocol.lights) > 1 and not attended:
        raise InputError(
            "the plan changes the light, which you cannot confirm without a window or a page; omit --headless"
        )
    return protocol


def _photographs(
    request: SessionRequest, config: TrainConfig | None, classifier: Victim, detector: Detector | None
) -> Sequence[tuple[Path, str | None]]:
    """Return the photographs that the run held out for its own model, each with its class or None."""
    on_detector = detector is not None and config is not None and Path(config.victim.model).stem == detector.name
    own = detector if on_detector and detector is not None else classifier
    files = held_out_files(request.run, config or TrainConfig(), own)
    if not files:
        raise InputError(
            "a rig shows sheets in front of the labelled photographs that the run held out, and it held out none; pass a run "
            "that was trained with --data samples, or on more photographs whose classes are known"
        )
    return files


def _rig(sheet: Path, behind: Sequence[tuple[Path, str | None]], request: SessionRequest, scene: Scene | None) -> Rig:
    extent = Extent()
    if request.clips is not None:
        extent["clips"] = request.clips
    if request.frames_per_clip is not None:
        extent["frames_per_clip"] = request.frames_per_clip
    if scene is not None:
        return rendered_rig(sheet, behind, request.seed, scene, **extent)
    return virtual_rig(sheet, behind, request.seed, **extent)
