"""The files behind the numbers."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from captures.report.blocks import Block, Details, Links
from captures.report.sections.base import Material, ReportSection


class RawData(ReportSection):
    """The files behind the numbers."""

    name: ClassVar[str] = "raw-data"
    summary: ClassVar[str] = "the files behind the numbers"
    heading: ClassVar[str] = "Raw data"
    rank: ClassVar[int] = 70
    level: ClassVar[int] = 2

    def blocks(self, material: Material) -> Iterator[Block]:
        folder = material.session.folder
        yield Links(_files(folder, material.path))
        record = json.dumps(material.session.record.to_dict(), indent=2, ensure_ascii=False)
        yield Details("The session's record", record)


def _files(folder: Path, report: Path) -> list[tuple[str, str]]:
    """List descriptions and relative paths of the files in the session's folder."""
    descriptions = {
        "frames.csv": "one row per frame and model",
        "frames.parquet": "the same for pandas and polars",
        "session.db": "the same as SQLite, with the events",
        "sequences.csv": "one row per clip, sheet, model and outcome",
        "session.json": "the session's record",
        "video.mp4": "the annotated video",
        **{file.name: "the annotated video of a later part" for file in sorted(folder.glob("video-*.mp4"))},
        "raw": "the original frames",
    }
    start = report.resolve().parent
    return [
        (words, Path(os.path.relpath(folder.resolve() / name, start)).as_posix())
        for name, words in descriptions.items()
        if (folder / name).exists()
    ]
