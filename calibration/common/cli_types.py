"""Types of command-line values, with parsing and shell completion, and which values are given."""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from calibration.common.errors import InputError
from calibration.common.units import parse_length_mm

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


class TextType(click.ParamType):
    """A value that a function of the program parses, with suggestions for completion.

    Errors that the function raises reach ``cli.main`` unchanged, so a bad value gives the same message wherever it came
    from.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any] = str,
        suggest: Callable[[], Iterable[str]] = tuple,
        *,
        files: bool = False,
    ) -> None:
        """Define a type of value.

        Args:
            name: shown in help if the option has no metavar.
            parse: converts the text to the value; raises ``InputError`` for text that is not valid.
            suggest: returns the suggestions for completion.
            files: whether to complete file and folder names too.
        """
        self.name = name
        self._parse, self._suggest, self._files = parse, suggest, files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; return a default that is not text unchanged."""
        return self._parse(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the suggestions that start with ``incomplete``."""
        files = [CompletionItem(incomplete, type="file")] if self._files else []
        return files + [CompletionItem(word) for word in self._suggest() if word.startswith(incomplete)]


class OutputFile(click.Path):
    """A file to write; a name with another suffix is refused, because it may be that of a file which is still needed."""

    def __init__(self, *suffixes: str) -> None:
        """Define a type of output file by the suffixes that its name may have, such as ``.html``."""
        super().__init__(path_type=Path, dir_okay=False)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert to a path; refuse one with another suffix."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self._suffixes:
            option = "" if param is None else f"{param.opts[0]} "
            raise InputError(f"{option}{path}: expected a name that ends in {' or '.join(self._suffixes)}")
        return path


HTML_FILE = OutputFile(".html", ".htm")
PDF_FILE = OutputFile(".pdf")


def folders_in(root: Path) -> Callable[[], list[str]]:
    """Return a function that lists the folders in ``root``, for completion; ``root`` may not exist yet."""
    return lambda: sorted(str(folder) for folder in root.glob("*") if folder.is_dir())


class FiniteFloat(click.FloatRange):
    """A number in a range, of which NaN and infinity are no part."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert to a number; refuse one that is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


LENGTH_MM = TextType("length", parse_length_mm)


def run_argument(runs_folder: Path) -> Callable[[Any], Any]:
    """Declare the optional ``RUN`` argument, a run folder or a patch file; runs in ``runs_folder`` are suggested."""
    return click.argument(
        "run", required=False, metavar="[RUN]", type=TextType("run", suggest=folders_in(runs_folder), files=True)
    )


def _writable_json(_context: click.Context, _: click.Parameter, target: str | None) -> str | None:
    """Refuse a file that cannot be written before the numbers for it are worked out."""
    from calibration.common.files import require_writable_file

    if target and target != "-":
        require_writable_file(Path(target), cure="give --json another file")
    return target


JSON_OPTION = click.option(
    "--json",
    "json_out",
    metavar="FILE|-",
    callback=_writable_json,
    help="Write the numbers as JSON to FILE, or - for standard output.",
)


def given_options(context: click.Context) -> set[str]:
    """Return the names of the parameters that are given on the command line."""
    return {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
