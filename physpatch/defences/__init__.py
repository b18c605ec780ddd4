"""Defences that clean a network's input: one per module here, or behind an entry point ``physpatch.defences``."""

from collections.abc import Sequence
from dataclasses import replace

from calibration.common.errors import InputError
from calibration.common.registry import Registry
from physpatch.defences.base import Defence
from physpatch.victims.protocol import Victim

UNDEFENDED = "none"  # of what an attacker knows: attack the victim as it is, too
EVERY = "all"  # of what to measure behind: every defence that the victim can have
DEFENCES = Registry("defence", Defence, __name__, "physpatch.defences")

__all__ = [
    "DEFENCES",
    "EVERY",
    "UNDEFENDED",
    "Defence",
    "defence_for",
    "defended",
    "known_defences",
    "named_defences",
    "require_defences",
]


def defended(victim: Victim, name: str) -> Victim:
    """Put a victim behind a defence, as a new victim called ``model+defence``.

    Raises:
        InputError: no such defence, or one for another kind of victim.
    """
    return replace(defence_for(victim, name).defended(), name=f"{victim.name}+{name}")


def defence_for(victim: Victim, name: str) -> Defence:
    """Create a defence for a victim.

    Raises:
        InputError: no such defence, or one for another kind of victim.
    """
    defence = DEFENCES.find(name)
    if victim.task not in defence.tasks:
        needed, actual = ("classifier", "detector") if victim.task == "detect" else ("detector", "classifier")
        raise InputError(f"the defence {name} needs a {needed}; {victim.name} is a {actual}")
    if defence.needs_heat and not victim.explains:
        raise InputError(f"the defence {name} needs Grad-CAM; {victim.name} shows no heat")
    return defence(victim)


def known_defences(names: tuple[str, ...], victims: Sequence[Victim]) -> list[list[Defence | None]]:
    """Create the defences that an attacker knows, for each victim; None for attacking it undefended, as without names.

    Raises:
        InputError: no such defence, or one for another kind of victim.
    """
    return [
        [None if name == UNDEFENDED else defence_for(victim, name) for name in dict.fromkeys(names or (UNDEFENDED,))]
        for victim in victims
    ]


def require_defences(names: tuple[str, ...], special: str) -> None:
    """Check the names of defences, before what takes long; ``special`` is accepted too: :data:`UNDEFENDED` or :data:`EVERY`.

    Raises:
        InputError: no such defence.
    """
    for name in names:
        if name != special:
            DEFENCES.find(name)


def named_defences(names: tuple[str, ...], victim: Victim) -> tuple[str, ...]:
    """List the defences asked for, each once; ``all`` stands for all those that the victim can have.

    Raises:
        InputError: no such defence.
    """
    require_defences(names, EVERY)
    if EVERY in names:
        return tuple(name for name, defence in DEFENCES.items() if defence.fits(victim))
    return tuple(dict.fromkeys(names))
