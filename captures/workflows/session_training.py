"""Derive training settings from a session."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from captures.gap.session_eot import learn_from
from captures.results.recorded_session import RecordedSession
from physpatch.attack.placement import Placement
from physpatch.records.config import ObjectiveConfig, TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.run_config import load_run_config
from physpatch.transforms import Range
from physpatch.victims.registry import load_victim


def config_from_session(
    folder: Path, given: Mapping[str, Any], preset: str | None, say: Callable[[str], None]
) -> TrainConfig:
    """Combine the settings of a session's run with those given and with what is learned from the session.

    Args:
        folder: of the session.
        given: fields that the user set.
        preset: the ranges to start from; None starts from those of the run.
        say: receives messages about what was learned.

    Raises:
        InputError: if there is no session, or a sheet was recognised in too few frames.
    """
    session = RecordedSession.open(folder)
    before = load_run_config(session.run) or TrainConfig.of(target=session.target or ObjectiveConfig.target)
    config = before.changed(**given)
    victim = load_victim(
        config.victim.model,
        **config.victim.model_options,
        device=config.victim.device,
        trust=config.victim.trust_weights,
        say=say,
    )
    learned = learn_from(session, victim, EotConfig.preset(preset) if preset else config.eot, say=say)
    say(
        f"from {learned.frames} frames of {folder}: tilt {_in_words(learned.eot.tilt_deg)}, rotation "
        f"{_in_words(learned.eot.rotation_deg)} degrees, patch area {100 * learned.area:.1f} % of the picture; "
        f"colours measured on {learned.colours}"
    )
    scenes = str(learned.backgrounds.resolve()) if learned.backgrounds else None
    sized = with_patch_area(config, given, learned.area)
    if "cut" not in given and session.layouts:
        sized = sized.changed(cut=session.layouts[0].cut_shape)
    return sized.changed(eot=learned.eot, backgrounds=scenes, profile=None)


def with_patch_area(config: TrainConfig, given: Collection[str], patch_area: float) -> TrainConfig:
    """Set the patch's share of the image, or the sign's on a drawn sign, unless the user set a size."""
    if config.object.drawn_sign is None:
        return config if "area" in given else config.changed(area=patch_area)
    if "sign_area" in given:
        return config
    sign_per_patch = config.object.sign_area / Placement.of(config).area
    return config.changed(sign_area=min(0.9, max(0.001, patch_area * sign_per_patch)))


def _in_words(ends: Range) -> str:
    return f"{ends[0]:.0f} to {ends[1]:.0f}"
