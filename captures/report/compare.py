"""Compare runs, or sessions."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

from calibration.common.errors import InputError
from calibration.common.success import MEASURES
from calibration.sheet.layout import SHEET_KINDS
from captures.report.blocks import Block, Chart, Charts, Columns, Document, Heading, Table, Text
from captures.report.figures.charts import curve_chart, rates_chart
from captures.report.first_screen import source_blocks, summary_blocks
from captures.report.session_part import damage_blocks
from captures.report.wording import SHORT, folder_name, rate_words
from captures.results.curves import FACTORS, Curve, Factor, curve_measures, curves_of
from captures.results.recorded_session import Kind, RecordedSession, require_kind
from physpatch.records.run_record import RunRecord
from physpatch.stats.intervals import Rate, independent_difference

_NOTHING = Rate(None, None, 0)
_Rates = dict[tuple[str, str, str], Rate]  # by model, measure and sheet


def comparison(folders: Sequence[Path]) -> Document:
    """Build the comparison of several runs or sessions; see :func:`captures.report.write_comparison`."""
    if len(folders) < 2:
        raise InputError("a comparison needs at least two runs or sessions")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("the same folder was given twice; a comparison needs different folders")
    kinds = {require_kind(folder) for folder in folders}
    if len(kinds) > 1:
        raise InputError("runs and sessions measure different things and cannot be compared; give only one kind")
    (kind,) = kinds
    names = _names(folders)
    title, subtitle = "Comparison", f"physpatch report of the {kind}s {', '.join(names)}"
    if kind == "run":
        runs = {name: _of_run(folder) for name, folder in zip(names, folders, strict=True)}
        return Document(title, subtitle, _blocks(kind, runs))
    damaged: list[str] = []
    sessions = {name: _opened(folder, damaged) for name, folder in zip(names, folders, strict=True)}
    rates = {name: _of_session(session) for name, session in sessions.items()}
    bare = {
        noted.name: noted.alone for session in sessions.values() for noted in session.record.models if noted.defence
    }
    beside = Columns(
        [(name, [*source_blocks(session), *summary_blocks(session)]) for name, session in sessions.items()]
    )
    blocks = [*damage_blocks(damaged), Heading("Side by side"), beside, *_blocks(kind, rates, bare), *_along(sessions)]
    return Document(title, subtitle, blocks)


def _blocks(kind: Kind, rates: dict[str, _Rates], bare: Mapping[str, str] = MappingProxyType({})) -> list[Block]:
    """Show the rates side by side, and their differences; ``bare`` names the model behind each that is defended."""
    keys = list(dict.fromkeys(key for measured in rates.values() for key in measured))
    names = list(rates)
    blocks: list[Block] = [Heading("Rates")]
    if not keys:
        return [*blocks, Text("Nothing was measured in any of them.")]
    charts, tables = [], list[Block]()
    for measure in MEASURES:
        for model in dict.fromkeys(key[0] for key in keys if key[1] == measure):
            sheet_rates = {
                name: {condition: rate for (*key, condition), rate in measured.items() if key == [model, measure]}
                for name, measured in rates.items()
            }
            charted_rates = {name: by_sheet for name, by_sheet in sheet_rates.items() if by_sheet}
            charts.append(rates_chart(f"{model}: {SHORT[measure]}", kind, charted_rates))
            tables += [
                Heading(f"{model}: {MEASURES[measure]}", 2),
                Table(
                    ["sheet", *names],
                    [
                        [condition, *(rate_words(sheet_rates[name].get(condition, _NOTHING)) for name in names)]
                        for condition in SHEET_KINDS
                        if any(condition in by_sheet for by_sheet in sheet_rates.values())
                    ],
                    frozenset({0}) if any("patch" in by_sheet for by_sheet in sheet_rates.values()) else frozenset(),
                ),
            ]
    blocks += [Charts(charts, "By sheet, with 95 % intervals."), *tables]
    rows = []
    for first, second in combinations(names, 2):
        for key in keys:
            model, measure, condition = key
            if condition != "patch":
                continue
            if key in rates[first] and key in rates[second]:
                rows.append(_difference(second, first, model, measure, rates[second][key], rates[first][key]))
                continue
            alone = (bare.get(model, ""), measure, condition)
            for defended_name, bare_name in ((second, first), (first, second)):
                if key in rates[defended_name] and alone in rates[bare_name]:
                    words = f"{model}, {bare_name} without the defence"
                    rows.append(
                        _difference(
                            defended_name, bare_name, words, measure, rates[defended_name][key], rates[bare_name][alone]
                        )
                    )
    blocks.append(Heading("Differences with the patch"))
    if not rows:
        return [*blocks, Text("No model was measured with the patch in two of them.")]
    caption = (
        "95 % intervals by Newcombe's hybrid method, from the intervals of the rates. The two were measured separately, so "
        "nothing is paired; n is the smaller of the two."
    )
    return [
        *blocks,
        Table(["comparison", "model", "outcome", "difference", "significant"], rows, caption=caption),
    ]


def _difference(name: str, other_name: str, model: str, measure: str, rate: Rate, rate_of_other: Rate) -> list[str]:
    difference = independent_difference(rate, rate_of_other)
    significant = "yes" if difference.is_significant else "no"
    return [f"{name} minus {other_name}", model, MEASURES[measure], str(difference), significant]


def _along(sessions: dict[str, RecordedSession]) -> Iterator[Block]:
    """Show the patch's success in each session along what varies between frames."""
    curves: dict[tuple[str, str], dict[str, dict[str, list[Curve]]]] = {}  # by model and measure, then by session
    for name, session in sessions.items():
        for model in session.tally.models:
            for measure in curve_measures(session, model):
                curves.setdefault((model, measure), {})[name] = curves_of(session, model, measure)
    charts = [
        chart
        for (model, measure), by_session in curves.items()
        for factor in FACTORS
        if (chart := _chart(f"{model}: {SHORT[measure]}, by {factor.title}", factor, by_session)) is not None
    ]
    if charts:
        yield Heading("What it depends on")
        yield Charts(
            charts, "With the patch, of the views that are right with grey, where that was filmed; 95 % intervals."
        )


