"""Reports of a bench: its rows as Markdown, CSV and plots, with a conclusion for each."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure

from calibration.common.files import atomic_path, write_text
from calibration.common.text import cleaned
from physpatch.benchmark.bench_row import BenchRow
from physpatch.benchmark.plan import RANDOM_START
from physpatch.benchmark.seeds import grouped, leading, numbers_of, spread_words
from physpatch.benchmark.summaries import Summary, row_names, summaries
from physpatch.defences import UNDEFENDED
from physpatch.evaluation.figures.plots import BAD, GOOD, save_figure
from physpatch.records.evaluation_record import EvaluationRecord, HeatRecord
from physpatch.stats.rates import Interval, Rate, percent
from physpatch.stats.rates import points as in_points


def save_bench_report(folder: Path, rows: Sequence[BenchRow]) -> None:
    """Write ``table.md``, ``table.csv``, ``success.png``, ``transfer.png`` and a plot of each summary."""
    write_text(folder / "table.md", markdown(rows))
    _save_csv(folder / "table.csv", rows)
    _save_success_plot(folder / "success.png", rows)
    for summary in summaries(rows):
        save_summary_plot(folder / f"{summary.key}.png", summary)
    if any(len(row.bare) > 1 for row in rows):
        _save_transfer_plot(folder / "transfer.png", rows)


def markdown(rows: Sequence[BenchRow]) -> str:
    """Format tables of effect, transfer and heat, the spread over several seeds, and a conclusion for each row."""
    effect = [
        (
            *_names(row),
            percent(own.clean_accuracy),
            percent(own.controls["grey"]),
            percent(own.controls["random"]),
            f"**{percent(own.patched_accuracy)}**",
            _interval(own.targeted_success),
            _interval(own.success_of_all("targeted")),
            _interval(own.untargeted_success),
            _interval(own.success_of_all("untargeted")),
            str(own.n),
            f"{row.seconds.training:.0f}",
        )
        for row in rows
        for own in [row.own]
    ]
    measures = ("target first", "of all views", "made wrong", "of all views")
    headings = (*_NAMES, "clean", "grey", "random", "patch", *measures, "n", "seconds")
    parts = [summary_markdown(summary) for summary in summaries(rows)]
    parts += ["### Effect\n", _table(headings, effect), _COUNTED]
    groups = grouped(rows)
    if any(len(group) > 1 for group in groups):
        parts += ["### Over training seeds: mean, standard deviation (least to most)\n"]
        parts += [_table((*_NAMES, "seeds", *(heading for heading, _ in _OVER_SEEDS)), [*map(_seed_cells, groups)])]
    leads = leading(groups)
    if leads:
        parts += ["### Which one leads\n", "\n".join(f"- {sentence}" for sentence in leads) + "\n"]
    models = list(dict.fromkeys(name for row in rows for name in row.bare))
    if len(models) > 1:
        transfer = [(*_names(row), *(_transfer_cell(row, name) for name in models)) for row in rows]
        parts += ["### Transfer: accuracy with the patch (with random colours), target first\n"]
        parts += [_table((*_NAMES, *models), transfer)]
    objects = [
        (*_names(row), name, *_object_cells(measured))
        for row in rows
        for name, measured in row.measured.items()
        if measured.object is not None
    ]
    if objects:
        parts += [
            "### Objects: what a detector sees in the object that carries the patch\n",
            _table((*_NAMES, "detector", *_OBJECT), objects),
        ]
    heat = [(*_names(row), *_heat_cells(row.heat)) for row in rows]
    if any(row.heat.n for row in rows):
        parts += [
            "### Heat (Grad-CAM of the network's answer)\n",
            _table((*_NAMES, *(heading for heading, _, _ in _HEAT)), heat),
        ]
    parts += ["### What it comes to\n", "\n".join(f"- {' · '.join(_names(row))}: {conclusion(row)}" for row in rows)]
    return "\n".join(parts) + "\n"


def _seed_cells(group: Sequence[BenchRow]) -> tuple[str, ...]:
    spreads = (spread_words(numbers_of(group, number)) for _, number in _OVER_SEEDS)
    return (*_names(group[0]), str(len(group)), *spreads)


def conclusion(row: BenchRow) -> str:
    """Summarise a row in one or two sentences."""
    own = row.own
    beyond = own.controls["random"] - own.patched_accuracy
    low, high = _harm_beyond_random(own)
    if low > 0:
        effect = f"costs {100 * beyond:.0f} points of accuracy more than random colours of its size"
    elif high < 0:
        effect = f"does less harm than random colours of its size, by {-100 * beyond:.0f} points of accuracy"
    else:
        effect = (
            f"does not differ significantly from random colours of its size ({in_points(beyond, 0)} points of accuracy)"
        )
    if row.target is not None:
        effect += f"; {row.target.name!r} comes first in {_interval(own.targeted_success)}"
    trained_on = [row.bare[name] for name in row.also if name in row.bare]
    for networks, further in (
        ("the other networks it was trained on", trained_on),
        ("networks it was not trained on", [*row.unseen.values()]),
    ):
        if further:
            lost = [measured.controls["random"] - measured.patched_accuracy for measured in further]
            effect += f"; on {networks}, {round(100 * sum(lost) / len(lost))} points more than random"
    return effect + "."


def _harm_beyond_random(own: EvaluationRecord) -> Interval:
    """Return the interval of untargeted success beyond random colours'; in old records, which lack it, by the ends of both."""
    paired = own.differences.get("random")
    if paired is not None:
        return paired.untargeted.ci95 or (-1.0, 1.0)
    low, high = own.untargeted_success.ci95 or (0.0, 1.0)
    control_low, control_high = own.control_untargeted_success["random"].ci95 or (0.0, 1.0)
    return low - control_high, high - control_low


