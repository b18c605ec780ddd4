"""Terminal output: progress and messages on standard error, tables and JSON on standard output."""

import json
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # rich and numpy take tenths of a second, which help and completion need not spend
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

_PIPED_WIDTH = 140
_BEFORE = "getting ready"  # until a command's work begins
_COLUMN_EDGES = 3  # a column's line and the spaces beside its text
_MOST_CELLS = 32  # that a picture in the terminal has across and down
_HALVES = "\N{UPPER HALF BLOCK}"  # its colour is of one row of cells, its background of the next


class Verbosity(IntEnum):
    """How much commands say beside their results: with --quiet, by default, and with --verbose."""

    QUIET = -1
    NORMAL = 0
    VERBOSE = 1


class _Output:
    """The verbosity of this program; the command line sets it, for all threads."""

    verbosity = Verbosity.NORMAL


def set_verbosity(verbosity: Verbosity) -> None:
    """Set how much this program says."""
    _Output.verbosity = verbosity


def verbosity() -> Verbosity:
    """Return how much this program says."""
    return _Output.verbosity


class ProgressBar:
    """A progress bar with a message and the time left; only messages if standard error is not a terminal."""

    def __init__(self, progress: "Progress", description: str, shown: "list[Text]") -> None:
        self._progress, self._shown = progress, shown
        self._task = progress.add_task(description, total=None, words=_BEFORE, start=False)

    def show(self, done: int, total: int | None, words: str = "") -> None:
        """Update the bar; ``total`` is None if the end is not known."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, words=words)

    def show_cells(self, cells: "NDArray[np.uint8]") -> None:
        """Show the cells of a patch, (rows, columns, 3) sRGB, in colour below the bar, if the terminal has colours."""
        console = self._progress.console
        if console.color_system in ("256", "truecolor") and not console.no_color:
            self._shown[:] = [cells_in_text(cells)]

    def say(self, line: str) -> None:
        """Print a line above the bar, unless the program is quiet."""
        if verbosity() is not Verbosity.QUIET:
            self._progress.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressBar]:
    """Show a progress bar on standard error and remove it when the block ends; a quiet program shows none."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    pictures: list[Text] = []

    class WithPicture(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            yield from pictures

    class Count(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            return super().render(task) if task.total is not None else Text(str(int(task.completed or 0) or ""))

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        Count(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    silent = not console.is_terminal or verbosity() is Verbosity.QUIET
    with WithPicture(*columns, console=console, disable=silent, transient=True) as progress:
        yield ProgressBar(progress, description, pictures)


def cells_in_text(cells: "NDArray[np.uint8]") -> "Text":
    """Draw cells (rows, columns, 3) sRGB as text: half a letter for each, or for each of a coarser selection."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    apart = -(-max(cells.shape[:2]) // _MOST_CELLS)
    drawn = cells[::apart, ::apart]
    text = Text()
    for row in range(0, len(drawn), 2):
        for column in range(drawn.shape[1]):
            upper = Color.from_rgb(*map(int, drawn[row, column]))
            lower = Color.from_rgb(*map(int, drawn[row + 1, column])) if row + 1 < len(drawn) else None
            text.append(_HALVES, Style(color=upper, bgcolor=lower))
        text.append("\n")
    text.right_crop(1)
    return text


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, of_one: bool = False) -> None:
    """Print a table on standard output, unless it has no rows.

    In a narrow terminal texts continue on further lines; none is cut. Where even single words would be, a list takes the
    table's place.

    Args:
        headings: of the columns.
        rows: their texts.
        of_one: print the first column as the table's title if it names one thing only, such as a model, or nothing.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    rows = list(rows)
    named = {row[0] for row in rows} - {""}
    title = None
    if of_one and len(named) == 1:
        (title,) = named
        headings, rows = headings[1:], [row[1:] for row in rows]
    table = Table(title=None if title is None else Text(title), title_justify="left")
    least = _least_widths(headings, rows)
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=number == 0, min_width=least[number])
    for row in rows:
        table.add_row(*map(Text, row))  # as it is: brackets are no markup
    if sum(least) + _COLUMN_EDGES * len(least) + 1 > console.width:
        _print_list(console, headings, rows)
    elif table.row_count:
        console.print(table)


def _least_widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of columns that break no word, and no text of the first column."""
    columns = enumerate(zip(headings, *rows, strict=True))
    parts = [column if number == 0 else " ".join(column).split() for number, column in columns]
    return [max(map(len, words), default=0) for words in parts]


def _print_list(console: "Console", headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print each row as its first text and, below, the others after their headings."""
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        console.print(Text(row[0], "bold"), soft_wrap=True)
        details = "; ".join(f"{heading}: {text}" for heading, text in zip(headings[1:], row[1:], strict=True) if text)
        console.print(Padding(Text(details), (0, 0, 0, 2)))


def say(line: str) -> None:
    """Print a message on standard error, so that standard output holds only what was asked for; a quiet program prints none."""
    if verbosity() is not Verbosity.QUIET:
        click.echo(line, err=True)


def tell(line: str) -> None:
    """Print on standard error what a person needs to go on, such as a link; a quiet program prints it, too."""
    click.echo(line, err=True)


def say_next(*words: object, once: str = "") -> None:
    """Print the command that a person would most likely give next, from its words after ``physpatch``.

    ``once`` says what has to be done before.
    """
    say(f"Next{once and f', once {once}'}: {shlex.join(['physpatch', *map(str, words)])}")


def output_json(target: str | None, value: Any) -> None:
    """Write ``value`` as JSON to the file ``target``, or to standard output for ``-``; do nothing for None.

    Numbers that are not finite become null: JSON has no others.
    """
    from calibration.common.files import write_json

    if target == "-":
        click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False))
    elif target:
        write_json(Path(target), _finite(value))


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, however deep."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
