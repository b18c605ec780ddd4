"""A bench's rows as Markdown, CSV, plots, and a sentence for each."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from calibration.files import atomic_path, write_text
from physpatch.plots import BAD, GOOD, save_figure

Row = dict[str, Any]


def save_bench_report(folder: Path, rows: Sequence[Row]) -> None:
    """Write ``table.md``, ``table.csv``, ``success.png`` and ``transfer.png`` into a bench's folder."""
    write_text(folder / "table.md", markdown(rows))
    _save_csv(folder / "table.csv", rows)
    _save_success_plot(folder / "success.png", rows)
    if any(len(row["measured"]) > 1 for row in rows):
        _save_transfer_plot(folder / "transfer.png", rows)


def markdown(rows: Sequence[Row]) -> str:
    """Tables of effect, transfer and heat, and a conclusion for each row."""
    effect = [
        (
            *_names(row),
            _percent(own["clean_accuracy"]),
            _percent(own["controls"]["grey"]),
            _percent(own["controls"]["random"]),
            f"**{_percent(own['patched_accuracy'])}**",
            _interval(own["targeted_success"]),
            _interval(own["untargeted_success"]),
            str(own["n"]),
            f"{row['seconds']['training']:.0f}",
        )
        for row in rows
        for own in [_own(row)]
    ]
    headings = (*_NAMES, "clean", "grey", "random", "patch", "target first", "made wrong", "n", "seconds")
    parts = ["### Effect\n", _table(headings, effect)]
    models = list(dict.fromkeys(name for row in rows for name in row["measured"]))
    if len(models) > 1:
        transfer = [(*_names(row), *(_transfer_cell(row, name) for name in models)) for row in rows]
        parts += ["### Transfer: accuracy with the patch (with random colours), target first\n"]
        parts += [_table((*_NAMES, *models), transfer)]
    heat = [(*_names(row), *_heat_cells(row["heat"])) for row in rows]
    parts += ["### Heat (Grad-CAM of the network's answer)\n", _table((*_NAMES, *_HEAT), heat)]
    parts += ["### What it comes to\n", "\n".join(f"- {' · '.join(_names(row))}: {conclusion(row)}" for row in rows)]
    return "\n".join(parts) + "\n"


def conclusion(row: Row) -> str:
    """One or two sentences on what a row shows."""
    own = _own(row)
    beyond = own["controls"]["random"] - own["patched_accuracy"]
    low, high = own["untargeted_success"]["ci95"] or (0.0, 1.0)
    control_low, control_high = own["control_untargeted_success"]["random"]["ci95"] or (0.0, 1.0)
    if low > control_high:
        said = f"takes {100 * beyond:.0f} points of accuracy beyond what random colours of its size take"
    elif high < control_low:
        said = f"does less harm than random colours of its size, by {-100 * beyond:.0f} points of accuracy"
    else:
        said = (
            f"does no harm that could be told from random colours of its size ({100 * beyond:+.0f} points of accuracy)"
        )
    if row["target"]:
        reached = own["targeted_success"]
        said += f"; {row['target']['name']!r} comes first in {_interval(reached)}"
    others = {name: m for name, m in row["measured"].items() if name != row["model"]}
    if others:
        lost = [m["controls"]["random"] - m["patched_accuracy"] for m in others.values()]
        known = "the networks it was trained on besides" if row["also"] else "networks it never saw"
        said += f"; on {known}, {round(100 * sum(lost) / len(lost))} points beyond random"
    return said + "."


_NAMES = ("technique", "network", "grid", "area", "target")
_HEAT = ("heat in patch", "with grey", "patch's area", "like the target's heat", "clean picture's")


def _names(row: Row) -> tuple[str, ...]:
    target = row["target"]["name"] if row["target"] else "none"
    return (row["technique"], row["model"], row["grid"], f"{100 * row['area']:g} %", target)


def _own(row: Row) -> dict[str, Any]:
    return row["measured"][row["model"]]


def _transfer_cell(row: Row, name: str) -> str:
    measured = row["measured"].get(name)
    if measured is None:
        return ""
    reached = measured["targeted_success"]["rate"]
    target = "" if reached is None else f", {_percent(reached)}"
    return f"{_percent(measured['patched_accuracy'])} ({_percent(measured['controls']['random'])}){target}"


