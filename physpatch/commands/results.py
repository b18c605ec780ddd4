"""Results of training and evaluation, formatted for the terminal, and how to print what they are of."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibration.common.console import ProgressBar, print_table, say_next
from calibration.sheet.paper_sizes import print_options
from physpatch.records.config import TrainConfig
from physpatch.stats.rates import Rate, bounds_words, points

if TYPE_CHECKING:
    from physpatch.records.evaluation_record import EvaluationRecord, ObjectSize
    from physpatch.stats.rates import Difference
    from physpatch.training.trainer import StepRecord

_STEPS_AVERAGED = 10  # a batch alone says little
_SCREENS_AVERAGED = 3

Results = Mapping[str, "EvaluationRecord | None"]
"""Evaluations by model, as ``Evaluation.to_dict()``."""


def training_progress(bar: ProgressBar) -> "Callable[[StepRecord, int], None]":
    """Create the callback that advances a bar with each training step, and says what the patch does so far."""
    latest: deque[float] = deque(maxlen=_STEPS_AVERAGED)
    on_screen: deque[float] = deque(maxlen=_SCREENS_AVERAGED)
    trial: int | None = None

    def show(record: "StepRecord", steps: int) -> None:
        nonlocal trial
        if record.trial != trial:  # another patch
            trial = record.trial
            latest.clear()
            on_screen.clear()
        latest.append(record.success)
        if record.on_screen is not None:
            on_screen.append(record.on_screen)
        words = f"fools {_average(latest)} {'on paper' if record.printed else 'on a screen'}"
        bar.show(record.step, steps, f"{words}, {_average(on_screen)} on a screen" if on_screen else words)
        if record.cells is not None:
            bar.show_cells(record.cells)

    return show


def _average(shares: Sequence[float]) -> str:
    return f"{100 * sum(shares) / len(shares):.0f} %"


def say_print_next(run: Path, config: TrainConfig | None) -> None:
    """Print the command that prints a run's patch, or its sign, with the controls; ``config`` are its settings, if known."""
    say_next("print", run, *print_options(sign=config is not None and config.object.drawn_sign is not None))


def show_results(results: Results) -> None:
    """Print accuracy and success of the patch and its controls, and a detector's results on the object."""
    rows: list[tuple[str, ...]] = []
    for model, result in results.items():
        if result is None:
            click.echo(f"{model}: no labelled photographs were held out, so nothing was measured")
            continue
        if result.caution:
            click.echo(f"note: {result.caution}", err=True)
        rows.append((model, "clean", _percent(result.clean_accuracy), "", "", str(result.n)))
        rows += _effect_rows(result)
    print_table(("model", "shown", "accuracy", "target first", "made wrong", "n"), rows, of_one=True)
    _show_differences(results)
    _show_objects(results)


def _effect_rows(result: "EvaluationRecord") -> list[tuple[str, ...]]:
    effects = {"patch": (result.patched_accuracy, result.targeted_success, result.untargeted_success)}
    for name, accuracy in result.controls.items():
        targeted, untargeted = result.control_targeted_success[name], result.control_untargeted_success[name]
        effects[f"{name} control"] = (accuracy, targeted, untargeted)
    rows: list[tuple[str, ...]] = [
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
    if result.screen_untargeted_success is not None:
        on_screen = (result.screen_targeted_success or Rate(None, None, 0), result.screen_untargeted_success)
        rows.insert(1, ("", "patch, on a screen", "", *map(describe_rate, on_screen), ""))
    return rows


def _show_differences(results: Results) -> None:
    """Print the differences between patch and controls, and success over all views, where a result has them."""
    rows: list[tuple[str, ...]] = []
    for model, result in results.items():
        if result is None or not result.differences:
            continue
        for control, kinds in result.differences.items():
            change = (_describe_change(kind) for kind in (kinds.targeted, kinds.untargeted))
            rows.append((model, f"patch minus {control}", *change))
        for name in ("patch", *result.differences):
            shares = (result.success_of_all("targeted", name), result.success_of_all("untargeted", name))
            rows.append((model, f"over all views: {name}", *(describe_rate(share) for share in shares)))
    if rows:
        print_table(("model", "paired, and over all views", "target first", "made wrong"), rows, of_one=True)


def _show_objects(results: Results) -> None:
    """Print the results on the object, where a detector was measured on one."""
    rows = [
        _object_row(model, result, condition)
        for model, result in results.items()
        if result is not None and result.object is not None
        for condition in ("clean", "patch", *result.controls)
    ]
    if rows:
        print_table(("object", "shown", "hidden", "relabelled", "false boxes per image", "mAP50 / mAP"), rows)
    drawn = [
        (
            f"{model}: of {name!r}{', which the sign is taken for' if name == result.drawn_sign.sign else ''}",
            describe_rate(lost),
        )
        for model, result in results.items()
        if result is not None and result.drawn_sign is not None
        for name, lost in result.drawn_sign.by_effect
    ]
    if drawn:
        print_table(("a harmless drawing in the patch's place", "sign lost"), drawn)
    sizes = [
        row for model, result in results.items() if result is not None for row in _size_rows(model, result.by_size_px)
    ]
    if sizes:
        print_table(("object's side", "lost with the patch", "lost with random colours"), sizes)


def _size_rows(model: str, parts: "Sequence[ObjectSize]") -> Iterator[tuple[str, ...]]:
    counted = [part for part in parts if part.success.n]
    if len(counted) > 1:
        for part in counted:
            size = bounds_words(part.from_px, part.below_px, "px")
            yield f"{model}: {size}", describe_rate(part.success), describe_rate(part.rate("random"))


def _object_row(model: str, result: "EvaluationRecord", condition: str) -> tuple[str, ...]:
    precision, false_boxes = result.mean_precision[condition], result.false_boxes_per_image
    return (
        f"{model}: {result.object}",
        {"clean": "no patch", "patch": "patch"}.get(condition, f"{condition} control"),
        *(
            describe_rate(rates[condition]) if condition in rates else ""
            for rates in (result.hidden, result.relabelled)
        ),
        f"{false_boxes[condition]:.2f}" if condition in false_boxes else "",
        f"{precision.map50:.2f} / {precision.map:.2f}",
    )


def show_defences(results: Results) -> None:
    """Print the effect and the cost of each defence, where one was measured."""
    rows = []
    for name, result in results.items():
        if result is not None and result.defence is not None:
            effect = result.defence
            changes = (
                _describe_change(change)
                for change in (effect.targeted_success_change, effect.untargeted_success_change)
            )
            certified = "" if effect.certified_accuracy is None else str(effect.certified_accuracy)
            rows.append((name, f"{points(-effect.clean_accuracy_paid)} points", *changes, certified))
    if rows:
        headings = ("behind a defence", "clean accuracy", "target first", "made wrong", "certified")
        end = len(headings) if any(row[-1] for row in rows) else -1
        print_table(headings[:end], [row[:end] for row in rows])


def describe_rate(rate: "Rate") -> str:
    """Format a rate; a dash where nothing was counted."""
    return str(rate) if rate.n else "-"


def _describe_change(change: "Difference | None") -> str:
    return str(change) if change and change.n else "-"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
