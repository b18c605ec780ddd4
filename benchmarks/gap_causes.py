"""Does the replay name what is wrong, and nothing where nothing is? The virtual rig plants a cause, and the replay is not told.

    python benchmarks/gap_causes.py --run RUN --out DIR [--cases 6] [--nulls 12] [--clips 30] [--only colour]

planted_rig.py prints and films as RUN was trained for, but for one cause a case: turns, distance, inks and sensor, or a lens
beyond those trained, by which the patch loses some 20 to 60 points; a phone's sharpening or a thumb on the patch, which no
step of the replay knows, so that "captured" is the right answer; nothing at all, or a shaking hand before a rolling shutter,
which bends what the replay measures and costs the patch nothing, so that nothing is to be named. Each case has a seed of its
own: of strength, backgrounds, poses, light and noise. RUN is a targeted patch of a classifier, trained under what the rig does
where nothing is planted:

    physpatch train --model efficientnet_lite0 --data DATA --target "French horn" --grid 40x40 --preset mild --steps 160
        --range gain=0.6:1.1 --range rotation_deg=-12:12 --range tilt_deg=-12:12 --range scale=0.85:1.15
        --range blur_px=0:0.3 --range motion_px=0:0.2 --range noise=0:0.005 --range bend=0:0 --range jpeg=80:98

Prints one JSON object. "right": the share of cases whose answer is the planted one, alone; "right_of_20_to_60" of those nulls
and causes alone by which the patch lost so many points. "false_alarms": the share in which something is named that was not
planted. Cases are kept in DIR as they come, so that a killed run goes on.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from kept_results import kept_or_made
from one_line import run_main
from planted_rig import CAUSES, PlantedRig
from rig_films import contents, victim_of

from captures.gap.decomposition import measure_gap
from captures.inference.analyser import to_input
from captures.results.recorded_session import RecordedSession
from captures.results.verdict import GapStep, verdict
from captures.session.live_session import film_rig
from captures.sources.opencv import rgb
from captures.sources.opening import Rig
from physpatch import Patch
from physpatch.records.run_record import RunRecord
from physpatch.stats.intervals import Difference, Rate, wilson
from physpatch.training.run import held_out_files
from physpatch.victims.protocol import Victim
from printouts import print_sheets

_SHEET = (0.65, 0.85)  # width and height of the sheet, of the picture's side
_PATCH_OF_SHEET = 0.6
_DRAWS = 2
_WANTED = (0.2, 0.6)  # losses, as shares


def recognised(victim: Victim, path: Path, label: str | None) -> bool:
    """Tell whether a photograph stays recognised behind a sheet in its middle, upright or turned: others would not count."""
    return steady_answer(victim, path) == label


def steady_answer(victim: Victim, path: Path) -> str | None:
    """Return what a photograph is taken for behind a sheet in its middle, where it is the same upright and turned."""
    picture = rgb(cv2.imread(str(path)))
    height, width = picture.shape[:2]
    inputs = []
    for across, down in (_SHEET, _SHEET[::-1]):
        view = picture.copy()
        for share, level in ((1.0, 215), (_PATCH_OF_SHEET, 128)):
            x, y = (round(share * half * min(height, width) / 2) for half in (across, down))
            middle = (slice(height // 2 - y, height // 2 + y), slice(width // 2 - x, width // 2 + x))
            view[middle] = level
        inputs.append(to_input(view, victim.preprocessing))
    with torch.no_grad():
        best = victim.scores(torch.cat(inputs).to(victim.device)).argmax(dim=1).tolist()
    return victim.categories[best[0]] if best[0] == best[1] else None


class Bench:
    """Plants, films and replays cases of one run; what a case gave is kept in a folder."""

    causes: Mapping[str, Any] = CAUSES

    def __init__(self, run: Path, out: Path, clips: int, seed: int) -> None:
        self._record = RunRecord.of(run)
        self._config, self._patch = self._record.train_config, Patch.load(run)
        self._victim = victim_of(self._config)
        self._out, self._clips, self._seed = out.absolute(), clips, seed  # a session finds its sheet from anywhere
        self._out.mkdir(parents=True, exist_ok=True)
        self._sheet = self._out / "sheet.pdf"
        print_sheets(self._patch, 100, self._sheet, controls=("grey", "random"))
        self._behind = self._backgrounds(run)

    def case(self, cause: str, number: int) -> dict[str, Any]:
        """Return what was planted and what was measured, from the folder where it is there."""
        file = self._out / f"{cause.replace(' ', '-')}-{number}.json"
        return kept_or_made(file, self._settings(cause), lambda: self._measured(cause, number))

    def _measured(self, cause: str, number: int) -> dict[str, Any]:
        strength, seed = self._draw(cause, number)
        victim, measure = self._victim.name, "wrong" if self._patch.target is None else "target"
        with tempfile.TemporaryDirectory() as work:
            rig = self._rig(cause, strength, seed)
            film = film_rig(rig, self._victim, self._patch.target, Path(work) / "film", sheet=str(self._sheet))
            filmed = labelled(RecordedSession.open(film))
            gap = measure_gap(
                filmed,
                self._victim,
                self._patch,
                self._config,
                digital=self._record.results,
                draws=_DRAWS,
            )
        return {
            "planted": cause,
            "strength": strength,
            "seed": seed,
            "gap": gap.to_dict(),
            "by_clip": {str(clip): rate for clip, rate in filmed.tally.rates(victim, measure, "patch").items()},
        }

    def _settings(self, cause: str) -> dict[str, Any]:
        """Return the settings in which a kept case must agree."""
        strengths = list(self.causes[cause].strength)
        return {
            "run": self._patch.id,
            "clips": self._clips,
            "seed": self._seed,
            "strengths": strengths,
            "behind": contents(self._behind),
        }

    def _draw(self, cause: str, number: int) -> tuple[float, int]:
        """Draw a case's strength and seed."""
        rng = np.random.default_rng([self._seed, list(self.causes).index(cause), number])
        return float(rng.uniform(*self.causes[cause].strength)), int(rng.integers(2**31))

    def _rig(self, cause: str, strength: float, seed: int) -> Rig:
        return PlantedRig(cause, strength, self._sheet, self._behind, clips=self._clips, frames_per_clip=1, seed=seed)

    def _backgrounds(self, run: Path) -> list[tuple[Path, str | None]]:
        """Choose held-out photographs that have a steady answer behind a sheet."""
        files = [path for path, _ in held_out_files(run, self._config, self._victim)]
        chosen = kept_or_made(
            self._out / "backgrounds.json",
            {"run": self._patch.id, "of": [str(path) for path in files]},
            lambda: {"behind": [str(path) for path in self._steady(files)]},
        )
        return [(Path(path), None) for path in chosen["behind"]]

    def _steady(self, files: Iterable[Path]) -> Iterator[Path]:
        """Choose those that have a steady answer behind a sheet, which is not the target."""
        target = (self._patch.target or {}).get("name")
        return (file for file in files if steady_answer(self._victim, file) not in (None, target))


