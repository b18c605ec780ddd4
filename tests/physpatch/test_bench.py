"""The bench: what it compares, that it goes on where it stopped, what it says, and that a cluster gives the same table."""

import csv
import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ray_tasks import die_once, measure_in_few_views, refuse
from support import HELPERS, ROOT, assert_follows_schema

from calibration.common.errors import InputError
from calibration.common.signals import Terminated, ended_in_order
from physpatch.benchmark.bench_row import BenchRow
from physpatch.benchmark.plan import BenchPlan
from physpatch.benchmark.report import conclusion, markdown, save_bench_report
from physpatch.benchmark.runner import run_bench
from physpatch.benchmark.seeds import grouped, leading
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import PairedDifferences, TargetClass
from physpatch.stats.rates import Difference, Rate
from physpatch.victims.families.signs.network import trained_network

TINY = TrainConfig.of(steps=1, batch=2, seed=4)
PLAN = BenchPlan(models=("efficientnet_lite0",), targets=("530", "none"), grids=("3x3",), base=TINY)


@pytest.fixture(scope="module")
def measured(few_views, tmp_path_factory) -> tuple[Path, list[BenchRow]]:
    """Two real cells of the embedded network."""
    folder = tmp_path_factory.mktemp("bench")
    return folder, run_bench(PLAN, folder)


def test_a_star_varies_one_axis_at_a_time_and_full_takes_all() -> None:
    axes = {
        "techniques": ("adam", "pgd", "static"),
        "models": ("efficientnet_lite0", "efficientnet_lite1"),
        "grids": ("10x10", "pixel"),
    }
    star, full = BenchPlan(**axes, base=TINY).cells(), BenchPlan(**axes, full=True, base=TINY).cells()
    assert len(star) == 1 + 2 + 1 + 1 and len(full) == 12
    assert len({cell.name for cell in full}) == 12 and {c.name for c in star} <= {c.name for c in full}
    assert star[0].measured_on == ("efficientnet_lite0", "efficientnet_lite1")
    assert [c.measured_on[0] for c in star].count("efficientnet_lite1") == 1
    other = BenchPlan(**axes, base=TINY.changed(steps=2)).cells()
    assert not {c.name for c in other} & {c.name for c in full}  # another setting is another cell


def test_an_ensemble_trains_on_all_models() -> None:
    plan = BenchPlan(("ensemble",), ("efficientnet_lite0", "efficientnet_lite1"), base=TINY)
    assert plan.cells()[0].config.victim.ensemble == ("efficientnet_lite1",)


@pytest.mark.filterwarnings("ignore")
def test_detectors_are_measured_on_their_objects(few_views: int, tmp_path: Path) -> None:
    """One real cell of the embedded detector, as a checkpoint for small pictures, on a sign in plain photographs."""
    torch.save({"model": trained_network(), "train_args": {"imgsz": 320}}, tmp_path / "own.pt")
    data = tmp_path / "photographs"
    data.mkdir()
    for i in range(8):
        cv2.imwrite(str(data / f"{i}.png"), np.full((240, 320, 3), 90 + 10 * i, np.uint8))
    base = TINY.changed(data=str(data), object="stop", sign_area=0.12)
    (row,) = run_bench(BenchPlan(models=(str(tmp_path / "own.pt"),), targets=("none",), base=base), tmp_path / "bench")
    measured = row.measured["own"]
    assert measured.object == "stop" and 0 < measured.n < 8
    assert row.area == 0.2 and "| 20 % of the object |" in markdown([row])
    assert measured.poses == round(few_views / measured.n) > 1  # few photographs are seen in several poses each
    save_bench_report(tmp_path / "bench", [row])
    table = (tmp_path / "bench/table.md").read_text()
    assert "### Objects" in table and "| stop | " in table and row.heat.n > 0


def test_a_bench_checks_its_folder_and_data_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"bench cannot be written .*use another --out"):
        run_bench(PLAN, tmp_path / "file/bench")
    with pytest.raises(InputError, match="no data folder 'nowhere'"):
        run_bench(replace(PLAN, base=TINY.changed(data="nowhere")), tmp_path / "bench")


def test_a_bench_without_labelled_photographs_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 64, 3), 50 * number, np.uint8))
    with pytest.raises(InputError, match="holds out no labelled photographs, on which a bench measures"):
        run_bench(replace(PLAN, base=TINY.changed(data=str(tmp_path))), tmp_path / "bench")


