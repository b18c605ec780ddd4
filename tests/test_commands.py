"""The door: commands that are imported when they run, values parsed as they are typed, completion, options of a config."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from inspect import cleandoc
from io import StringIO
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
import torch
from click.shell_completion import BashComplete
from rich.console import Console
from support import CommandResult, printer_profile, vivid_patch

import cli
from calibration.colour.colour_space import srgb_to_linear
from calibration.colour.printing_condition import lattice, load_condition, training_conditions
from calibration.common.cli_types import LENGTH_MM, TextType, folders_in
from calibration.common.console import cells_in_text, print_table, progress_bar
from calibration.common.errors import InputError
from calibration.common.lazy_group import GroupedCommand, LazyCommand, LazyGroup
from calibration.common.registry import declared_names
from physpatch.commands.options import DEFAULT
from physpatch.commands.train import train
from physpatch.commands.workflows import Workflows
from physpatch.defences import DEFENCES
from physpatch.records.config import SETTINGS, TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.techniques import TECHNIQUES

ROOT = Path(__file__).parents[1]


def lazy_commands() -> Iterator[tuple[str, LazyGroup, str]]:
    """List each lazily imported command with its group."""
    for group, commands in ((cli.cli, cli.COMMANDS), (cli.calibrate, cli.CALIBRATE_COMMANDS)):
        assert isinstance(group, LazyGroup)
        for name in commands:
            yield name, group, commands[name].summary


@pytest.mark.parametrize(("name", "group", "summary"), [*lazy_commands()], ids=lambda value: value if value else "")
def test_a_summary_is_the_first_line_of_the_commands_own_help(name: str, group: LazyGroup, summary: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None and command.help is not None and command.name == name
    assert cleandoc(command.help).splitlines()[0] == summary


def every_command(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield a group and the commands in it, however deep, each with its context in a terminal of 80 columns."""
    yield group, context
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        # click leaves two columns free
        inner = click.Context(command, info_name=name, parent=context, terminal_width=78)
        yield from every_command(command, inner) if isinstance(command, click.Group) else [(command, inner)]


def test_help_fits_80_columns_and_no_summary_is_cut_off() -> None:
    helps = {
        context.command_path: command.get_help(context)
        for command, context in every_command(cli.cli, click.Context(cli.cli, info_name="physpatch", terminal_width=78))
    }
    assert len(helps) > 22 and "physpatch runs export" in helps
    for name, text in helps.items():
        assert max(map(len, text.splitlines())) <= 80, name
        assert not re.search(r"^  \w+ .*\.\.\.$", text.partition("Commands:")[2], re.MULTILINE), name
        _, _, options = text.partition("Options:" if "Options:" in text else "Other options:")
        assert not re.search(r"^  \[?[A-Z]", options, re.MULTILINE), name  # arguments are in the usage


def test_a_group_imports_a_command_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazily_imported.py").write_text(
        'import click\n\n@click.command()\ndef hello():\n    """Greet."""\n    click.echo("hello")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = LazyGroup("greetings", lazy={"hello": LazyCommand("lazily_imported:hello", "Greet.")})
    assert "hello  Greet." in group.get_help(click.Context(group))
    assert "lazily_imported" not in sys.modules
    assert group.get_command(click.Context(group), "goodbye") is None
    command = group.get_command(click.Context(group), "hello")
    assert command is not None and command.help == "Greet." and "lazily_imported" in sys.modules


def test_help_comes_at_once() -> None:
    """In seconds of the processor, which do not grow with what else the machine does; the least of three."""
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, str(ROOT / "cli.py"), "--help"], check=True, capture_output=True)
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(seconds) <= 0.4