def summary_markdown(summary: Summary) -> str:
    """Format a summary as a Markdown table, with its title and note."""
    columns = summary.columns
    names = list(dict.fromkeys(name for line in summary.lines for name in line.names))
    seeds = sorted({value.seeds for line in summary.lines for value in line.values.values()})
    trained = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))) if seeds else "no"
    over = f"Of {trained} training seed{'s' * (seeds != [1])} each; 95 % intervals are over seeds and, for rates, photographs."
    lines = [
        (
            *(line.names.get(name, "") for name in names),
            *(str(line.values[column]) if column in line.values else "" for column in columns),
        )
        for line in summary.lines
    ]
    return f"### {summary.title}\n\n{_table((*names, *columns), lines)}\n{summary.note} {over}\n"


# The heading of a column, and its number in a row.
_OVER_SEEDS: tuple[tuple[str, Callable[[BenchRow], float | None]], ...] = (
    ("patch", lambda row: row.own.patched_accuracy),
    ("random", lambda row: row.own.controls["random"]),
    ("shuffled", lambda row: row.own.controls.get("shuffled")),
    ("target first", lambda row: row.own.targeted_success.rate),
    ("of all views", lambda row: row.own.success_of_all("targeted").rate),
    ("made wrong", lambda row: row.own.untargeted_success.rate),
)
_NAMES = ("technique", "network", "grid", "area", "target")
_COUNTED = (
    "*Target first* and *made wrong* count the views that are right with the grey control at the same pose. The columns "
    "beside them count all views, including those that occlusion alone makes wrong.\n"
)


def _names(row: BenchRow) -> tuple[str, ...]:
    """Name a row by the columns of :data:`_NAMES`; what few benches vary stands with the technique."""
    names = row_names(row)
    more = [f"knows {row.defence}"] if row.defence != UNDEFENDED else []
    more += [f"from {names['start']}"] if row.start != RANDOM_START else []
    return (", ".join((row.technique, *more)), *(names[column] for column in _NAMES[1:]))


