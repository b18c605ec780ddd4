"""What the columns of ``session.db`` may hold: SQLite itself lets any value into any column."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from calibration.common.text import shortened
from calibration.sheet.layout import SHEET_KINDS
from captures.sources.frame import NO_SHEET

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_NUMBER = re.compile(r"[0-9]{1,9}")
_LONGEST_SHOWN = 40  # characters of a wrong value in a message
_STEP, _DONE = "step", "done"  # kinds of events whose words begin with, and are, the number of a step


def trouble_in_rows(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> str:
    """Name the first value of the table ``frames`` that its column cannot hold, in words; "" where there is none."""
    return _trouble(_frames_check(tuple(names)), rows, names, "frame")


def trouble_in_events(events: Sequence[Sequence[Any]]) -> str:
    """Name the first value of the table ``events`` that its column cannot hold, in words; "" where there is none.

    The columns are ``time_s``, ``kind`` and ``words``, in this order.
    """
    names = ("time_s", "kind", "words")
    trouble = _trouble(_events_check(), events, names, "event")
    if trouble:
        return trouble
    for time_s, kind, words in events:
        number = {_STEP: words.partition(":")[0], _DONE: words}.get(kind)
        if number is not None and not _NUMBER.fullmatch(number):
            verb = "begin with" if kind == _STEP else "be"
            return f"event at {time_s:g} s: words should {verb} the number of a step, got {words[:_LONGEST_SHOWN]!r}"
    return ""


def _trouble(check: "TypeAdapter[Any]", rows: Sequence[Sequence[Any]], names: Sequence[str], noun: str) -> str:
    from pydantic import ValidationError

    try:
        check.validate_python(rows)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        row, column, *_ = (*first["loc"], 0)
        value = shortened(repr(rows[int(row)][int(column)]), _LONGEST_SHOWN)
        expected = "JSON" if first["type"].startswith("json") else first["msg"].removeprefix("Input should be ")
        return f"{noun} {rows[int(row)][0]!r:.20}, column {names[int(column)]}: expected {expected[:80]}, got {value}"
    return ""


@cache
def _frames_check(names: tuple[str, ...]) -> "TypeAdapter[Any]":
    """Build the check of rows, once; here and not above, because it would slow down the start of every command."""
    from pydantic import Field, Json

    json: Any = Json
    number = Annotated[float, Field(allow_inf_nan=False)]
    positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
    extent = Annotated[float, Field(allow_inf_nan=False, ge=0)]
    side = Annotated[int, Field(gt=0)]
    edges = tuple[number, number, number, number]
    corners = tuple[tuple[number, number], ...]
    kinds: dict[str, Any] = {
        "frame": int,
        "time_s": number,
        "condition": Literal[*SHEET_KINDS, NO_SHEET],
        "clip": int,
        "model": str,
        "top1": str,
        "top1_score": number,
        "target_score": number | None,
        "success": Literal[0, 1] | None,
        "distance_m": positive | None,
        "yaw_deg": number | None,
        "pitch_deg": number | None,
        "roll_deg": number | None,
        "patch_px": extent | None,
        "px_per_cell": extent | None,
        "label": str | None,
        "heat_in_patch": number | None,
        "boxes": json[list[tuple[str, number, number, number, number, number]]] | None,
        "top5": json[list[tuple[str, number]]] | None,
        "region": json[tuple[int, int, side, side]] | None,
        "patch_xy": json[Annotated[corners, Field(min_length=4, max_length=4)]] | None,
        "light": str | None,
        "step": int | None,
        "delay_s": number | None,
        "object_xyxy": json[edges] | None,
        "true_distance_m": positive | None,
        "camera": json[dict[str, number]] | None,
    }
    return _adapter(*(kinds[name] for name in names))


@cache
def _events_check() -> "TypeAdapter[Any]":
    from pydantic import Field

    return _adapter(Annotated[float, Field(allow_inf_nan=False)], str, str)


def _adapter(*kinds: Any) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter

    row, table = cast(Any, tuple), cast(Any, list)  # made of what is not known before it runs
    return TypeAdapter(table[row[kinds]], config=ConfigDict(strict=True))
