"""``physpatch models``."""

import shutil
import textwrap
from dataclasses import asdict
from typing import Any

import click

from calibration.common.cli_types import JSON_OPTION, given_options
from calibration.common.console import output_json, print_table, progress_bar, say_next
from calibration.common.errors import InputError
from physpatch.commands.options import DEVICE_OPTION, TRUST_OPTION, config_options


@click.command()
@click.option(
    "--check", metavar="NAME|FILE", help="Load this model and say what works; exit code 2 if it cannot be trusted."
)
@config_options("data", "columns", "weights", "labels", "cam_layer", "threshold")
@TRUST_OPTION
@DEVICE_OPTION
@JSON_OPTION
@click.pass_context
def models(
    context: click.Context,
    check: str | None,
    data: str,
    columns: str | None,
    weights: str | None,
    labels: str | None,
    cam_layer: str | None,
    threshold: float | None,
    trust_weights: bool,
    device: str,
    json_out: str | None,
) -> None:
    """List the models that can be loaded, or check one.

    A check measures clean accuracy on labelled photographs, names the likely mistake where another preprocessing does better,
    and tests time, memory, gradients, determinism, batches and the faithfulness of the heat.

    \b
    physpatch models
    physpatch models --check model.onnx --labels classes.txt --data photos/
    """
    options = _given(context)
    if check is None:
        if options:
            raise InputError(f"{options[0]} is for a check of a model; name it by --check NAME")
        _list_models(json_out)
        return
    from physpatch.evaluation.model_check import check_model
    from physpatch.records.check_record import CheckRecord
    from physpatch.victims.registry import load_victim

    with progress_bar("checking") as bar:
        victim = load_victim(
            check,
            weights=weights,
            labels=labels,
            cam_layer=cam_layer,
            threshold=threshold,
            trust=trust_weights,
            device=device,
            say=bar.say,
        )
        findings = check_model(victim, data, columns=columns, progress=bar.show)
    if json_out != "-":
        print_table(("check", "outcome", "found"), [(f.what, f.outcome, f.words) for f in findings])
    output_json(json_out, CheckRecord.of(victim.name, findings).to_dict())
    failed = [finding for finding in findings if finding.outcome == "fails"]
    if not failed:
        blind = () if victim.differentiable else ("--technique", "black-box")
        better = [finding.numbers.get("most_faithful") for finding in findings if cam_layer is None]
        layer = [word for name in filter(None, better) for word in ("--cam-layer", name)]
        say_next("train", "--eot", "--model", check, *options, *layer, *blind)
    else:
        reasons = "; ".join(f"{finding.what}: {finding.words}" for finding in failed)
        raise InputError(f"{check} cannot be trusted yet: {reasons}")


def _given(context: click.Context) -> list[Any]:
    """List the options that were given for the check, as they would be for `physpatch train`."""
    names = ("data", "columns", "weights", "labels", "cam_layer", "threshold", "trust_weights", "device")
    given_names = given_options(context)
    words: list[Any] = []
    for name in names:
        if name in given_names:
            value = context.params[name]
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return words


def _list_models(json_out: str | None) -> None:
    from physpatch.victims.families import catalogue

    entries = catalogue()
    if json_out != "-":
        rows = [(e.name, e.task, *map(_yes_or_no, (e.ready, e.gradients, e.heat))) for e in entries]
        print_table(("name", "task", "ready", "gradients", "heat"), rows)
        sources: dict[str, list[str]] = {}
        for entry in entries:
            sources.setdefault(entry.source, []).append(entry.name)
        for source, names in sources.items():
            _wrapped(f"{', '.join(names)}: {source}.")
        _wrapped(
            "Words in capitals stand for your own. Any other torchvision classifier or ultralytics detector can be loaded by "
            "name, and a detector's FILE.pt by path. Without gradients, train by --technique black-box. Whether "
            "a model of either task classifies or detects, its answers tell."
        )
        say_next("models", "--check", "NAME")
    output_json(json_out, [asdict(entry) for entry in entries])


def _wrapped(text: str) -> None:
    """Print a paragraph in the terminal's width, with names and addresses whole."""
    width = shutil.get_terminal_size().columns
    click.echo(
        "\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
    )


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
