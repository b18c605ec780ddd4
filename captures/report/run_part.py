"""The chapters about a run, in its own report and in those of its sessions."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from calibration.common.errors import InputError
from calibration.common.pictures import open_picture
from calibration.common.text import number_of
from calibration.sheet.pdf_reader import rasterise
from captures.report.blocks import Block, Charts, Details, Heading, Picture, Table, Text
from captures.report.figures.charts import names_chart
from captures.report.wording import SHEET_DPI, packed, rate_words
from captures.results.aggregation import MapCell
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, ObjectDistance, ObjectSize
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.records.run_paths import sheet_of
from physpatch.records.run_record import RunRecord
from physpatch.stats.rates import Rate, bounds_words, percent

_PICTURES = {
    "examples": "Held-out photographs, selected independently of the patch's effect; wrong answers in orange",
    "gradcam": "Grad-CAM of correctly classified and of fooled photographs",
    "loss": "Loss by step",
    "eot": "Sixteen samples of the transformations",
}


def run_blocks(run: Path) -> list[Block]:
    """Build the chapters about a run; a file of it that is damaged is named instead of shown.

    Raises:
        InputError: nothing but damaged files.
    """
    patch_blocks, pictures = list(_shown(run)), list(_pictures(run))
    try:
        record = RunRecord.of(run)
        numbers = list(_recorded(run, record))
        details = [Details("The run's record", json.dumps(record.to_dict(), indent=2, ensure_ascii=False))]
    except InputError as error:
        if not any(isinstance(block, Picture) for block in (*patch_blocks, *pictures)):
            raise  # nothing is left to report
        numbers, details = [_damage(error)], []
    return [Heading("The patch"), *patch_blocks, *numbers, *pictures, *details]


def _or_damage(build: Callable[[], Iterable[Block]]) -> list[Block]:
    """Build blocks from a file; if it is damaged, say so."""
    try:
        return list(build())
    except InputError as error:
        return [_damage(error)]


def _damage(error: InputError) -> Block:
    return Text(f"Not shown: {error}.")


def _pictures(run: Path) -> Iterator[Block]:
    for name, words in _PICTURES.items():
        file = run / f"{name}.png"
        if file.is_file():
            yield from _or_damage(partial(_picture, file, words))


def _picture(file: Path, words: str) -> list[Block]:
    open_picture(file)  # raises for a damaged one
    return [Picture(file.read_bytes(), words)]


def _nothing_if_whole(file: Path) -> list[Block]:
    open_picture(file)
    return []


def _shown(run: Path) -> Iterator[Block]:
    """Show the patch and its sheet."""

    def patch() -> Iterator[Block]:
        loaded = Patch.load(run)
        rows, columns = loaded.grid
        words = f"{rows} × {columns} cells, id {loaded.id}"
        yield Picture(packed(loaded.picture(), ".png"), words, 0.3, pixelated=True)

    if (run / "patch.json").is_file():
        yield from _or_damage(patch)
    if (drawn := run / "patch.png").is_file():
        yield from _or_damage(partial(_nothing_if_whole, drawn))  # shown on the first screen
    sheet = sheet_of(run)
    if sheet.is_file():
        yield from _or_damage(lambda: [Picture(packed(rasterise(sheet, SHEET_DPI), ".png"), "its sheet", 0.3)])


def _recorded(run: Path, record: RunRecord) -> Iterator[Block]:
    """Show settings and results, from the run's record."""
    yield from _trained(run, record)
    if record.results is not None:
        yield from chain(_held_out(record.results), _on_object(record.results), _explained(record.results))


def _trained(run: Path, record: RunRecord) -> Iterator[Block]:
    config, weights, data = record.train_config, record.weights, record.data
    aim = f"target {record.target.name}" if record.target else "untargeted"
    if weights is None or data is None:
        yield from _imported(record, aim)
        return
    yield Text(
        f"Trained against {weights.model}, {aim}, by {config.optimisation.technique} for "
        f"{number_of(_count_rows(run / 'metrics.csv'), 'step')} of "
        f"{config.optimisation.batch} photographs, {_placed(config)}.{_imitation(record)}"
    )
    scenes = ", with scenes of a session as half of each batch" if config.data.backgrounds else ""
    yield Text(
        f"{data.train} training photographs{scenes}, {data.held_out} held-out photographs, from “{data.source}”. Weights "
        f"{weights.sha256[:16]}…, held-out photographs {data.held_out_fingerprint[:16]}…. Seed {record.seed}. "
        f"{record.device}.",
        "soft",
    )


def _imitation(record: RunRecord) -> str:
    if not record.imitators:
        return ""
    names = " and ".join(imitator.model for imitator in record.imitators)
    return f" It was asked for predictions alone; the gradients are those of {names}, which learned to answer like it."


