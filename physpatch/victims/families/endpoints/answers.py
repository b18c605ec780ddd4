"""What an endpoint answered, in one of the forms in docs/howto/models.md, as numbers; impossible ones are refused."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from calibration.common.text import cleaned, shortened

_LEAST = 1e-9  # probability of a class that the answer leaves out, if nothing remains for it
_BEHIND = 1 - 1e-5  # of the best score that is named: the most that a class which is not named can have
_ROUNDING = 0.05  # by which rounded probabilities of many classes may miss a sum of 1
_SLACK = 1e-6  # by which one may miss 0 and 1
_LARGEST = float(np.finfo(np.float32).max)
_LONGEST_SHOWN = 40  # characters of a value in a message


class UnexpectedAnswerError(Exception):
    """The answer is not as documented; the message names the place in it, and what was expected there."""


class UnnamedClassesError(Exception):
    """The answer names some classes, and all others are unknown; the message says which it names."""


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer as numbers.

    Attributes:
        labels: names of all classes: those that were known, or else those of the answer, or else numbers.
        told: those of the answer; empty where it has none.
        finds_boxes: whether it is of boxes.
        values: logits (B, K), or a table of boxes (B, A, 4 + K).
    """

    labels: tuple[str, ...]
    told: tuple[str, ...]
    finds_boxes: bool
    values: NDArray[np.float32]


def read_answer(body: bytes, count: int, known: tuple[str, ...]) -> Answer:
    """Read the answer about ``count`` pictures.

    Args:
        body: JSON.
        count: the pictures that were sent.
        known: names of all classes; empty where they are not known yet.

    Raises:
        UnexpectedAnswerError: it is not as documented, or holds what is impossible.
        UnnamedClassesError: it names some classes only, and neither it nor ``known`` names all.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswerError(f"it is not JSON ({error})") from error
    if not isinstance(answer, dict):
        raise UnexpectedAnswerError(f"it is {_shown(answer)}; expected an object")
    told_labels = _told_labels(answer)
    labels = known or told_labels
    if "boxes" in answer:
        return Answer(labels, told_labels, True, _table(answer["boxes"], count, _named(labels, "boxes")))
    if "predictions" in answer:
        best = _logits_of_best(answer["predictions"], count, _named(labels, "its best classes"))
        return Answer(labels, told_labels, False, best)
    for name, read in (("logits", _matrix), ("probabilities", _logs)):
        if name in answer:
            values = read(answer[name], count, len(labels), name)
            return Answer(labels or tuple(f"class {i}" for i in range(values.shape[1])), told_labels, False, values)
    raise UnexpectedAnswerError("it has none of logits, probabilities, predictions and boxes")


def _told_labels(answer: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes in an answer; empty where it has none.

    Raises:
        UnexpectedAnswerError: they are no list of names.
    """
    labels = answer.get("labels")
    if labels is None:
        return ()
    if not isinstance(labels, list):
        raise UnexpectedAnswerError(f"labels is {_shown(labels)}; expected a list of names")
    return tuple(_label(label, f"labels[{i}]") for i, label in enumerate(labels))