def _heat_cells(heat: dict[str, Any]) -> tuple[str, ...]:
    if not heat.get("n"):
        return ("",) * len(_HEAT)
    similar = [f"{heat[key]:+.2f}" if key in heat else "" for key in ("similarity_to_target", "similarity_of_clean")]
    inside = heat["heat_in_patch"]
    return (_percent(inside["patch"]), _percent(inside["grey"]), _percent(heat["patch_area"]), *similar)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(rate: dict[str, Any]) -> str:
    if rate["rate"] is None:
        return "—"
    low, high = rate["ci95"]
    return f"{100 * rate['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(headings), " | ".join("---" for _ in headings), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _save_csv(path: Path, rows: Sequence[Row]) -> None:
    """A line for each patch and network."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        columns = ["clean_accuracy", "grey_accuracy", "random_accuracy", "patched_accuracy"]
        for kind in ("targeted", "untargeted", "random_targeted", "random_untargeted"):
            columns += [kind, f"{kind}_low", f"{kind}_high", f"{kind}_n"]
        writer.writerow([*_NAMES, "measured_on", "n", *columns, "training_seconds"])
        for row in rows:
            for name, m in row["measured"].items():
                rates = [m["targeted_success"], m["untargeted_success"]]
                rates += [m[f"control_{kind}_success"]["random"] for kind in ("targeted", "untargeted")]
                numbers = [m["clean_accuracy"], m["controls"]["grey"], m["controls"]["random"], m["patched_accuracy"]]
                for rate in rates:
                    numbers += [rate["rate"], *(rate["ci95"] or (None, None)), rate["n"]]
                writer.writerow([*_names(row), name, m["n"], *numbers, row["seconds"]["training"]])


def _save_success_plot(path: Path, rows: Sequence[Row]) -> None:
    """For each row: targeted success, and images made wrong beside what random colours do, with their intervals."""
    figure = Figure(figsize=(8, 1.2 + 0.42 * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    for y, row in enumerate(rows):
        own = _own(row)
        for key, marker, color, shift in (
            (own["targeted_success"], "o", BAD, -0.2),
            (own["untargeted_success"], "s", GOOD, 0.0),
            (own["control_untargeted_success"]["random"], "|", "0.4", 0.2),
        ):
            if key["rate"] is not None:
                low, high = key["ci95"]
                spread = [[max(0.0, 100 * (key["rate"] - low))], [max(0.0, 100 * (high - key["rate"]))]]
                axis.errorbar(100 * key["rate"], y + shift, xerr=spread, fmt=marker, color=color, markersize=6)
    axis.set_yticks(range(len(rows)), [" · ".join(_names(row)) for row in rows], fontsize=8)
    axis.set(xlim=(-1, 101), xlabel="% of pictures right with grey (95 % interval)")
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


def _save_transfer_plot(path: Path, rows: Sequence[Row]) -> None:
    """Accuracy that each patch takes beyond random colours, on each network."""
    models = list(dict.fromkeys(name for row in rows for name in row["measured"]))
    figure = Figure(figsize=(4.6 + 1.1 * len(models), 1.2 + 0.42 * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    lost = [
        [
            100 * (m["controls"]["random"] - m["patched_accuracy"])
            if (m := row["measured"].get(name))
            else float("nan")
            for name in models
        ]
        for row in rows
    ]
    most = max(10.0, *(abs(value) for line in lost for value in line if value == value))
    axis.imshow(lost, cmap="cividis", vmin=-most, vmax=most, aspect="auto")
    for y, line in enumerate(lost):
        for x, value in enumerate(line):
            bold = "bold" if models[x] == rows[y]["model"] else "normal"
            color = "white" if value < 0.2 * most else "black"
            axis.text(x, y, f"{value:+.0f}", ha="center", va="center", fontsize=8, color=color, fontweight=bold)
    axis.set_xticks(range(len(models)), models, fontsize=8, rotation=20)
    axis.set_yticks(range(len(rows)), [" · ".join(_names(row)) for row in rows], fontsize=8)
    figure.suptitle("points of accuracy lost beyond random colours\nbold: the network trained on", fontsize=9)
    save_figure(figure, path)
