"""The most confident box of any class, so that an object is not even taken for something else."""

from typing import ClassVar

from calibration.common.errors import InputError
from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.detection import HideDetection


class Vanish(ObjectiveFamily):
    """The logarithm of the confidence of any class: a hidden object leaves no box, of its own class or of another.

    It asks for more than to hide the object's own class, and costs success in that.
    """

    name: ClassVar[str] = "vanish"
    summary: ClassVar[str] = "no box of any class on the object, so that it is not even taken for another"

    def for_classifier(self, target: int | None) -> Objective:
        raise InputError("objective vanish is for detectors; give --objective cross-entropy, margin or logit")

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        if target is not None:
            raise InputError("objective vanish takes no target class; give --target none, or another --objective")
        return HideDetection()  # the scores are of boxes on the object, where there is one
