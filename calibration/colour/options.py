"""Command-line options that name printing conditions, for printing and for training."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.common.cli_types import FILE, TextType
from calibration.common.errors import InputError

if TYPE_CHECKING:
    from calibration.colour.printing_condition import PrintingCondition

_ALL = "all"
SCREEN = "screen"  # no printing condition: the colours as they are sent


def _condition_names() -> Iterable[str]:
    from calibration.colour.printing_condition import ALIASES, condition_names

    return (_ALL, *ALIASES, *condition_names())


def _condition_option(words: str, *beside: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare --condition with its help, and names that it takes beside those of the conditions."""
    return click.option(
        "--condition",
        "conditions",
        type=TextType("condition", suggest=lambda: (*_condition_names(), *beside)),
        multiple=True,
        metavar="|".join(("coated|uncoated|newspaper|NAME|all", *beside)),
        help=words,
    )


CONDITION_OPTION = _condition_option(
    "The colours of a real press and paper; all is every one but those kept for testing. May be repeated."
)
TRAINING_CONDITION_OPTION = _condition_option(
    "Train in the colours of a real press and paper. May be repeated. Default: all, but those kept for testing; screen is "
    "none.",
    SCREEN,
)
MEASURING_CONDITION_OPTION = _condition_option(
    "Measure in the colours of a real press and paper, or of a screen. May be repeated. Default: as in training.",
    SCREEN,
)
ICC_OPTION = click.option(
    "--icc",
    type=FILE,
    multiple=True,
    metavar="FILE.icc",
    help="The colours of a printer, from its ICC profile. May be repeated.",
)


def chosen_prints(names: Sequence[str], profiles: Sequence[Path]) -> "tuple[PrintingCondition, ...] | None":
    """Load the colours that --condition and --icc name: empty for a screen's; None where none were named.

    Raises:
        InputError: colours of a screen and of paper at once, or see :func:`load_conditions`.
    """
    if SCREEN not in names:
        return load_conditions(names, profiles) or None
    if len(names) > 1 or profiles:
        raise InputError(f"--condition {SCREEN} is without a print's colours; leave out the other conditions and --icc")
    return ()


def load_conditions(names: Sequence[str], profiles: Sequence[Path]) -> "tuple[PrintingCondition, ...]":
    """Load shipped printing conditions by name, and those of ICC profiles.

    Raises:
        InputError: no such condition, or not the profile of a printer.
    """
    if not names and not profiles:
        return ()  # without numpy's and Pillow's start
    from calibration.colour.printing_condition import PrintingCondition, load_condition, training_conditions

    named = (training_conditions() if name == _ALL else (load_condition(name),) for name in names)
    of_stems: dict[str, Path] = {}
    for profile in profiles:
        if profile.resolve() != of_stems.setdefault(profile.stem, profile.resolve()):
            raise InputError(
                f"{of_stems[profile.stem]} and {profile} would both be called {profile.stem}; copy one to another name"
            )
    return (*chain.from_iterable(named), *map(PrintingCondition.from_icc, profiles))