def test_a_bench_that_the_system_ends_says_where_it_goes_on(measured, monkeypatch, tmp_path: Path) -> None:
    rows, said = iter(measured[1]), []

    def measure(_cell, _say) -> BenchRow:
        row = next(rows)
        if row is measured[1][1]:
            os.kill(os.getpid(), signal.SIGTERM)
        return row

    monkeypatch.setattr("physpatch.benchmark.runner.measure_cell", measure)
    with pytest.raises(Terminated), ended_in_order():
        run_bench(PLAN, tmp_path, say=said.append)
    assert said[-1] == "stopped with 1 of 2 cells done; the same command goes on from there"
    assert len(list((tmp_path / "cells").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"techniques": ("adm",)}, "unknown technique 'adm'"),
        ({"techniques": ("ensemble",)}, "needs several models"),
        ({"grids": ("10",)}, "10"),
        ({"areas": (0.1, 0.1)}, "one or more distinct areas, got 0.1, 0.1"),
        (
            {"areas": (0.1,), "base": TrainConfig.of(model="yolov8n", object="stop sign")},
            "--area is for a patch without",
        ),
        ({"targets": ()}, "one or more distinct targets, got none"),
    ],
)
def test_senseless_plans_are_refused(axes, words) -> None:
    with pytest.raises(InputError, match=words):
        BenchPlan(**{"base": TINY} | axes)


def test_a_cell_is_measured_beside_its_controls_with_heat(measured) -> None:
    _, (aimed, untargeted) = measured
    own = aimed.measured["efficientnet_lite0"]
    assert own.n == 12 and set(own.controls) == {"grey", "random", "shuffled"}
    assert aimed.target == TargetClass(index=530, name="digital clock") and untargeted.target is None
    assert_follows_schema(aimed.to_dict(), "bench-row")
    heat, pointing = aimed.heat, aimed.heat.interval("pointing.patch")
    assert 0 < heat.heat_in_patch["patch"] < 1 and heat.similarity_to_target is not None
    assert pointing is not None and pointing[0] <= heat.pointing["patch"] <= pointing[1]
    assert 0 < heat.deletion["clean"] < 1 and untargeted.heat.similarity_to_target is None
    assert len(aimed.patch) == len(aimed.patch[0]) == 3


def test_an_interrupted_bench_does_only_what_is_missing(measured, monkeypatch) -> None:
    folder, rows = measured
    done = []
    monkeypatch.setattr(
        "physpatch.benchmark.runner.measure_cell",
        lambda cell, say: done.append(cell.config.objective.target) or rows[1],
    )
    lost = next(path for path in (folder / "cells").iterdir() if "none" in path.name)
    lost.unlink()
    said: list[str] = []
    assert run_bench(PLAN, folder, say=said.append) == rows
    assert done == ["none"] and said[0] == "1 of 2 cells are already done"


