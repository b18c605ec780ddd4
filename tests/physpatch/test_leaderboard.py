"""The leaderboard: each of its tables from tiny trainings, gone on with after an interruption; what its rows come to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support import assert_follows_schema, save_squares, vivid_patch

from calibration.common.errors import InputError
from physpatch.benchmark import leaderboard as leaderboard_module
from physpatch.benchmark import report
from physpatch.benchmark.bench_row import BenchRow
from physpatch.benchmark.leaderboard import chosen_tables, leaderboard, run_leaderboard
from physpatch.benchmark.plan import BenchPlan, Way
from physpatch.benchmark.report import conclusion, markdown
from physpatch.benchmark.runner import measure_cell, run_bench
from physpatch.benchmark.summaries import Line, Summary, _over_seeds, summaries
from physpatch.commands.bench import TABLES
from physpatch.data.photographs import load_photos
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import parse_grid
from physpatch.stats.rates import Rate

NETWORKS = ("nets:one", "nets:two", "nets:three")
MODULE = "from support import make_tiny_victim\n" + "".join(
    f"def {name.partition(':')[2]}():\n    return make_tiny_victim()\n" for name in NETWORKS
)


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_views: int) -> Path:
    """A working folder with three tiny networks of one's own and coloured squares."""
    (tmp_path / "nets.py").write_text(MODULE)
    (tmp_path / "squares").mkdir()
    save_squares(tmp_path / "squares")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_steps_replace_a_tables_budget_of_queries_and_with_a_budget_are_those_of_the_start() -> None:
    (budget,) = chosen_tables(["queries"], {})
    assert budget.plan.base.optimisation.queries == 20_000
    (steps,) = chosen_tables(["queries"], {"steps": 30})
    assert (steps.plan.base.optimisation.steps, steps.plan.base.optimisation.queries) == (30, None)
    (both,) = chosen_tables(["queries-from-patch"], {"steps": 30, "queries": 500})
    assert both.plan.base.optimisation.queries == 500 and "steps" not in both.plan.start_settings


def small(*more: str) -> list[str]:
    """The words of a leaderboard that takes seconds."""
    words = ["bench", "--preset", "leaderboard", "--data", "squares", "--out", "board", "--target", "blue thing"]
    return [*words, "--batch", "2", "--steps", "2", "--seeds", "2", *more]


TABLE_WORDS = {
    "transfer": [
        *("--technique", "pgd", "--technique", "pgd:logit:ghost", "--grid", "2x2"),
        *(word for name in NETWORKS for word in ("--model", name)),
    ],
    "queries": [
        *("--technique", "black-box", "--technique", "black-box=0.3", "--model", NETWORKS[0], "--grid", "2x2"),
        *("--queries", "96", "--marks", "3"),
    ],
    "queries-from-patch": [
        *("--technique", "black-box", "--technique", f"pgd@{NETWORKS[1]}=0.03", "--model", NETWORKS[0]),
        *("--start", "none", "--start", NETWORKS[1], "--queries", "96", "--marks", "3", "--grid", "2x2"),
    ],
    "defences": [
        *("--model", NETWORKS[0], "--grid", "2x2", "--grid", "3x3"),
        *("--defence", "none", "--defence", "jpeg", "--defence", "median"),
    ],
}
CELLS = {"transfer": 2 * 3 * 2, "queries": 2 * 2, "queries-from-patch": 2 * 2 * 2, "defences": 3 * 2 * 2}
STARTS = {"queries-from-patch": 2}  # patches of another network, one of each seed


