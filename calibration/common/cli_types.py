"""Values as they are typed on the command line, parsed at the door, and completed by the shell."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from calibration.common.units import parse_length_mm

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


class TextType(click.ParamType):
    """A word that one of the program's own functions parses, and for which it has suggestions.

    What that function raises reaches ``cli.main`` unchanged, so that a value is refused in the same words wherever it
    came from.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any] = str,
        suggest: Callable[[], Iterable[str]] = tuple,
        *,
        files: bool = False,
    ) -> None:
        """Describe a kind of value.

        Args:
            name: what help calls it, where the option has no metavar.
            parse: turns the word into the value; raises ``InputError`` for one that cannot be used.
            suggest: lists words that the shell may offer.
            files: whether the shell offers files and folders too.
        """
        self.name = name
        self._parse, self._suggest, self._files = parse, suggest, files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a word; a default that is no word stays as it is."""
        return self._parse(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the suggestions that begin with what is typed."""
        files = [CompletionItem(incomplete, type="file")] if self._files else []
        return files + [CompletionItem(word) for word in self._suggest() if word.startswith(incomplete)]


def folders_in(root: Path) -> Callable[[], list[str]]:
    """Build a suggestion of the folders in ``root``, which may not be there yet."""
    return lambda: sorted(str(folder) for folder in root.glob("*") if folder.is_dir())


LENGTH_MM = TextType("length", parse_length_mm)

JSON_OPTION = click.option(
    "--json", "json_out", metavar="FILE|-", help="Write the numbers as JSON to FILE, or - for standard output."
)
