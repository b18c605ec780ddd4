"""The door: parse, build a config, call a room, show what came back.

Rooms are imported inside the commands: torch alone takes seconds, and ``--help`` and ``print`` need none of it.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import physpatch
from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import file_sha256, read_json, write_json, write_picture
from calibration.common.success import GOALS, SCOPES
from calibration.common.units import parse_length_mm
from calibration.sheet.layout import CUTS
from calibration.sheet.paper_sizes import PAGES_MM, parse_extent_mm
from physpatch.records.config import EOT_PRESETS, OBJECT_SOURCES, PRECISIONS, EotConfig, TrainConfig, parse_place
from physpatch.records.patch_file import CONTROLS, Patch, parse_grid
from physpatch.records.run_paths import LATEST, find_run

if TYPE_CHECKING:
    from calibration.colour.rig_profile import LightProfile, RigProfile
    from calibration.common.console import ProgressBar
    from calibration.sheet.layout import SheetLayout
    from captures.session.live_session import SessionPlan
    from captures.sources.camera_settings import CameraSettings
    from captures.sources.opening import Source
    from captures.sources.virtual_rig import VirtualRig
    from captures.viewers.controls import Viewer
    from physpatch.victims.protocol import Victim

_DEFAULT = TrainConfig()
_RUN_ARGUMENT = click.argument("run", required=False, metavar="[RUN]")
_JSON_OPTION = click.option(
    "--json", "json_out", metavar="FILE|-", help="Write the numbers as JSON to FILE, or - for standard output."
)
_DEVICE_OPTION = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default=_DEFAULT.device, show_default=True
)
_TRUST_OPTION = click.option(
    "--trust-weights", is_flag=True, help="Let files of weights run the code that they carry: only your own."
)
_DEFENCE_OPTION = click.option(
    "--defence",
    "defences",
    multiple=True,
    metavar="NAME|all|list",
    help="Also measure the network behind a defence; list shows them. May be repeated.",
    callback=lambda context, _, names: _show_defence_names(context) if "list" in names else names,
)
_DEFAULT_SIZE, _SIGN_SIZE = "10cm", "15cm"
_DEFAULT_PRESET = "desk"
_PRESET_OPTION = click.option(
    "--preset",
    metavar="|".join(EOT_PRESETS),
    help=f"How wide the transformations range. Default: {_DEFAULT_PRESET}.",
)
# The class that the race of `--target auto` ends with on this network: docs/results.md
_DEMO = replace(_DEFAULT, model="efficientnet_lite0", data="samples", steps=100, target="digital clock")


_OBJECT_OPTIONS = (
    click.option(
        "--object",
        metavar="SIGN|CLASS",
        help="What a detector looks at. Put the patch on a sign: stop, yield, no-entry … (--model signs), or on objects that "
        "are labelled with boxes in the data: person, car …",
    ),
    click.option(
        "--object-from",
        type=click.Choice(OBJECT_SOURCES),
        default=_DEFAULT.object_from,
        show_default=True,
        help="Whether the object is drawn into the photographs or labelled in them; auto draws signs.",
    ),
    click.option(
        "--sign-area",
        type=float,
        default=_DEFAULT.sign_area,
        show_default=True,
        help="Share of the image that the square around a drawn sign covers.",
    ),
    click.option(
        "--object-share",
        type=float,
        default=_DEFAULT.object_share,
        show_default=True,
        help="Share of the sign's area, or of the object's box, that the patch is.",
    ),
    click.option(
        "--object-at",
        default="0.5,0.5",
        callback=lambda _context, _, text: parse_place(text),
        show_default=True,
        metavar="X,Y",
        help="The patch's middle, as shares of the object's width and height; below 0 or above 1 is beside it.",
    ),
    click.option(
        "--goal",
        type=click.Choice(GOALS),
        default=_DEFAULT.goal,
        show_default=True,
        help="What a detector shall do: not find the object; find --target in its stead; find --target at the patch. auto is "
        "hide without a target, relabel with one, appear without an object.",
    ),
    click.option(
        "--scope",
        type=click.Choice(SCOPES),
        default=_DEFAULT.scope,
        show_default=True,
        help="Where that counts: at the patch and what it lies on, or anywhere in the image.",
    ),
)


def _object_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a detector looks at, and what the patch shall do to that."""
    for option in reversed(_OBJECT_OPTIONS):
        command = option(command)
    return command


