"""What several trainings say together, with intervals over their seeds: networks never seen, defences, the way to success."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

from physpatch.benchmark.bench_row import BenchMark, BenchRow
from physpatch.benchmark.plan import RANDOM_START
from physpatch.defences import UNDEFENDED
from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.stats.intervals import mean_interval
from physpatch.stats.rates import Interval, Rate, percent

_SUCCESS = "Success is the target first, or without a target, any wrong answer; of views that are right with grey."
_MEAN = "success, mean"
_UNDEFENDED, _STATIC, _ADAPTIVE = "success, no defence", "success, static", "success, adaptive"


@dataclass(frozen=True)
class Estimate:
    """A number, and its 95 % interval over seeds and photographs; None where there is neither.

    Attributes:
        seeds: number of trainings whose mean it is.
        unit: ``share`` in [0, 1], ``difference`` of shares, or ``ratio``.
    """

    mean: float
    ci95: Interval | None
    seeds: int
    unit: str = "share"

    def __str__(self) -> str:
        if self.unit == "ratio":
            return f"{self.mean:.2f}" + (f" [{self.ci95[0]:.2f}, {self.ci95[1]:.2f}]" if self.ci95 else "")
        return percent(self.mean) + (f" [{100 * self.ci95[0]:.1f}, {100 * self.ci95[1]:.1f}]" if self.ci95 else "")


@dataclass(frozen=True)
class Line:
    """A line of a summary: what was compared, and the estimates by column; columns that were not measured are missing."""

    names: dict[str, str]
    values: dict[str, Estimate]


@dataclass(frozen=True)
class Summary:
    """A table of estimates.

    Attributes:
        key: a short name, for files.
        title, note: for people.
        lines: of the table.
        plotted: the columns that a plot shows.
        along: the numbers that the plotted columns stand for, of a quantity in words, where the plot is a curve.
    """

    key: str
    title: str
    note: str
    lines: tuple[Line, ...]
    plotted: tuple[str, ...]
    along: tuple[str, tuple[float, ...]] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """List the columns of estimates, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for line in self.lines for name in line.values))

    def to_dict(self) -> dict[str, Any]:
        """Convert the table to JSON values."""
        lines = [
            {**line.names, "values": {name: asdict(value) for name, value in line.values.items()}}
            for line in self.lines
        ]
        return {"key": self.key, "title": self.title, "note": self.note, "lines": lines}


def summaries(rows: Sequence[BenchRow]) -> list[Summary]:
    """Summarise what these rows have: networks left out of a training, marks on the way, defences."""
    return [table for table in (_unseen(rows), *_on_the_way(rows), _defences(rows)) if table is not None]


# --- networks never seen --------------------------------------------------------------------------------------------------


def _unseen(rows: Sequence[BenchRow]) -> Summary | None:
    """Summarise the results on networks that were left out, each in its own column, and their mean."""
    left_out = [row for row in rows if row.unseen and (row.also or len(row.unseen) == 1)]  # of two networks, one
    if not left_out:
        return None
    networks = list(dict.fromkeys(name for row in left_out for name in row.unseen))
    lines = []
    for names, group in _grouped(left_out, "technique", "grid", "area", "target", where_differing=("start", "defence")):
        values = {f"success on {name}": _over_seeds(group, partial(_success_on, name)) for name in networks}
        values[_MEAN] = _over_seeds(group, lambda row: _mean(row.unseen, _success))
        values["accuracy ÷ random cells'"] = _over_seeds(group, lambda row: _mean(row.unseen, _remaining), unit="ratio")
        lines.append(Line(names, _measured(values)))
    return Summary(
        "unseen",
        "Networks never seen: trained on the others, measured on the one left out",
        f"{_SUCCESS} The accuracy is that on the network left out, with the patch "
        "over that with random cells at the same poses.",
        tuple(lines),
        (_MEAN,),
    )


def _success_on(name: str, row: BenchRow) -> Rate | None:
    return _success(row.unseen[name]) if name in row.unseen else None


def _remaining(result: EvaluationRecord) -> float | None:
    random = result.controls["random"]
    return result.patched_accuracy / random if random else None