@pytest.mark.parametrize("table", TABLES)
def test_one_command_makes_a_table_and_goes_on_after_an_interruption(
    table: str, working: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from physpatch.benchmark import runner

    real, trained = runner.measure_cell, []

    def measure(cell, say):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(cell.name)
        return real(cell, say)

    monkeypatch.setattr(runner, "measure_cell", measure)
    words = small("--table", table, *TABLE_WORDS[table])
    total = CELLS[table] + STARTS.get(table, 0)
    stopped = command(*words)
    assert stopped.code != 0 and f"stopped with 3 of {total} cells done" in " ".join(stopped.err.split())
    assert not (working / "board/leaderboard.json").exists()
    monkeypatch.setattr(runner, "measure_cell", lambda cell, say: trained.append(cell.name) or real(cell, say))
    done = command(*words, "--json", "rows.json")
    assert done.code == 0, done.err
    assert len(trained) == len(set(trained)) == total  # none twice
    (summary,) = json.loads((working / "board/leaderboard.json").read_text())["tables"]
    assert summary["table"] == table
    for line in summary["lines"]:
        for name, value in line["values"].items():
            assert value["seeds"] == 2
            if value["ci95"] is None:  # seeds that agree on a number without an interval of its own
                assert name in ("clean accuracy paid", "accuracy ÷ random cells'")
            else:
                assert value["ci95"][0] <= value["mean"] <= value["ci95"][1]
            assert name != "clean accuracy paid" or value["ci95"] is None  # all seeds have the same clean photographs
    text = (working / "board/leaderboard.md").read_text()
    assert summary["title"] in text and "Of 2 training seeds each" in text
    assert (working / f"board/{table}.png").stat().st_size > 5000
    (rows,) = json.loads((working / "rows.json").read_text()).values()
    assert len(rows) == CELLS[table]
    for row in rows:
        assert_follows_schema(row, "bench-row")
    CHECKS[table](summary, rows)
    again = command(*words)
    assert again.code == 0 and len(trained) == total


def check_transfer(summary: dict, rows: list[dict]) -> None:
    lines = {line["technique"]: line["values"] for line in summary["lines"]}
    assert set(lines) == {"pgd", "pgd:logit:ghost"}
    for values in lines.values():
        on = [values[f"success on {name}"]["mean"] for name in NETWORKS]
        assert values["success, mean"]["mean"] == pytest.approx(sum(on) / 3)
        assert 0 < values["accuracy ÷ random cells'"]["mean"] < 2
    for row in rows:
        (unseen,) = set(row["measured"]) - {row["model"], *row["also"]}
        assert unseen in NETWORKS and len(row["also"]) == 1


def check_queries(summary: dict, rows: list[dict]) -> None:
    assert {line["technique"] for line in summary["lines"]} == {"black-box", "black-box=0.3"}
    check_marks(rows)


def check_queries_from_patch(summary: dict, rows: list[dict]) -> None:
    starts = {(line["technique"], line["start"]) for line in summary["lines"]}
    ways = ("black-box", "pgd@nets:two=0.03")
    assert starts == {(way, start) for way in ways for start in ("random cells", "a patch of nets:two")}
    check_marks(rows)


def check_marks(rows: list[dict]) -> None:
    for row in rows:
        queries = [mark["queries"] for mark in row["marks"]]
        assert queries == sorted(queries) and len(queries) == 3 and queries[-1] == 96
        assert row["marks"][-1]["measured"] == row["measured"]["nets:one"]
        assert all(mark["gradient_evaluations"] == 0 for mark in row["marks"])


def check_defences(summary: dict, rows: list[dict]) -> None:
    lines = {(line["defence"], line["grid"]): line["values"] for line in summary["lines"]}
    assert set(lines) == {(name, grid) for name in ("jpeg", "median") for grid in ("2x2", "3x3")}
    for values in lines.values():
        assert {"clean accuracy paid", "success, no defence", "success, static", "success, adaptive"} <= set(values)
    for row in rows:
        behind = {name.partition("+")[2] for name in row["measured"] if "+" in name}
        assert behind == ({"jpeg", "median"} if row["defence"] == "none" else {row["defence"]})


CHECKS = {
    "transfer": check_transfer,
    "queries": check_queries,
    "queries-from-patch": check_queries_from_patch,
    "defences": check_defences,
}


def test_each_summary_of_a_table_has_a_plot_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [Summary(key, f"Table of {key}", "", (Line({"technique": "pgd"}, {}),), ()) for key in ("unseen", "way")]
    plotted: dict[str, str] = {}
    monkeypatch.setattr(leaderboard_module, "run_bench", lambda *_, **__: [])
    monkeypatch.setattr(leaderboard_module, "save_bench_report", lambda *_: None)
    monkeypatch.setattr(leaderboard_module, "summaries", lambda _: two)
    monkeypatch.setattr(
        leaderboard_module, "save_summary_plot", lambda path, summary: plotted.update({path.name: summary.key})
    )
    run_leaderboard(chosen_tables(["queries"], {}), tmp_path, say=lambda _: None)
    assert plotted == {"queries-unseen.png": "unseen", "queries-way.png": "way"}


def test_the_tables_are_what_the_help_says_and_make_sense() -> None:
    tables = leaderboard()
    assert tuple(table.name for table in tables) == TABLES
    cells = [cell for table in tables for cell in table.plan.cells()]
    assert len({cell.name for cell in cells}) == len(cells)
    assert all(table.plan.seeds >= 3 for table in tables)
    transfer, queries, from_patch, defences = (table.plan for table in tables)
    assert transfer.grids == ("10x10", "20x20", "32x32")
    assert {len(cell.measured_on) for cell in transfer.cells()} == {3}
    for plan, begins in ((queries, {False}), (from_patch, {True})):
        assert {cell.config.optimisation.queries for cell in plan.cells()} == {20_000}
        assert {cell.start is not None for cell in plan.cells()} == begins
    assert {cell.defence for cell in defences.cells()} == set(defences.defences) > {"none"}


def test_options_change_every_table_or_those_that_are_asked_for() -> None:
    (one,) = chosen_tables(("defences",), {"steps": 3, "grids": ("4x4",), "limit": 8})
    assert {cell.grid for cell in one.plan.cells()} == {"4x4"}
    assert {(c.config.optimisation.steps, c.config.data.limit) for c in one.plan.cells()} == {(3, 8)}
    assert [table.plan.seeds for table in chosen_tables((), {"seeds": 1})] == [1, 1, 1, 1]
    (longer,), (short,) = (chosen_tables(("queries-from-patch",), changes) for changes in ({}, {"steps": 3}))
    for table, steps in ((longer, 800), (short, 3)):
        starts = [cell.start.config.optimisation for cell in table.plan.cells() if cell.start is not None]
        assert {(start.steps, start.batch, start.start, start.queries) for start in starts} == {
            (steps, 8, ("dark",), None)
        }
    with pytest.raises(InputError, match=r"unknown table .defenses.*defences"):
        chosen_tables(("defenses",), {})


def test_a_table_without_the_leaderboard_is_refused(command) -> None:
    command("bench", "--table", "transfer").assert_refused("--preset leaderboard")
    command("bench", "--preset", "dsk").assert_refused("dsk")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"techniques": ("pgd:logt",)}, "unknown objective 'logt'"),
        ({"techniques": ("pgd:logit:gost",)}, "unknown transfer method 'gost'"),
        ({"techniques": ("pgd:logit:ghost:3",)}, "no way of training"),
        ({"techniques": ("pgd=fast",)}, "learning rate of 'pgd=fast' is no number"),
        ({"techniques": ("pgd=-1",)}, "learning rate must be positive"),
        ({"defences": ("jpg",)}, "unknown defence 'jpg'"),
        ({"leave_one_out": True}, "needs several models"),
        ({"techniques": ("ensemble",), "models": ("a", "b"), "leave_one_out": True}, "there is one"),
        ({"starts": ("a",), "start_way": "evolution"}, "trained with gradients"),
        ({"marks": -1}, "0 or above"),
        (
            {"techniques": ("evolution",), "base": TrainConfig.of(queries=400, restarts=2)},
            "queries are a budget for one start",
        ),
    ],
)
def test_senseless_plans_are_refused(changes, words) -> None:
    with pytest.raises(InputError, match=words):
        BenchPlan(**changes)


