"""The tables of ``physpatch bench --preset leaderboard``, and how they are made: each is a bench of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from calibration.common.errors import unknown_name
from calibration.common.files import write_json, write_text
from physpatch.benchmark.bench_row import BenchRow
from physpatch.benchmark.plan import BenchPlan
from physpatch.benchmark.report import save_bench_report, save_summary_plot, summary_markdown
from physpatch.benchmark.runner import Say, run_bench
from physpatch.benchmark.summaries import summaries
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig


@dataclass(frozen=True)
class BenchTable:
    """A table of the leaderboard: its name, which is that of its folder, its title, and what it compares."""

    name: str
    title: str
    plan: BenchPlan


def leaderboard() -> tuple[BenchTable, ...]:
    """Return the tables: three seeds each, 15 % of the picture, ``desk``, cut out and in the colours of a screen."""
    base = TrainConfig.of(
        steps=150, batch=16, cut="square", eot=EotConfig.preset("desk").changed(prints=()), target="digital clock"
    )
    shared: dict[str, Any] = {"targets": ("digital clock",), "seeds": 3, "full": True, "heat": False}
    networks = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    return (
        BenchTable(
            "transfer",
            "Networks never seen",
            BenchPlan(
                techniques=(
                    "pgd",
                    "pgd:logit",
                    "ensemble",
                    "pgd:cross-entropy:ghost",
                    "pgd:cross-entropy:dropped-blocks",
                    "pgd:cross-entropy:structure",
                    "pgd:logit:feature-mixup",
                    "pgd:logit:block-shuffle",
                    "pgd:logit:structure",
                    "pgd:logit:ghost",
                    "pgd:logit:admix",
                    "pgd:logit:feature-mixup+ghost",
                    "flat-minimum:logit",
                ),
                models=networks,
                grids=("10x10", "20x20", "32x32"),
                leave_one_out=True,
                base=base,
                **shared,
            ),
        ),
        BenchTable(
            "queries",
            "Without gradients",
            BenchPlan(
                techniques=("evolution", "two-colours", "black-box"),
                models=networks[:1],
                marks=8,
                base=base.changed(queries=20_000),
                **shared,
            ),
        ),
        BenchTable(
            "queries-from-patch",
            "Without gradients, from another network's patch",
            BenchPlan(
                # The steps of the results: by evolution's own, larger ones, such a patch is lost in their noise.
                techniques=(
                    *("evolution:logit=0.0006", "evolution:answer=0.0006"),
                    *(
                        f"pgd@{networks[1]}=0.03",
                        f"pgd:logit@{networks[1]}=0.03",
                        f"pgd@{networks[1]}+{networks[2]}=0.03",
                    ),
                ),
                models=networks[:1],
                starts=networks[1:2],
                start_settings={"steps": 800, "batch": 8, "start": ("dark",)},
                marks=8,
                base=base.changed(queries=20_000),
                **shared,
            ),
        ),
        BenchTable(
            "defences",
            "Attackers who know the defence",
            BenchPlan(
                models=networks[:1],
                grids=("10x10", "32x32"),
                defences=("none", "jpeg", "median", "lgs", "frequency", "heat", "sac", "patch-cleanser"),
                base=base,
                **shared,
            ),
        ),
    )


def chosen_tables(names: Sequence[str], changes: Mapping[str, Any]) -> tuple[BenchTable, ...]:
    """Return the tables of these names, all without names, each with changes to its plan.

    Args:
        names: of the tables.
        changes: fields of :class:`BenchPlan`, and settings of its base by their short names.

    Raises:
        InputError: no such table, or a plan that makes no sense with the changes.
    """
    every = leaderboard()
    for name in names:
        if name not in (table_names := [table.name for table in every]):
            raise unknown_name("table", name, table_names)
    axes = {field.name for field in fields(BenchPlan)}
    of_plan = {name: value for name, value in changes.items() if name in axes}
    of_base = {name: value for name, value in changes.items() if name not in axes}
    if "steps" in of_base:  # either sets the length of a training; with both, steps are for the patch to begin with
        of_base = {"queries": None} | of_base

    def changed(plan: BenchPlan) -> BenchPlan:
        # What is asked for holds for the patch to begin with as well.
        own = {name: value for name, value in plan.start_settings.items() if name not in of_base}
        return replace(plan, base=plan.base.changed(**of_base), start_settings=own, **of_plan)

    return tuple(replace(table, plan=changed(table.plan)) for table in every if not names or table.name in names)


def run_leaderboard(
    tables: Sequence[BenchTable],
    folder: Path,
    *,
    ray_address: str | None = None,
    progress: Any = None,
    say: Say = print,
) -> dict[str, list[BenchRow]]:
    """Measure what is missing of the tables, write reports of each and of all, and return the rows by table.

    Each table is a bench in a folder of its name. ``leaderboard.md`` and ``leaderboard.json`` have the summaries of these
    tables, ``NAME.png`` plots them, or ``NAME-SUMMARY.png`` where a table has several; cells found there are not measured
    again, see :func:`run_bench`.

    Raises:
        InputError: see :func:`run_bench`.
    """
    measured = {}
    for table in tables:
        say(f"{table.name}: {table.title}")
        rows = run_bench(table.plan, folder / table.name, ray_address=ray_address, progress=progress, say=say)
        save_bench_report(folder / table.name, rows)
        measured[table.name] = rows
    parts, values = [], []
    for table in tables:
        parts.append(f"## {table.title}\n")
        of_table = summaries(measured[table.name])
        for summary in of_table:
            parts.append(summary_markdown(summary))
            values.append({"table": table.name, **summary.to_dict()})
            name = table.name if len(of_table) == 1 else f"{table.name}-{summary.key}"
            save_summary_plot(folder / f"{name}.png", summary)
    write_text(folder / "leaderboard.md", "\n".join(parts))
    write_json(folder / "leaderboard.json", {"tables": values})
    return measured