def _mean(
    results: dict[str, EvaluationRecord], number: Callable[[EvaluationRecord], Rate | float | None]
) -> Rate | float | None:
    """Average over networks, which have the same photographs."""
    return _averaged([number(result) for result in results.values()])


def _averaged(numbers: Sequence[Rate | float | None]) -> Rate | float | None:
    """Average numbers on the same photographs: so are the ends of their intervals averaged; None without any."""
    values = [value for value in numbers if _number(value) is not None]
    if not values:
        return None
    mean = fmean(_number(value) or 0.0 for value in values)
    rates = [value for value in values if isinstance(value, Rate) and value.ci95 is not None]
    if len(rates) < len(values):
        return mean
    return Rate(mean, _mean_interval(rates), min(rate.n for rate in rates))


def _mean_interval(rates: Sequence[Rate]) -> Interval:
    lows, highs = zip(*(rate.ci95 for rate in rates if rate.ci95 is not None), strict=True)
    return fmean(lows), fmean(highs)


# --- the way to success ---------------------------------------------------------------------------------------------------


def _on_the_way(rows: Sequence[BenchRow]) -> list[Summary]:
    """Summarise the success at each mark, by queries, and where gradients were taken by their evaluations."""
    by_queries = [row for row in rows if row.marks and row.marks[-1].queries is not None]
    by_gradients = [row for row in rows if row.marks and row.marks[-1].queries is None]
    if by_queries and by_gradients:
        return [
            _way_by("way-queries", "queries", by_queries),
            _way_by("way-gradients", "gradient evaluations", by_gradients),
        ]
    return [
        _way_by("way", counted, of)
        for counted, of in (("queries", by_queries), ("gradient evaluations", by_gradients))
        if of
    ]


def _way_by(key: str, counted: str, marked: Sequence[BenchRow]) -> Summary:
    places: dict[str, float] = {}
    lines = []
    settings = ("technique", "network", "grid", "area", "target", "start")
    for names, group in _grouped(marked, *settings, where_differing=("defence",)):
        values = {}
        for number in range(min(len(row.marks) for row in group)):
            spent = fmean(_spent(row.marks[number]) for row in group)
            column = f"{spent:,.0f}".replace(",", " ")
            places[column] = spent
            values[column] = _over_seeds(group, partial(_success_at, number))
        lines.append(Line(names, _measured(values)))
    columns = tuple(sorted(places, key=lambda name: places[name]))
    return Summary(
        key,
        f"The way to success, by {counted}",
        f"{_SUCCESS} On the network that the patch is trained on, on photographs held out. Every picture that a step shows a "
        "network is one query; what chooses the photographs and the target, and a patch of another network that a training "
        "begins with, are not counted.",
        tuple(lines),
        columns,
        (counted, tuple(places[name] for name in columns)),
    )


def _success_at(number: int, row: BenchRow) -> Rate:
    return _success(row.marks[number].measured)


def _spent(mark: BenchMark) -> float:
    return mark.gradient_evaluations if mark.queries is None else mark.queries


# --- defences -------------------------------------------------------------------------------------------------------------


def _defences(rows: Sequence[BenchRow]) -> Summary | None:
    """Summarise each defence against an attacker who does not know it, and one who does."""
    names_of = list(dict.fromkeys(name for row in rows for name in row.behind))
    if not names_of:
        return None
    lines = []
    for names, group in _grouped(rows, "technique", "network", "grid", "area", "target", where_differing=("start",)):
        for name in names_of:
            static = [row for row in group if row.defence == UNDEFENDED and name in row.behind]
            adaptive = [row for row in group if row.defence == name and name in row.behind]
            rows_behind = static or adaptive
            if not rows_behind:
                continue
            values = {
                "clean accuracy paid": _over_seeds(rows_behind, partial(_paid, name), unit="difference"),
                "certified": _over_seeds(rows_behind, partial(_certified, name)),
                _UNDEFENDED: _over_seeds(static, lambda row: _success(row.own)),
                _STATIC: _over_seeds(static, partial(_success_behind, name)),
                _ADAPTIVE: _over_seeds(adaptive, partial(_success_behind, name)),
                "made wrong, static": _over_seeds(static, partial(_wrong_behind, name)),
                "made wrong, adaptive": _over_seeds(adaptive, partial(_wrong_behind, name)),
            }
            lines.append(Line({"defence": name, **names}, _measured(values)))
    return Summary(
        "defences",
        "Defences, against an attacker who does not know them (static) and one who does (adaptive)",
        f"{_SUCCESS} The static patch is trained without the defence and measured behind it; the adaptive one is trained "
        "behind it. Only the adaptive columns say what a defence is worth.",
        tuple(lines),
        (_UNDEFENDED, _STATIC, _ADAPTIVE),
    )


