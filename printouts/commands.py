"""The commands ``physpatch print`` and ``physpatch calibrate sheet``."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.colour.options import CONDITION_OPTION, ICC_OPTION, load_conditions
from calibration.common.cli_types import FILE, JSON_OPTION, LENGTH_MM, PDF_FILE, TextType, given_options, run_argument
from calibration.common.console import output_json, print_table, progress_bar, say, say_next
from calibration.common.errors import InputError
from calibration.common.lazy_group import GroupedCommand
from calibration.common.units import parse_margin_mm
from calibration.sheet.layout import CUTS, SheetLayout
from calibration.sheet.paper_sizes import PAGES_MM, PATCH_SIZE, page_size_mm, parse_extent_mm
from calibration.sheet.road_signs import SIGNS, sign_name
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.records.run_config import load_run_config, strongest_drawing
from physpatch.records.run_paths import LATEST, RUNS_FOLDER, find_run, sheet_of

if TYPE_CHECKING:
    from calibration.colour.printing_condition import PrintingCondition
    from printouts.verification import SheetProof


def _paper(text: str) -> str:
    page_size_mm(text)  # raises for an invalid size
    return text


_PAPER_OPTION = click.option(
    "--paper",
    type=TextType("paper", _paper, lambda: PAGES_MM),
    default="a4",
    show_default=True,
    metavar="|".join(PAGES_MM) + "|WxH",
    help="Paper size: a name, or a size such as 300x500mm.",
)
_OPEN_OPTION = click.option("--open", "open_it", is_flag=True, help="Open the PDF in the system's viewer.")


_GROUPS = {
    "What is printed": ("size_mm", "carrier", "controls", "paper", "cut", "bleed_mm"),
    "Checks": ("verify", "measured_mm", "conditions", "icc"),
    "Files": ("out", "open_it", "json_out"),
}


@click.command("print", cls=GroupedCommand, groups=_GROUPS)
@run_argument(RUNS_FOLDER)
@click.option(
    "--size",
    "size_mm",
    type=LENGTH_MM,
    default=PATCH_SIZE,
    show_default=True,
    help="Longer side of the patch, in mm, cm, m or in. If it is larger than the paper, a poster of several pages is "
    "printed. With --object, the width of the sign.",
)
@click.option(
    "--object",
    "carrier",
    type=TextType("object", suggest=lambda: (name.replace(" ", "-") for name in SIGNS)),
    metavar="SIGN",
    help="Print a sign to scale, such as stop, yield or no-entry: alone and, with a RUN, also with its patch. Default: "
    "the sign that the RUN was trained on.",
)
@_PAPER_OPTION
@click.option(
    "--controls",
    is_flag=True,
    help=f"Add one sheet per control: {', '.join(CONTROLS)}; on a sign that is taken for another one, also a drawing of "
    "another sign.",
)
@click.option(
    "--cut",
    type=click.Choice(CUTS),
    default=CUTS[0],
    show_default=True,
    help="Cut around the markers, or cut out only the patch, as a square or a circle, for objects and stickers.",
)
@click.option(
    "--bleed",
    "bleed_mm",
    type=TextType("length", parse_margin_mm),
    metavar="LENGTH",
    help="How far the colours of a cut-out extend over the cut. Default: 2mm.",
)
@click.option(
    "--verify",
    type=FILE,
    metavar="FILE.pdf",
    help="Check lengths, markers and colours of this PDF instead of writing one.",
)
@click.option(
    "--measured",
    "measured_mm",
    type=TextType("extent", parse_extent_mm),
    metavar="WxH",
    help="Save the measured lengths of the printed rulers, across and down, such as 99.2x99.4mm. Sessions then use the "
    "true size.",
)
@CONDITION_OPTION
@ICC_OPTION
@_OPEN_OPTION
@JSON_OPTION
@click.option(
    "--out",
    type=PDF_FILE,
    metavar="FILE.pdf",
    help="The PDF to write, or with --measured, the one that was printed. Default: sheet.pdf in the run folder, or a "
    "bare sign's name.",
)
@click.pass_context
def print_(
    context: click.Context,
    /,
    run: str | None,
    size_mm: float,
    carrier: str | None,
    paper: str,
    controls: bool,
    cut: str,
    bleed_mm: float | None,
    verify: Path | None,
    measured_mm: tuple[float, float] | None,
    conditions: tuple[str, ...],
    icc: tuple[Path, ...],
    open_it: bool,
    json_out: str | None,
    out: Path | None,
) -> None:
    """Print a patch to scale as a PDF.

    RUN is a run folder or a patch.json. Default: the latest run.

    \b
    physpatch print --size 10cm
    physpatch print runs/latest --size 1m --paper a3 --controls --out poster.pdf
    physpatch print --object stop --size 15cm
    physpatch print --verify runs/latest/sheet.pdf
    physpatch print --measured 99.2x99.4mm
    physpatch print --measured 99.2x99.4mm --out calibration.pdf
    physpatch print --condition newspaper --icc my-printer.icc
    """
    printing = load_conditions(conditions, icc)
    if verify is not None and out is not None:
        raise InputError("--verify checks a PDF and writes none; leave out --out")
    if verify is not None and measured_mm is not None:
        raise InputError("--verify checks a PDF, and --measured saves lengths of its print; give one, then the other")
    if verify is not None or measured_mm is not None:
        _refuse_layout(context, "--measured" if verify is None else "--verify")
    path = verify or out
    if carrier is not None and run is None and not _latest_is_for(carrier):
        if printing or controls or bleed_mm is not None or json_out is not None or cut != CUTS[0]:
            raise InputError(
                "a sign alone has no cells, controls, cut, bleed or layout; name a run to print its patch on the sign, or "
                "leave out --condition, --icc, --controls, --cut, --bleed and --json"
            )
        path = path or Path(f"{carrier.replace(' ', '-')}.pdf")
        _print_bare_sign(carrier, size_mm, path, paper)
        if open_it:
            _show_file(path)
        return
    else:
        path = path or sheet_of(find_run(run))
        if run is None and out is None and verify is None:
            say(f"the latest run: {find_run(run).resolve().name}")
        if measured_mm is not None:
            _note_measured(path, measured_mm, json_out)
        if verify is not None:
            _verify(path, run, json_out)
        elif measured_mm is None:
            kinds = CONTROLS if controls else ()
            _print_run(
                find_run(run), size_mm, path, json_out, carrier, paper=paper, controls=kinds, cut=cut, bleed_mm=bleed_mm
            )
    if printing:
        patch = _patch_to_compare(path, run)
        for condition in printing:
            _proof(path, condition, patch, json_out)
    if open_it:
        _show_file(path)
    if json_out != "-":
        _say_next(path, run)


@click.command("sheet")
@click.option("--size", "size_mm", type=LENGTH_MM, help="Longer side of board and chart. Default: as large as fits.")
@_PAPER_OPTION
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for the order of the chart's colours.",
)
@_OPEN_OPTION
@JSON_OPTION
@click.option("--out", type=PDF_FILE, default=Path("calibration.pdf"), show_default=True, metavar="FILE.pdf")
def calibrate_sheet(
    size_mm: float | None, paper: str, seed: int, open_it: bool, json_out: str | None, out: Path
) -> None:
    """Print the calibration sheets as a PDF.

    Page 1 is a ChArUco board for the lens, page 2 a chart of 100 colours for printer and camera.

    \b
    physpatch calibrate sheet
    physpatch calibrate sheet --paper letter --out calibration.pdf
    """
    from printouts.sheet_pdf import print_targets

    layouts = print_targets(out, paper=paper, size_mm=size_mm, seed=seed)
    _show_printed(out, paper, layouts, json_out)
    if open_it:
        _show_file(out)
    if json_out != "-":
        say_next("calibrate", "camera", "--source", "0", "--sheet", out)


def _refuse_layout(context: click.Context, check: str) -> None:
    """Refuse options that say what to print, beside a check of what was printed."""
    given_names = given_options(context)
    for parameter in context.command.params:
        if parameter.name in given_names and parameter.name in _GROUPS["What is printed"]:
            raise InputError(f"{check} prints nothing, so {parameter.opts[0]} has no effect; leave it out")


def _print_run(
    folder: Path, size_mm: float, path: Path, json_out: str | None, carrier: str | None, *, paper: str, **sheet: Any
) -> None:
    """Print a run's patch with its controls and, in a second PDF, the bare sign."""
    from printouts.run_sheets import print_run

    recorded = load_run_config(folder)
    config = recorded or TrainConfig()
    trained_on = config.object.drawn_sign
    sign = carrier or trained_on
    as_trained = trained_on is not None and sign_name(carrier or trained_on) == sign_name(trained_on)
    drawing = strongest_drawing(folder) if as_trained and sheet["controls"] else None
    layouts = print_run(Patch.load(folder), config, size_mm, path, carrier=sign, paper=paper, drawing=drawing, **sheet)
    if drawing is not None:
        say(
            f"the patched sign is taken for another one, so a drawing of {drawing.provenance['sign']!r}, the strongest of such "
            "drawings, is a further control"
        )
    _show_printed(path, paper, layouts, json_out)
    if sign is None and recorded is not None and recorded.patch.cut != sheet["cut"]:
        say(
            f"it was trained as --cut {recorded.patch.cut} and is printed as {sheet['cut']}: where the white margin comes or "
            "goes, success may differ; only a sheet has the markers that tell where a camera stands"
        )
    if sign is not None:
        _print_bare_sign(sign, size_mm, path.with_name(f"{path.stem}-bare.pdf"), paper)