def _imported(record: RunRecord, aim: str) -> Iterator[Block]:
    origin = record.imported
    if origin is None:
        return
    yield Text(f"Imported from “{origin.file}”, {aim}; who trained it, and how, is not recorded. {origin.note}".strip())
    measured = (
        "" if record.weights is None else f" Measured on {record.weights.model}, weights {record.weights.sha256[:16]}…."
    )
    yield Text(f"SHA-256 of the file {origin.sha256[:16]}…; {origin.read}.{measured}", "soft")


def _placed(config: TrainConfig) -> str:
    if config.object.name is None:
        return f"at {100 * config.patch.area:.1f} % of the picture"
    goal = {"image": ", in the whole image"}.get(config.objective.scope, "")
    goal_name = config.objective.goal
    goal = "" if goal_name == "auto" and not goal else f" (goal {goal_name}{goal})"
    return f"on {100 * config.object.share:.0f} % of the object “{config.object.name}”{goal}"


def _on_object(results: EvaluationRecord) -> Iterator[Block]:
    """Show the results of a detector on the object that carries the patch."""
    if results.object is None:
        return
    rows = []
    for name, precision in results.mean_precision.items():
        lost = [rate_words(rates[name]) if name in rates else "" for rates in (results.hidden, results.relabelled)]
        boxes = results.false_boxes_per_image.get(name)
        rows.append(
            [
                {"clean": "nothing", "patch": "the patch"}.get(name, f"{name} control"),
                *lost,
                "" if boxes is None else f"{boxes:.2f}",
                f"{precision.map50:.2f}",
                f"{precision.map:.2f}",
            ]
        )
    yield Table(
        ["on the object", "not detected", "detected as something else", "false boxes per image", "mAP50", "mAP50–95"],
        rows,
        frozenset({1}),
        f"The object is “{results.object}”. It is detected if a box of its class has an IoU of at least 0.5 and a "
        "confidence of at least 0.25. Losses are counted where it is detected with the grey control. False boxes are not on "
        "the object and not present without a patch.",
    )
    if (drawn := results.drawn_sign) is not None:
        drawings = "; ".join(f"“{name}” {rate_words(lost)}" for name, lost in drawn.by_effect)
        yield Text(
            f"With the patch, the object is most often taken for “{drawn.sign}”. With a harmless drawing of another sign in "
            f"the patch's place, it is lost in: {drawings}. What a patch does beyond the first of them is its own."
        )
    yield from _by_distance(results.by_patch_distance)
    yield from _by_size(results.by_size_px)


def _by_size(parts: Sequence[ObjectSize]) -> Iterator[Block]:
    """Show what the patch does to objects of each size; nothing where all are of one."""
    counted = [part for part in parts if part.success.n]
    if len(counted) < 2:
        return
    lost = {
        name: {bounds_words(part.from_px, part.below_px, "px"): MapCell(part.rate(name), 0) for part in counted}
        for name in ("patch", *CONTROLS)
    }
    yield Charts(
        [names_chart("Objects lost, by size", "side of the object in the network's input", lost)],
        "Lost: of those found with the grey control. Intervals are 95 %.",
    )


def _by_distance(parts: Sequence[ObjectDistance]) -> Iterator[Block]:
    """Show what the patch does to objects near it and far from it; nothing where all carry it."""
    if all(part.from_sides == 0 for part in parts):
        return
    names = [bounds_words(part.from_sides, part.below_sides) for part in parts]
    missed = {
        name: {words: MapCell(part.missed[name], 0) for words, part in zip(names, parts, strict=True)}
        for name in ("patch", *CONTROLS)
    }
    precisions = {
        sheet: {
            words: MapCell(Rate(value.ap50, value.ci95, value.objects), 0)
            for words, part in zip(names, parts, strict=True)
            for value in (part.precision[name],)
        }
        for name, sheet in {"patch": "patch", "clean": "none", **{name: name for name in CONTROLS}}.items()
    }
    axis = "distance from the patch, in its sides"
    yield Charts(
        [names_chart("Objects missed, by distance", axis, missed), names_chart("AP50, by distance", axis, precisions)],
        "All objects of the class by their distance from the patch, from edge to edge; 0 is an object that touches or carries "
        "it. Missed: of those found with the grey control. AP50 is COCO's, in per cent, also without a patch (“none”); n "
        "counts objects there, and photographs or objects for missed. Intervals are 95 %.",
    )