def labelled(session: RecordedSession) -> RecordedSession:
    """Label each clip by what the victim takes it for with the grey control: what it truly is does not matter here."""
    answers = {row.clip: row.top1 for row in session.rows if row.condition == "grey"}
    return replace(session, rows=[replace(row, label=answers[row.clip]) for row in session.rows])


def judged(case: dict[str, Any]) -> dict[str, Any]:
    """Compare a case's answer with the right one."""
    answer = answered(case)
    named, right = answer["named"], CAUSES[case["planted"]].step
    return answer | {
        "right": named == ([] if right is None else [right]),
        "false_alarm": any(name != right for name in named),
    }


def answered(case: dict[str, Any]) -> dict[str, Any]:
    """Make a case's answer anew from what was measured."""
    gap = case["gap"]
    steps = [
        GapStep(step["name"], step["shown"], Rate.from_dict(step["rate"]), step["loss"] and Difference(**step["loss"]))
        for step in gap["steps"]
    ]
    digital = Rate.from_dict(gap["digital"]) if gap["digital"] else None
    answer = verdict(steps, Difference(**gap["total"]), gap["measure"], digital=digital)
    named = [name for name in (answer.cause, answer.second) if name is not None]
    return {
        "planted": case["planted"],
        "strength": round(case["strength"], 3),
        "seed": case["seed"],
        "named": named,
        "loss": round(gap["total"]["difference"], 3),
        "n": gap["total"]["n"],
        "rates": {step.name: round(step.rate.rate or 0.0, 3) for step in steps},
    }


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object that is printed."""
    by_cause = {cause: [case for case in cases if case["planted"] == cause] for cause in CAUSES}
    return {
        "right": shares_of(cases, "right"),
        "right_of_20_to_60": shares_of([case for case in cases if _in_range(case)], "right"),
        "false_alarms": shares_of(cases, "false_alarm"),
        "by_cause": {
            cause: _of(group) for cause, group in by_cause.items() if group and CAUSES[cause].step is not None
        },
        "nulls": {cause: _of(group) for cause, group in by_cause.items() if group and CAUSES[cause].step is None},
        "cases": cases,
    }


def _in_range(case: dict[str, Any]) -> bool:
    return CAUSES[case["planted"]].step is None or _WANTED[0] <= case["loss"] <= _WANTED[1]


def _of(cases: list[dict[str, Any]]) -> dict[str, Any]:
    losses = [case["loss"] for case in cases]
    return {
        "right": shares_of(cases, "right"),
        "false_alarms": shares_of(cases, "false_alarm"),
        "named": Counter(" and ".join(case["named"]) or "none" for case in cases),
        "loss": {"mean": round(fmean(losses), 3), "least": min(losses), "most": max(losses)},
        "rates": {name: round(fmean(case["rates"][name] for case in cases), 3) for name in cases[0]["rates"]},
    }


def shares_of(cases: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return wilson(sum(case[key] for case in cases), len(cases)).to_dict()


def main() -> None:
    """Print the count and the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where cases are kept")
    parser.add_argument("--cases", type=int, default=6, help="of each cause")
    parser.add_argument("--nulls", type=int, default=12, help="cases of each null")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CAUSES)
    options = parser.parse_args()
    bench = Bench(options.run, options.out, options.clips, options.seed)
    numbered_causes = [
        (number, cause)
        for cause in ([options.only] if options.only else CAUSES)
        for number in range(options.nulls if CAUSES[cause].step is None else options.cases)
    ]
    cases = []
    for done, (number, cause) in enumerate(sorted(numbered_causes, key=lambda pair: pair[0]), start=1):
        case = judged(bench.case(cause, number))
        cases.append(case)
        print(f"{done} of {len(numbered_causes)}: {json.dumps(case)}", file=sys.stderr, flush=True)  # noqa: T201
    print(json.dumps(summary(cases)))  # noqa: T201


if __name__ == "__main__":
    run_main(main)