def _transfer_cell(row: BenchRow, name: str) -> str:
    measured = row.measured.get(name)
    if measured is None:
        return ""
    reached = measured.targeted_success.rate
    target = "" if reached is None else f", {percent(reached)}"
    return f"{percent(measured.patched_accuracy)} ({percent(measured.controls['random'])}){target}"


_OBJECT = ("object", "hidden", "relabelled", "lost with random", "false boxes per image (grey)", "mAP50 (grey)")


def _object_cells(measured: EvaluationRecord) -> tuple[str, ...]:
    """Format the cells of :data:`_OBJECT`."""
    false_boxes, precision = measured.false_boxes_per_image, measured.mean_precision
    return (
        measured.object or "",
        _interval(measured.hidden["patch"]),
        _interval(measured.relabelled["patch"]),
        _interval(measured.control_untargeted_success["random"]),
        f"{false_boxes['patch']:.2f} ({false_boxes['grey']:.2f})",
        f"{precision['patch'].map50:.2f} ({precision['grey'].map50:.2f})",
    )


def _heat_cells(heat: HeatRecord) -> tuple[str, ...]:
    """Format the cells of :data:`_HEAT`; empty where a row, such as one of an older bench, lacks the number."""
    numbers = [(form, heat.number(path), heat.interval(path)) for _, path, form in _HEAT]
    return tuple("" if value is None else form(value, ends) for form, value, ends in numbers)


def _interval(rate: Rate) -> str:
    return "—" if rate.rate is None else _share(rate.rate, rate.ci95)


def _share(value: float, ends: Sequence[float] | None) -> str:
    return percent(value) + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "")


def _signed(value: float, ends: Sequence[float] | None) -> str:
    return f"{value:+.2f}" + (f" [{ends[0]:+.2f}, {ends[1]:+.2f}]" if ends else "")


def _alone(form: Callable[[Any], str]) -> Callable[[Any, object], str]:
    return lambda value, _ends: form(value)


