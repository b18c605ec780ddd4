"""Checks of a model before anything is measured with it: what works, and the usual mistakes in its preprocessing."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from physpatch.data.photographs import (
    UNLABELLED,
    Photo,
    Photographs,
    limited,
    load_photos,
    photos_for,
    photos_with_objects,
)
from physpatch.evaluation.model_check.accuracy import check_accuracy
from physpatch.evaluation.model_check.boxes import check_boxes
from physpatch.evaluation.model_check.heat import HEAT_PHOTOGRAPHS, check_heat
from physpatch.evaluation.model_check.inputs import check_inputs
from physpatch.evaluation.model_check.running import (
    check_gradient,
    check_memory,
    check_queries,
    check_speed,
    check_steadiness,
    forward_seconds,
)
from physpatch.records.check_record import Finding
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_MOST_PHOTOGRAPHS = 200
_MOST_WITH_OBJECTS = 32
_TIMED_IMAGES = 4


def check_model(
    victim: Victim,
    data: str,
    *,
    columns: str | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Check a victim: accuracy and preprocessing, time and memory, gradients, determinism, batches, and heat.

    A slow model is tried on fewer photographs, which the findings say, so that a check takes tens of seconds.

    Args:
        victim: the model.
        data: labelled photographs, see :func:`physpatch.data.photographs.list_photos`.
        columns: of these data, if they are a table.
        seed: of the choice among many photographs.
        progress: called with the number of checks done and their total.

    Raises:
        InputError: no such data.
    """
    photos = photos_for(victim, data, columns=columns)
    labelled = [photo for photo in photos if photo.label != UNLABELLED]
    chosen = limited(labelled or photos, _MOST_PHOTOGRAPHS, seed)
    images = _images(victim, limited(chosen, max(HEAT_PHOTOGRAPHS, _TIMED_IMAGES), seed))
    few = images[:_TIMED_IMAGES]
    with untouched(victim):
        seconds = forward_seconds(victim, few)
        checks: list[Callable[[], Iterator[Finding]]] = [
            lambda: check_inputs(victim),
            lambda: _answers(victim, data, columns, chosen if labelled else [], images, seed, seconds),
            lambda: check_speed(victim, few, seconds),
            lambda: check_memory(victim),
            lambda: check_gradient(victim, few),
            lambda: check_steadiness(victim, few),
            lambda: check_heat(victim, images, seconds),
            lambda: check_queries(victim),
        ]
        findings: list[Finding] = []
        for number, check in enumerate(checks, start=1):
            findings += check()
            progress(number, len(checks))
    return findings


def _images(victim: Victim, photos: Sequence[Photo]) -> Tensor:
    return _pixels(victim, load_photos(photos, victim.preprocessing))


def _pixels(victim: Victim, photographs: Photographs) -> Tensor:
    return photographs.images.to(victim.device).float() / 255


def _answers(
    victim: Victim,
    data: str,
    columns: str | None,
    labelled: Sequence[Photo],
    images: Tensor,
    seed: int,
    seconds: float,
) -> Iterator[Finding]:
    if isinstance(victim, Detector):
        with_objects = photos_with_objects(victim, data, columns)
        boxed = [photo for photo in with_objects if photo.boxes]
        chosen_photos = limited(boxed or with_objects, _MOST_WITH_OBJECTS, seed)
        if not chosen_photos:
            yield check_boxes(victim, images, with_objects=False)
            return
        loaded = load_photos(chosen_photos, victim.preprocessing)
        yield check_boxes(victim, _pixels(victim, loaded), with_objects=True, objects=loaded.boxes or None)
    elif labelled:
        yield from check_accuracy(victim, labelled, seconds, seed)
    else:
        words = f"{data} has no photographs labelled with this model's classes; give some with --data"
        yield Finding("clean accuracy", words, "note")
