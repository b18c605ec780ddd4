"""What a session's report says."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.success import MEASURES
from calibration.sheet.pdf_reader import rasterise
from captures.gap.decomposition import Gap
from captures.report.blocks import Block, Bullets, Details, Gallery, Heading, Links, Picture, Table, Text
from captures.report.figures import bins_plot, effect_plot, gap_plot, pose_plot, prediction_plot, strip_plot
from captures.results.aggregation import CONTROL, MARGIN, SIZE_EDGES, MapCell, Tally
from captures.results.recorded_session import RecordedSession
from captures.sources.opencv import rgb
from captures.storage import read_events
from physpatch.stats.intervals import Rate, percent

SHEET_DPI = 60
_MOST_FRAMES = 12
_FRAME_WIDTH_PX = 480
_UNITS = {"step": "steps of the plan", "clip": "clips", "pose cell": "takes"}
_CELLS = {"step": "steps", "clip": "clips", "pose cell": "pose cells"}  # what a unit is, where takes are not meant
_SHORT = {
    "target": "target first",
    "wrong": "wrong answer",
    "hidden": "nothing found on the object",
    "relabelled": "found as something else",
    "false_boxes": "false box at the patch",
}


def lead_blocks(session: RecordedSession, gaps: Sequence[Gap]) -> list[Block]:
    """What is to be read first, in sentences."""
    sentences = [*_plain_words(session.tally, session.target), *(f"{gap.model}: {gap.sentence}" for gap in gaps)]
    blocks: list[Block] = [Heading("In short")]
    if session.record.get("virtual"):
        simulated = "These frames come from the virtual rig, a simulation of printer and camera, not from a camera."
        blocks.append(Text(simulated, "lead"))
    if not sentences:
        blocks.append(
            Text(
                "No patch effect can be stated from this session: either no patch sheet was recognised, or nothing was "
                "aimed at and the true class was not known (--label)."
            )
        )
    return [*blocks, Bullets(sentences)] if sentences else blocks


def session_blocks(
    session: RecordedSession, gaps: Sequence[Gap], troubles: Sequence[str], path: Path
) -> Iterator[Block]:
    """The session, chapter by chapter; ``path`` is the report's own."""
    tally = session.tally
    yield Heading("What the camera saw")
    yield from _effect(session)
    yield Heading("How sure")
    yield from _certainty(tally)
    yield Heading("Where it worked")
    yield from _maps(tally)
    yield Heading("From digital to physical")
    yield from _way(gaps, troubles)
    yield Heading("What was shown")
    yield from _pictures(session)
    yield Heading("How it was measured")
    yield from _method(session)
    yield Heading("Raw data", 2)
    yield Links(_files(session.folder, path))
    yield Details("The session's record", json.dumps(session.record, indent=2, ensure_ascii=False))


def rate_words(rate: Rate) -> str:
    """``41.0 % (30.2 to 52.8, n = 80)``, or a dash where nothing was counted."""
    if rate.rate is None:
        return "–"
    if rate.ci95 is None:
        if rate.within95 is None:
            return f"{percent(rate.rate)} (one take)".replace(" ", "\N{NO-BREAK SPACE}")
        low, high = (100 * end for end in rate.within95)
        words = f"{percent(rate.rate)}|(one take;|within it {low:.1f} to {high:.1f})"
        return words.replace(" ", "\N{NO-BREAK SPACE}").replace("|", " ")
    words = f"{percent(rate.rate)}|({100 * rate.ci95[0]:.1f} to {100 * rate.ci95[1]:.1f},|n = {rate.n})"
    return words.replace(" ", "\N{NO-BREAK SPACE}").replace("|", " ")  # lines break between its parts only


def measures_of(tally: Tally, model: str) -> list[str]:
    """What was measured of a model, in the order of ``MEASURES``."""
    return [m for m in MEASURES if any(tally.rates(model, m, c) for c in tally.conditions(model))]


def _plain_words(tally: Tally, target: str | None) -> Iterator[str]:
    """One sentence for each model and thing that happened: the patch's effect beside the controls', whatever it is."""
    units = _UNITS[tally.unit_kind]
    for model in tally.models:
        found = {s.condition: s for s in tally.summaries() if s.model == model}
        for measure in measures_of(tally, model):
            if (
                "patch" not in found
                or found["patch"].rate(measure).rate is None
                or (measure == "target" and not target)
            ):
                continue
            rates = {condition: s.rate(measure) for condition, s in found.items() if s.rate(measure).rate is not None}
            controls = ", ".join(
                f"{rate_words(r)} with the {c} control" for c, r in rates.items() if c not in ("patch", "none")
            )
            of_what = units if rates["patch"].ci95 is not None else "poses"  # of a single take
            said = f"{model}: with the patch, {MEASURES[measure]} in {rate_words(rates['patch'])} of the {of_what}"
            yield said + (f"; {controls}." if controls else "; no control was shown, so this may be mere occlusion.")


