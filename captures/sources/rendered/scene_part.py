"""What the tables of a scene's file have in common: a key that is not known and a number that is not finite are refused."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from calibration.common.errors import unknown_name
from calibration.common.records import RecordPart

Millimetres = Annotated[float, Field(ge=1, le=1e5)]
Metres = Annotated[float, Field(ge=0.01, le=1000)]
Place = Annotated[float, Field(ge=-1000, le=1000)]  # along an axis, in metres


class ScenePart(RecordPart):
    """A table of a scene.

    Other records keep keys that they do not know, for those who add their own. Here such a key is a slip of the pen, after
    which something else would be rendered than what was written.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    raise ValueError(str(unknown_name("key", str(key), cls.model_fields)))
        return value
