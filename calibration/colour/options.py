"""Command-line options that name printing conditions, for printing and for training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibration.common.cli_types import FILE, TextType

if TYPE_CHECKING:
    from calibration.colour.printing_condition import PrintingCondition


def _condition_names() -> Iterable[str]:
    from calibration.colour.printing_condition import ALIASES, condition_names

    return (*ALIASES, *condition_names())


CONDITION_OPTION = click.option(
    "--condition",
    "conditions",
    type=TextType("condition", suggest=_condition_names),
    multiple=True,
    metavar="coated|uncoated|newspaper|NAME",
    help="The colours of a real press and paper. May be repeated.",
)
ICC_OPTION = click.option(
    "--icc",
    type=FILE,
    multiple=True,
    metavar="FILE.icc",
    help="The colours of a printer, from its ICC profile. May be repeated.",
)


def load_conditions(names: Sequence[str], profiles: Sequence[Path]) -> "tuple[PrintingCondition, ...]":
    """Load shipped printing conditions by name, and those of ICC profiles.

    Raises:
        InputError: no such condition, or not the profile of a printer.
    """
    if not names and not profiles:
        return ()  # without numpy's and Pillow's start
    from calibration.colour.printing_condition import PrintingCondition, load_condition

    return (*map(load_condition, names), *map(PrintingCondition.from_icc, profiles))
