"""The effects that a patch can be trained for. Every objective is minimised; its terms are logged separately.

An objective is a module here with an ``ObjectiveFamily``, or a class behind an entry point ``physpatch.objectives``.
"""

from calibration.common.errors import InputError
from calibration.common.registry import Registry
from calibration.common.success import Aim
from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.victims.protocol import Task

OBJECTIVES = Registry("objective", ObjectiveFamily, __name__, "physpatch.objectives")

__all__ = ["OBJECTIVES", "Objective", "ObjectiveFamily", "choose_goal", "choose_objective"]


def choose_goal(goal: str, target: int | None, on_object: bool) -> str:
    """Resolve a goal of ``config.GOALS`` for a detector: ``auto`` is replaced, any other goal is checked.

    Args:
        goal: one of ``config.GOALS``.
        target: index of the target class; None for none.
        on_object: whether the patch lies on an object.

    Raises:
        InputError: the goal lacks its target or its object, or cannot have a target.
    """
    if goal == "auto":
        return Aim(goal, target=target).resolved(on_object)
    if goal == "hide" and target is not None:
        raise InputError("goal hide takes no target class; give --target none, or --goal relabel or appear")
    if goal != "hide" and target is None:
        raise InputError(f"goal {goal} needs a class to detect; give --target")
    if goal == "relabel" and not on_object:
        raise InputError("goal relabel needs an object to detect as another class; give --object")
    return goal


def choose_objective(
    task: Task, target: int | None, loss: str = "cross-entropy", *, goal: str = "auto", on_object: bool = False
) -> Objective:
    """Choose the objective for a victim's task.

    Args:
        task: the victim's.
        target: index of the target class; None for an untargeted attack.
        loss: name of an objective's family.
        goal: one of ``config.GOALS``, for detectors.
        on_object: whether the patch lies on an object that a detector should find; the labels are then the object's class.

    Raises:
        InputError: no such loss, none of that name for detectors, or an impossible goal.
    """
    family = OBJECTIVES.find(loss)()
    if task == "detect":
        relabels = choose_goal(goal, target, on_object) == "relabel"
        return family.for_detector(target, relabels=relabels, on_object=on_object)
    if goal != "auto":
        raise InputError(f"goal {goal} is for detectors, such as --model signs; aim at a classifier with --target")
    return family.for_classifier(target)
