"""``physpatch models``."""

from dataclasses import asdict

import click

from calibration.common.cli_types import JSON_OPTION
from calibration.common.console import output_json, print_table


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
        rows = [(e.name, e.task, e.source, "yes" if e.ready else "no") for e in entries]
        print_table(("name", "task", "weights", "ready"), rows)
        click.echo(
            "Any other torchvision classifier or ultralytics detector can be loaded by name, and a detector's FILE.pt by path."
        )
    output_json(json_out, [asdict(entry) for entry in entries])
