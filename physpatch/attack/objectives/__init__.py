"""What the patch is trained to bring about. Every objective is minimised; terms are logged apart.

An objective is one module here with an ``ObjectiveFamily``, or a class behind an entry point ``physpatch.objectives``.
"""

from calibration.common.errors import InputError
from calibration.common.registry import Registry
from calibration.common.success import Aim
from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.victims.protocol import Task

OBJECTIVES = Registry("objective", ObjectiveFamily, __name__, "physpatch.objectives")

__all__ = ["OBJECTIVES", "Objective", "ObjectiveFamily", "choose_goal", "choose_objective"]


def choose_goal(goal: str, target: int | None, on_object: bool) -> str:
    """What ``auto`` of ``config.GOALS`` means for a detector, or the goal itself.

    Raises:
        InputError: a goal that needs a target or an object and has none, or that has no use for the target.
    """
    if goal == "auto":
        return Aim(goal, target=target).resolved(on_object)
    if goal == "hide" and target is not None:
        raise InputError("goal hide takes no target class; give --target none, or --goal relabel or appear")
    if goal != "hide" and target is None:
        raise InputError(f"goal {goal} needs a class to be found; give --target")
    if goal == "relabel" and not on_object:
        raise InputError("goal relabel needs the object that is to be taken for something else; give --object")
    return goal


def choose_objective(
    task: Task, target: int | None, loss: str = "cross-entropy", *, goal: str = "auto", on_object: bool = False
) -> Objective:
    """Choose the objective for a victim's task and a target class, or None for untargeted.

    ``goal`` is one of ``config.GOALS``, for detectors. ``on_object`` is for a detector before an object, the label being
    the object's class.

    Raises:
        InputError: no such loss, none of that name for detectors, or a goal that cannot be had.
    """
    family = OBJECTIVES.find(loss)()
    if task == "detect":
        relabels = choose_goal(goal, target, on_object) == "relabel"
        return family.for_detector(target, relabels=relabels, on_object=on_object)
    if goal != "auto":
        raise InputError(f"goal {goal} is for detectors, such as --model signs; a classifier is aimed by --target")
    return family.for_classifier(target)
