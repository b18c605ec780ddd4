"""A click group that imports each command only when it runs, which keeps help and completion fast, and help in groups."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from calibration.common.console import Verbosity, set_verbosity


def _be(level: Verbosity) -> Any:
    def set_level(_context: click.Context, _: click.Parameter, is_given: bool) -> None:
        if not is_given:
            return
        set_verbosity(level)
        if level is Verbosity.VERBOSE:
            warnings.simplefilter("default")
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    return set_level


def verbosity_options() -> list[click.Option]:
    """Build the options --quiet and --verbose, which every command has."""
    texts = {Verbosity.QUIET: "Print only results and errors.", Verbosity.VERBOSE: "Also print what libraries say."}
    names = {Verbosity.QUIET: ("-q", "--quiet"), Verbosity.VERBOSE: ("-v", "--verbose")}
    return [
        click.Option(names[level], is_flag=True, expose_value=False, callback=_be(level), help=words)
        for level, words in texts.items()
    ]


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups."""

    def __init__(self, *arguments: Any, groups: Mapping[str, Sequence[str]], **settings: Any) -> None:
        """Group the parameters of ``groups``, names by title; others follow under "Other options"."""
        super().__init__(*arguments, **settings)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        named = {name for names in self.groups.values() for name in names}
        parameters = {str(parameter.name): parameter for parameter in self.get_params(ctx)}
        other_names = [name for name in parameters if name not in named]
        for title, names in {**self.groups, "Other options": other_names}.items():
            options = [parameters[name] for name in names if isinstance(parameters[name], click.Option)]
            records = [option.get_help_record(ctx) for option in options]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])


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
        parts = command.commands.values() if isinstance(command, click.Group) else ()
        for part in (command, *parts):
            if not any("--quiet" in parameter.opts for parameter in part.params):
                part.params += verbosity_options()
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
