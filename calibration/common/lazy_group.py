"""A click group that imports each command only when it runs, which keeps help and completion fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class LazyCommand(NamedTuple):
    """The location of a command, as ``module:attribute``, and the first line of its help."""

    target: str
    summary: str


class LazyGroup(click.Group):
    """A click group whose commands are given by location."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **settings: Any) -> None:
        """Register the commands of ``lazy``, by name; all other arguments are those of :class:`click.Group`."""
        super().__init__(*arguments, **settings)
        self._targets = {name: command.target for name, command in lazy.items()}
        # Placeholders that give help, completion and "did you mean" their names and summaries.
        self.commands = {name: click.Command(name, help=command.summary) for name, command in lazy.items()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command ``cmd_name``, imported if it is lazy; None if there is none."""
        if cmd_name not in self._targets:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._targets[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries of the commands as click does, without importing the commands."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(limit)) for name in sorted(self.commands)]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return matching command names and options of the group, without importing the commands."""
        names = [name for name in sorted(self.commands) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self.commands[name].get_short_help_str()) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)