def completions(*words: str) -> list[str]:
    """What the shell offers for the last word."""
    shell = BashComplete(cli.cli, {}, "physpatch", "_PHYSPATCH_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1]) if item.type == "plain"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ["train"]),
        (("calibrate", "s"), ["sheet", "show"]),
        (("train", "--technique", "p"), ["pgd"]),
        (("bench", "--technique", "a"), ["adam"]),
        (("evaluate", "--defence", "l"), ["lgs", "list"]),
        (("train", "--preset", "d"), ["desk"]),
        (("train", "--range", "blur"), ["blur_px="]),
        (("train", "--object", "s"), ["stop", "speed-limit"]),
        (("train", "--grid", "ten", "--goal", "re"), ["relabel"]),  # a word before that is refused is no hindrance
        (("print", "--paper", "le"), ["letter", "legal"]),
        (("live", "--source", "v"), ["virtual"]),
        (("live", "--scene", "st"), ["stand", "street"]),
        (("train", "--from-s"), ["--from-session"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_completion_offers_what_fits(words: tuple[str, ...], offered: list[str]) -> None:
    assert completions(*words) == offered


@pytest.mark.parametrize("command", ["print", "evaluate", "live"])
def test_completion_offers_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completions(command, "runs/") == []
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert completions(command, "runs/") == ["runs/first", "runs/second"]
    assert completions(command, "runs/s") == ["runs/second"]


def test_the_shell_completes_a_command() -> None:
    """Ask for completion as bash does."""
    asked = {"COMP_WORDS": "physpatch ev", "COMP_CWORD": "1", "_PHYSPATCH_COMPLETE": "bash_complete"}
    code = "import sys; sys.argv = ['physpatch']; import cli; cli.main()"
    environment = os.environ | asked | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "plain,evaluate\n"


def test_completion_knows_every_technique_and_defence() -> None:
    assert declared_names("physpatch.techniques", "physpatch.techniques") == tuple(TECHNIQUES)
    assert declared_names("physpatch.defences", "physpatch.defences") == tuple(DEFENCES)


def test_a_value_is_parsed_once_and_refused_in_the_programs_own_words() -> None:
    assert LENGTH_MM.convert("10cm", None, None) == 100
    assert LENGTH_MM.convert(100.0, None, None) == 100
    with pytest.raises(InputError, match="length '10' not understood"):
        LENGTH_MM.convert("10", None, None)


def test_suggestions_begin_with_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    kind = TextType("run", suggest=folders_in(tmp_path), files=True)
    context, argument = click.Context(train), click.Argument(["run"])
    offered = kind.shell_complete(context, argument, str(tmp_path / "f"))
    assert [(item.type, item.value) for item in offered] == [
        ("file", str(tmp_path / "f")),
        ("plain", str(tmp_path / "folder")),
    ]


def test_options_take_their_defaults_from_the_config() -> None:
    """Those of training, as they are parsed: a grid and a place are not words."""
    params = train.make_context("train", []).params
    shared = params.keys() & SETTINGS.keys()
    assert {"grid", "object_at", "steps", "technique", "trust_weights", "learning_rate"} <= shared
    assert {name: params[name] for name in shared} == {name: DEFAULT.setting(name) for name in shared}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--range", "blurr=0:2"), ["unknown EOT range 'blurr'"]),
        (("train", "--range", "blur_px=a:b"), ["EOT range 'blur_px=a:b' not understood; give blur_px=LOW:HIGH"]),
        (("train", "--config", "none.toml"), ["no file none.toml"]),
        (("train", "--config", "none.toml", "--from-session", "s"), ["leave out --config"]),
        (("train", "--resume", "--model", "resnet50"), ["--model cannot be changed, only --steps"]),
        (("train", "--resume", "--range", "blur_px=1"), ["--range cannot be changed, only --steps"]),
        (("train", "--range", "blur_px=2:0"), ["EOT range blur_px is 2.0 to 0.0"]),
        (("train", "--no-eot", "--range", "blur_px=1"), ["--no-eot cannot be combined with --range"]),
        (("train", "--object-at", "0.5"), ["the place '0.5' is not understood"]),
        (("bench", "--grid", "ten"), ["grid 'ten' not understood"]),
        (("print", "--measured", "99mm"), ["'99mm' not understood; expected WIDTHxHEIGHT"]),
        (("train", "--config", __file__), ["is not valid JSON", "give a file of settings that ends in .toml"]),
        (("import", __file__, "--labels", "coco"), ["--labels names the classes of --target or --model"]),
        (("print", "--bleed", "2"), ["length '2' not understood"]),
        (("print", "--verify", "a.pdf", "--size", "9cm"), ["--verify prints nothing, so --size has no effect"]),
        (("print", "--measured", "99x99mm", "--controls"), ["--measured prints nothing, so --controls has no effect"]),
        (("print", "--verify", "a.pdf", "--object", "stop"), ["--verify prints nothing, so --object has no effect"]),
        (("calibrate", "sheet", "--paper", "papyrus"), ["unknown paper 'papyrus'"]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_values_are_refused_at_the_door(
    arguments: tuple[str, ...], words: list[str], command: Callable[..., CommandResult]
) -> None:
    command(*arguments).assert_refused(*words)


def test_every_command_has_help_with_an_example() -> None:
    for command, context in every_command(cli.cli, click.Context(cli.cli, info_name="physpatch", terminal_width=78)):
        if not isinstance(command, click.Group):
            _, _, told = command.get_help(context).partition("\n\n")  # beyond the line of its usage
            assert context.command_path in told, context.command_path


@pytest.mark.parametrize("name", ["train", "bench"])
def test_every_command_that_trains_lists_the_techniques(name: str, command: Callable[..., CommandResult]) -> None:
    done = command(name, "--technique", "list")
    assert done.code == 0 and [line.split()[0] for line in done.out.splitlines()] == list(TECHNIQUES)


def test_options_replace_what_a_file_of_settings_says(
    command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[TrainConfig] = []
    monkeypatch.setattr("physpatch.training.run.train_run", lambda config, *_, **__: trained.append(config))
    file, mild = tmp_path / "stop.toml", EotConfig.preset("mild")
    file.write_text('steps = 30\n[victim]\nmodel = "signs"\n[object]\nname = "stop"\n[eot]\npreset = "mild"\n')
    assert command("train", "--config", file).code == 0
    assert trained.pop() == TrainConfig.of(model="signs", object="stop", steps=30, eot=mild)
    assert command("train", "--config", file, "--steps", 5, "--range", "blur_px=1").code == 0
    changed = TrainConfig.of(model="signs", object="stop", steps=5, eot=mild.changed(blur_px=(1, 1)))
    assert trained.pop() == changed
    made = tmp_path / "run.json"
    made.write_text(json.dumps({"config": changed.changed(profile="0" * 64).to_dict()}))
    assert command("train", "--config", made, "--seed", 3, "--model", "yolov8n.pt").code == 0
    assert trained.pop() == changed.changed(profile="0" * 64, seed=3, model="yolov8n.pt")
    assert command("train", "--config", made, "--no-eot").code == 0
    still = changed.changed(eot=EotConfig.none())
    assert trained.pop() == still  # and without the profile that the ranges came from
    made.with_name("still.json").write_text(json.dumps({"config": still.to_dict()}))
    for given, wanted in (((), still), (("--eot",), still.changed(eot=still.default_eot))):
        assert command("train", "--config", made.with_name("still.json"), *given).code == 0
        assert trained.pop() == wanted
    assert command("train", "--grid", "20x20", "--range", "blur_px=1").code == 0
    finer = TrainConfig.of(grid=(20, 20))
    assert trained.pop() == finer.changed(eot=finer.eot.changed(blur_px=(1, 1)))
    assert command("train", "--config", made, "--preset", "outdoor").code == 0
    assert trained.pop() == changed.changed(eot=EotConfig.preset("outdoor"))
    plain = tmp_path / "plain.toml"
    plain.write_text('technique = "evolution"\nqueries = 2000\ntrust_weights = true\n')
    assert command("train", "--config", plain, "--technique", "pgd", "--steps", 40, "--grid", "20x20").code == 0
    assert trained.pop() == TrainConfig.of(grid=(20, 20), steps=40)  # with its own sizes, and nothing trusted by a file
    for text, words in (
        (
            'area = 0.3\n[object]\nname = "stop"',
            "--area is for a patch without an object; on a drawn sign, --sign-area",
        ),
        ("[object]\nshare = 0.3", "--object-share is for a patch on an object; give --object, too"),
        ("stpes = 100", "plain.toml: unknown setting 'stpes'; did you mean 'steps'"),
    ):
        plain.write_text(text)
        command("train", "--config", plain).assert_refused(words)
    for preset in ("desk", "leaderboard"):
        bench = command("bench", "--preset", preset, "--object-share", 0.3, "--out", tmp_path)
        bench.assert_refused("--object-share is for a patch on an object; give --object, too")
    command("train", "--steps", 5, "--queries", 500).assert_refused("--steps and --queries each set the length")
    for option, value in (("--object-share", 0.3), ("--object-at", "0.5,0.2"), ("--sign-area", 0.1)):
        command("train", option, value).assert_refused(f"{option} is for a patch on an object; give --object, too")
    person = ("train", "--model", "signs", "--object", "person", "--sign-area", 0.2)
    command(*person).assert_refused("--sign-area is for a drawn sign")
    for option, value in (("--area", 0.3), ("--cut", "circle")):
        command("train", "--model", "signs", "--object", "person", option, value).assert_refused(
            f"{option} is for a patch without an object"
        )


@pytest.mark.parametrize(
    ("option", "given", "setting", "value"),
    [
        ("--target", "abacus", "target", "abacus"),
        ("--technique", "flat-minimum", "technique", "flat-minimum"),
        ("--objective", "logit", "objective", "logit"),
        ("--worst", "0.25", "worst", 0.25),
        ("--group-dro", "0.02", "group_dro", 0.02),
        ("--nps", "0.5", "nps", 0.5),
        ("--tv", "0.2", "tv", 0.2),
        ("--restarts", "3", "restarts", 3),
        ("--transfer", "ghost", "transfer", ("ghost",)),
        ("--imitate", "efficientnet_lite1", "imitate", ("efficientnet_lite1",)),
        ("--queries", "2000", "queries", 2000),
        ("--batch", "4", "batch", 4),
        ("--learning-rate", "0.1", "learning_rate", 0.1),
        ("--area", "0.2", "area", 0.2),
        ("--cut", "circle", "cut", "circle"),
        ("--precision", "float32", "precision", "float32"),
        ("--recognised", "0.25", "recognised", 0.25),
        ("--defence", "jpeg", "defences", ("jpeg",)),
        ("--seed", "7", "seed", 7),
        ("--device", "cpu", "device", "cpu"),
    ],
)
def test_settings_reach_the_run_from_the_command_line(
    option: str,
    given: str,
    setting: str,
    value: object,
    command: Callable[..., CommandResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[TrainConfig] = []
    monkeypatch.setattr("physpatch.training.run.train_run", lambda config, *_, **__: trained.append(config))
    done = command("train", option, given)
    assert done.code == 0, done.err
    assert trained == [TrainConfig.of(**{setting: value})] != [TrainConfig()]


def test_a_trial_is_for_several_starts(command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[TrainConfig] = []
    monkeypatch.setattr("physpatch.training.run.train_run", lambda config, *_, **__: trained.append(config))
    done = command("train", "--restarts", "3", "--trial", "1")
    assert done.code == 0, done.err
    assert trained == [TrainConfig.of(restarts=3, trial=1.0)]
    command("train", "--trial", "1").assert_refused("--trial is for several starts; give --restarts, or --start more")
    command("train", "--restarts", "3", "--trial", "0").assert_refused("must be above 0 and at most 1, got 0.0")


def test_a_patch_is_measured_on_named_papers(
    command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vivid_patch().save(tmp_path)
    asked: list[Any] = []
    monkeypatch.setattr("physpatch.training.run_evaluation.evaluate_run", lambda *_, **more: asked.append(more) or {})
    for arguments, printing in (
        ((), None),
        (("--condition", "screen"), ()),
        (
            ("--condition", "newspaper", "--condition", "coated"),
            (load_condition("newspaper"), load_condition("coated")),
        ),
    ):
        assert command("evaluate", tmp_path, *arguments).code == 0
        assert asked.pop()["printing"] == printing
    on_screen = TrainConfig.of(eot=EotConfig.preset("desk").changed(prints=()))
    Patch(vivid_patch().cells, provenance={"config": on_screen.to_dict()}).save(tmp_path)
    for arguments, prints in ((("--preset", "mild"), ()), (("--eot", "--preset", "mild"), training_conditions())):
        assert command("evaluate", tmp_path, *arguments).code == 0
        assert asked.pop()["eot"] == EotConfig.preset("mild").changed(prints=prints)
    command("evaluate", tmp_path, "--condition", "screen", "--icc", "x.icc").assert_refused(
        "leave out the other conditions"
    )


def test_a_patch_is_trained_for_real_prints(
    command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[TrainConfig] = []
    monkeypatch.setattr("physpatch.training.run.train_run", lambda config, *_, **__: trained.append(config))
    assert command("train", "--condition", "coated", "--condition", "newspaper").code == 0
    assert trained.pop().eot == EotConfig(prints=(load_condition("coated"), load_condition("newspaper")))
    for arguments in ((), ("--condition", "all"), ("--preset", "desk")):
        assert command("train", *arguments).code == 0
        assert trained.pop().eot == EotConfig.preset("desk").changed(prints=training_conditions())
    assert command("train", "--condition", "screen", "--cut", "square").code == 0
    config = trained.pop()
    assert config.eot == EotConfig() and config.patch.cut == "square"
    profile = printer_profile(tmp_path / "mine.icc")
    assert command("train", "--icc", profile).code == 0
    (printer,) = trained.pop().eot.prints
    assert printer.name == "mine" and np.abs(printer.table - srgb_to_linear(lattice())).max() < 0.03
    assert command("train", "--icc", profile, "--condition", "coated").code == 0
    both = trained.pop()
    assert len(both.eot.prints) == 2
    made = tmp_path / "run.json"
    made.write_text(json.dumps({"config": both.to_dict()}))
    assert command("train", "--config", made, "--preset", "outdoor").code == 0  # other ranges, the same press
    kept = trained.pop().eot
    assert [condition.name for condition in kept.prints] == [condition.name for condition in both.eot.prints]
    assert kept.ranges == EotConfig.preset("outdoor").ranges
    made.write_text(json.dumps({"config": TrainConfig.of(eot=EotConfig.none()).to_dict()}))
    assert command("train", "--config", made, "--preset", "outdoor").code == 0
    assert trained.pop().eot == EotConfig.preset("outdoor")
    command("train", "--condition", "screen", "--condition", "coated").assert_refused("leave out the other conditions")
    command("train", "--condition", "glossy").assert_refused("unknown printing condition 'glossy'", "coated")
    command("train", "--icc", "none.icc").assert_refused("none.icc is no ICC profile that can be read")
    command("train", "--no-eot", "--condition", "coated").assert_refused("--no-eot cannot be combined with --condition")
    command("train", "--from-session", "s", "--condition", "coated").assert_refused("leave out --config")


def test_a_sheet_is_proofed_for_a_press(command: Callable[..., CommandResult], tmp_path: Path) -> None:
    cells = np.full((2, 3, 3), 255, np.uint8)
    cells[0, 1] = (0, 0, 255)  # a blue that no press prints
    Patch(cells).save(tmp_path)
    words = ("print", tmp_path, "--out", tmp_path / "sheet.pdf", "--condition", "newspaper")
    for done, shown in ((command(*words, "--quiet"), "out"), (command(*words, "--json", "-"), "err")):
        assert done.code == 0, done.err
        assert "ifra-26-newspaper (relative): 1 of 6 cells print in another colour" in getattr(done, shown)
        assert "row 1 column 2" in getattr(done, shown)
    picture = cv2.imread(str(tmp_path / "sheet-ifra-26-newspaper-relative.png"))
    screen, printed = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert np.median(screen) == 255 and 180 < np.median(printed) < 230  # bare newsprint is grey
    profile = printer_profile(tmp_path / "mine.icc")
    done = command("print", tmp_path, "--out", tmp_path / "mine.pdf", "--icc", profile)
    assert done.code == 0 and "mine" in done.out and "0 of 6 cells" in done.out, done.err
    (tmp_path / "other").mkdir()
    same_name = printer_profile(tmp_path / "other/mine.icc")
    command("print", tmp_path, "--icc", profile, "--icc", same_name).assert_refused(
        "would both be called mine; copy one"
    )


def test_what_crosses_rooms_is_handed_in_by_the_door() -> None:
    with pytest.raises(RuntimeError, match=r"run through cli\.py"):
        Workflows.of(click.Context(train))


def test_progress_averages_over_the_steps_of_one_start_alone() -> None:
    from physpatch.commands.results import training_progress
    from physpatch.training.trainer import StepRecord

    shown: list[str] = []

    class Bar:
        def show(self, done: int, total: int, words: str) -> None:
            shown.append(words)

    show = training_progress(Bar())  # type: ignore[arg-type]
    for step, (trial, success) in enumerate([(0, 1.0), (0, 0.5), (1, 0.0), (None, 0.5), (None, 1.0)], start=1):
        show(StepRecord(step, 1.0, {}, success, 0.1, on_screen=success if step == 2 else None, trial=trial), 5)
    assert shown == [
        "fools 100 % on a screen",
        "fools 75 % on a screen, 50 % on a screen",
        "fools 0 % on a screen",
        "fools 50 % on a screen",
        "fools 75 % on a screen",
    ]


@pytest.mark.parametrize("name", ["train", "live", "print", "evaluate", "bench"])
def test_long_help_is_in_groups_that_name_every_option(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert isinstance(command, GroupedCommand)
    grouped = [option for options in command.groups.values() for option in options]
    options = {str(p.name) for p in command.params if isinstance(p, click.Option)} - {"quiet", "verbose"}
    assert sorted(grouped) == sorted(options)
    text = command.get_help(click.Context(command, terminal_width=80))
    assert all(f"\n{title}:\n" in text for title in command.groups) and "--quiet" in text.partition("Other options:")[2]


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_quiet_command_prints_results_only(place: str, tmp_path: Path, command: Callable[..., CommandResult]) -> None:
    vivid_patch().save(tmp_path)
    words = ("export", tmp_path, "--out", tmp_path / "patch.png")
    loud = command(*words)
    assert loud.err == f"Next: physpatch print {tmp_path} --size 10cm --controls\n"
    quiet = command("-q", *words) if place == "before" else command(*words, "--quiet")
    assert (quiet.out, quiet.err) == (loud.out, "")
    assert command(*words).err == loud.err  # it lasts for one command


def test_a_verbose_command_says_where_an_error_comes_from(command: Callable[..., CommandResult]) -> None:
    done = command("export", "nowhere", "-v")
    assert done.code == 2 and "Traceback" in done.err and done.err.splitlines()[-1].startswith("Error: no run nowhere")


def test_a_bar_says_that_a_command_gets_ready_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It showed 0/? for as long as a model was loaded."""
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    seen = []
    with progress_bar("training") as bar:
        for done, total, words in ((None, None, ""), (3, None, ""), (4, 10, "fools 0 % on paper, 0 % on a screen")):
            if done is not None:
                bar.show(done, total, words)
            console = Console(width=80, record=True, file=StringIO())
            console.print(*bar._progress.get_renderables())
            seen.append(console.export_text())
    assert "getting ready" in seen[0] and not any("?" in text for text in seen)
    assert " 3 " in seen[1] and "getting ready" not in seen[1]
    assert " 4/10 fools 0 % on paper, 0 % on a screen" in seen[2] and seen[2].count("\n") == 1  # in one line


def test_the_cells_are_shown_in_colour_where_the_terminal_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = np.zeros((3, 2, 3), np.uint8)
    cells[0, 0], cells[1, 0], cells[2, 1] = (250, 10, 20), (1, 2, 3), (9, 9, 99)
    text = cells_in_text(cells)
    assert text.plain == "\u2580\u2580\n\u2580\u2580"
    styles = [str(span.style) for span in text.spans]
    assert styles == ["#fa0a14 on #010203", "#000000 on #000000", "#000000", "#090963"]
    assert cells_in_text(np.zeros((100, 100, 3), np.uint8)).plain.count("\u2580") == 25 * 13
    shown = {}
    for name, terminal in {
        "colour": {"COLORTERM": "truecolor"},
        "none": {"COLORTERM": "truecolor", "NO_COLOR": "1"},
    }.items():
        with monkeypatch.context() as patched:
            patched.setenv("TTY_COMPATIBLE", "1")
            patched.setenv("TERM", "xterm")
            for key, value in terminal.items():
                patched.setenv(key, value)
            with progress_bar("training") as bar:
                bar.show_cells(cells)
                shown[name] = len(list(bar._progress.get_renderables()))
    assert shown == {"colour": 2, "none": 1}


def test_names_of_models_are_whole_at_80_columns_and_brackets_are_no_markup(
    command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calibration.common.console._PIPED_WIDTH", 80)
    out = command("models").out
    assert "ssdlite320_mobilenet_v3_large" in out and "PACKAGE.MODULE:FUNCTION" in out and "\u2026" not in out
    assert "physpatch[onnx]" in out


@pytest.mark.parametrize("name", ["train", "bench"])
def test_a_folder_that_cannot_be_written_is_refused_before_torch_is_imported(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = (
        f"import sys, cli; sys.argv = ['physpatch', '{name}', '--out', 'file/out']\n"
        "try: cli.main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=120)
    assert done.stdout == "2 False\n" and "file/out cannot be written" in done.stderr


def test_a_narrow_terminal_cuts_no_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    headings = ("folder", "begun", "model", "success", "what")
    row = ("sessions/20260101-120000", "2026-01-01 12:00", "efficientnet_lite0", "0 % (0–66)", "virtual rig, 1 clip")
    for columns, as_table in ((100, True), (60, False)):
        monkeypatch.setattr("calibration.common.console._PIPED_WIDTH", columns)
        print_table(headings, [row, (*row[:3], "", "")])
        out = capsys.readouterr().out
        assert ("┃ folder" in out) == as_table and "…" not in out
        assert all(word in out for text in row for word in text.split()) and out.count(row[0]) == 2
        assert max(map(len, out.splitlines())) <= columns
        assert as_table or "  begun: 2026-01-01 12:00; model: efficientnet_lite0" in out


def test_a_table_of_one_model_names_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("model", "shown"), [("tiny", "clean"), ("", "patch")], of_one=True)
    one = capsys.readouterr().out
    assert one.startswith("tiny") and one.count("tiny") == 1 and "model" not in one
    print_table(("model", "shown"), [("tiny", "clean"), ("small", "clean")], of_one=True)
    assert "┃ model" in capsys.readouterr().out


def test_what_torch_advises_about_pickles_is_not_for_our_users(
    tmp_path: Path, command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"patch": torch.zeros(3, 4, 4), "by": Fraction(1, 2)}, tmp_path / "patch.pt")
    done = command("import", tmp_path / "patch.pt", "--target", "none")
    done.assert_refused("holds no plain tensor: it is damaged, or holds more than tensors")
    assert "weights_only" not in done.err and "trust" not in done.err


def test_lines_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from physpatch.victims import registry

    line = "model nets:one: runs [bold] code"  # a terminal's library would make an emoji of ":one:" and a style of "[bold]"
    registry._say(line)
    with progress_bar("training") as bar:
        bar.show(0, 2, "words")
        bar.say(line)
    assert capsys.readouterr().err.count(line) == 2
