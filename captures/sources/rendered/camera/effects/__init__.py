"""What phones do beyond a plain camera: one effect per module here, or behind an entry point ``captures.camera_effects``.

Each can be switched on alone, in a scene's table ``camera.effects`` or from Python, with settings of its own.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from calibration.common.registry import Registry
from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Effect, ShutterEffect, Stage, Step

EFFECTS = Registry("camera effect", Effect, __name__, "captures.camera_effects")

__all__ = ["EFFECTS", "Clip", "DevelopEffect", "Effect", "ShutterEffect", "Stage", "Step", "camera_effects"]


def camera_effects(settings: Any) -> dict[str, Effect]:
    """Build effects from settings by their names, ``{"h264": {"mbit_s": 8}, "mosaic": {}}``; missing ones are phone-like.

    Raises:
        InputError: no effect of that name.
        ValidationError: an invalid setting.
    """
    for name in settings if isinstance(settings, Mapping) else ():
        EFFECTS.find(name)
    built = _table().model_validate(settings)
    return {name: getattr(built, name) for name in settings}


@cache
def _table() -> type[BaseModel]:
    """Build a model with a field for each effect, so that an error names the effect and its setting."""
    fields: dict[str, Any] = {name: (kind | None, None) for name, kind in EFFECTS.items()}
    return create_model("Effects", __config__=ConfigDict(protected_namespaces=()), **fields)
