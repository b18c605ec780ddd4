"""Measure published patches beside one's own, at equal area and poses, on several networks.

    python benchmarks/published_patches.py --patches DIR --data DIR [--run RUN]... [--model NAME]... [--area 0.15]
        [--cut square|circle|sheet] [--condition screen] [--seed 1] [--out FILE.json]

DIR of patches holds pictures and ``targets.csv`` (file, target_index, target), such as the ten of ImageNet-Patch (Pintor et
al. 2023). Each is measured with its grey, random and shuffled controls on the labelled photographs of ``--data``, and so are
the patches of ``--run``, which must not have learned from these photographs, at the same area, cut and ranges of poses, in
the colours of a screen unless ``--condition`` says otherwise. A Markdown table is printed: target first and made wrong, of
the views that are right with the grey control, and the paired difference to the random control, with 95 % intervals.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from one_line import run_main
from rig_films import labelled_photos

from calibration.common.files import write_json
from physpatch import EotConfig, Patch, TrainConfig, evaluate_patch, load_victim
from physpatch.data.photographs import limited, load_photos
from physpatch.evaluation.classification import Evaluation
from physpatch.records.patch_exchange import read_pixels, to_cells
from physpatch.stats.rates import percent

_MODELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def published(folder: Path) -> dict[str, Patch]:
    """Read the patches that ``targets.csv`` names, one cell per pixel, by file and target."""
    with open(folder / "targets.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {
        f"{Path(row['file']).stem} {row['target']}": Patch(
            to_cells(read_pixels(folder / row["file"])[0], None),
            {"index": int(row["target_index"]), "name": row["target"]},
        )
        for row in rows
    }


def to_row(name: str, model: str, evaluation: Evaluation) -> dict[str, Any]:
    """Take from an evaluation what the table shows."""
    change = evaluation.differences()["random"]
    return {
        "patch": name,
        "model": model,
        "n": evaluation.n,
        "clean_accuracy": evaluation.clean_accuracy,
        "patched_accuracy": evaluation.accuracy["patch"],
        "target_first": evaluation.targeted["patch"].to_dict(),
        "made_wrong": evaluation.untargeted["patch"].to_dict(),
        "target_over_random": change["targeted"].to_dict(),
        "wrong_over_random": change["untargeted"].to_dict(),
        "words": [str(evaluation.targeted["patch"]), str(change["targeted"]), str(change["untargeted"])],
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Draw the table, by network and then by patch."""
    lines = [
        "| model | patch | accuracy, clean | with the patch | target first | target, minus random | wrong, minus random |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row["model"], -(row["target_first"]["rate"] or 0))):
        cells = (
            row["model"],
            row["patch"],
            percent(row["clean_accuracy"]),
            percent(row["patched_accuracy"]),
            *row["words"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all patches on all networks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run of one's own; can be repeated")
    parser.add_argument("--model", action="append", help=f"default: {', '.join(_MODELS)}")
    parser.add_argument("--area", type=float, default=0.15)
    parser.add_argument("--cut", default="square")
    parser.add_argument(
        "--condition", default="screen", choices=("screen", "none"), help="none keeps the preset's prints"
    )
    parser.add_argument("--limit", type=int, default=TrainConfig().data.limit)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--poses", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = [*published(options.patches), *(run.name for run in options.run)]
    if len(set(names)) < len(names):
        parser.error(f"two patches have the same name; rename one run's folder: {', '.join(names)}")
    eot = EotConfig.preset("desk")
    if options.condition == "screen":
        eot = eot.changed(prints=(), print_mix=(0.0, 0.0), print_fade=(0.0, 0.0))
    patches = published(options.patches) | {run.name: Patch.load(run) for run in options.run}
    rows = []
    for model in options.model or _MODELS:
        victim = load_victim(model)
        photos = limited(labelled_photos(victim, options.data, options.run), options.limit, options.seed)
        photographs = load_photos(photos, victim.preprocessing)
        for name, patch in patches.items():
            evaluation = evaluate_patch(
                victim,
                photographs,
                patch,
                area=options.area,
                cut=options.cut,
                eot=eot,
                seed=options.seed,
                poses=options.poses,
            )
            rows.append(to_row(name, model, evaluation))
    print(markdown(rows))  # noqa: T201
    if options.out:
        write_json(options.out, rows)


if __name__ == "__main__":
    run_main(main)