def _latest_is_for(carrier: str) -> bool:
    """Tell whether the latest run was trained on a sign, so that its patch belongs there."""
    if not LATEST.exists():
        return False
    try:
        config = load_run_config(LATEST)
        Patch.load(LATEST)
    except InputError:  # of a run that has no patch yet, or a damaged one, which the sign alone does not need
        say(f"{LATEST} has no readable patch, so the sign is printed alone")
        return False
    drawn = None if config is None else config.object.drawn_sign
    if drawn is not None and sign_name(drawn) == sign_name(carrier):
        return True
    say(
        f"{LATEST} was not trained on the {carrier} sign, so the sign is printed alone; to print a patch on it, name its run"
    )
    return False


def _print_bare_sign(carrier: str, size_mm: float, path: Path, paper: str) -> None:
    from printouts.sheet_pdf import print_sign

    print_sign(carrier, size_mm, path, paper=paper)
    say(f"{path}: the {carrier} sign alone, {size_mm:g} mm wide; cut it out along its outline")


def _note_measured(path: Path, measured_mm: tuple[float, float], json_out: str | None) -> None:
    from calibration.sheet.pdf_reader import store_measured

    note = store_measured(path, measured_mm)
    across, down = measured_mm
    if json_out != "-":
        click.echo(f"{note}: rulers of {across:g} x {down:g} mm; sessions now use the true size of the sheets")
    output_json(json_out, {"sheet": str(path), "measured_mm": list(measured_mm)})


