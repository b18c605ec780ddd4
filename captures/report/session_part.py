"""The chapters of a session's report: the result in words, and all registered sections."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from calibration.common.success import MEASURES
from captures.gap.decomposition import Gap
from captures.report.blocks import Block, Bullets, Heading, Text
from captures.report.sections import SECTIONS, Material
from captures.report.wording import UNITS, measures_of, rate_words
from captures.results.aggregation import Tally
from captures.results.recorded_session import RecordedSession


def damage_blocks(damaged: Sequence[str]) -> list[Block]:
    """Name the files of a session that are not whole, if any."""
    if not damaged:
        return []
    return [Heading("Not whole"), Text("These files are damaged; the report uses what is left."), Bullets(damaged)]


def session_blocks(
    session: RecordedSession, gaps: Sequence[Gap], troubles: Sequence[str], path: Path
) -> Iterator[Block]:
    """Yield the blocks of all sections.

    Args:
        session: to report on.
        gaps: results of the replay.
        troubles: reasons why models were not replayed.
        path: of the report.
    """
    sentences = [*_plain_words(session.tally, session.target), *(f"{gap.model}: {gap.sentence}" for gap in gaps)]
    if sentences:
        yield Heading("In words")
        yield Bullets(sentences)
    material = Material(session, gaps, troubles, path)
    for section in sorted((section() for section in SECTIONS.values()), key=lambda section: section.rank):
        blocks = section.blocks(material)
        first = next(blocks, None)
        if first is not None:
            yield Heading(section.heading, section.level)
            yield from chain([first], blocks)


def _plain_words(tally: Tally, target: str | None) -> Iterator[str]:
    """Yield one sentence per model and measure: the effect of the patch, compared with the controls."""
    units = UNITS[tally.independent_kind]
    for model in tally.models:
        summaries = {s.condition: s for s in tally.summaries() if s.model == model}
        for measure in measures_of(tally, model):
            if (
                "patch" not in summaries
                or summaries["patch"].rate(measure).rate is None
                or (measure == "target" and not target)
            ):
                continue
            rates = {
                condition: s.rate(measure) for condition, s in summaries.items() if s.rate(measure).rate is not None
            }
            controls = ", ".join(
                f"{rate_words(r)} with the {c} control" for c, r in rates.items() if c not in ("patch", "none")
            )
            within = "poses" if tally.unit_kind == "pose cell" else "frames"  # of a single clip
            of_what = units if rates["patch"].ci95 is not None else within
            sentence = f"{model}: with the patch, {MEASURES[measure]} in {rate_words(rates['patch'])} of the {of_what}"
            yield sentence + (
                f"; {controls}." if controls else "; no control was shown, so occlusion alone may be the cause."
            )