def _effect(session: RecordedSession) -> Iterator[Block]:
    tally = session.tally
    summaries = tally.summaries()
    plotted: dict[str, Mapping[str, Rate]] = {}
    for model in tally.models:
        for measure in measures_of(tally, model):
            rates = {
                s.condition: s.rate(measure) for s in summaries if s.model == model and s.rate(measure).rate is not None
            }
            plotted[f"{model}\n{_SHORT[measure]}"] = rates
    if plotted:
        yield Picture(
            effect_plot(plotted),
            "Rates by sheet, with 95 % intervals: the patch stands beside harmless sheets at the same poses",
        )
    measured = [m for m in MEASURES if any(s.rate(m).rate is not None for s in summaries)]
    yield Table(
        [
            "model",
            "sheet",
            "frames",
            "clips",
            *(_SHORT[m] for m in measured),
            "mean target score",
            "heat in patch",
            "px a cell",
            "sheet found",
        ],
        [
            [
                s.model,
                s.condition,
                str(s.frames),
                str(s.clips),
                *(rate_words(s.rate(m)) for m in measured),
                percent(s.mean_target_score),
                percent(s.heat_in_patch),
                "–" if s.px_per_cell is None else f"{s.px_per_cell:.1f}",
                percent(s.located),
            ]
            for s in summaries
        ],
        frozenset(i for i, s in enumerate(summaries) if s.condition == "patch"),
        f"Rates are means over {_UNITS[tally.unit_kind]}, of which n are counted: {_condition_words(tally)} "
        f"Intervals are 95 %. {_design_words(tally)}",
    )
    comparisons = tally.comparisons()
    if comparisons:
        yield Heading("The patch less each control", 2)
        yield Table(
            ["model", "what happened", "control", "difference, points", "McNemar's p"],
            [
                [
                    c.model,
                    _SHORT[c.measure],
                    c.control,
                    str(c.difference),
                    "–" if c.difference.p_value is None else f"{c.difference.p_value:.3g}",
                ]
                for c in comparisons
            ],
            caption=f"Paired by the {tally.unit_kind}: what a harmless sheet of the same size does at the same "
            f"poses is taken off.",
        )


def _condition_words(tally: Tally) -> str:
    known = [model for model in tally.models if tally.recognised(model) is not None]
    if not known:
        return "all of them, for no control tells where the model would have been right."
    return (
        f"those in which the model recognises what is shown with the {CONTROL} control, each weighed by how often it does, "
        "because a patch cannot fool what was wrong before."
    )


def _design_words(tally: Tally) -> str:
    """What the intervals reach over, and what they do not."""
    design = tally.design()
    fixed = " and ".join(filter(None, [", ".join(design.fixed[:-1]), design.fixed[-1]]))
    words = f"They hold for this {fixed}: a session tells nothing of others."
    if tally.unit_kind == "pose cell":
        words += (
            f" Sheets were held up in {design.takes} takes over {design.poses} poses. The poses of one take share its hand and "
            "its light, so the take is what intervals are over; of a single take none is claimed."
        )
    return words


def _certainty(tally: Tally) -> Iterator[Block]:
    unit = "take" if tally.unit_kind == "pose cell" else tally.unit_kind
    rows = []
    for model in tally.models:
        for measure in measures_of(tally, model):
            spread = tally.spread(model, measure, "patch")
            if spread is None:
                continue
            rows.append(
                [
                    model,
                    _SHORT[measure],
                    "–" if spread.icc is None else f"{spread.icc:.2f}",
                    f"{spread.effective_n:.0f}",
                    _interval(spread.t_ci95),
                    _interval(spread.bootstrap_ci95),
                    str(spread.needed),
                ]
            )
    yield Text(
        f"Frames of one {unit} are alike, so the {unit} is the unit of every interval. The intra-class "
        f"correlation (ICC) says "
        "how alike they are, the effective n how many independent frames would tell as much."
    )
    if rows:
        yield Table(
            [
                "model",
                "what happened",
                "ICC",
                "effective n",
                "by Student's t",
                "by bootstrap",
                f"needed for ± {100 * MARGIN:.0f} points",
            ],
            rows,
            caption=f"For the patch. The last column: {_UNITS[tally.unit_kind]} such as these, at the rate that was found. "
            f"The rates above have Wilson's interval at n over the correlation, which covers best "
            f"(docs/results.md).",
        )
    excluded = [[model, why, str(frames)] for model in tally.models for why, frames in tally.exclusions(model).items()]
    if excluded:
        yield Heading("Not counted", 2)
        yield Table(["model", "why", "frames with the patch"], excluded)