def _show_defence_names(context: click.Context) -> None:
    from physpatch.defences import DEFENCES

    for name, defence in DEFENCES.items():
        click.echo(f"{name:10} {defence.summary}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(physpatch.__version__, prog_name="physpatch")
def cli() -> None:
    """Does an adversarial patch still work when it is printed and a camera looks at it? Measure it on your own models.

    \b
    physpatch demo                      the whole loop, offline
    physpatch train --eot               train a 10x10 patch
    physpatch print --size 10cm         a PDF to scale
    physpatch live --source 0           before a camera
    """


def main() -> None:
    """Run the command line; every foreseeable error is one line on standard error and exit code 2."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
        sys.exit(0)
    except PhyspatchError as error:
        _fail(str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            reason += "; what was written before is kept"
        _fail(f"{error.filename}: {reason}" if error.filename else reason)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _fail(f"not enough memory ({str(error).splitlines()[0] if str(error) else 'none left'}); lower --batch")


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _say(line: str) -> None:
    click.echo(line, err=True)


# --- train ---------------------------------------------------------------------------------------------------------------


@cli.command()
@click.option(
    "--eot/--no-eot",
    default=True,
    help="Random view, bend, light, blur, noise, tone and JPEG; without it only the place is random. Default: --eot.",
)
@_PRESET_OPTION
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="One of the preset's ranges, replaced: blur_px=0:2. May be repeated.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(_DEFAULT.model,),
    show_default=True,
    metavar="NAME|FILE",
    help="The victim; see `physpatch models`. Repeated: all are fooled at once.",
)
@click.option(
    "--weights",
    type=click.Path(dir_okay=False),
    help="A file of weights for that model, instead of the published ones.",
)
@_TRUST_OPTION
@click.option(
    "--data",
    default=_DEFAULT.data,
    show_default=True,
    metavar="samples|imagenette|DIR",
    help="Photographs to train and measure on.",
)
@click.option(
    "--target",
    default=_DEFAULT.target,
    show_default=True,
    metavar="NAME|INDEX|auto|none",
    help="The class to bring about; none is untargeted.",
)
@click.option(
    "--technique",
    default=_DEFAULT.technique,
    show_default=True,
    metavar="NAME|list",
    help="How the cells are moved; list shows them.",
)
@click.option(
    "--objective",
    default=_DEFAULT.objective,
    show_default=True,
    metavar="cross-entropy|margin",
    help="What is minimised; margin is Carlini and Wagner's.",
)
@click.option("--nps", type=float, default=_DEFAULT.nps, show_default=True, help="Weight of non-printable colours.")
@click.option(
    "--tv", type=float, default=_DEFAULT.tv, show_default=True, help="Weight of total variation over the cells."
)
@click.option(
    "--restarts",
    type=int,
    default=_DEFAULT.restarts,
    show_default=True,
    help="Starts that are tried for 15 % of the steps each; the best on photographs kept apart goes on.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=_DEFAULT.precision,
    show_default=True,
    help="Of the victim; auto is bfloat16 on a GPU.",
)
@click.option("--learning-rate", type=float, help="Step size; each technique has its own default.")
@click.option(
    "--grid",
    default="x".join(map(str, _DEFAULT.grid)),
    show_default=True,
    metavar="RxC",
    help="Rows x columns of cells.",
)
@click.option(
    "--area",
    type=float,
    default=_DEFAULT.area,
    show_default=True,
    help="Share of the image that a patch by itself covers; on a drawn sign: --sign-area, --object-share.",
)
@_object_options
@click.option("--steps", type=int, default=_DEFAULT.steps, show_default=True)
@click.option("--batch", type=int, default=_DEFAULT.batch, show_default=True, help="Photographs a step.")
@click.option("--seed", type=int, default=_DEFAULT.seed, show_default=True)
@_DEVICE_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help="The run's folder. Default: a new one under runs/.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RIG.json",
    help="Train for a measured printer and camera: `physpatch calibrate`.",
)
@click.option(
    "--from-session",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="SESSION",
    help="Train for what a session saw: its angles, sizes, colours, light, blur and scenes. All else is as in the run that "
    "was shown there, but for what is given here.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run: RUN given by --out, or the latest.")
@_JSON_OPTION
@click.pass_context
def train(
    context: click.Context,
    /,
    eot: bool,
    preset: str | None,
    ranges: tuple[str, ...],
    models: tuple[str, ...],
    grid: str,
    profile: Path | None,
    from_session: Path | None,
    out: Path | None,
    resume: bool,
    json_out: str | None,
    **options: Any,
) -> None:
    """Train a patch and measure it on held-out photographs.

    \b
    physpatch train --eot
    physpatch train --eot --model efficientnet_lite0 --target "French horn" --steps 300
    physpatch train --no-eot --technique static --target none --data photos/
    physpatch train --from-session sessions/20260101-120000
    """
    if options["technique"] == "list":
        return _show_techniques()
    from calibration.common.console import progress_bar
    from physpatch.training.run import resume_run, train_run

    with progress_bar("training") as bar:
        progress = _train_progress(bar)
        if resume:
            steps = _only_steps_given(context)
            folder = resume_run(find_run(str(out) if out else None), steps=steps, progress=progress, say=bar.say)
        else:
            model, *also = models
            options |= {"model": model, "also": tuple(also), "grid": parse_grid(grid)}
            if from_session is not None:
                if not eot or profile is not None:
                    raise InputError(
                        "--from-session has its own ranges and colours; it takes no --no-eot and no --profile"
                    )
                given = _given(context)
                config = _config_from_session(
                    from_session, {k: v for k, v in options.items() if k in given}, preset, bar.say
                )
                config = replace(config, eot=config.eot.with_ranges(ranges))
            else:
                config = replace(_DEFAULT, **options, eot=_eot_config(eot, preset, ranges, profile))
            if config.drawn_sign is not None and "area" in _given(context):
                raise InputError(
                    "--area is the share of the image of a patch by itself; on a drawn sign --sign-area says how large the "
                    "sign's square is, and --object-share how much of the sign the patch"
                )
            if profile is not None:
                config = replace(config, profile=file_sha256(profile))
            folder = train_run(config, out, mark_latest=True, progress=progress, say=bar.say)
    if folder is None:
        return  # one of several processes; the first shows
    record = read_json(folder / "run.json")
    if json_out != "-":
        results = dict(record["results"])
        _show_results({record["weights"]["model"]: results} | results.pop("others", {}))
        click.echo(f"run: {folder}")
    _write_json(json_out, record["results"])


def _eot_config(eot: bool, preset: str | None, ranges: tuple[str, ...], profile: Path | None = None) -> EotConfig:
    for name, given in (("--preset", preset), ("--range", ranges), ("--profile", profile)):
        if given and not eot:
            raise InputError(f"--no-eot takes no {name}")
    if not eot:
        return EotConfig.none()
    base = EotConfig.preset(preset or _DEFAULT_PRESET)
    if profile is not None:
        from calibration.colour.rig_profile import RigProfile
        from physpatch.rendering.rig_ranges import eot_for_rig

        base = eot_for_rig(base, RigProfile.load(profile))
    return base.with_ranges(ranges)


def _only_steps_given(context: click.Context) -> int | None:
    """A resumed run keeps its own settings; only --steps may change."""
    given = _given(context)
    refused = sorted(given - {"resume", "out", "steps", "json_out"})
    if refused:
        raise InputError(
            f"--resume keeps the run's own settings; --{refused[0].replace('_', '-')} cannot be changed, only --steps"
        )
    return context.params["steps"] if "steps" in given else None


def _given(context: click.Context) -> set[str]:
    """Names of the settings that were given on the command line; of models all that they are in a config."""
    from click.core import ParameterSource

    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return given | ({"model", "also"} if "models" in given else set())


def _config_from_session(
    folder: Path, given: dict[str, Any], preset: str | None, say: Callable[[str], None]
) -> TrainConfig:
    """The settings of the run that a session showed, those given instead, and what the session saw."""
    from captures.gap.session_eot import learn_from
    from captures.results.recorded_session import RecordedSession
    from physpatch.victims.registry import load_victim

    session = RecordedSession.open(folder)
    before = _run_config(session.run) or replace(_DEFAULT, target=session.target or _DEFAULT.target)
    config = replace(before, **given)
    victim = load_victim(
        config.model, weights=config.weights, device=config.device, trust=config.trust_weights, say=say
    )
    learned = learn_from(session, victim, EotConfig.preset(preset) if preset else config.eot, say=say)
    say(
        f"from {learned.frames} frames of {folder}: tilt {_range(learned.eot.tilt_deg)}, rotation "
        f"{_range(learned.eot.rotation_deg)} degrees, the patch {100 * learned.area:.1f} % of the picture; "
        f"colours measured on {learned.colours}"
    )
    scenes = str(learned.backgrounds.resolve()) if learned.backgrounds else None
    return replace(_as_large(config, given, learned.area), eot=learned.eot, backgrounds=scenes, profile=None)


def _as_large(config: TrainConfig, given: Collection[str], patch_area: float) -> TrainConfig:
    """The settings with the patch ``patch_area`` of the image large, on a drawn sign too, where no size is given."""
    if config.drawn_sign is None:
        return config if "area" in given else replace(config, area=patch_area)
    if "sign_area" in given:
        return config
    from physpatch.attack.placement import Placing

    sign_per_patch = config.sign_area / Placing.of(config).area
    return replace(config, sign_area=min(0.9, max(0.001, patch_area * sign_per_patch)))


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.0f} to {ends[1]:.0f}"


def _show_techniques() -> None:
    from physpatch.techniques import TECHNIQUES

    for name, technique in TECHNIQUES.items():
        click.echo(f"{name:15} {technique.summary} (learning rate {technique.default_learning_rate:g})")


def _train_progress(bar: "ProgressBar") -> Callable[[Any, int], None]:
    return lambda record, steps: bar.show(
        record.step, steps, f"loss {record.loss:.3f}, fooled {100 * record.success:.0f} %"
    )


# --- bench ---------------------------------------------------------------------------------------------------------------


@cli.command()
@click.option(
    "--technique", "techniques", multiple=True, default=(_DEFAULT.technique,), show_default=True, metavar="NAME"
)
@click.option("--model", "models", multiple=True, default=("efficientnet_lite0",), show_default=True, metavar="NAME")
@click.option("--grid", "grids", multiple=True, default=("10x10",), show_default=True, metavar="RxC|pixel")
@click.option("--area", "areas", multiple=True, type=float, default=(_DEFAULT.area,), show_default=True)
@click.option(
    "--target", "targets", multiple=True, default=("auto",), show_default=True, metavar="NAME|INDEX|auto|none"
)
@_object_options
@click.option(
    "--seeds",
    type=int,
    default=1,
    show_default=True,
    help="Trainings of each, with --seed and those after it; five or more tell which one leads.",
)
@click.option("--full", is_flag=True, help="Every combination. Default: the first of each, and each axis varied alone.")
@click.option("--data", default=_DEFAULT.data, show_default=True, metavar="samples|imagenette|DIR", help="Photographs.")
@click.option("--limit", type=int, default=_DEFAULT.limit, show_default=True, help="Photographs at most.")
@_PRESET_OPTION
@click.option("--steps", type=int, default=_DEFAULT.steps, show_default=True)
@click.option("--batch", type=int, default=_DEFAULT.batch, show_default=True)
@click.option("--restarts", type=int, default=_DEFAULT.restarts, show_default=True)
@click.option("--seed", type=int, default=_DEFAULT.seed, show_default=True)
@_DEVICE_OPTION
@click.option(
    "--ray",
    "ray_address",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="Share the cells over a Ray cluster: its address, auto, or local.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/bench"),
    show_default=True,
    help="Where cells and tables are kept. What is there already is not done again.",
)
@_JSON_OPTION
def bench(
    techniques: tuple[str, ...],
    models: tuple[str, ...],
    grids: tuple[str, ...],
    areas: tuple[float, ...],
    targets: tuple[str, ...],
    full: bool,
    seeds: int,
    preset: str | None,
    ray_address: str | None,
    out: Path,
    json_out: str | None,
    **options: Any,
) -> None:
    """Compare techniques, networks, grids, areas and targets in one table; interrupted, it goes on where it stopped.

    \b
    physpatch bench --technique adam --technique pgd --grid 10x10 --grid 32x32
    physpatch bench --model efficientnet_lite0 --model efficientnet_lite1 --full --ray
    physpatch bench --model signs --object stop --target none --grid 10x10 --grid 5x5
    """
    from calibration.common.console import progress_bar
    from physpatch.benchmark.report import markdown, save_bench_report
    from physpatch.benchmark.runner import BenchPlan, run_bench

    if Path(options["data"]).is_dir():
        options["data"] = str(Path(options["data"]).resolve())
    base = replace(_DEFAULT, eot=_eot_config(True, preset, ()), **options)
    plan = BenchPlan(techniques, models, grids, areas, targets, full, seeds, base)
    with progress_bar("bench") as bar:
        rows = run_bench(plan, out, ray_address=ray_address, progress=bar.show, say=bar.say)
    save_bench_report(out, rows)
    if json_out != "-":
        click.echo(markdown(rows))
        click.echo(f"table: {out / 'table.md'}")
    _write_json(json_out, rows)


# --- evaluate ------------------------------------------------------------------------------------------------------------


@cli.command()
@_RUN_ARGUMENT
@click.option(
    "--data",
    metavar="samples|imagenette|DIR",
    help="Photographs; default: the held-out part of the run's own. Other data are used whole.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FILE",
    help="A victim to measure on; may be repeated. Default: the run's own.",
)
@click.option("--weights", type=click.Path(dir_okay=False), help="A file of weights for the one model given.")
@_TRUST_OPTION
@click.option(
    "--eot/--no-eot",
    default=None,
    help="All transformations, or the place alone. Default: as trained.",
)
@_PRESET_OPTION
@_DEFENCE_OPTION
@_DEVICE_OPTION
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the poses.")
@_JSON_OPTION
def evaluate(
    run: str | None,
    data: str | None,
    models: tuple[str, ...],
    weights: str | None,
    trust_weights: bool,
    eot: bool | None,
    preset: str | None,
    defences: tuple[str, ...],
    device: str,
    seed: int,
    json_out: str | None,
) -> None:
    """Measure a patch beside a plain grey and a random-colour one at the same poses.

    \b
    physpatch evaluate runs/latest --json -
    physpatch evaluate --model efficientnet_lite1 --model efficientnet_lite2
    physpatch evaluate --defence all
    """
    from calibration.common.console import progress_bar
    from physpatch.defences import defended, named_defences
    from physpatch.evaluation.classification import defence_effect
    from physpatch.training.run import held_out_photographs, measure_patch, poses_for
    from physpatch.victims.registry import load_victim

    if weights and len(models) != 1:
        raise InputError("--weights goes with exactly one --model")
    folder = find_run(run)
    patch, config = Patch.load(folder), _run_config(folder) or _DEFAULT
    ranges = config.eot if eot is None and preset is None else _eot_config(eot is not False, preset, ())
    results = {}
    for name in models or (config.model,):
        file = weights or (None if models else config.weights)
        victim = load_victim(name, weights=file, device=device, trust=trust_weights, say=_say)
        photographs = held_out_photographs(folder, config, data, victim)
        chosen = [victim, *(defended(victim, defence) for defence in named_defences(defences, victim.task))]
        evaluations = []
        for one in chosen:
            with progress_bar(f"measuring {one.name}") as bar:
                evaluation = measure_patch(
                    one,
                    photographs,
                    patch,
                    replace(config, eot=ranges),
                    seed=seed,
                    poses=poses_for(photographs),
                    progress=bar.show,
                )
            evaluations.append(evaluation)
            own = name if victim.name in results and one is victim else one.name
            results[own] = evaluation.to_dict()
            if one is not victim:
                results[own]["defence"] = defence_effect(evaluations[0], evaluation)
    if json_out != "-":
        _show_results(results)
        _show_defences(results)
    _write_json(json_out, results)


def _show_defences(results: dict[str, dict[str, Any]]) -> None:
    """What each defence is worth and costs."""
    from calibration.common.console import print_table

    rows = []
    for name, result in results.items():
        if "defence" in result:
            effect = result["defence"]
            target, wrong = (effect[f"{kind}_success_change"] for kind in ("targeted", "untargeted"))
            rows.append((name, f"{-100 * effect['clean_accuracy_paid']:+.1f} points", _change(target), _change(wrong)))
    if rows:
        print_table(("behind a defence", "clean accuracy", "target first", "made wrong"), rows)


def _change(value: dict[str, Any] | None) -> str:
    from physpatch.stats.intervals import Difference

    return str(Difference(**value)) if value and value["n"] else "-"


def _run_config(folder: Path | None) -> TrainConfig | None:
    """The settings that a run, or a patch.json that came without its run, was made with; None where nothing tells."""
    if folder is None:
        return None
    record = folder / "run.json"
    made = read_json(record) if record.is_file() else Patch.load(folder).provenance
    return TrainConfig.from_dict(made["config"]) if "config" in made else None


def _show_results(results: dict[str, dict[str, Any]]) -> None:
    from calibration.common.console import print_table

    rows: list[tuple[str, ...]] = []
    for model, r in results.items():
        if not r:
            click.echo(f"{model}: no labelled photographs were held out, so nothing was measured")
            continue
        if r.get("caution"):
            click.echo(f"note: {r['caution']}", err=True)
        rows.append((model, "clean", _percent(r["clean_accuracy"]), "", "", str(r["n"])))
        effects = {"patch": (r["patched_accuracy"], r["targeted_success"], r["untargeted_success"])}
        for name, accuracy in r["controls"].items():
            effects[f"{name} control"] = (
                accuracy,
                r["control_targeted_success"][name],
                r["control_untargeted_success"][name],
            )
        rows += [
            ("", name, _percent(acc), _rate(target), "by definition 0" if name == "grey control" else _rate(wrong), "")
            for name, (acc, target, wrong) in effects.items()
        ]
    print_table(("model", "shown", "accuracy", "target first", "made wrong", "n"), rows)
    _show_differences(results)
    _show_objects(results)


def _show_differences(results: dict[str, dict[str, Any]]) -> None:
    """The patch less each control, and success among all views, where a result has them."""
    from calibration.common.console import print_table

    rows: list[tuple[str, ...]] = []
    for model, r in results.items():
        differences = r.get("differences", {})
        for control, kinds in differences.items():
            rows.append((model, f"patch less {control}", _change(kinds["targeted"]), _change(kinds["untargeted"])))
        for name in ("patch", *differences) if differences else ():
            shares = (r[f"{kind}_success_of_all"].get(name, {"n": 0}) for kind in ("targeted", "untargeted"))
            rows.append((model, f"of all views: {name}", *(_rate(share) for share in shares)))
    if rows:
        print_table(("model", "paired, and of all views", "target first", "made wrong"), rows)


def _show_objects(results: dict[str, dict[str, Any]]) -> None:
    """What became of the object, where a detector was measured on one."""
    from calibration.common.console import print_table

    rows: list[tuple[str, ...]] = []
    for model, r in results.items():
        for name in ("clean", "patch", *r["controls"]) if "object" in r else ():
            precision = r["mean_precision"][name]
            hidden, relabelled = (_rate(r[kind][name]) if name in r[kind] else "" for kind in ("hidden", "relabelled"))
            rows.append(
                (
                    f"{model}: {r['object']}",
                    {"clean": "no patch", "patch": "patch"}.get(name, f"{name} control"),
                    hidden,
                    relabelled,
                    f"{r['false_boxes_per_image'][name]:.2f}" if name in r["false_boxes_per_image"] else "",
                    f"{precision['map50']:.2f} / {precision['map']:.2f}",
                )
            )
    if rows:
        print_table(("object", "shown", "hidden", "relabelled", "false boxes an image", "mAP50 / mAP"), rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rate(value: dict[str, Any]) -> str:
    from physpatch.stats.intervals import Rate

    return str(Rate(**value)) if value["n"] else "-"


def _write_json(target: str | None, value: Any) -> None:
    import json

    if target == "-":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif target:
        write_json(Path(target), value)


# --- print ---------------------------------------------------------------------------------------------------------------


_PAPER_OPTION = click.option(
    "--paper",
    default="a4",
    show_default=True,
    metavar="|".join(PAGES_MM) + "|WxH",
    help="The page, or a size like 300x500mm.",
)
_OPEN_OPTION = click.option("--open", "open_it", is_flag=True, help="Show the PDF in the system's viewer.")


@cli.command("print")
@_RUN_ARGUMENT
@click.option(
    "--size",
    default=_DEFAULT_SIZE,
    show_default=True,
    help="Longer side of the patch, in mm, cm, m or in; larger than the paper it becomes a poster to glue. On a sign, the "
    "sign's width.",
)
@click.option(
    "--object",
    "carrier",
    metavar="SIGN",
    help="Print a sign to scale, stop, yield, no-entry …: alone, and with a RUN also with its patch on it. Default: the "
    "sign that the RUN was trained on.",
)
@_PAPER_OPTION
@click.option("--controls", is_flag=True, help=f"Add a sheet for each control: {', '.join(CONTROLS)}.")
@click.option(
    "--cut",
    type=click.Choice(CUTS),
    default=CUTS[0],
    show_default=True,
    help="Cut around the markers, or cut out the patch alone as a square or circle for objects and stickers.",
)
@click.option("--bleed", metavar="LENGTH", help="How far the colours of a cut-out run over the cut. Default: 2mm.")
@click.option(
    "--verify",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pdf",
    help="Measure that PDF instead of writing one: lengths, markers, colours.",
)
@click.option(
    "--measured",
    metavar="WxH",
    help="Note what the printed rulers measure, across and down, like 99.2x99.4mm; used as the true size from then on.",
)
@_OPEN_OPTION
@_JSON_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pdf",
    help="Default: sheet.pdf in the run's folder.",
)
def print_(
    run: str | None,
    carrier: str | None,
    verify: Path | None,
    measured: str | None,
    out: Path | None,
    open_it: bool,
    json_out: str | None,
    **options: Any,
) -> None:
    """Write the patch as a PDF to scale. RUN is a run folder or a patch.json.

    \b
    physpatch print --size 10cm
    physpatch print runs/latest --size 1m --paper a3 --controls --out poster.pdf
    physpatch print --object stop --size 15cm
    physpatch print --verify runs/latest/sheet.pdf
    physpatch print --measured 99.2x99.4mm
    """
    path = verify or out
    if carrier is not None and not verify and not measured and run is None and not LATEST.exists():
        path = path or Path(f"{carrier.replace(' ', '-')}.pdf")
        _print_sign(carrier, path, **options)
        return _show_file(path) if open_it else None
    if path is None:
        path = _sheet_of(find_run(run))
    if measured:
        from calibration.sheet.pdf_reader import store_measured

        across, down = parse_extent_mm(measured)
        note = store_measured(path, (across, down))
        click.echo(
            f"{note}: rulers of {across:g} x {down:g} mm; sessions take the sheets at their true size from now on"
        )
    if verify:
        _verify_print(path, run, json_out)
    elif not measured:
        _print_run(find_run(run), path, json_out, carrier, **options)
    if open_it:
        _show_file(path)


def _sheet_of(folder: Path) -> Path:
    """Where the sheet of a run folder, or of a patch.json, lies."""
    return (folder.parent if folder.is_file() else folder) / "sheet.pdf"


def _print_run(
    folder: Path,
    path: Path,
    json_out: str | None,
    carrier: str | None,
    *,
    size: str,
    paper: str,
    controls: bool,
    cut: str,
    bleed: str | None,
) -> None:
    from printouts import print_on_sign, print_sheets

    patch, shown = Patch.load(folder), CONTROLS if controls else ()
    config = _run_config(folder) or _DEFAULT
    carrier = carrier or config.drawn_sign
    if carrier is None:
        layouts = print_sheets(
            patch,
            parse_length_mm(size),
            path,
            paper=paper,
            controls=shown,
            cut=cut,
            bleed_mm=parse_length_mm(bleed) if bleed else None,
        )
        return _show_printed(path, paper, layouts, json_out)
    if cut != CUTS[0] or bleed:
        raise InputError("a patch on a sign is not cut out: leave --cut and --bleed out, or print it without --object")
    layouts = print_on_sign(
        patch,
        carrier,
        parse_length_mm(size),
        path,
        share=config.object_share,
        at=config.object_at,
        paper=paper,
        controls=shown,
    )
    _show_printed(path, paper, layouts, json_out)
    _print_sign(carrier, path.with_name(f"{path.stem}-bare.pdf"), size=size, paper=paper)


def _print_sign(carrier: str, path: Path, *, size: str, paper: str, **_of_patches: Any) -> None:
    """The sign alone, without markers."""
    from printouts import print_sign

    print_sign(carrier, parse_length_mm(size), path, paper=paper)
    _say(f"{path}: the {carrier} sign alone, {parse_length_mm(size):g} mm wide, to cut out along its outline")


def _show_printed(path: Path, paper: str, layouts: "tuple[SheetLayout, ...]", json_out: str | None) -> None:
    """Say what was written, beside a picture of it."""
    from dataclasses import asdict

    from calibration.sheet.pdf_reader import forget_measured
    from printouts.preview import save_preview

    picture = save_preview(path)
    forgotten = forget_measured(path)
    if json_out != "-":
        place, pages = layouts[0].patch, sum(layout.pages for layout in layouts)
        click.echo(
            f"{path}: {place.width_mm:g} x {place.height_mm:g} mm on {paper.upper()}, {pages} page{'s' * (pages > 1)}"
            f"{', to be glued as page 1 shows' if layouts[0].tiles else ''}; preview in {picture.name}"
        )
        click.echo(
            "Print at 100 % (actual size) and measure both rulers; where they are off: physpatch print --measured WxH"
        )
        if forgotten:
            click.echo("What was measured on the earlier print no longer holds: measure the rulers of the new one.")
    _write_json(json_out, [asdict(layout) for layout in layouts])


def _show_file(path: Path) -> None:
    if click.launch(str(path)):
        _say(f"no viewer found on this machine: open {path} yourself")


def _verify_print(path: Path, run: str | None, json_out: str | None) -> None:
    """Measure a PDF, show what came out, and fail where something is out of bounds."""
    from calibration.common.console import print_table, progress_bar
    from calibration.sheet.pdf_reader import carried_layouts
    from printouts.verification import verify_sheets

    patch = Patch.load(find_run(run)) if run else None
    if patch is None and LATEST.exists():
        latest = Patch.load(find_run(None))
        patch = latest if any(layout.patch_id == latest.id for layout in carried_layouts(path)) else None
    with progress_bar("measuring") as bar:
        proofs = verify_sheets(path, patch, on_page=bar.show)
    if json_out != "-":
        rows = [
            (
                f"{proof.kind} {proof.patch_id}",
                str(proof.pages),
                " x ".join("-" if length is None else f"{length:.2f}" for length in proof.measured_mm),
                " x ".join(f"{length:.2f}" for length in proof.rulers_mm),
                f"{proof.markers_read} of {proof.markers}",
                "yes" if proof.label_read else "no",
                str(proof.worst_step),
            )
            for proof in proofs
        ]
        print_table(("sheet", "pages", "patch, mm", "rulers, mm", "markers", "QR", "colour error"), rows)
        click.echo(f"colours compared with {'patch.json' if patch else 'what the PDF says of itself'}, in 8-bit steps")
    _write_json(json_out, [proof.to_dict() for proof in proofs])
    problems = [f"{proof.kind}: {problem}" for proof in proofs for problem in proof.problems]
    if problems:
        raise InputError(
            f"{path} is not what it should be: {'; '.join(problems)}; print it anew with `physpatch print`"
        )


# --- calibrate -----------------------------------------------------------------------------------------------------------


@cli.group()
def calibrate() -> None:
    """Measure your printer and camera."""


@calibrate.command("sheet")
@click.option("--size", help="Longer side of board and chart. Default: the largest that fits.")
@_PAPER_OPTION
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Shuffles the chart's colours.")
@_OPEN_OPTION
@_JSON_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.pdf"),
    show_default=True,
    metavar="FILE.pdf",
)
def calibrate_sheet(size: str | None, paper: str, seed: int, open_it: bool, json_out: str | None, out: Path) -> None:
    """Write the sheets to film: a ChArUco board for the lens, a chart of 100 colours for printer and camera.

    \b
    physpatch calibrate sheet
    physpatch calibrate sheet --paper letter --out calibration.pdf
    """
    from printouts import print_targets

    layouts = print_targets(out, paper=paper, size_mm=parse_length_mm(size) if size else None, seed=seed)
    _show_printed(out, paper, layouts, json_out)
    if open_it:
        _show_file(out)


_PROFILE_FILE_OPTION = click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rig.json"),
    show_default=True,
    metavar="RIG.json",
    help="The rig profile to write to; what it holds already stays.",
)
_CALIBRATION_SHEET_OPTION = click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.pdf"),
    show_default=True,
    metavar="FILE.pdf",
    help="The printed calibration sheets.",
)
_SOURCE_OPTION = click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="0|FILE|DIR|URL",
    help="Camera index, video, picture, folder, stream.",
)


@calibrate.command("camera")
@_SOURCE_OPTION
@_CALIBRATION_SHEET_OPTION
@_PROFILE_FILE_OPTION
@click.option("--name", default="", help="Of the camera, for the profile.")
@click.option("--headless", is_flag=True, help="No window; guidance goes to the terminal.")
@_JSON_OPTION
def calibrate_camera(source: str, sheet: Path, profile: Path, name: str, headless: bool, json_out: str | None) -> None:
    """Measure the lens: film the ChArUco page from all sides, near and far, into the corners of the picture.

    \b
    physpatch calibrate camera --source 0
    physpatch calibrate camera --source clip.mp4 --headless
    physpatch calibrate camera --source stills/ --headless
    """
    from calibration.camera.board_views import BoardFinder, coverage_picture, fit_lens
    from captures.workflows.calibration_views import collect_views

    rig, layout = _open_rig(profile), _calibration_layout(sheet, "board")
    finder = BoardFinder(layout)
    with _filming(source, headless) as (frames, live, on_look):
        collector = collect_views(frames, finder, live=live, on_look=on_look)
    for reason, count in sorted(collector.refused.items(), key=lambda item: -item[1])[:4]:
        _say(f"{count} frames not used: {reason}")
    fit = fit_lens(finder, collector.views)
    replace(
        rig,
        camera=name or rig.camera,
        intrinsics=fit.intrinsics,
        lens=fit.to_dict(),
        print_scale=_print_scale(rig, layout),
    ).save(profile)
    picture = profile.with_name(f"{profile.stem}-lens.png")
    write_picture(picture, coverage_picture(fit.views))
    if json_out != "-":
        lens = fit.intrinsics
        click.echo(
            f"{profile}: focal length {lens.fx:.1f} x {lens.fy:.1f} px (±{fit.std[0]:.1f}), centre {lens.cx:.1f}, "
            f"{lens.cy:.1f}, {len(fit.views)} views of {lens.width}x{lens.height}, reprojection {fit.rms_px:.2f} px; "
            f"coverage in {picture.name}"
        )
        if collector.wish:
            click.echo(f"it would be better still with: {collector.wish}")
    _write_json(json_out, fit.to_dict())


@calibrate.command("colour")
@_SOURCE_OPTION
@_CALIBRATION_SHEET_OPTION
@_PROFILE_FILE_OPTION
@click.option(
    "--light", default="light", show_default=True, help="What you call the light; each has colours of its own."
)
@click.option("--printer", default="", help="Its name, for the profile.")
@click.option("--paper-name", default="", help="The paper's name, for the profile.")
@click.option(
    "--shots", type=click.IntRange(min=1), default=5, show_default=True, help="Pictures to take from a camera."
)
@click.option("--headless", is_flag=True, help="No window.")
@_JSON_OPTION
def calibrate_colour(
    source: str,
    sheet: Path,
    profile: Path,
    light: str,
    printer: str,
    paper_name: str,
    shots: int,
    headless: bool,
    json_out: str | None,
) -> None:
    """Measure what printer and camera make of colours: film the chart under the light that you will use.

    \b
    physpatch calibrate colour --source photos/ --light daylight
    physpatch calibrate colour --source 0 --light "desk lamp"
    """
    from calibration.colour.rig_profile import LightProfile
    from captures.workflows.calibration_views import collect_shots

    rig, layout = _open_rig(profile), _calibration_layout(sheet, "chart")
    cells = layout.cells
    if cells is None:
        raise InputError(f"{sheet} carries no colours; print it anew with `physpatch calibrate sheet`")
    with _filming(source, headless) as (frames, live, on_look):
        wanted = shots if live or Path(source).suffix else None
        taken, refused = collect_shots(frames, layout, rig.intrinsics, wanted=wanted, on_look=on_look)
    for reason, count in refused.most_common(4):
        _say(f"{count} pictures not used: {reason}")
    fitted = LightProfile.fit(light, cells, taken)
    replace(
        rig.with_light(fitted),
        printer=printer or rig.printer,
        paper=paper_name or rig.paper,
        print_scale=_print_scale(rig, layout),
    ).save(profile)
    picture = _save_light_picture(profile, fitted)
    if json_out != "-":
        click.echo(
            f"{profile}: {light}, {fitted.shots} pictures; colour difference (CIEDE2000), median and 95th percentile: "
            f"{fitted.before[0]:.1f} and {fitted.before[1]:.1f} as sent, {fitted.after[0]:.2f} and {fitted.after[1]:.2f} "
            f"as predicted for held-out colours; chart in {picture.name}"
        )
        click.echo(f"train against it: physpatch train --eot --profile {profile}")
    _write_json(json_out, _light_numbers(fitted))


@calibrate.command("show")
@click.argument(
    "profile", type=click.Path(path_type=Path, dir_okay=False), default=Path("rig.json"), metavar="[RIG.json]"
)
@_JSON_OPTION
def calibrate_show(profile: Path, json_out: str | None) -> None:
    """Show what a rig profile holds, and write pictures of its colours beside it.

    \b
    physpatch calibrate show rig.json
    """
    from calibration.colour.rig_profile import RigProfile
    from calibration.common.console import print_table

    rig = RigProfile.load(profile)
    if json_out != "-":
        named = {"printer": rig.printer, "paper": rig.paper, "camera": rig.camera}
        click.echo("; ".join(f"{what}: {name or 'not named'}" for what, name in named.items()))
        scale = rig.print_scale
        click.echo(
            "print scale: "
            + (f"{100 * scale[0]:.2f} % across, {100 * scale[1]:.2f} % down" if scale else "not measured")
        )
        if rig.intrinsics and rig.lens:
            lens = rig.intrinsics
            click.echo(
                f"lens: {lens.fx:.1f} x {lens.fy:.1f} px at {lens.width}x{lens.height}, {rig.lens['views']} views, "
                f"reprojection {rig.lens['rms_px']:.2f} px"
            )
        else:
            click.echo("lens: not measured (`physpatch calibrate camera`)")
        rows = [
            (
                one.name,
                str(one.shots),
                f"{one.before[0]:.1f} / {one.before[1]:.1f}",
                f"{one.after[0]:.2f} / {one.after[1]:.2f}",
                f"{one.map.domain}, degree {one.map.degree}",
                f"{100 * one.gamut_share:.0f} %",
                " ".join(f"{level:.2f}" for level in one.white),
                f"{one.blur_px:.2f} px",
                f"{one.read_noise:.4f} + {one.shot_noise:.4f} sqrt(light)",
            )
            for one in rig.lights
        ]
        headings = ("light", "shots", "as sent", "predicted", "map", "gamut", "paper's level", "blur", "noise")
        print_table(headings, rows)
    pictures = [_save_light_picture(profile, one) for one in rig.lights]
    if json_out != "-" and pictures:
        click.echo(
            "as sent / predicted: CIEDE2000, median / 95th percentile; pictures: " + ", ".join(map(str, pictures))
        )
    value = {"camera": rig.lens, "print_scale": rig.print_scale, "lights": [_light_numbers(one) for one in rig.lights]}
    _write_json(json_out, value)


@contextmanager
def _filming(source: str, headless: bool) -> "Iterator[tuple[Source, bool, Any]]":
    """An opened source, whether it is live, and what shows or says how it goes."""
    from calibration.common.console import progress_bar
    from captures.sources.opening import open_source
    from captures.viewers.window import Window

    with (
        nullcontext() if headless else Window() as window,
        open_source(source) as frames,
        progress_bar("filming") as bar,
    ):

        def on_look(picture: Any, kept: int, said: str) -> bool:
            bar.show(kept, None, said)
            return window is None or window.show(picture)

        yield frames, frames.live, on_look


def _open_rig(profile: Path) -> "RigProfile":
    from calibration.colour.rig_profile import RigProfile

    return RigProfile.load(profile) if profile.exists() else RigProfile()


def _calibration_layout(sheet: Path, kind: str) -> "SheetLayout":
    from calibration.sheet.pdf_reader import printed_layouts

    if not sheet.exists():
        raise InputError(f"no file {sheet}: print it with `physpatch calibrate sheet`, or name it with --sheet")
    for layout in printed_layouts(sheet):
        if layout.kind == kind:
            return layout
    raise InputError(f"{sheet} holds no {kind}; give the PDF of `physpatch calibrate sheet` with --sheet")


def _print_scale(rig: "RigProfile", layout: "SheetLayout") -> tuple[float, float] | None:
    return layout.scale if layout.scale != (1.0, 1.0) else rig.print_scale


def _save_light_picture(profile: Path, light: "LightProfile") -> Path:
    """The chart under one light, beside the profile; whatever the light is called, the name is a file's."""
    path = profile.with_name(f"{profile.stem}-{'-'.join(re.findall(r'[^ /:]+', light.name)) or 'light'}.png")
    write_picture(path, light.picture())
    return path


def _light_numbers(light: "LightProfile") -> dict[str, Any]:
    from dataclasses import asdict

    numbers = {k: v for k, v in asdict(light).items() if k not in ("sent", "seen", "map")}
    return numbers | {"gamut_share": light.gamut_share}


# --- live ----------------------------------------------------------------------------------------------------------------


@cli.command()
@_RUN_ARGUMENT
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="0|NAME|FILE|DIR|URL|phone|virtual",
    help="Camera by index or name, video, folder of stills, stream, a phone's browser, or the virtual rig.",
)
@click.option(
    "--camera",
    "camera",
    multiple=True,
    metavar="NAME=VALUE",
    help="Asked of the camera's driver: resolution=1280x720, fps=30, format=MJPG; exposure, white_balance and focus each "
    "auto, lock or a number. May be repeated.",
)
@click.option(
    "--classifier", metavar="NAME", help="Default: the run's own model, else auto (resnet50 where it can be had)."
)
@click.option("--weights", type=click.Path(dir_okay=False), help="A file of weights for the classifier.")
@click.option("--detector", metavar="NAME|FILE", help="An ultralytics detector such as yolov8n, or a FILE.pt.")
@_DEFENCE_OPTION
@_TRUST_OPTION
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pdf",
    help="The printed sheet. Default: sheet.pdf of the run.",
)
@click.option(
    "--roi",
    default="center",
    show_default=True,
    metavar="center|frame|sheet[:AREA]|LEFT,TOP,SIDE",
    help="What the classifier sees: the central square, the whole frame squeezed, a square around the sheet of which the "
    "patch covers AREA, or one square of the frame.",
)
@click.option(
    "--plan", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.toml", help="What is to be shown."
)
@click.option("--label", metavar="NAME|INDEX", help="The class truly before the camera.")
@click.option(
    "--condition", help="Which sheet is shown, where its markers cannot tell: patch, grey, random, shuffled or none."
)
@click.option("--light", metavar="NAME", help="A name for the light.")
@click.option("--hfov", type=float, metavar="DEGREES", help="Horizontal field of view of the camera, for distances.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RIG.json",
    help="The measured camera, for true distances and angles: `physpatch calibrate camera`.",
)
@click.option("--cam/--no-cam", default=True, help="Grad-CAM heat on the picture. Default: --cam.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Analyse one frame of N.")
@click.option("--max-fps", type=click.FloatRange(min=0, min_open=True), help="Analyse at most so many frames a second.")
@click.option("--max-frames", type=click.IntRange(min=1), help="End after so many frames.")
@click.option(
    "--keep", default="key", show_default=True, metavar="key|all|N|none", help="Which frames are kept as they came."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the virtual rig.")
@_DEVICE_OPTION
@click.option("--headless", is_flag=True, help="Record without a window.")
@click.option(
    "--web", is_flag=True, help="Show and steer the session in a browser of this machine, instead of a window."
)
@click.option(
    "--lan", is_flag=True, help="Let a phone of the same network in, by TLS and a one-time link. Goes with --web."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Of the web page; 0: any.")
@_JSON_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="SESSION",
    help="Default: a new folder under sessions/.",
)
def live(
    run: str | None, source: str, camera: tuple[str, ...], out: Path | None, json_out: str | None, **options: Any
) -> None:
    """Put frames of a camera through the models; q or Ctrl-C ends it, and what was captured is kept.

    \b
    physpatch live --source 0
    physpatch live --source 0 --camera exposure=lock --roi sheet:0.15 --plan plan.toml
    physpatch live --source phone
    physpatch live runs/latest --source clip.mp4 --detector yolov8n --headless
    physpatch live --source virtual --headless
    """
    from captures.sources.camera_settings import CameraSettings

    folder = find_run(run) if run or LATEST.exists() else None
    phone = source == "phone"
    options |= {"web": options["web"] or options["lan"] or phone, "lan": options["lan"] or phone}
    settings = CameraSettings.parse(camera)
    with _shown(**options) as viewers, _opened(source, settings, viewers) as frames:
        from captures.session.live_session import (
            new_session_folder,  # torch comes after the camera: a missing one is said at once
        )

        session = out or new_session_folder()
        notes = {"source": source, "camera": settings.asked}
        _live_session(folder, session, frames, viewers, notes, options)
    _show_session(session, json_out)


@contextmanager
def _shown(*, headless: bool, web: bool, lan: bool, port: int, **_: Any) -> "Iterator[list[Viewer]]":
    """What shows the session: a window, unless a browser does or nobody."""
    with ExitStack() as stack:
        viewers: list[Viewer] = []
        if web:
            from captures.web.server import WebPage

            viewers.append(stack.enter_context(WebPage(port=port, lan=lan, say=_say)))
        elif not headless:
            from captures.viewers.window import SessionWindow

            viewers.append(stack.enter_context(SessionWindow()))
        yield viewers


def _opened(
    source: str, settings: "CameraSettings", viewers: "list[Viewer]"
) -> "AbstractContextManager[Source | None]":
    """The source; None stands for the virtual rig, which comes when the sheet is known."""
    from captures.sources.opening import open_source

    if source == "virtual":
        return nullcontext()
    if source == "phone":
        from captures.web.server import WebPage

        return next(viewer.phone for viewer in viewers if isinstance(viewer, WebPage))
    return open_source(source, settings)


def _live_session(
    folder: Path | None,
    session: Path,
    frames: "Source | None",
    viewers: "list[Viewer]",
    notes: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Load models, sheet and patch, and record; without frames the virtual rig makes them."""
    from captures.inference.region import RegionRule
    from captures.protocol.plan import Protocol
    from captures.session.live_session import SessionPlan
    from captures.session.recorder import KeepRule
    from captures.session.session_setup import (
        measured_lens,
        session_layouts,
        session_models,
        session_notes,
        session_sheet,
    )
    from captures.viewers.controls import check_condition
    from physpatch.defences import defended, named_defences
    from physpatch.training.run import held_out_files

    if options["condition"] is not None:
        check_condition(options["condition"])
    region, keep = RegionRule.parse(options["roi"]), KeepRule.parse(options["keep"])
    protocol = Protocol.load(options["plan"]) if options["plan"] else None
    if protocol and len(protocol.lights) > 1 and not viewers:
        raise InputError(
            "the plan changes the light, and nobody can say here that it was changed; leave --headless out"
        )
    config = _run_config(folder)
    patch = Patch.load(folder) if folder else None
    names = {name: options[name] for name in ("classifier", "weights", "detector", "device")}
    classifier, detector = session_models(config, **names, trust=options["trust_weights"], say=_say)
    sheet = session_sheet(_sheet_of(folder) if folder else None, folder, patch, options["sheet"])
    rig = None
    if frames is None:
        sheet = sheet or _print_for_rig(patch, config, session)
        on_detector = detector is not None and config is not None and Path(config.model).stem == detector.name
        seen_by = detector if on_detector and detector is not None else classifier  # whose photographs were held out
        rig = _virtual_rig(sheet, held_out_files(folder, config or _DEFAULT, seen_by), options["seed"])
    elif sheet is None:
        _say("no printed sheet is known, so none will be recognised: print one with `physpatch print`, or give --sheet")
    plan = SessionPlan(
        classifier=classifier,
        detector=detector,
        defended=[defended(classifier, name) for name in named_defences(options["defences"], classifier.task)],
        layouts=session_layouts(sheet, options["profile"]) if sheet else (),
        intrinsics=rig.intrinsics if rig else measured_lens(options["profile"]),
        target=patch.target if patch else None,
        goal=_goal(config, patch),
        scope=config.scope if config else _DEFAULT.scope,
        label=None if options["label"] is None else _label(options["label"], classifier, detector),
        region=region,
        protocol=protocol,
        keep=keep,
        hfov_deg=options["hfov"],
        grad_cam=options["cam"],
        notes=session_notes(session, folder, sheet, virtual=rig is not None, **notes),
        **{name: options[name] for name in ("condition", "light", "every", "max_fps", "max_frames")},
    )
    _check_plan(plan)
    _record(rig or frames, plan, session, len(rig) if rig else options["max_frames"], viewers)


def _goal(config: TrainConfig | None, patch: Patch | None) -> str:
    """What the run wants of a detector."""
    from physpatch.attack.objectives import choose_goal

    if config is None:
        return _DEFAULT.goal
    target = None if patch is None or patch.target is None else int(patch.target["index"])
    return choose_goal(config.goal, target, config.object is not None)


def _label(text: str, classifier: "Victim", detector: "Victim | None") -> str:
    """A class by the name that the models have for it: the classifier's, or else the detector's.

    Raises:
        InputError: none of them knows it.
    """
    if detector is not None:
        from physpatch.victims.protocol import normal_name

        named = next((c for c in detector.categories if normal_name(c) == normal_name(text)), None)
        if named is not None:
            return named
    return classifier.categories[classifier.category_index(text)]


def _check_plan(plan: "SessionPlan") -> None:
    """A plan whose sheets are not printed could never be finished."""
    if plan.protocol is None:
        return
    printed = {layout.kind for layout in plan.layouts if layout.markers}
    missing = [condition for condition in plan.protocol.conditions if condition not in printed]
    if missing:
        raise InputError(
            f"the plan asks for {', '.join(missing)}, which the sheet does not hold with markers; "
            "print it with `physpatch print --controls`"
        )


def _print_for_rig(patch: Patch | None, config: TrainConfig | None, session: Path) -> Path:
    from printouts import print_on_sign, print_sheets

    if patch is None:
        raise InputError("the virtual rig needs a patch to show; train one with `physpatch train --eot`, or name a run")
    sheet = session / "sheet.pdf"
    carrier = None if config is None else config.drawn_sign
    size = _DEFAULT_SIZE if carrier is None else _SIGN_SIZE
    if config is None or carrier is None:
        print_sheets(patch, parse_length_mm(size), sheet, controls=CONTROLS)
    else:
        length, at = parse_length_mm(size), config.object_at
        print_on_sign(
            patch,
            carrier,
            length,
            sheet,
            share=config.object_share,
            at=at,
            controls=CONTROLS,
            paper="a4" if all(0 <= share <= 1 for share in at) else "a3",
        )
    _say(f"no printed sheet yet: the virtual rig shows {sheet}, {size} with all controls")
    return sheet


def _virtual_rig(sheet: Path, photographs: list[tuple[Path, str | None]], seed: int, clips: int = 12) -> "VirtualRig":
    from captures.sources.virtual_rig import VirtualRig

    return VirtualRig(sheet, photographs, seed=seed, clips=min(clips, len(photographs)))


def _record(
    source: Any, plan: "SessionPlan", session: Path, total: int | None, viewers: "Sequence[Viewer]" = ()
) -> None:
    """Run the session with a bar that counts frames and says what happens, beside whatever else shows it."""
    from calibration.common.console import progress_bar
    from captures.session.live_session import run_session
    from captures.viewers.terminal import TerminalViewer

    with progress_bar("frames") as bar:
        run_session(source, plan, session, viewers=[TerminalViewer(bar, total, alone=not viewers), *viewers])


def _show_session(session: Path, json_out: str | None = None) -> None:
    from calibration.common.console import print_table
    from captures.results.recorded_session import RecordedSession

    recorded = RecordedSession.open(session)
    summaries = recorded.tally.summaries()
    if json_out != "-":
        print_table(
            ("model", "sheet", "frames", "clips", "target first", "wrong, or not found"),
            [
                (
                    s.model,
                    s.condition,
                    str(s.frames),
                    str(s.clips),
                    _rate(s.target.to_dict()),
                    _rate(s.wrong.to_dict()),
                )
                for s in summaries
            ],
        )
        frames = len({row.frame for row in recorded.rows})
        click.echo(f"session: {session}, {frames} frames; `physpatch report {session}` writes its report")
    _write_json(json_out, [summary.to_dict() for summary in summaries])


# --- report, models, demo ------------------------------------------------------------------------------------------------


@cli.command()
@click.argument(
    "folders", type=click.Path(path_type=Path), metavar="RUN|SESSION [RUN|SESSION]...", nargs=-1, required=True
)
@click.option(
    "--replay/--no-replay",
    "replayed",
    default=True,
    help="Replay a session's frames through the model, to say where the effect is lost. Default: --replay.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RIG.json",
    help="Colours of the printer and camera for the replay. Default: as the session's own sheets show them.",
)
@click.option("--pdf", is_flag=True, help="Write the same as a PDF beside the HTML file.")
@_DEVICE_OPTION
@_TRUST_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Default: report.html in the folder; of several, comparison.html here.",
)
def report(
    folders: tuple[Path, ...],
    replayed: bool,
    profile: Path | None,
    pdf: bool,
    device: str,
    trust_weights: bool,
    out: Path | None,
) -> None:
    """Write one self-contained HTML file with numbers, intervals and pictures; of several folders, a comparison.

    \b
    physpatch report sessions/20260101-120000 --pdf
    physpatch report sessions/before sessions/after
    """
    from calibration.common.console import progress_bar
    from captures.report import ReplayOptions, write_comparison, write_report

    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("comparison.html"))
    paper = path.with_suffix(".pdf") if pdf else None
    if len(folders) > 1:
        write_comparison(folders, path, pdf=paper)
    else:
        options = ReplayOptions(profile, device, trust_weights) if replayed else None
        with progress_bar("replaying") as bar:
            write_report(folders[0], path, pdf=paper, replay=options, progress=bar.show, say=bar.say)
    click.echo(f"report: {path}" + (f", {paper}" if paper else ""))


@cli.command()
@_JSON_OPTION
def models(json_out: str | None) -> None:
    """Show what can be loaded here, and where its weights come from.

    \b
    physpatch models
    """
    from dataclasses import asdict

    from calibration.common.console import print_table
    from physpatch.victims.registry import catalogue

    entries = catalogue()
    if json_out != "-":
        rows = [(e.name, e.task, e.source, "yes" if e.ready else "no") for e in entries]
        print_table(("name", "task", "weights", "ready"), rows)
        click.echo(
            "Any other torchvision classifier or ultralytics detector loads by its name, a detector's FILE.pt by its path."
        )
    _write_json(json_out, [asdict(entry) for entry in entries])


@cli.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"), show_default=True, metavar="DIR"
)
@click.option("--steps", type=click.IntRange(min=1), default=_DEMO.steps, show_default=True, help="Training steps.")
@click.option(
    "--clips", type=click.IntRange(min=2), default=10, show_default=True, help="Clips before the virtual rig."
)
@click.option("--seed", type=click.IntRange(min=0), default=_DEMO.seed, show_default=True)
def demo(out: Path, steps: int, clips: int, seed: int) -> None:
    """Train, print, film and report, offline, on embedded weights and photographs: a few minutes on two cores.

    \b
    physpatch demo --out demo
    """
    from calibration.common.console import progress_bar
    from captures.report import ReplayOptions, write_report
    from captures.session.live_session import SessionPlan
    from captures.session.session_setup import session_notes
    from physpatch.training.run import held_out_files, train_run
    from physpatch.victims.registry import load_victim
    from printouts import print_sheets

    run, sheet, session = out / "run", out / "sheet.pdf", out / "session"
    if run.exists() or session.exists():
        raise InputError(f"{out} holds a demo already; remove it or give another --out")
    config = replace(_DEMO, steps=steps, seed=seed)
    click.echo(f"1/4  training: {config.model}, 10x10 cells, EOT, {steps} steps of {config.batch} embedded photographs")
    with progress_bar("training") as bar:
        train_run(config, run, progress=_train_progress(bar), say=lambda line: bar.say(f"     {line}"))
    record = read_json(run / "run.json")
    _show_results({config.model: record["results"]})
    click.echo(f"2/4  printing: {sheet}, {_DEFAULT_SIZE}, with a grey and a random-colour control sheet")
    patch = Patch.load(run)
    layouts = print_sheets(patch, parse_length_mm(_DEFAULT_SIZE), sheet, controls=("grey", "random"))
    click.echo(
        "3/4  filming: the virtual rig holds the sheets before held-out photographs (a simulation, not a camera)"
    )
    classifier = load_victim(config.model)
    rig = _virtual_rig(sheet, held_out_files(run, config, classifier), seed, clips)
    notes = session_notes(session, run, sheet, virtual=True)
    plan = SessionPlan(classifier, layouts=layouts, intrinsics=rig.intrinsics, target=patch.target, notes=notes)
    _record(rig, plan, session, len(rig))
    _show_session(session)
    click.echo("4/4  reporting")
    with progress_bar("replaying") as bar:
        path = write_report(session, out / "report.html", replay=ReplayOptions(), progress=bar.show, say=bar.say)
    click.echo("\nOpen:")
    for made in (path, sheet, run / "evolution.mp4", session / "video.mp4", run, session):
        click.echo(f"  {made}")


if __name__ == "__main__":
    main()
