"""The command ``physpatch gate``."""

from pathlib import Path

import click

from calibration.common.cli_types import FILE, JSON_OPTION
from calibration.common.console import output_json, print_table, say_next
from calibration.common.errors import InputError

_SHARE = click.FLOAT


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN|SESSION")
@click.option(
    "--max-target-first", type=_SHARE, metavar="SHARE", help="Most often that the target may come first, 0 to 1."
)
@click.option(
    "--max-made-wrong", type=_SHARE, metavar="SHARE", help="Most often that the answer may be made wrong, 0 to 1."
)
@click.option(
    "--max-accuracy-drop", type=_SHARE, metavar="SHARE", help="Most accuracy that the patch may cost, 0 to 1."
)
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Judge this model only. Can be repeated. Default: all."
)
@click.option("--junit", type=FILE, metavar="FILE", help="Write the outcome as JUnit XML too.")
@JSON_OPTION
@click.pass_context
def gate(
    context: click.Context,
    folder: Path,
    max_target_first: float | None,
    max_made_wrong: float | None,
    max_accuracy_drop: float | None,
    models: tuple[str, ...],
    junit: Path | None,
    json_out: str | None,
) -> None:
    """Fail a build in which a patch works too well.

    Each model passes where the upper end of the 95 % interval stays at or below the bound, so too few photographs or clips do
    not pass. The exit code is 0 where all pass, 1 where one fails, and 2 for wrong input.

    \b
    physpatch gate runs/latest --max-target-first 0.05 --max-accuracy-drop 0.1
    physpatch gate sessions/20260101-120000 --max-target-first 0.05
    """
    from captures.results.gate import BOUNDS, Bound, judge_result, write_junit
    from captures.results.result_record import result_of

    result = result_of(folder)
    if models:
        missing = set(models) - {model.model for model in result.models}
        if missing:
            raise InputError(f"{folder} has no results of {', '.join(sorted(missing))}")
        result = result.changed(models=[model for model in result.models if model.model in models])
    limits: dict[Bound, float | None] = {
        "target_first": max_target_first,
        "made_wrong": max_made_wrong,
        "accuracy_drop": max_accuracy_drop,
    }
    cases = judge_result(result, {name: most for name, most in limits.items() if most is not None})
    if junit is not None:
        write_junit(junit, result, cases)
    if json_out != "-":
        rows = [
            (c.model, BOUNDS[c.bound], c.words, f"{100 * c.most:g} %", "passes" if c.passed else "fails") for c in cases
        ]
        print_table(("model", "bound", "measured", "allowed, at most", "outcome"), rows)
        say_next("report", folder, "--card")
    passed = all(case.passed for case in cases)
    output_json(json_out, {**result.to_dict(), "passed": passed, "cases": [case.to_dict() for case in cases]})
    context.exit(0 if passed else 1)
