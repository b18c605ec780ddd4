"""Success along clips in which sheet or camera move."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from calibration.common.text import number_of
from captures.protocol.pauses import GAP_S
from captures.report.blocks import Block, Charts, Table, Text
from captures.report.figures.charts import way_chart
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of, rate_words
from captures.results.aggregation import CONTROL, MapCell, Tally
from captures.results.sequence_summary import SequenceSummary, success_by_distance, summaries_of
from captures.results.sequences import LEAST_FRAMES, ClipSequence, Origin
from physpatch.stats.intervals import Median, percent

_ORIGINS: dict[Origin, str] = {
    "measured": "measured by the markers",
    "planned": "planned by the rig, where the markers were not read",
    "interpolated": "interpolated in time",
    "unknown": "unknown",
}
_HEADINGS = (
    "model",
    "outcome",
    "sheet",
    "clips with success",
    "frames with success",
    "first success",
    "last success",
    "farthest success",
    "longest run",
    "longest run without",
)


class Along(ReportSection):
    """Where along a walk or a pan the patch works, and in any longer clip for how long without a break."""

    name: ClassVar[str] = "along"
    summary: ClassVar[str] = "success along clips in which sheet or camera move, and runs of frames"
    heading: ClassVar[str] = "Along the way"
    rank: ClassVar[int] = 35

    def blocks(self, material: Material) -> Iterator[Block]:
        session = material.session
        moving = [sequence for sequence in session.sequences if sequence.moves]
        long = [sequence for sequence in session.sequences if sequence.is_long]
        if moving:
            yield from _along(moving, session.tally)
        elif long:
            yield from _runs(long, session.tally)


def _along(sequences: Sequence[ClipSequence], tally: Tally) -> Iterator[Block]:
    unit = UNITS[tally.independent_kind]
    yield Text(
        f"In {number_of(len({sequence.clip for sequence in sequences}), 'clip')} the sheet came closer, went away or turned, "
        f"over {LEAST_FRAMES} consecutive frames or more. All their frames count here, also those that the model gets wrong "
        f"without the patch, so compare the patch with the {CONTROL} control."
    )
    for model in tally.models:
        for measure in measures_of(tally, model)[:2]:
            compared = [s for s in sequences if s.model == model and s.measure == measure and s.comes_closer]
            bins = {
                condition: success_by_distance([s for s in compared if s.condition == condition], tally)
                for condition in tally.conditions(model)
                if condition in ("patch", CONTROL)
            }
            bins = {condition: _comparable(cells) for condition, cells in bins.items() if cells}
            if bins:
                title = f"{model}: {SHORT[measure]}, by distance"
                yield Charts(
                    [way_chart(title, bins)],
                    f"Shares of the frames with 95 % intervals over {_counted_words(bins)} {unit} each; what a single "
                    f"clip shows is left out where there are several. {_origin_words(compared)}",
                )
    summaries = summaries_of(sequences, tally)
    yield Table.by_model(
        _HEADINGS,
        [_row(summary) for summary in summaries],
        frozenset(i for i, summary in enumerate(summaries) if summary.condition == "patch"),
    )
    yield Text(  # no caption, of which a phone would show the beginning alone beside so wide a table
        f"First and last are in time. Distances are medians over the {unit} with a success at a known distance; runs are "
        f"medians over all {unit} and count consecutive frames, and a gap of more than {GAP_S:g} s ends one. Intervals are "
        f"95 %; a median of fewer than six {unit} has none. The file sequences.csv has a row for each clip.",
        "soft",
    )


def _runs(sequences: Sequence[ClipSequence], tally: Tally) -> Iterator[Block]:
    """Show how long success lasts in clips in which nothing moves."""
    unit, summaries = UNITS[tally.independent_kind], summaries_of(sequences, tally)
    yield Table.by_model(
        _without_places(_HEADINGS),
        [_without_places(_row(summary)) for summary in summaries],
        frozenset(i for i, summary in enumerate(summaries) if summary.condition == "patch"),
        f"Of clips with {LEAST_FRAMES} consecutive frames or more; all their frames count. Runs are medians over {unit} and "
        f"count consecutive frames; a gap of more than {GAP_S:g} s ends one. Intervals are 95 %; a median of fewer than six "
        f"{unit} has none.",
    )


def _without_places(row: Sequence[str]) -> list[str]:
    return [*row[:5], *row[8:]]


def _row(summary: SequenceSummary) -> list[str]:
    return [
        summary.model,
        SHORT[summary.measure],
        summary.condition,
        f"{summary.succeeded} of {summary.clips}",
        rate_words(summary.share),
        *(_median_words(m, "{:.2f}", " m") for m in (summary.first_m, summary.last_m, summary.farthest_m)),
        *(_median_words(m, "{:g}", "") for m in (summary.longest_run, summary.longest_miss)),
    ]


def _median_words(median: Median, form: str, unit: str) -> str:
    if median.median is None:
        return "–"
    words = form.format(median.median) + unit
    if median.ci95 is not None:
        words += f"|({form.format(median.ci95[0])} to {form.format(median.ci95[1])})"
    return words.replace(" ", "\N{NO-BREAK SPACE}").replace("|", " ")  # lines break only before the interval


def _comparable(cells: dict[int, MapCell]) -> dict[int, MapCell]:
    """Leave out single clips, which say nothing about others, unless there are no others."""
    return {place: cell for place, cell in cells.items() if cell.rate.ci95 is not None} or cells


def _counted_words(bins: Mapping[str, Mapping[int, MapCell]]) -> str:
    counts = sorted({cell.rate.n for cells in bins.values() for cell in cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _origin_words(sequences: Sequence[ClipSequence]) -> str:
    origins: Counter[Origin] = sum((sequence.origins for sequence in sequences), Counter())
    shares = [
        f"{percent(origins[origin] / origins.total())} {words}" for origin, words in _ORIGINS.items() if origins[origin]
    ]
    return f"Distances of frames: {', '.join(shares)}."
