"""The JSON files that physpatch writes and reads back: typed, versioned, and refused in one line where they are broken.

A record is a pydantic model in the room that writes its file. What all of them promise:

* ``version`` counts a file's formats. A file of an older format, or of the time before there was a ``version``, is read by
  :meth:`Record.upgrade`; one of a newer format is refused.
* Keys that are not declared are kept, and written back: extensions and people may add their own.
* What was never set is not written, so that a file which is read and written again keeps its keys.

Importing this module loads pydantic, which takes a fifth of a second: what the command line imports at its start must not.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema

from calibration.common.errors import InputError
from calibration.common.files import read_json, write_json

_LONGEST_SHOWN = 40  # letters of a wrong value in a message


class RecordPart(BaseModel):
    """An object within a record."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, protected_namespaces=(), ser_json_inf_nan="constants"
    )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: what was set, and no defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def changed(self, **changes: Any) -> Self:
        """Give the same with some fields replaced; they are checked as those of a file are."""
        return self.model_validate(self.to_dict() | changes)


class Record(RecordPart):
    """A file, or a part of files with a version of its own.

    Attributes:
        what: the record in an error's words, such as "record of a run".
        cure: what to do about a broken one.
        current: the version that is written.
        version: of the format; it is set to ``current`` when an older record is read.
    """

    what: ClassVar[str]
    cure: ClassVar[str]
    current: ClassVar[int]

    version: int = 0

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Bring what an older ``version`` wrote into the present form; 0 is that of files without one.

        Values given to the constructor pass through here as version 0 too, and must come out as they were.
        """
        return value

    @model_validator(mode="before")
    @classmethod
    def _read_version(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        version = value.get("version", 0)
        if not isinstance(version, int):
            return value  # refused as any other wrong value
        if version > cls.current:
            raise InputError(
                f"this {cls.what} was written by a newer physpatch (version {version}; this one knows {cls.current}); "
                "update physpatch"
            )
        upgraded = cls.upgrade(value, version) if version < cls.current else value
        return {"version": cls.current} | upgraded | {"version": cls.current}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: missing, not JSON, of a newer version, or with a field that is missing or cannot be.
        """
        value = read_json(path)
        try:
            return cls.model_validate(value)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except ValidationError as error:
            raise InputError(f"{path} is not a whole {cls.what}: {_in_words(error)}; {cls.cure}") from error

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Tell the JSON schema the version that is written."""
        found = handler(schema)
        own = handler.resolve_ref_schema(found)
        own["properties"]["version"] = {"const": cls.current}
        own["required"] = ["version", *own.get("required", [])]
        return found


def _in_words(error: ValidationError) -> str:
    """The first of the errors, as field, what was expected and what came."""
    first, *others = error.errors(include_url=False)
    field = ".".join(map(str, first["loc"])) or "the file"
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "missing":
        return f"{field} is missing{more}"
    expected = first["msg"].removeprefix("Input should be ").partition(", unable")[0]
    if first["type"] in ("model_type", "dict_type", "dataclass_type"):
        expected = "an object"
    shown = repr(first["input"])
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}…"
    return f"{field} should be {expected}, got {shown}{more}"
