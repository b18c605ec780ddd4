"""Whether a detector finds boxes where objects are."""

from dataclasses import replace

from torch import Tensor

from physpatch.evaluation.model_check.accuracy import likely_mistakes
from physpatch.records.check_record import Finding
from physpatch.victims.detector import Detector

_BATCH = 16
_FEWEST_WITH_OBJECTS = 3  # photographs, before a detector that finds nothing on them is taken for a wrong one


def check_boxes(victim: Detector, images: Tensor, *, with_objects: bool) -> Finding:
    """Count the boxes on photographs (B, 3, S, S): a detector with a wrong preprocessing usually finds none on objects."""
    boxes, n = _count_boxes(victim, images), len(images)
    numbers = {"boxes": boxes, "n": n}
    if not with_objects:
        words = (
            f"{boxes} boxes in {n} photographs; give photographs with labelled objects to tell whether they are right"
        )
        return Finding("boxes", words, "works" if boxes else "note", numbers)
    if boxes:
        words = (
            f"{boxes} boxes in {n} photographs with objects; a detector's accuracy is measured by `physpatch evaluate`"
        )
        return Finding("boxes", words, numbers=numbers)
    words = f"no box on {n} photographs with objects: check preprocessing, labels and threshold"
    if victim.queries is None:
        finds = [
            mistake
            for mistake, other in likely_mistakes(victim)
            if other.resize == victim.preprocessing.resize  # photographs with boxes are not cropped
            and _count_boxes(replace(victim, preprocessing=other), images)
        ]
        words += f"; it finds some with {', or '.join(finds)}" if finds else ""
    return Finding("boxes", words, "fails" if n >= _FEWEST_WITH_OBJECTS else "note", numbers)


def _count_boxes(victim: Detector, images: Tensor) -> int:
    return sum(len(found) for part in images.split(_BATCH) for found in victim.find(part))