def _chart(title: str, factor: Factor, by_session: dict[str, dict[str, list[Curve]]]) -> Chart | None:
    curves = {
        name: curve
        for name, by_factor in by_session.items()
        for curve in by_factor.get(factor.name, ())
        if curve.condition == "patch"
    }
    return curve_chart(title, factor, list(curves.values()), list(curves)) if len(curves) > 1 else None


def _opened(folder: Path, damaged: list[str]) -> RecordedSession:
    session, words = RecordedSession.salvaged(folder)
    damaged += words
    return session


def _of_session(session: RecordedSession) -> _Rates:
    rates = {(s.model, m, s.condition): s.rate(m) for s in session.tally.summaries() for m in MEASURES}
    return {key: rate for key, rate in rates.items() if rate.rate is not None}


def _of_run(folder: Path) -> _Rates:
    rates: _Rates = {}
    for model, measured in RunRecord.of(folder).measured.items():
        if measured is not None:
            for condition, rate in ({"patch": measured.targeted_success} | measured.control_targeted_success).items():
                rates[model, "target", condition] = rate
            for condition, rate in (
                {"patch": measured.untargeted_success} | measured.control_untargeted_success
            ).items():
                rates[model, "wrong", condition] = rate
    return {key: rate for key, rate in rates.items() if rate.rate is not None}


def _names(folders: Sequence[Path]) -> list[str]:
    """Name each folder, with as many of its parents' names as tell it from the others."""
    names, parts = [folder_name(folder) for folder in folders], [folder.resolve().parts for folder in folders]
    length = 1
    while len(set(names)) < len(names):  # folders differ, see above
        length += 1
        names = [
            name if names.count(name) == 1 else "/".join(own[-length:]) for name, own in zip(names, parts, strict=True)
        ]
    return names
