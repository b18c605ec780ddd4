"""A click group that imports a command when it runs, so that help and completion cost no imports."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class LazyCommand(NamedTuple):
    """Where a command lives, as ``module:attribute``, and the first line of its help."""

    target: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are named by where they live."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **settings: Any) -> None:
        """Name the commands; every other argument is :class:`click.Group`'s."""
        super().__init__(*arguments, **settings)
        self._targets = {name: command.target for name, command in lazy.items()}
        # Stand-ins, from which help, completion and "did you mean" take names and summaries.
        self.commands = {name: click.Command(name, help=command.summary) for name, command in lazy.items()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, unless it was added as one; None where there is none of that name."""
        if cmd_name not in self._targets:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._targets[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' summaries as click does, without importing the commands."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(limit)) for name in sorted(self.commands)]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer names of commands, and the group's own options, without importing the commands."""
        names = [name for name in sorted(self.commands) if name.startswith(incomplete)]
        offered = [CompletionItem(name, help=self.commands[name].get_short_help_str()) for name in names]
        return offered + click.Command.shell_complete(self, ctx, incomplete)