def test_several_starts_share_a_budget_where_a_network_imitates_and_where_none_is_counted() -> None:
    plan = BenchPlan(techniques=("pgd@efficientnet_lite1", "pgd"), base=TrainConfig.of(queries=400, restarts=3))
    asked = [(cell.config.optimisation.queries, cell.config.optimisation.restarts) for cell in plan.cells()]
    assert asked == [(400, 3), (None, 3)]


def test_a_way_of_training_is_a_technique_an_objective_and_methods() -> None:
    config = Way.parse("pgd:logit:ghost+admix").applied(TrainConfig.of(queries=100))
    assert (config.objective.loss, config.optimisation.transfer) == ("logit", ("ghost", "admix"))
    assert config.optimisation.queries is None  # a budget of queries is no budget of gradients
    assert Way.parse("evolution").applied(TrainConfig.of(queries=100)).optimisation.queries == 100
    assert Way.parse("pgd::ghost").applied(TrainConfig()).objective.loss == "cross-entropy"
    imitating = Way.parse("pgd:logit@timm:vit").applied(TrainConfig.of(queries=100))
    assert (imitating.optimisation.imitate, imitating.optimisation.queries) == (("timm:vit",), 100)
    assert Way.parse("pgd@nets:one+nets:two").imitate == ("nets:one", "nets:two")
    slow = Way.parse("pgd:logit@nets:one=0.03").applied(TrainConfig()).optimisation
    assert (slow.learning_rate, slow.imitate) == (0.03, ("nets:one",))
    assert Way.parse("pgd").applied(TrainConfig.of(learning_rate=0.1)).optimisation.learning_rate == 0.1
    assert imitating.objective.loss == "logit"