# The heading of a column, the path of its number in a row's heat, and the format of the number and its interval.
_HEAT: tuple[tuple[str, str, Callable[[Any, Any], str]], ...] = (
    ("n", "n", _alone(str)),
    ("patch's area", "patch_area", _alone(percent)),
    ("heat in patch", "heat_in_patch.patch", _share),
    ("heat with grey", "heat_in_patch.grey", _alone(percent)),
    ("hottest in patch", "pointing.patch", _share),
    ("hottest with grey", "pointing.grey", _alone(percent)),
    ("target's heat in patch", "target_heat_in_patch.patch", _share),
    ("target's with grey", "target_heat_in_patch.grey", _alone(percent)),
    ("similarity to target's heat", "similarity_to_target", _signed),
    ("where reached", "similarity_to_target_reached", _signed),
    ("n reached", "n_reached", _alone(str)),
    ("where missed", "similarity_to_target_missed", _signed),
    ("target's: random and grey (null)", "similarity_to_target_null", _signed),
    ("target's: patch and grey", "similarity_to_target_same_class", _signed),
    ("true class's heat in patch", "true_heat_in_patch.patch", _share),
    ("with random cells", "true_heat_in_patch.random", _share),
    ("true class's: patch and grey", "true_similarity.patch", _signed),
    ("true class's: random and grey", "true_similarity.random", _signed),
    ("n missed", "n_missed", _alone(str)),
    ("clean picture's", "similarity_of_clean", _signed),
    ("deletion by heat", "deletion.patch", _alone("{:.2f}".format)),
    ("in random order", "deletion.random_order", _alone("{:.2f}".format)),
    ("lower by", "deletion_gap.patch", _signed),
    ("clean: lower by", "deletion_gap.clean", _signed),
)
_HEAT_CSV = {
    "heat_in_patch": "heat_in_patch.patch",
    "pointing": "pointing.patch",
    "similarity_to_target": "similarity_to_target",
    "deletion": "deletion.patch",
    "deletion_random": "deletion.random_order",
}


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    plain = [[cleaned(cell).replace("|", "\\|") for cell in row] for row in rows]  # names of models may be anything
    lines = [" | ".join(headings), " | ".join("---" for _ in headings), *(" | ".join(row) for row in plain)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _save_csv(path: Path, rows: Sequence[BenchRow]) -> None:
    """Write a line for each patch and network; heat is measured on the network that a patch was trained on."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        columns = ["clean_accuracy", "grey_accuracy", "random_accuracy", "patched_accuracy"]
        for kind in (
            "targeted",
            "untargeted",
            "random_targeted",
            "random_untargeted",
            "targeted_of_all",
            "untargeted_of_all",
        ):
            columns += [kind, f"{kind}_low", f"{kind}_high", f"{kind}_n"]
        writer.writerow([*_NAMES, "seed", "measured_on", "n", *columns, "training_seconds", *_HEAT_CSV])
        for row in rows:
            for name, m in row.measured.items():
                rates = [m.targeted_success, m.untargeted_success]
                rates += [m.control_targeted_success["random"], m.control_untargeted_success["random"]]
                rates += [m.success_of_all("targeted"), m.success_of_all("untargeted")]
                numbers: list[float | None] = [m.clean_accuracy, m.controls["grey"], m.controls["random"]]
                numbers += [m.patched_accuracy]
                for rate in rates:
                    numbers += [rate.rate, *(rate.ci95 or (None, None)), rate.n]
                heat = [row.heat.number(path) if name == row.model else None for path in _HEAT_CSV.values()]
                writer.writerow(
                    [
                        *_names(row),
                        row.seed,
                        name,
                        m.n,
                        *numbers,
                        row.seconds.training,
                        *heat,
                    ]
                )


def _save_success_plot(path: Path, rows: Sequence[BenchRow]) -> None:
    """Plot for each row the targeted and untargeted success, and that of random colours, with intervals."""
    groups = grouped(rows)
    figure = Figure(figsize=(8, 1.2 + 0.42 * len(groups)), layout="constrained")
    axis = figure.add_subplot()
    for y, group in enumerate(groups):
        for rate_of, marker, color, shift in (
            (lambda row: row.own.targeted_success, "o", BAD, -0.2),
            (lambda row: row.own.untargeted_success, "s", GOOD, 0.0),
            (lambda row: row.own.control_untargeted_success["random"], "|", "0.4", 0.2),
        ):
            rates = [(rate.rate, rate.ci95) for rate in map(rate_of, group) if rate.rate is not None]
            if len(rates) == 1:
                ((value, ends),) = rates
                low, high = ends or (value, value)
                spread = [[max(0.0, 100 * (value - low))], [max(0.0, 100 * (high - value))]]
                axis.errorbar(100 * value, y + shift, xerr=spread, fmt=marker, color=color, markersize=6)
            elif rates:
                shares = [100 * value for value, _ in rates]
                axis.plot(shares, [y + shift] * len(shares), ".", color=color, alpha=0.45, markersize=5)
                axis.plot(sum(shares) / len(shares), y + shift, marker, color=color, markersize=8)
    axis.set_yticks(range(len(groups)), [" · ".join(_names(group[0])) for group in groups], fontsize=8)
    seeds = max(map(len, groups))
    explanation = "95 % interval" if seeds == 1 else f"dots: {seeds} training seeds; large: their mean"
    axis.set(xlim=(-1, 101), xlabel=f"% of pictures right with grey ({explanation})")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    for marker, color, words in (
        ("o", BAD, "target first"),
        ("s", GOOD, "made wrong"),
        ("|", "0.4", "made wrong by random"),
    ):
        axis.plot([], [], marker, color=color, label=words)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    save_figure(figure, path)


def save_summary_plot(path: Path, summary: Summary) -> None:
    """Plot the columns of a summary that it names, with intervals: as curves, or else as points beside each line."""
    differing = [name for name in summary.lines[0].names if len({line.names[name] for line in summary.lines}) > 1]
    labels = [" · ".join(line.names[name] for name in differing) or summary.key for line in summary.lines]
    tall = 4.4 if summary.along else 1.4 + 0.4 * len(labels)
    figure = Figure(figsize=(8, tall), layout="constrained")
    axis = figure.add_subplot()
    for number, line in enumerate(summary.lines):
        plotted_values = [(at, line.values[name]) for at, name in enumerate(summary.plotted) if name in line.values]
        if summary.along and plotted_values:
            places = [summary.along[1][at] for at, _ in plotted_values]
            lows, highs = zip(*(value.ci95 or (value.mean, value.mean) for _, value in plotted_values), strict=True)
            (curve,) = axis.plot(places, [100 * value.mean for _, value in plotted_values], ".-", label=labels[number])
            axis.fill_between(places, _in_percent(lows), _in_percent(highs), color=curve.get_color(), alpha=0.12)
            continue
        for at, value in plotted_values:
            low, high = value.ci95 or (value.mean, value.mean)
            spread = [[max(0.0, 100 * (value.mean - low))], [max(0.0, 100 * (high - value.mean))]]
            marker, color = _MARKERS[at % len(_MARKERS)]
            place = number + _BESIDE * (at - (len(summary.plotted) - 1) / 2)
            axis.errorbar(100 * value.mean, place, xerr=spread, fmt=marker, color=color, markersize=6)
    if summary.along:
        axis.set(xlabel=summary.along[0], ylabel="% success", ylim=(-1, 101))
    else:
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.set(xlabel="% success, with 95 % interval", xlim=(-1, 101), ylim=(len(labels) - 0.5, -0.5))
        for at, name in enumerate(summary.plotted):
            marker, color = _MARKERS[at % len(_MARKERS)]
            axis.plot([], [], marker, color=color, label=name)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    save_figure(figure, path)


def _in_percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


_BESIDE = 0.2  # of a line's height, between its columns
_MARKERS = (("o", "0.4"), ("s", GOOD), ("D", BAD))


def _save_transfer_plot(path: Path, rows: Sequence[BenchRow]) -> None:
    """Plot the accuracy that each patch costs beyond random colours, on each network."""
    models = list(dict.fromkeys(name for row in rows for name in row.bare))
    groups = grouped(rows)
    figure = Figure(figsize=(4.6 + 1.1 * len(models), 1.2 + 0.42 * len(groups)), layout="constrained")
    axis = figure.add_subplot()

    def beyond_random(name: str) -> Callable[[BenchRow], float | None]:
        def points_lost(row: BenchRow) -> float | None:
            measured = row.measured.get(name)
            return None if measured is None else 100 * (measured.controls["random"] - measured.patched_accuracy)

        return points_lost

    points = [[numbers_of(group, beyond_random(name)) for name in models] for group in groups]
    lost = [[fmean(values) if values else float("nan") for values in line] for line in points]
    most = max(10.0, *(abs(value) for line in lost for value in line if value == value))
    axis.imshow(lost, cmap="cividis", vmin=-most, vmax=most, aspect="auto")
    for y, line in enumerate(lost):
        for x, value in enumerate(line):
            bold = "bold" if models[x] in (groups[y][0].model, *groups[y][0].also) else "normal"
            several = points[y][x][1:]
            mean_points = in_points(value / 100, 0)
            words = f"{mean_points} ± {stdev(points[y][x]):.0f}" if several else mean_points
            color = "white" if value < 0.2 * most else "black"
            axis.text(x, y, words, ha="center", va="center", fontsize=8, color=color, fontweight=bold)
    axis.set_xticks(range(len(models)), models, fontsize=8, rotation=20)
    axis.set_yticks(range(len(groups)), [" · ".join(_names(group[0])) for group in groups], fontsize=8)
    figure.suptitle("points of accuracy lost beyond random colours\nbold: the networks trained on", fontsize=9)
    save_figure(figure, path)