def _paid(name: str, row: BenchRow) -> float | None:
    effect = row.behind[name].defence
    return None if effect is None else effect.clean_accuracy_paid


def _certified(name: str, row: BenchRow) -> Rate | None:
    effect = row.behind[name].defence
    return None if effect is None else effect.certified_accuracy


def _success_behind(name: str, row: BenchRow) -> Rate:
    return _success(row.behind[name])


def _wrong_behind(name: str, row: BenchRow) -> Rate:
    return row.behind[name].untargeted_success


# --- numbers of several rows ----------------------------------------------------------------------------------------------


def _success(result: EvaluationRecord) -> Rate:
    return result.targeted_success if result.target is not None else result.untargeted_success


def _grouped(
    rows: Sequence[BenchRow], *names: str, where_differing: Sequence[str] = ()
) -> list[tuple[dict[str, str], list[BenchRow]]]:
    """Group rows by these of their names, and by those of ``where_differing`` that are not the same in all rows, in order."""
    of_rows = [row_names(row) for row in rows]
    names = (*names, *(name for name in where_differing if len({of_row[name] for of_row in of_rows}) > 1))
    groups: dict[tuple[str, ...], list[BenchRow]] = {}
    for row, of_row in zip(rows, of_rows, strict=True):
        groups.setdefault(tuple(of_row[name] for name in names), []).append(row)
    return [(dict(zip(names, key, strict=True)), group) for key, group in groups.items()]


def row_names(row: BenchRow) -> dict[str, str]:
    """Name a row in words, by the column of a table."""
    return {
        "technique": row.technique,
        "network": " and ".join((row.model, *row.also)),
        "grid": row.grid,
        "area": f"{100 * row.area:g} %" + (" of the object" if row.own.object is not None else ""),
        "target": row.target.name if row.target else "none",
        "start": "random cells" if row.start == RANDOM_START else f"a patch of {row.start}",
        "defence": row.defence,
    }


def _over_seeds(
    rows: Sequence[BenchRow], number: Callable[[BenchRow], Rate | float | None], *, unit: str = "share"
) -> Estimate | None:
    """Average a number over seeds, with an interval; rows of one seed, such as of each network left out, are averaged first.

    The interval is Student's t over the seeds. They have photographs in common, all of them up to ``--limit``, so that the
    seeds of a patch which never succeeds agree without saying that none would: a rate's own half interval over photographs is
    added, as independent.
    """
    by_seed: dict[int, list[Rate | float | None]] = {}
    for row in rows:
        by_seed.setdefault(row.seed, []).append(number(row))
    values = [value for value in map(_averaged, by_seed.values()) if value is not None]
    means = [_number(value) or 0.0 for value in values]
    if not means:
        return None
    mean, (low, high) = mean_interval(means) or (means[0], (means[0], means[0]))
    rates = [value for value in values if isinstance(value, Rate) and value.ci95 is not None]
    if len(rates) == len(values):
        least, most = _mean_interval(rates)
        low, high = mean - math.hypot(mean - low, mean - least), mean + math.hypot(high - mean, most - mean)
    elif low == high:  # one seed, or the same number from the same photographs by each: no spread that tells its chance
        return Estimate(mean, None, len(means), unit)
    return Estimate(mean, (max(0.0, low), min(1.0, high)) if unit == "share" else (low, high), len(means), unit)


def _number(value: Rate | float | None) -> float | None:
    return value.rate if isinstance(value, Rate) else value


def _measured(values: dict[str, Estimate | None]) -> dict[str, Estimate]:
    return {name: value for name, value in values.items() if value is not None}