def test_the_report_holds_every_row_with_intervals_and_a_sentence(measured) -> None:
    folder, rows = measured
    save_bench_report(folder, rows)
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert text.count("| pgd | efficientnet_lite0 | 3x3 | 15 % | digital clock |") == 2  # effect and heat; no transfer
    assert text.count(": costs") + text.count(": does") == 2
    assert (
        "| target first | of all views | made wrong | of all views |" in text
        and "Target first* and *made wrong* count the views" in text
    )
    with open(folder / "table.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 2 and lines[0]["measured_on"] == "efficientnet_lite0"
    of_all = rows[0].own.success_of_all("untargeted")
    assert float(lines[0]["untargeted_of_all"]) == pytest.approx(of_all.rate) and of_all.n == 12
    assert lines[1]["targeted_of_all"] == ""  # it has no target
    assert float(lines[0]["untargeted_low"]) <= float(lines[0]["untargeted"]) <= float(lines[0]["untargeted_high"])
    assert (folder / "success.png").stat().st_size > 5000 and not (folder / "transfer.png").exists()


def test_heat_is_printed_with_its_intervals_and_what_an_older_row_lacks_is_left_empty(measured, tmp_path) -> None:
    _, rows = measured
    known = {
        "n": 20,
        "patch_area": 0.14,
        "heat_in_patch": {"clean": 0.15, "grey": 0.13, "random": 0.12, "patch": 0.43},
        "similarity_to_target": 0.21,
        "similarity_of_clean": -0.04,
    }
    more = {
        "pointing": {"clean": 0.1, "grey": 0.05, "random": 0.0, "patch": 0.95},
        "similarity_to_target_reached": 0.25,
        "n_reached": 19,
        "n_missed": 0,
        "deletion": {"patch": 0.014, "random_order": 0.291, "clean": 0.2, "clean_random_order": 0.3},
        "deletion_gap": {"patch": 0.277, "clean": 0.1},
        "ci95": {
            "heat_in_patch": {"patch": [0.38, 0.48]},
            "pointing": {"patch": [0.77, 0.99]},
            "similarity_to_target": [0.03, 0.39],
            "similarity_to_target_reached": None,
            "deletion_gap": {"patch": [0.2, 0.35]},
        },
    }
    save_bench_report(tmp_path, [rows[0].changed(heat=heat) for heat in (known, known | more, {"n": 0})])
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    headings, _, *lines = (
        line[2:-2].split(" | ") for line in text.split("### Heat")[1].splitlines() if line.startswith("| ")
    )
    old, new, empty = (dict(zip(headings, line, strict=True)) for line in lines)
    assert old["heat in patch"] == "43.0 %" and old["similarity to target's heat"] == "+0.21"
    assert old["clean picture's"] == "-0.04" and old["hottest in patch"] == old["where reached"] == ""
    assert new["heat in patch"] == "43.0 % [38.0, 48.0]" and new["hottest in patch"] == "95.0 % [77.0, 99.0]"
    assert new["similarity to target's heat"] == "+0.21 [+0.03, +0.39]" and new["where reached"] == "+0.25"
    assert new["n reached"] == "19" and new["n missed"] == "0" and new["where missed"] == ""
    assert new["deletion by heat"] == "0.01" and new["in random order"] == "0.29"
    assert "".join(list(empty.values())[5:]) == "0"  # after what names the row, n alone
    assert new["lower by"] == "+0.28 [+0.20, +0.35]"
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as stream:
        one, two, three = csv.DictReader(stream)
    assert [two[key] for key in ("heat_in_patch", "pointing", "similarity_to_target")] == ["0.43", "0.95", "0.21"]
    assert [two["deletion"], two["deletion_random"]] == ["0.014", "0.291"]
    older = {name: value for name, value in rows[0].own.to_dict().items() if "of_all" not in name}
    save_bench_report(tmp_path, [rows[0].changed(measured={"efficientnet_lite0": older})])
    assert "| — | " in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert one["heat_in_patch"] == "0.43" and one["pointing"] == three["heat_in_patch"] == ""


def test_conclusions_tell_an_attack_from_occlusion(measured) -> None:
    _, (row, _) = measured
    own = row.own

    def with_effect(patch: tuple[float, float, float]) -> BenchRow:
        rate, low, high = patch
        changed = own.changed(
            patched_accuracy=0.3,
            controls={"grey": 0.8, "random": 0.7},
            untargeted_success=Rate(rate, (low, high), 100),
            differences={},  # as in an old record
            control_untargeted_success=own.control_untargeted_success | {"random": Rate(0.2, (0.15, 0.25), 100)},
        )
        return row.changed(measured={"efficientnet_lite0": changed, "other": changed})

    strong = conclusion(with_effect((0.6, 0.5, 0.7)))
    assert "costs 40 points of accuracy more" in strong and "on networks it was not trained on, 40 points" in strong
    assert "does not differ significantly from random colours" in conclusion(with_effect((0.3, 0.2, 0.4)))
    assert "less harm than random" in conclusion(with_effect((0.05, 0.02, 0.1)))

    def with_difference(ends: tuple[float, float] | None) -> str:
        either = Difference(0.1, ends, 100)
        overlapping = with_effect((0.3, 0.2, 0.4))
        paired = overlapping.own.changed(
            differences={"random": PairedDifferences(targeted=either, untargeted=either).to_dict()}
        )
        return conclusion(overlapping.changed(measured=overlapping.measured | {"efficientnet_lite0": paired}))

    # The intervals of the two rates overlap, which says nothing about their difference.
    assert "costs 40 points of accuracy more" in with_difference((0.02, 0.18))
    assert "does not differ significantly" in with_difference((-0.02, 0.22))
    assert "does not differ significantly" in with_difference(None)  # of a single clip
    assert "less harm than random" in with_difference((-0.2, -0.02))


def seeded(row: BenchRow, technique: str, shares: tuple[float, ...]) -> list[BenchRow]:
    """A row of each training seed, with that targeted success."""
    reached = [
        row.own.changed(targeted_success=Rate(share, (0.0, 1.0), 100), patched_accuracy=1 - share) for share in shares
    ]
    return [
        row.changed(technique=technique, seed=seed, measured={"efficientnet_lite0": own})
        for seed, own in enumerate(reached)
    ]


def test_every_cell_is_trained_with_each_seed() -> None:
    cells = BenchPlan(("adam", "pgd"), seeds=3, base=TINY).cells()
    assert [(cell.config.optimisation.technique, cell.config.optimisation.seed) for cell in cells] == [
        (technique, seed) for technique in ("adam", "pgd") for seed in (4, 5, 6)
    ]
    assert len({cell.name for cell in cells}) == 6
    assert {c.name for c in BenchPlan(("adam", "pgd"), base=TINY).cells()} <= {
        c.name for c in cells
    }  # goes on from one
    with pytest.raises(InputError, match="at least one training seed, got 0"):
        BenchPlan(seeds=0, base=TINY)


def test_one_leads_only_where_five_seeds_say_so(measured, tmp_path) -> None:
    _, (row, _) = measured
    pgd = seeded(row, "pgd", (0.40, 0.45, 0.50, 0.42, 0.47))
    adam = seeded(row, "adam", (0.20, 0.24, 0.31, 0.18, 0.25))
    even = seeded(row, "static", (0.50, 0.30, 0.60, 0.32, 0.45))
    groups = grouped([*pgd, *adam, *even])
    assert [len(group) for group in groups] == [5, 5, 5]
    first, second, third = leading(groups)
    assert first.startswith("pgd leads adam: +21.2 points [") and "over 5 seeds" in first
    assert second.startswith("pgd and static do not differ significantly") and third.startswith("static leads adam")
    assert leading(grouped(pgd[:4] + adam[:4])) == ["pgd and adam: undecided by 4 training seeds; 5 are needed."]
    assert leading(grouped([pgd[0], adam[0]])) == ["pgd and adam: undecided by 1 training seed; 5 are needed."]
    other = [row.changed(target=TargetClass(index=1, name="goldfish")) for row in adam[:2]]
    assert leading(grouped([*pgd, *other, *adam[2:]])) == [
        "pgd and adam: undecided by 3 training seeds (in 2 more, they aim at different classes); 5 are needed."
    ]
    save_bench_report(tmp_path, [*pgd, *adam])
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 5 | 55.2 % ± 4.0 (50.0 to 60.0) |" in text and "### Which one leads" in text and "pgd leads adam" in text
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as stream:
        assert [line["seed"] for line in csv.DictReader(stream)] == ["0", "1", "2", "3", "4"] * 2
    assert (tmp_path / "success.png").stat().st_size > 5000


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers():
    """A cluster of two nodes with one CPU each, on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra physpatch[cluster]")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HELPERS), str(ROOT), *([before] if before else [])])
    (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)  # in which a node notes its address
    folder = tempfile.mkdtemp(prefix="ray-")  # its sockets allow no longer path than that
    head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": folder}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def test_no_cluster_is_said_in_one_line() -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra physpatch[cluster]")
    from physpatch.benchmark.ray_backend import run_on_ray

    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        list(run_on_ray(refuse, [1], "127.0.0.1:1"))


def test_a_killed_workers_task_is_done_again(two_workers, tmp_path) -> None:
    from physpatch.benchmark.ray_backend import run_on_ray

    items = [(str(tmp_path), number) for number in range(4)]
    said: list[str] = []
    results = {item[1]: result for item, result in run_on_ray(die_once, items, two_workers, say=said.append)}
    assert results == {0: 0, 1: 1, 2: 4, 3: 9}
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3"}
    assert said == ["4 cells on 2 nodes, 2 CPUs"]


def test_what_the_work_refuses_is_said_here(two_workers) -> None:
    from physpatch.benchmark.ray_backend import run_on_ray

    with pytest.raises(InputError, match="no photographs for 7"):
        list(run_on_ray(refuse, [7], two_workers))


@pytest.mark.slow
def test_a_cluster_gives_the_serial_table(two_workers, measured, tmp_path, monkeypatch) -> None:
    _, serial = measured
    monkeypatch.setattr("physpatch.benchmark.runner.measure_cell", measure_in_few_views)
    shared = run_bench(replace(PLAN, targets=("530",)), tmp_path, ray_address=two_workers)
    for one, other in zip((row.to_dict() for row in serial[:1]), (row.to_dict() for row in shared), strict=True):
        assert one["heat"]["heat_in_patch"] == pytest.approx(other["heat"]["heat_in_patch"], abs=1e-4)
        apart = ("seconds", "device", "heat")  # workers have another number of threads, and so other last digits
        assert {k: v for k, v in one.items() if k not in apart} == {k: v for k, v in other.items() if k not in apart}