def test_a_start_is_where_its_training_begins(working: Path) -> None:
    base = TrainConfig.of(steps=1, batch=2, data="squares", learning_rate=1e-9, target="blue thing")
    plan = BenchPlan(("pgd",), NETWORKS[:1], ("2x2",), starts=(NETWORKS[1],), base=base, targets=("2",), heat=False)
    (row,) = run_bench(plan, working / "bench", say=lambda _: None)
    start = next(p for p in (working / "bench/cells").iterdir() if "two" in p.name)
    assert row.patch == BenchRow.load(start).patch and row.start == NETWORKS[1]
    assert parse_grid(row.grid) == (2, 2) and "pgd, from a patch of nets:two" in markdown([row])
    assert "### Heat" not in markdown([row])  # it was not measured


def test_a_bench_goes_on_at_the_class_of_its_start_and_loads_one_set_to_train_on(
    working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []

    def load(photos, preprocessing, *, whole: bool = False):
        loaded.append(whole)
        return load_photos(photos, preprocessing, whole=whole)

    for module in ("data.photographs", "training.run"):
        monkeypatch.setattr(f"physpatch.{module}.load_photos", load)
    base = TrainConfig.of(steps=1, batch=2, data="squares")
    plan = BenchPlan(("pgd",), NETWORKS[:2], ("2x2",), starts=(NETWORKS[2],), base=base, heat=False)
    cell = replace(plan.cells()[0], start_patch=vivid_patch())
    row = measure_cell(cell)
    assert row.target_asked == "auto" and row.target.name == "blue thing"
    assert row.target_choice.how == "that of the patch to begin with"
    assert loaded == [True, False, False]  # held-out photographs of each network, and the training's of its own


def test_what_was_left_out_is_told_from_what_was_trained_on(working: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = TrainConfig.of(steps=1, batch=2, data="squares")
    plan = BenchPlan(("pgd",), NETWORKS, ("2x2",), targets=("none",), leave_one_out=True, heat=False, base=base)
    rows = run_bench(replace(plan, models=NETWORKS), working / "bench", say=lambda _: None)
    assert [(row.model, row.also, list(row.unseen)) for row in rows[:1]] == [("nets:two", ["nets:three"], ["nets:one"])]
    figures = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: figures.append(figure))
    report._save_transfer_plot(working / "transfer.png", rows)
    weights = [[text.get_fontweight() for text in figure.axes[0].texts] for figure in figures]
    assert [line.count("bold") for line in weights] == [6]  # two of three networks in each of three lines
    told = conclusion(rows[0])
    assert "on the other networks it was trained on" in told and "on networks it was not trained on" in told
    (summary,) = summaries(rows)
    (line,) = summary.lines
    assert line.names["target"] == "none" and line.values["success, mean"].seeds == 1
    differing = []
    for row, share in zip(rows, (0.1, 0.2, 0.9), strict=True):
        (name,) = row.unseen
        left_out = row.unseen[name].changed(untargeted_success=Rate(share, (share, share), 9))
        differing.append(row.changed(measured=row.measured | {name: left_out}))
    ((line,),) = (summary.lines for summary in summaries(differing))
    assert line.values["success, mean"].mean == pytest.approx(0.4)  # of all three networks, not of the last
    other = [row.changed(seed=row.seed + 1, defence="jpeg") for row in differing]
    ((first, second),) = (summary.lines for summary in summaries([*differing, *other]))
    assert (first.names["defence"], second.names["defence"]) == ("none", "jpeg")
    assert "Of 1 training seed each" in markdown(rows)


def test_queries_and_gradients_have_a_way_of_their_own(working: Path) -> None:
    base = TrainConfig.of(steps=2, batch=2, data="squares", queries=600)
    plan = BenchPlan(("two-colours", "pgd"), NETWORKS[:1], ("2x2",), targets=("2",), marks=1, heat=False, base=base)
    rows = run_bench(plan, working / "bench", say=lambda _: None)
    assert [(summary.key, summary.along[0]) for summary in summaries(rows)] == [
        ("way-queries", "queries"),
        ("way-gradients", "gradient evaluations"),
    ]
    assert [[line.names["technique"] for line in summary.lines] for summary in summaries(rows)] == [
        ["two-colours"],
        ["pgd"],
    ]
    assert [summary.key for summary in summaries(rows[:1])] == ["way"]


class SeededRow:
    """As much of a bench's row as an average over seeds looks at."""

    def __init__(self, seed: int, value: Rate | float | None) -> None:
        self.seed, self.value = seed, value


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [Rate(0.0, (0.0, 0.05), 70)] * 3,
            (0.0, 0.0, 0.05),
        ),  # seeds that agree on no success do not say that none would
        ([Rate(0.4, (0.3, 0.5), 90)], (0.4, 0.3, 0.5)),  # one seed: its interval over photographs
        ([0.9, 1.1], (1.0, 1.0 - 1.2706, 1.0 + 1.2706)),  # Student's t with one degree of freedom: 12.706 times 0.1
        ([Rate(0.2, (0.2, 0.2), 9), Rate(None, None, 0)], (0.2, 0.2, 0.2)),  # a seed where nothing counted
    ],
)
def test_an_average_over_seeds_has_both_kinds_of_chance_in_its_interval(values, expected) -> None:
    rows = [SeededRow(seed, value) for seed, value in enumerate(values)]
    estimate = _over_seeds(rows, lambda row: row.value, unit="ratio")
    assert (estimate.mean, *estimate.ci95) == pytest.approx(expected, abs=1e-3)


def test_a_single_number_without_a_rate_has_no_interval() -> None:
    assert _over_seeds([SeededRow(0, 0.9)], lambda row: row.value).ci95 is None
    assert _over_seeds([SeededRow(0, None)], lambda row: row.value) is None
