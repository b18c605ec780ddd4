"""Terminal output: progress and messages on standard error, tables and JSON on standard output."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # rich takes a tenth of a second, which help and completion need not spend
    from rich.progress import Progress

_PIPED_WIDTH = 140


class ProgressBar:
    """A progress bar with a message and the time left; only messages if standard error is not a terminal."""

    def __init__(self, progress: "Progress", description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None, words="", start=False)

    def show(self, done: int, total: int | None, words: str = "") -> None:
        """Update the bar; ``total`` is None if the end is not known."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, words=words)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressBar]:
    """Show a progress bar on standard error and remove it when the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield ProgressBar(progress, description)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output, unless it has no rows."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def say(line: str) -> None:
    """Print a message on standard error, so that standard output holds only the requested output."""
    click.echo(line, err=True)


def output_json(target: str | None, value: Any) -> None:
    """Write ``value`` as JSON to the file ``target``, or to standard output for ``-``; do nothing for None."""
    from calibration.common.files import write_json

    if target == "-":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif target:
        write_json(Path(target), value)