def _maps(tally: Tally) -> Iterator[Block]:
    drawn = False
    for model in tally.models:
        for measure in measures_of(tally, model)[:2]:
            title = f"{model}: {_SHORT[measure]}, with the patch"
            cells = tally.by_pose(model, measure)
            if cells:
                drawn = True
                grid, cells = (tally.grid, cells) if tally.protocol else _trimmed(tally, cells)
                yield Picture(
                    pose_plot(grid, cells, title),
                    f"{title}, by distance and yaw: rate, interval, n {_UNITS[tally.unit_kind]} and frames. "
                    f"Hatched: not seen.",
                )
            sizes = {
                c: {_size(k): v for k, v in tally.by_size(model, measure, c).items()} for c in tally.conditions(model)
            }
            if any(sizes.values()):
                yield Picture(
                    bins_plot({c: v for c, v in sizes.items() if v}, "pixels a cell", title),
                    f"{title}, by the size of a cell in the frame",
                )
            lights = {c: tally.by_light(model, measure, c) for c in tally.conditions(model)}
            if any(lights.values()):
                yield Picture(
                    bins_plot({c: v for c, v in lights.items() if v}, "light", title), f"{title}, by the light"
                )
    if not drawn:
        yield Text("No pose of a counted patch sheet is known, so there is no map.")


def _trimmed(tally: Tally, cells: dict[tuple[int, int], MapCell]):  # type: ignore[no-untyped-def]
    """Of the grid that reaches everywhere the part that was seen."""
    from dataclasses import replace

    rows, columns = ([at[i] for at in cells] for i in (0, 1))
    grid = replace(
        tally.grid,
        distances_m=tally.grid.distances_m[min(rows) : max(rows) + 1],
        yaws_deg=tally.grid.yaws_deg[min(columns) : max(columns) + 1],
    )
    return grid, {(row - min(rows), column - min(columns)): cell for (row, column), cell in cells.items()}


def _size(edge: int) -> str:
    low, high = (0.0, *SIZE_EDGES)[edge], (*SIZE_EDGES, None)[edge]
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


def _way(gaps: Sequence[Gap], troubles: Sequence[str]) -> Iterator[Block]:
    if not gaps and not troubles:
        yield Text("This session was not replayed (physpatch report --replay).")
    for trouble in troubles:
        yield Text(f"Not replayed: {trouble}.")
    for gap in gaps:
        yield Heading(f"{gap.model}: {_SHORT[gap.measure]}", 2)
        yield Text(gap.sentence, "lead")
        if gap.left_out:
            yield Text(
                f"This is not about {gap.left_out} of the session's {_CELLS.get(gap.unit, gap.unit)} with the patch: no frame "
                f"that was kept shows the {gap.background} sheet there large, sharp and plain enough to be measured."
            )
        yield Picture(
            gap_plot(gap),
            "The rate at each step; between the steps what changes, in points. The largest loss that can be told "
            "from chance is drawn thick.",
        )
        rows = [[step.shown, rate_words(step.rate), "–" if step.loss is None else str(step.loss)] for step in gap.steps]
        named = {i for i, step in enumerate(gap.steps) if step.name in (gap.cause, gap.second)}
        if gap.digital is not None:
            rows.insert(0, ["on held-out photographs, at training's end", rate_words(gap.digital), "–"])
        yield Table(
            ["step", MEASURES[gap.measure], "lost since the step before"],
            rows,
            frozenset(i + (gap.digital is not None) for i in named),
            f"In {gap.views} frames with the {gap.background} sheet the digital patch is drawn in its place, "
            f"{gap.draws} times each with "
            f"what is not yet measured drawn as in training. n counts {_UNITS.get(gap.unit, gap.unit)}; losses "
            f"are paired by them. Colours from {gap.colours}.",
        )
        if gap.example:
            yield Picture(strip_plot(gap.example), "One frame at each step, as the network sees it")
        if gap.prediction is not None:
            yield Picture(prediction_plot(gap.predicted, gap.captured, gap.unit), "How good the replay's prediction is")
            p = gap.prediction
            slope = "not known, as all predictions are alike" if p.slope is None else f"{p.slope:.2f}"
            between = f" ({p.slope_ci95[0]:.2f} to {p.slope_ci95[1]:.2f})" if p.slope_ci95 else ""
            yield Text(
                f"Brier score of the prediction {p.brier:.3f}; of always predicting the mean {p.constant:.3f}; "
                f"slope of the captured on "
                f"the predicted rates {slope}{between}; n = {p.n}.",
                "soft",
            )