def _held_out(results: EvaluationRecord) -> Iterator[Block]:
    yield Heading("Digitally on held-out photographs", 2)
    sheet_results: list[tuple[str, float, Rate, Rate | None]] = [
        ("the patch", results.patched_accuracy, results.targeted_success, results.untargeted_success)
    ]
    for name, accuracy in results.controls.items():
        wrong = None if name == "grey" else results.control_untargeted_success[name]
        sheet_results.append((f"{name} control", accuracy, results.control_targeted_success[name], wrong))
    rows = [["nothing (clean)", percent(results.clean_accuracy), "", ""]]
    for name, accuracy, target, wrong in sheet_results:
        rows.append(
            [name, percent(accuracy), rate_words(target), rate_words(wrong) if wrong else "0 % (by definition)"]
        )
    poses = "one random pose" if results.poses == 1 else f"{results.poses} random poses"
    units = "photographs" if results.object is None else "objects"
    how = "Wilson's" if results.poses == 1 else "with the photograph as the unit"
    yield Table(
        ["shown", "accuracy", "target first", "made wrong"],
        rows,
        frozenset({1}),
        f"n = {results.n} {units} in {poses} each, the same for patch and controls. Success is counted where the answer is "
        f"right with the grey control, so the rate of grey itself is 0 by definition. Intervals are 95 %, {how}.",
    )
    if results.caution:
        yield Text(f"{results.caution[0].upper()}{results.caution[1:]}.", "soft")
    yield from _beside_controls(results)


def _beside_controls(results: EvaluationRecord) -> Iterator[Block]:
    """Show the difference between the patch and each control, and success in all views; older runs have neither."""
    if not results.differences:
        return
    rows = []
    for control, kinds in results.differences.items():
        changes = (kinds.targeted, kinds.untargeted)
        rows.append([f"patch minus {control} control", *(str(change) if change.n else "–" for change in changes)])
    for name in ("patch", *results.differences):
        rates = (of_all.get(name) for of_all in (results.targeted_success_of_all, results.untargeted_success_of_all))
        sheet = "the patch" if name == "patch" else f"the {name} control"
        rows.append([f"of all views, {sheet}", *(rate_words(rate) if rate else "–" for rate in rates)])
    yield Table(
        ["", "target first", "made wrong"],
        rows,
        frozenset(),
        "Differences are paired by photograph, on the views that count above. “Of all views” includes views in which the "
        "answer is wrong even with a harmless grey patch.",
    )


def _explained(results: EvaluationRecord) -> Iterator[Block]:
    """Show the Grad-CAM statistics."""
    heat = results.grad_cam
    if heat is None or not heat.n:
        return
    yield Heading("Where the network looked", 2)
    inside = heat.heat_in_patch
    conditions = [c for c in ("clean", "patch", *CONTROLS) if c in inside]
    rows = [["Grad-CAM heat inside the patch's area", *(percent(inside[c]) for c in conditions)]]
    if heat.pointing:
        rows.append(["hottest point inside it (pointing game)", *(percent(heat.pointing.get(c)) for c in conditions)])
    yield Table(
        ["for the network's answer", *conditions],
        rows,
        caption=f"The area is {percent(heat.patch_area)} of the picture, which is the share of heat expected if the "
        f"network ignores the patch. n = {heat.n}.",
    )
    if heat.similarity_to_target is not None and heat.similarity_of_clean is not None:
        sentences = (
            f"The heat map of the answer on the patched photograph has a correlation of {heat.similarity_to_target:+.2f} "
            f"with the target class's heat map on the same photograph; that of the answer on the clean photograph has "
            f"{heat.similarity_of_clean:+.2f}."
        )
        reached, missed = heat.similarity_to_target_reached, heat.similarity_to_target_missed
        if reached is not None:
            sentences += f" If the target comes first, the correlation is {reached:+.2f}"
            sentences += f"; if not, {missed:+.2f}." if missed is not None else "."
        if heat.similarity_to_target_null is not None:
            sentences += (
                f" As the null, the target class's heat map with harmless random cells has a correlation of "
                f"{heat.similarity_to_target_null:+.2f}, because both are maps of one class on one photograph. "
                f"Only a correlation above that is an effect of the patch."
            )
        yield Text(sentences)
    if heat.true_heat_in_patch:
        true, like = heat.true_heat_in_patch, heat.true_similarity
        yield Text(
            f"{percent(true['patch'])} of the heat of the true class is inside the patch's area; with random cells, "
            f"{percent(true['random'])}; with grey, {percent(true['grey'])}. Its correlation with the heat map under grey is "
            f"{like['patch']:+.2f} for the patch and {like['random']:+.2f} for random cells."
        )


def _count_rows(path: Path) -> int:
    if not path.is_file():
        return 0
    with open(path, "rb") as stream:
        return sum(1 for _ in stream) - 1
