"""Write the JSON schemas of the files that physpatch writes, as its records declare them.

python docs/make_schemas.py docs/schema
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from calibration.common.files import write_json
from captures.results.aggregation import ConditionSummary
from captures.results.result_record import ResultRecord
from captures.results.session_record import SessionRecord
from physpatch.benchmark.bench_row import BenchRow
from physpatch.records.check_record import CheckRecord
from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.records.run_record import RunRecord

SCHEMAS = {
    "run": RunRecord,
    "session": SessionRecord,
    "bench-row": BenchRow,
    "evaluation": EvaluationRecord,
    "condition-summary": ConditionSummary,
    "result": ResultRecord,
    "check": CheckRecord,
}
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {6,}.+)*)", re.MULTILINE)


class Plain(GenerateJsonSchema):
    """Generates schemas without titles, which only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def main(out: Path) -> None:
    """Write all schemas into the folder ``out``."""
    for name, record in SCHEMAS.items():
        schema = TypeAdapter(record).json_schema(schema_generator=Plain)
        if "$ref" in schema:  # a record that contains others of its type
            schema = schema["$defs"][record.__name__] | {"$defs": schema["$defs"]}
        for described in (schema, *schema.get("$defs", {}).values()):
            describe_fields(described)
        write_json(out / f"{name}.schema.json", {"$schema": Plain.schema_dialect} | schema)


def describe_fields(schema: dict[str, Any]) -> None:
    """Move the descriptions of attributes from the docstring to the fields."""
    summary, _, attributes = schema.get("description", "").partition("\n\nAttributes:\n")
    if summary:
        schema["description"] = plain_words(summary)
    for names, description in _entries(attributes):
        for name in names:
            field = schema["properties"].get(name)
            if field is not None:
                schema["properties"][name] = {"description": description} | field


def _entries(attributes: str) -> Iterator[tuple[list[str], str]]:
    for names, description in _ATTRIBUTE.findall(attributes):
        yield names.split(", "), plain_words(description)


def plain_words(docstring: str) -> str:
    """Remove Sphinx roles and line breaks from a docstring."""
    return " ".join(re.sub(r":\w+:`", "`", docstring).replace("``", "`").split())


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
