"""Typed, versioned records of the JSON files that physpatch writes and reads; invalid files give one-line errors.

A record is a pydantic model in the package that writes its file. All records have these properties:

* ``version`` is the version of the file's format. Files of older versions, and files without ``version``, are converted by
  :meth:`Record.upgrade`; files of newer versions are refused.
* Undeclared keys are kept and written back, so extensions and users can add their own.
* Fields that were never set are not written, so a file that is read and written again keeps its keys.

Importing this module loads pydantic, which takes a fifth of a second, so the command line must not import it at its start.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema

from calibration.common.errors import InputError, NewerVersionError
from calibration.common.files import read_json, write_json
from calibration.common.text import shortened

_LONGEST_SHOWN = 40  # characters of an invalid value in a message


class RecordPart(BaseModel):
    """An object within a record."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, protected_namespaces=(), ser_json_inf_nan="constants"
    )

    def to_dict(self) -> dict[str, Any]:
        """Convert the fields that were set to JSON values, without defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def changed(self, **changes: Any) -> Self:
        """Replace some fields; the new values are validated like those of a file.

        Raises:
            ValidationError: an invalid value.
        """
        return self.model_validate(self.to_dict() | changes)


class Record(RecordPart):
    """A file, or a part of a file with its own version.

    Attributes:
        what: name of the record in error messages, such as "record of a run".
        cure: what to do about an invalid record, for error messages.
        current: the version that is written.
        version: of the format; ``current`` also after an older record is read.
    """

    what: ClassVar[str]
    cure: ClassVar[str]
    current: ClassVar[int]

    version: int = 0

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Convert the values of an older ``version`` to the current one; 0 is the version of files without one.

        Values given to the constructor also pass through here, as version 0, and must stay as they are.
        """
        return value

    @model_validator(mode="before")
    @classmethod
    def _read_version(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        version = value.get("version", 0)
        if not isinstance(version, int):
            return value  # refused like any other invalid value
        if version > cls.current:
            raise NewerVersionError(
                f"this {cls.what} was written by a newer physpatch (version {version}; this one reads up to {cls.current}); "
                "update physpatch"
            )
        upgraded = cls.upgrade(value, version) if version < cls.current else value
        return {"version": cls.current} | upgraded | {"version": cls.current}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: no such file, invalid JSON, a newer version, or a missing or invalid field.
        """
        return cls.validated(read_json(path, cls.cure), path)

    @classmethod
    def salvaged(cls, path: Path) -> tuple[Self, str]:
        """Read what is valid in the file of a record that has no required fields.

        Returns:
            The record, without the fields that are not valid, and the error in words; "" for a whole file.

        Raises:
            NewerVersionError: a newer version.
        """
        try:
            return cls.load(path), ""
        except NewerVersionError:
            raise
        except InputError as error:
            words = str(error)
        try:
            value = read_json(path)
        except InputError:
            return cls(), words
        if not isinstance(value, dict):
            return cls(), words
        version = {"version": value["version"]} if isinstance(value.get("version"), int) else {}
        return cls.model_validate({k: v for k, v in value.items() if cls._accepts({k: v} | version)}), words

    @classmethod
    def _accepts(cls, value: dict[str, Any]) -> bool:
        try:
            cls.model_validate(value)
        except (InputError, ValidationError):
            return False
        return True

    @classmethod
    def validated(cls, value: Any, path: Path) -> Self:
        """Build the record from what was read from ``path``.

        Raises:
            InputError: a newer version, or a missing or invalid field.
        """
        try:
            return cls.model_validate(value)
        except InputError as error:
            raise type(error)(f"{path}: {error}") from error
        except ValidationError as error:
            raise InputError(f"{path} is not a valid {cls.what}: {_in_words(error)}; {cls.cure}") from error

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the version that is written to the JSON schema."""
        json_schema = handler(schema)
        resolved = handler.resolve_ref_schema(json_schema)
        resolved["properties"]["version"] = {"const": cls.current}
        resolved["required"] = ["version", *resolved.get("required", [])]
        return json_schema


def _in_words(error: ValidationError) -> str:
    """Describe the first error: the field, the expected value and the actual one."""
    first, *other_errors = error.errors(include_url=False)
    field = ".".join(map(str, first["loc"])) or "the file"
    more = f" (and {len(other_errors)} more)" if other_errors else ""
    if first["type"] == "missing":
        return f"{field} is missing{more}"
    if first["type"] == "extra_forbidden":
        return f"{field} is not known{more}"
    if first["type"] == "value_error":  # of a validator of physpatch, whose words are whole
        return f"{field}: {first['msg'].removeprefix('Value error, ')}{more}"
    expected = first["msg"].removeprefix("Input should be ").partition(", unable")[0]
    if first["type"] in ("model_type", "dict_type", "dataclass_type"):
        expected = "an object"
    return f"{field} should be {expected}, got {shortened(repr(first['input']), _LONGEST_SHOWN)}{more}"