def _pictures(session: RecordedSession) -> Iterator[Block]:
    if session.sheet is not None:
        yield Picture(packed(rasterise(session.sheet, SHEET_DPI), ".png"), "the sheet that was shown", 0.35)
    frames = list(_frames(session.folder))
    if frames:
        yield Gallery(frames)


def _frames(session: Path) -> Iterator[Picture]:
    """Key frames over the whole session, each kind of sheet equally often."""
    by_condition: dict[str, list[Path]] = {}
    for file in sorted((session / "frames").glob("*.jpg")):
        by_condition.setdefault(file.stem.partition("-")[2], []).append(file)
    each = max(1, _MOST_FRAMES // max(1, len(by_condition)))
    for file in sorted(file for files in by_condition.values() for file in files[:: -(-len(files) // each)]):
        picture = cv2.imread(str(file))
        if picture is None:
            continue
        height = round(picture.shape[0] * _FRAME_WIDTH_PX / picture.shape[1])
        small = cv2.resize(picture, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        number, _, condition = file.stem.partition("-")
        yield Picture(packed(rgb(small), ".jpg"), f"frame {int(number)}: {condition}")


def _method(session: RecordedSession) -> Iterator[Block]:
    record, tally = session.record, session.tally
    delay = record.get("delay_s")
    facts = {
        "frames analysed": str(len({row.frame for row in session.rows})),
        "captured, dropped": f"{record['captured']}, {record['dropped']}" if "captured" in record else "",
        "ended": str(record.get("status", "killed")),
        "source": str(record.get("source", "virtual rig" if record.get("virtual") else "")),
        "what the classifier saw": str(record.get("region", "")),
        "true class": str(record.get("label") or "as the source says, where it does"),
        "aimed at": str(session.target or "nothing: untargeted"),
        "unit of statistics": tally.unit_kind,
        "delay": "" if not delay else f"mean {1000 * delay['mean']:.0f} ms, longest {1000 * delay['longest']:.0f} ms",
        "lens": "assumed field of view" if record.get("intrinsics_assumed") else "measured, or the rig's own",
        "device": str(record.get("device", "")),
        "versions": ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items()),
    }
    yield Table(["what", "how"], [[what, how] for what, how in facts.items() if how])
    models = record.get("models", [])
    if models:
        yield Heading("Models and sheets", 2)
        yield Table(
            ["model", "task", "weights", "SHA-256"],
            [[m["name"], m["task"], str(m["source"]), m["sha256"]] for m in models],
        )
    sheets = record.get("sheets", [])
    if sheets:
        yield Table(
            ["sheet", "id", "width of the patch"], [[s["kind"], s["id"], f"{s['size_mm']:.1f} mm"] for s in sheets]
        )
    events = [event for event in read_events(session.folder) if event.kind not in ("step", "done")]
    if events:
        yield Details("What happened besides", "\n".join(f"{e.time_s:9.2f} s  {e.kind:10} {e.words}" for e in events))


def _files(folder: Path, report: Path) -> list[tuple[str, str]]:
    """What lies in the session's folder, seen from the report."""
    known = {
        "frames.csv": "a row for each frame and model",
        "frames.parquet": "the same for pandas and polars",
        "session.db": "the same as SQLite, with what happened besides",
        "session.json": "the session's record",
        "video.mp4": "the annotated video",
        "raw": "frames as they came",
    }
    start = report.resolve().parent
    return [
        (words, Path(os.path.relpath(folder.resolve() / name, start)).as_posix())
        for name, words in known.items()
        if (folder / name).exists()
    ]


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"


def packed(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """An (H, W, 3) RGB picture as a PNG or JPEG file holds it."""
    _, data = cv2.imencode(suffix, rgb(picture))
    return data.tobytes()
