"""Take the settings of a session from its record: to continue it, or to analyse its frames again."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError
from captures.inference.region import RegionRule
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SessionRecord
from captures.session.live_session import SessionConfig
from captures.session.recorded_frames import RecordedFrames
from captures.workflows.session_start import SessionRequest
from physpatch.records.run_config import load_run_config

_NOTED = (  # what the frames have from the session that was filmed
    "begun",
    "light",
    "label",
    "every",
    "max_fps",
    "keep",
    "hfov_deg",
    "plan",
    "steps_done",
    "steps_skipped",
    "source",
    "camera",
    "virtual",
    "scene",
    "scene_settings",
    "continued",
)


_OPTIONS = ("weights", "labels", "cam_layer")  # of the classifier


def recorded_settings(session: Path, record: SessionRecord) -> dict[str, Any]:
    """Return the fields of a :class:`SessionRequest` with which a session was filmed, as far as its record has them.

    Raises:
        InputError: if its run or its sheet no longer exists.
    """
    run = _existing(session, record.run, "run")
    config = load_run_config(run)
    own = None if config is None else config.victim.model
    models = {model.task: model for model in reversed(record.models) if not model.defence}
    named = {task: model.loaded_as or model.name for task, model in models.items()}
    classifier = None if named.get("classify") == own else named.get("classify")
    options = models["classify"].loaded_with if "classify" in models else {}
    if classifier is None:  # the run has its own weights
        options = {name: value for name, value in options.items() if name != "weights"}
    return {
        "run": run,
        "classifier": classifier,
        **{name: options.get(name) for name in _OPTIONS},
        "detector": named.get("detect"),
        "threshold": models["detect"].threshold if "detect" in models else None,
        "defences": tuple(model.defence for model in record.models if model.defence),
        "sheet": _existing(session, record.sheet, "printed sheet"),
        "region": RegionRule.parse(record.region or "center"),
        "protocol": record.protocol,
        "label": record.label,
        "light": record.light,
        "hfov_deg": record.hfov_deg,
        "lens": record.intrinsics,
        "print_scale": next((sheet.scale for sheet in record.sheets), None),
        "every": record.every,
        "max_fps": record.max_fps,
        "keep": str(record.keep),
    }


def _without_options_of_another(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Leave out the recorded options of a model where another one is given."""
    options = (*(_OPTIONS if "classifier" in changes else ()), *(("threshold",) if "detector" in changes else ()))
    return settings | dict.fromkeys(options)


def resumed_request(
    session: Path, record: SessionRecord, given: dict[str, Any], asked: dict[str, Any]
) -> SessionRequest:
    """Return the settings with which a session goes on.

    Args:
        session: its folder.
        record: of the session.
        given: settings that the user gave, which have to be those of the record; the session checks them.
        asked: all settings, with defaults.

    Raises:
        InputError: if the session's run or sheet no longer exists.
    """
    settings = _without_options_of_another(recorded_settings(session, record), given)
    if "profile" in given:
        settings.pop("lens")
    return SessionRequest(**{**asked, **settings, **given}, resume=True)


def reanalysis_request(session: RecordedSession, given: dict[str, Any]) -> SessionRequest:
    """Return the settings with which the frames of a session are analysed again: recorded ones, except for those ``given``.

    Raises:
        InputError: if the session's run or sheet no longer exists.
    """
    unset: dict[str, Any] = dict.fromkeys(field.name for field in fields(SessionRequest))
    settings = _without_options_of_another(recorded_settings(session.folder, session.record), given)
    for_frames = {"protocol": None, "label": None, "light": None, "every": 1, "max_fps": None, "keep": "all"}
    defaults = {"device": "auto", "trust_weights": False, "grad_cam": True, "seed": 0, "resume": False}
    if "profile" in given:
        settings.pop("lens")
    return SessionRequest(**{**unset, **defaults, **settings, **for_frames, **given})


def reanalysis_config(
    config: SessionConfig, session: RecordedSession, frames: RecordedFrames, out: Path, given: dict[str, Any]
) -> SessionConfig:
    """Return the settings of the new session in ``out``, with what its frames have from the one that was filmed.

    Raises:
        InputError: if a model that was not given is no longer the one that analysed the session.
    """
    before = session.record.to_dict()
    if not given.keys() & {"classifier", "weights", "labels", "detector", "trust_weights"}:
        _require_same_weights(config, session)
    anew = {*given, "hfov_deg"} if "profile" in given else given
    of_frames = {name: before[name] for name in _NOTED if name in before and name not in anew}
    origin = frames.reanalysis(os.path.relpath(session.folder.resolve(), out.resolve()))
    return replace(config, notes=(config.notes or {}) | of_frames | {"reanalysis": origin.to_dict()})


def _require_same_weights(config: SessionConfig, session: RecordedSession) -> None:
    recorded = {model.name: model.sha256 for model in session.record.models}
    for model in filter(None, (config.classifier, config.detector)):
        was = recorded.get(model.name)
        if was and was != model.weights.sha256:
            raise InputError(
                f"the weights of {model.name} are not those that analysed {session.folder}; name the model with --classifier "
                "or --detector to use them nevertheless"
            )


def _existing(session: Path, noted: str | None, noun: str) -> Path | None:
    path = Path(os.path.normpath(session / noted)) if noted else None
    if path is not None and not path.exists():
        raise InputError(
            f"the {noun} of {session} is not at {path}; put it there, or move the session back: its {noun} is found from where "
            "it lies, and `physpatch runs export` takes both along"
        )
    return path
