"""What a network's owner can do to its input. A defence is one module and one line in ``DEFENCES``."""

from dataclasses import replace

from calibration.common.errors import InputError, unknown_name
from physpatch.defences.base import Defence
from physpatch.defences.frequency import FREQUENCY
from physpatch.defences.heat import HEAT
from physpatch.defences.jpeg import JPEG
from physpatch.defences.lgs import LGS
from physpatch.defences.median import MEDIAN
from physpatch.victims.protocol import Victim

DEFENCES: dict[str, Defence] = {
    "jpeg": JPEG,
    "median": MEDIAN,
    "lgs": LGS,
    "frequency": FREQUENCY,
    "heat": HEAT,
}

__all__ = ["DEFENCES", "Defence", "defended", "named_defences"]


def defended(victim: Victim, name: str) -> Victim:
    """The same network behind a defence, as a victim of its own, called ``model+defence``.

    Raises:
        InputError: no such defence, or one that this kind of victim cannot have.
    """
    if name not in DEFENCES:
        raise unknown_name("defence", name, DEFENCES)
    defence = DEFENCES[name]
    if victim.task not in defence.tasks:
        raise InputError(f"the defence {name} needs a classifier; {victim.name} is a detector")
    return replace(victim, name=f"{victim.name}+{name}", guard=defence.guard_for(victim))


def named_defences(names: tuple[str, ...], task: str) -> tuple[str, ...]:
    """The names, each once; ``all`` stands for all that a victim of this task can have.

    Raises:
        InputError: no such defence.
    """
    for name in names:
        if name != "all" and name not in DEFENCES:
            raise unknown_name("defence", name, (*DEFENCES, "all"))
    if "all" in names:
        return tuple(name for name, defence in DEFENCES.items() if task in defence.tasks)
    return tuple(dict.fromkeys(names))