def _proof(path: Path, condition: "PrintingCondition", patch: Patch | None, json_out: str | None) -> None:
    """Save a soft proof of the PDF and say which cells print in another colour."""
    from printouts.soft_proof import save_soft_proof

    proof = save_soft_proof(path, condition, patch)
    words = f"{proof.sentence()}; on a screen and in print: {proof.picture.name}"
    if json_out == "-":
        say(words)
    else:
        click.echo(words)


def _show_printed(path: Path, paper: str, layouts: Sequence[SheetLayout], json_out: str | None) -> None:
    """Save a preview and describe what was written."""
    from calibration.sheet.pdf_reader import forget_measured
    from printouts.preview import save_preview

    picture = save_preview(path)
    forgotten = forget_measured(path)
    if json_out != "-":
        patch, pages = layouts[0].patch, sum(layout.pages for layout in layouts)
        sign = f" on the {layouts[0].carrier} sign," if layouts[0].carrier else ""
        size = f"{round(patch.width_mm, 1):g} x {round(patch.height_mm, 1):g} mm{sign}"
        click.echo(
            f"{path}: {size} on {paper.upper()}, {pages} page{'s' * (pages > 1)}"
            f"{', to assemble as page 1 shows' if layouts[0].tiles else ''}; preview in {picture.name}"
        )
        measured = "physpatch print --measured WxH" + ("" if _is_own(path) else f" --out {shlex.quote(str(path))}")
        click.echo(f"Print at 100 % (actual size) and measure both rulers. If they are off, run: {measured}")
        if forgotten:
            click.echo("The measurement of the earlier print no longer applies: measure the rulers of the new print.")
    output_json(json_out, [asdict(layout) for layout in layouts])


