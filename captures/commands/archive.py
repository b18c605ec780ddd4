"""The commands ``physpatch runs`` and ``physpatch gallery``."""

import sys
from pathlib import Path

import click

from calibration.common.cli_types import FILE, FOLDER, HTML_FILE, JSON_OPTION, OutputFile
from calibration.common.console import output_json, print_table, say, say_next
from calibration.common.errors import InputError
from calibration.common.text import size_words

_EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group(invoke_without_command=True)
@click.option(
    "--in", "folders", type=FOLDER, multiple=True, help="A folder of runs or sessions. Default: runs/ and sessions/."
)
@JSON_OPTION
@click.pass_context
def runs(context: click.Context, folders: tuple[Path, ...], json_out: str | None) -> None:
    """List, tag, pack and remove runs and sessions.

    \b
    physpatch runs
    physpatch runs tag runs/20260101-120000 paper
    physpatch runs export sessions/20260102-090000 --out session.zip
    physpatch runs unpack session.zip
    physpatch runs remove runs/20260101-120000
    """
    if context.invoked_subcommand is not None:
        if folders or json_out:
            option = "--in" if folders else "--json"
            raise InputError(
                f"{option} is for the list, not for `physpatch runs {context.invoked_subcommand}`; omit it"
            )
        return
    from captures.archive.entries import list_entries
    from captures.archive.gallery import short_rate

    entries = list_entries(folders)
    if json_out != "-":
        rows = [
            (
                str(entry.folder),
                entry.changed.astimezone().strftime("%Y-%m-%d %H:%M"),
                "damaged" if entry.trouble else entry.model,
                entry.target or "",
                short_rate(entry.digital or entry.camera),
                short_rate(entry.control),
                ", ".join((*entry.facts, *(f"#{tag}" for tag in entry.tags))),
                size_words(entry.size_bytes),
            )
            for entry in entries
        ]
        headings = ("folder", "begun", "model", "target", "success", "grey", "what", "size")
        print_table(headings, rows)
        for entry in entries:
            if entry.trouble:
                say(entry.trouble)
        if not entries:
            click.echo("no runs or sessions here; train one with `physpatch train --eot`, or give a folder with --in")
        else:
            say_next("gallery")
    output_json(json_out, [entry.to_dict() for entry in entries])


@runs.command()
@click.argument("folder", type=_EXISTING, metavar="RUN|SESSION")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@click.option("--remove", "removed", multiple=True, metavar="TAG", help="Take a tag away. May be repeated.")
def tag(folder: Path, tags: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """Tag a run or session; without tags, show those that it has.

    \b
    physpatch runs tag runs/20260101-120000 paper
    physpatch runs tag runs/20260101-120000 --remove paper
    """
    from captures.archive.entries import read_tags, write_tags

    current_tags = write_tags(folder, tags, removed) if tags or removed else read_tags(folder)
    click.echo(", ".join(current_tags) if current_tags else "no tags")
    say_next("gallery")


@runs.command()
@click.argument("folders", type=_EXISTING, metavar="RUN|SESSION [RUN|SESSION]...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(folders: tuple[Path, ...], yes: bool) -> None:
    """Delete runs and sessions with all their files.

    \b
    physpatch runs remove runs/20260101-120000
    """
    from captures.archive.entries import read_entry
    from captures.archive.transfer import remove as delete

    entries = [read_entry(folder) for folder in folders]  # before any is deleted
    for entry in entries:
        if yes or _agreed(f"delete {entry.kind} {entry.folder} ({size_words(entry.size_bytes)})?"):
            delete(entry.folder, say)
            click.echo(f"deleted {entry.folder}")
    say_next("runs")


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise  # by Ctrl-C
        raise InputError("nobody answered, so nothing was deleted; add --yes to delete without a question") from error


@runs.command()
@click.argument("folders", type=_EXISTING, metavar="RUN|SESSION [RUN|SESSION]...", nargs=-1, required=True)
@click.option("--out", type=OutputFile(".zip"), required=True, metavar="FILE.zip", help="The file to write.")
def export(folders: tuple[Path, ...], out: Path) -> None:
    """Pack runs and sessions into a zip for another machine.

    A session takes its run and its sheet along.

    \b
    physpatch runs export sessions/20260102-090000 --out session.zip
    """
    from captures.archive.transfer import export as pack

    pack(list(folders), out, say)
    click.echo(f"{out}: {size_words(out.stat().st_size)}; copy it to the other machine, and open it there")
    say_next("runs", "unpack", out.name)


@runs.command()
@click.argument("file", type=FILE, metavar="FILE.zip")
@click.option("--into", type=FOLDER, default=Path(), help="The folder that has runs/ and sessions/. Default: this one.")
def unpack(file: Path, into: Path) -> None:
    """Unpack what `physpatch runs export` packed, beside what is there.

    \b
    physpatch runs unpack session.zip
    """
    from captures.archive.transfer import unpack as open_zip

    into.mkdir(parents=True, exist_ok=True)
    for folder in open_zip(file, into):
        click.echo(str(folder))
    say_next("runs", "--in", into)


@click.command()
@click.argument("folders", type=FOLDER, nargs=-1, metavar="[FOLDER]...")
@click.option(
    "--out",
    type=HTML_FILE,
    default=Path("gallery.html"),
    show_default=True,
    metavar="FILE.html",
    help="The HTML file to write.",
)
def gallery(folders: tuple[Path, ...], out: Path) -> None:
    """Write a page of all runs and sessions.

    It has pictures, numbers and tags, and can be sorted and filtered.

    \b
    physpatch gallery
    physpatch gallery runs/ sessions/ --out all.html
    """
    from captures.archive.entries import list_entries
    from captures.archive.gallery import write_gallery

    entries = list_entries(folders)
    write_gallery(entries, out)
    click.echo(f"{out}: {len(entries)} {'run or session' if len(entries) == 1 else 'runs and sessions'}")
    if entries:
        say_next("report", entries[0].folder)