def _label(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not cleaned(str(value)).strip():
        raise UnexpectedAnswerError(f"{where} is {_shown(value)}; expected the name of a class")
    return cleaned(str(value))


def _named(labels: tuple[str, ...], words: str) -> tuple[str, ...]:
    if not labels:
        raise UnnamedClassesError(words)
    return labels


def _matrix(values: Any, count: int, classes: int, where: str) -> NDArray[np.float32]:
    """Read a row of finite numbers for each picture, (count, classes), or of any length where ``classes`` is 0."""
    _per_picture(values, count, where)
    for i, row in enumerate(values):
        if not isinstance(row, list):
            raise UnexpectedAnswerError(f"{where}[{i}] is {_shown(row)}; expected a list of numbers")
        if len(row) != (classes or len(values[0])):
            expected = f"{classes} labels" if classes else f"{len(values[0])} in the first"
            raise UnexpectedAnswerError(f"{where}[{i}] has {len(row)} numbers for {expected}")
    rows = [_numbers(row, f"{where}[{i}]") for i, row in enumerate(values)]
    return np.array(rows, np.float32)


def _logs(values: Any, count: int, classes: int, where: str) -> NDArray[np.float32]:
    """Read probabilities, as logits."""
    shares = _matrix(values, count, classes, where)
    for i, k in np.argwhere((shares < -_SLACK) | (shares > 1 + _SLACK)):
        raise UnexpectedAnswerError(f"{where}[{i}][{k}] is {_shown(values[i][k])}; expected a probability, 0 to 1")
    for (i,) in np.argwhere(np.abs(shares.sum(axis=1, dtype=np.float64) - 1) > _ROUNDING):
        raise UnexpectedAnswerError(f"{where}[{i}] sums to {shares[i].sum():.4g}; expected 1, or send logits")
    return np.log(np.clip(shares, _LEAST, None))


def _logits_of_best(values: Any, count: int, labels: tuple[str, ...]) -> NDArray[np.float32]:
    """Turn the best classes of each picture into logits; what their scores leave is spread over the others.

    None of the others comes before the best one, which matters for scores that are rounded or do not sum to 1.
    """
    _per_picture(values, count, "predictions")
    rows = np.zeros((count, len(labels)))
    numbers = _numbers_by_label(labels)
    for i, row in enumerate(rows):
        named: dict[int, float] = {}
        for where, entry in _entries(values[i], f"predictions[{i}]"):
            number = _index(entry, where, numbers)
            if number in named:
                raise UnexpectedAnswerError(f"{where}.label is {_shown(entry['label'])} for the second time")
            named[number] = max(_score(entry, where), _LEAST)
        if not named:
            raise UnexpectedAnswerError(
                f"predictions[{i}] is empty, so no class comes first; expected the best classes, or a class of its own for none"
            )
        total = sum(named.values())
        if total > 1 + _ROUNDING:
            raise UnexpectedAnswerError(f"the scores of predictions[{i}] sum to {total:.4g}; expected 1 at most")
        remaining, best = max(0.0, 1 - total) / max(1, len(row) - len(named)), max(named.values())
        row[:] = max(remaining, _LEAST) if remaining < best else _BEHIND * best
        row[list(named)] = list(named.values())
    return np.log(rows).astype(np.float32)


def _table(values: Any, count: int, labels: tuple[str, ...]) -> NDArray[np.float32]:
    """Turn the boxes of each picture into a table, in which those of shorter lists have the probability 0."""
    _per_picture(values, count, "boxes")
    numbers = _numbers_by_label(labels)
    pictures = [
        [_row(entry, where, numbers) for where, entry in _entries(boxes, f"boxes[{i}]")]
        for i, boxes in enumerate(values)
    ]
    table = np.zeros((count, max(1, *map(len, pictures)), 4 + len(labels)), np.float32)
    for rows, boxes in zip(table, pictures, strict=True):
        for row, (edges, number, score) in zip(rows, boxes, strict=False):
            row[:4], row[4 + number] = edges, score
    return table


def _row(entry: dict[str, Any], where: str, numbers: dict[str, int | None]) -> tuple[list[float], int, float]:
    number, score, box = _index(entry, where, numbers), _score(entry, where), entry.get("box")
    if not isinstance(box, list) or len(box) != 4:
        raise UnexpectedAnswerError(f"{where}.box is {_shown(box)}; expected [left, top, right, bottom]")
    edges = _numbers(box, f"{where}.box")
    if edges[2] < edges[0] or edges[3] < edges[1]:
        raise UnexpectedAnswerError(
            f"{where}.box is {_shown(box)}; expected [left, top, right, bottom] with left before right, top before bottom"
        )
    return edges, number, score


def _per_picture(values: Any, count: int, where: str) -> None:
    if not isinstance(values, list) or len(values) != count:
        got = f"{len(values)} lists" if isinstance(values, list) else _shown(values)
        raise UnexpectedAnswerError(f"{where} is {got} for {count} pictures; expected a list for each")


def _entries(values: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(values, list):
        raise UnexpectedAnswerError(f"{where} is {_shown(values)}; expected a list of objects")
    for k, entry in enumerate(values):
        if not isinstance(entry, dict):
            raise UnexpectedAnswerError(f"{where}[{k}] is {_shown(entry)}; expected an object")
        yield f"{where}[{k}]", entry


def _numbers_by_label(labels: tuple[str, ...]) -> dict[str, int | None]:
    """Number the classes by their labels; a label that several share names none of them."""
    times = Counter(labels)
    return {label: number if times[label] == 1 else None for number, label in enumerate(labels)}


def _index(entry: dict[str, Any], where: str, numbers: dict[str, int | None]) -> int:
    label = _label(entry.get("label"), f"{where}.label")
    if (number := numbers.get(label)) is None:
        expected = "a label of one class only" if label in numbers else f"one of the {len(numbers)} labels"
        raise UnexpectedAnswerError(f"{where}.label is {_shown(label)}; expected {expected}")
    return number


def _score(entry: dict[str, Any], where: str) -> float:
    score = entry.get("score")
    if not _is_number(score) or not -_SLACK <= score <= 1 + _SLACK:
        raise UnexpectedAnswerError(f"{where}.score is {_shown(score)}; expected a probability, 0 to 1")
    return min(max(float(score), 0.0), 1.0)


def _numbers(values: list[Any], where: str) -> list[float]:
    for k, value in enumerate(values):
        if not _is_number(value):
            raise UnexpectedAnswerError(f"{where}[{k}] is {_shown(value)}; expected a finite number")
    return [float(value) for value in values]


def _is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a number that float32 can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _shown(value: Any) -> str:
    text = cleaned(json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value))
    return shortened(text, _LONGEST_SHOWN)