def _is_own(pdf: Path, run: str | None = None) -> bool:
    """Tell whether a PDF is the one that is meant where only its run is named, or nothing for the latest run."""
    folder = Path(run) if run else LATEST
    return folder.exists() and pdf.resolve() == sheet_of(folder).resolve()


def _say_next(pdf: Path, run: str | None) -> None:
    """Say which command uses the print of a PDF."""
    from calibration.sheet.pdf_reader import carried_layouts

    target = {"board": "camera", "chart": "colour"}.get(carried_layouts(pdf)[0].kind)
    if target is not None:
        say_next("calibrate", target, "--source", "0", "--sheet", pdf)
    else:
        say_next("live", *([run] if run else []), "--source", "0", *([] if _is_own(pdf, run) else ["--sheet", pdf]))


def _show_file(path: Path) -> None:
    if click.launch(str(path)):
        say(f"no viewer found on this machine: open {path} manually")


def _verify(path: Path, run: str | None, json_out: str | None) -> None:
    """Measure a PDF, show the results, and raise if a value is out of tolerance."""
    from printouts.verification import verify_sheets

    patch = _patch_to_compare(path, run)
    with progress_bar("measuring") as bar:
        proofs = verify_sheets(path, patch, on_page=bar.show)
    if json_out != "-":
        headings = ("sheet", "pages", "patch, mm", "rulers, mm", "markers", "QR", "colour error")
        print_table(headings, map(_proof_row, proofs))
        of_run = patch is not None and any(proof.patch_id == patch.id for proof in proofs)
        click.echo(f"colours compared with {'patch.json' if of_run else 'those stored in the PDF'}, in 8-bit steps")
    output_json(json_out, [proof.to_dict() for proof in proofs])
    problems = [f"{proof.kind}: {problem}" for proof in proofs for problem in proof.problems]
    if problems:
        raise InputError(f"{path} failed the check: {'; '.join(problems)}; print it again with `physpatch print`")


def _patch_to_compare(path: Path, run: str | None) -> Patch | None:
    """Load the patch of the named run, or of the latest run if the PDF shows its patch."""
    from calibration.sheet.pdf_reader import carried_layouts

    if run:
        return Patch.load(find_run(run))
    patch_ids = {layout.patch_id for layout in carried_layouts(path)}
    try:
        latest = Patch.load(find_run(None)) if LATEST.exists() else None
    except InputError:  # of a run that has no patch yet, or a damaged one, which may have nothing to do with this PDF
        return None
    return latest if latest is not None and latest.id in patch_ids else None


def _proof_row(proof: "SheetProof") -> tuple[str, ...]:
    return (
        f"{proof.kind} {proof.patch_id}",
        str(proof.pages),
        " x ".join("-" if length is None else f"{length:.2f}" for length in proof.measured_mm),
        " x ".join(f"{length:.2f}" for length in proof.rulers_mm),
        f"{proof.markers_read} of {proof.markers}",
        "yes" if proof.label_read else "no",
        str(proof.worst_step),
    )
