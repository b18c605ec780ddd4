"""``physpatch models``."""

from dataclasses import asdict

import click

from calibration.common.cli_types import JSON_OPTION
from calibration.common.console import output_json, print_table


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


@click.command()
@JSON_OPTION
def models(json_out: str | None) -> None:
    """List the models that can be loaded, and their weights.

    \b
    physpatch models
    """
    from physpatch.victims.families import catalogue

    entries = catalogue()
    if json_out != "-":
        rows = [(e.name, e.task, *map(_yes_or_no, (e.ready, e.gradients, e.heat)), e.source) for e in entries]
        print_table(("name", "task", "ready", "gradients", "heat", "weights"), rows)
        click.echo(
            "Words in capitals stand for your own. Any other torchvision classifier or ultralytics detector can be loaded by "
            "name, and a detector's FILE.pt by path. Without gradients, train by --technique black-box."
        )
    output_json(json_out, [asdict(entry) for entry in entries])
