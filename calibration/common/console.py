"""What a person sees in the terminal: progress on standard error, tables on standard output."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_PIPED_WIDTH = 140


class ProgressBar:
    """A bar with words and time left; nothing but said lines where standard error is no terminal."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None, words="", start=False)

    def show(self, done: int, total: int | None, words: str = "") -> None:
        """Move the bar; ``total`` None is an open end."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, words=words)

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[ProgressBar]:
    """A progress bar on standard error that goes away when the block ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield ProgressBar(progress, what)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output; none where there are no rows."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)
