"""Results of training and evaluation, formatted for the terminal."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from calibration.common.console import ProgressBar, print_table

if TYPE_CHECKING:
    from physpatch.training.trainer import StepRecord

Results = dict[str, dict[str, Any]]
"""Evaluations by model, as ``Evaluation.to_dict()``."""


def training_progress(bar: ProgressBar) -> "Callable[[StepRecord, int], None]":
    """Create the callback that advances a bar with each training step."""
    return lambda record, steps: bar.show(
        record.step, steps, f"loss {record.loss:.3f}, fooled {100 * record.success:.0f} %"
    )


def show_results(results: Results) -> None:
    """Print accuracy and success of the patch and its controls, and a detector's results on the object."""
    rows: list[tuple[str, ...]] = []
    for model, result in results.items():
        if not result:
            click.echo(f"{model}: no labelled photographs were held out, so nothing was measured")
            continue
        if result.get("caution"):
            click.echo(f"note: {result['caution']}", err=True)
        rows.append((model, "clean", _percent(result["clean_accuracy"]), "", "", str(result["n"])))
        rows += _effect_rows(result)
    print_table(("model", "shown", "accuracy", "target first", "made wrong", "n"), rows)
    _show_differences(results)
    _show_objects(results)


def _effect_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    effects = {"patch": (result["patched_accuracy"], result["targeted_success"], result["untargeted_success"])}
    for name, accuracy in result["controls"].items():
        targeted, untargeted = result["control_targeted_success"][name], result["control_untargeted_success"][name]
        effects[f"{name} control"] = (accuracy, targeted, untargeted)
    return [
        (
            "",
            name,
            _percent(accuracy),
            describe_rate(target),
            "by definition 0" if name == "grey control" else describe_rate(wrong),
            "",
        )
        for name, (accuracy, target, wrong) in effects.items()
    ]


def _show_differences(results: Results) -> None:
    """Print the differences between patch and controls, and success over all views, where a result has them."""
    rows: list[tuple[str, ...]] = []
    for model, result in results.items():
        differences = result.get("differences", {})
        for control, kinds in differences.items():
            change = (_describe_change(kinds[kind]) for kind in ("targeted", "untargeted"))
            rows.append((model, f"patch minus {control}", *change))
        for name in ("patch", *differences) if differences else ():
            shares = (result[f"{kind}_success_of_all"].get(name, {"n": 0}) for kind in ("targeted", "untargeted"))
            rows.append((model, f"over all views: {name}", *(describe_rate(share) for share in shares)))
    if rows:
        print_table(("model", "paired, and over all views", "target first", "made wrong"), rows)


def _show_objects(results: Results) -> None:
    """Print the results on the object, where a detector was measured on one."""
    rows = [
        _object_row(model, result, shown)
        for model, result in results.items()
        if "object" in result
        for shown in ("clean", "patch", *result["controls"])
    ]
    if rows:
        print_table(("object", "shown", "hidden", "relabelled", "false boxes per image", "mAP50 / mAP"), rows)


def _object_row(model: str, result: dict[str, Any], shown: str) -> tuple[str, ...]:
    precision, false_boxes = result["mean_precision"][shown], result["false_boxes_per_image"]
    return (
        f"{model}: {result['object']}",
        {"clean": "no patch", "patch": "patch"}.get(shown, f"{shown} control"),
        *(describe_rate(result[kind][shown]) if shown in result[kind] else "" for kind in ("hidden", "relabelled")),
        f"{false_boxes[shown]:.2f}" if shown in false_boxes else "",
        f"{precision['map50']:.2f} / {precision['map']:.2f}",
    )


def show_defences(results: Results) -> None:
    """Print the effect and the cost of each defence, where one was measured."""
    rows = []
    for name, result in results.items():
        if "defence" in result:
            effect = result["defence"]
            changes = (_describe_change(effect[f"{kind}_success_change"]) for kind in ("targeted", "untargeted"))
            rows.append((name, f"{-100 * effect['clean_accuracy_paid']:+.1f} points", *changes))
    if rows:
        print_table(("behind a defence", "clean accuracy", "target first", "made wrong"), rows)


def describe_rate(value: dict[str, Any]) -> str:
    """Format the JSON values of a ``Rate``; a dash where nothing was counted."""
    from physpatch.stats.intervals import Rate

    return str(Rate(**value)) if value["n"] else "-"


def _describe_change(value: dict[str, Any] | None) -> str:
    from physpatch.stats.intervals import Difference

    return str(Difference(**value)) if value and value["n"] else "-"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
