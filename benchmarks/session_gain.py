"""Does the loop close, and by what? A patch is shown in a session, retrained from what that saw, and shown in a fresh one.

    python benchmarks/session_gain.py --run RUN [--steps 250] [--clips 24] [--seed 3] [--seeds 3] [--work DIR] [--only ranges]

The rig prints on plain paper and holds the sheets as a hand does. The first session's photographs, poses, light and noise are
not the second's; printer and camera are. Each arm is retrained at equal steps, with everything else as in RUN, and learns
another part of the session: the ranges of the views, blur and noise; print colours and light; the patch's area; the scenes;
all of these; or nothing, the null. Each seed is another printer and camera, and another training, alike for all arms.

Prints one JSON object: success in the fresh session of each seed, where the grey control is right, and each arm's gain over RUN
and over the null, paired by clip, with 95 % intervals over scenes; with two seeds and more also the mean gain over seeds. What
was made in --work under the same settings is not made again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gap_causes import recognised
from one_line import run_main
from rig_films import contents, make_once, victim_of

from captures.gap.session_eot import PARTS, learn_from
from captures.results.recorded_session import RecordedSession
from captures.session.live_session import film_rig
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch import Patch, TrainConfig
from physpatch.records.run_record import RunRecord
from physpatch.stats.clustered import Observation
from physpatch.stats.intervals import Difference, Rate, mean_interval
from physpatch.training.run import held_out_files, train_run
from physpatch.victims.protocol import Victim
from printouts import print_sheets

BEFORE, NULL = "before", "nothing"
ARMS: dict[str, tuple[str, ...]] = {NULL: (), **{name: (name,) for name in PARTS}, "all": PARTS}
_FRESH_SEED_OFFSET = 1000


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seed", type=int, default=3, help="of the first printer and camera")
    parser.add_argument("--seeds", type=int, default=1, help="how many printers and trainings")
    parser.add_argument("--only", choices=[arm for arm in ARMS if arm != NULL], help="one arm, beside the null")
    parser.add_argument("--work", type=Path, help="where runs and sessions are kept")
    options = parser.parse_args()
    config = RunRecord.of(options.run).train_config
    config = config.changed(steps=options.steps or config.optimisation.steps)
    victim = victim_of(config)
    photographs = [pair for pair in held_out_files(options.run, config, victim) if recognised(victim, *pair)]
    if len(photographs) < 2:
        parser.error(
            f"{len(photographs)} held-out photographs are recognised behind a sheet; expected one for each session"
        )
    arms = (NULL, options.only) if options.only else tuple(ARMS)
    seeds = range(options.seed, options.seed + options.seeds)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        by_seed = [
            shown(options.run, config, victim, photographs, arms, seed, options.clips, work / str(seed))
            for seed in seeds
        ]
    sessions = dict(zip(seeds, by_seed, strict=True))
    result = {
        "steps": config.optimisation.steps,
        "clips": options.clips,
        "seeds": list(seeds),
        BEFORE: {seed: _rate(films[BEFORE]).to_dict() for seed, films in sessions.items()},
        "arms": {arm: _arm(sessions, arm) for arm in arms},
    }
    print(json.dumps(result))  # noqa: T201


def shown(
    run: Path,
    config: TrainConfig,
    victim: Victim,
    photographs: list[tuple[Path, str | None]],
    arms: Sequence[str],
    seed: int,
    clips: int,
    work: Path,
) -> dict[str, RecordedSession]:
    """Film a fresh session of the run's patch and of each arm's."""
    truth = RigTruth.draw(seed, "uncoated")
    session = filmed(run, victim, photographs[::2], truth, seed, clips, work / "first")
    runs = {BEFORE: run} | {arm: retrained(session, victim, config, arm, seed, work / f"run-{arm}") for arm in arms}
    sessions = {}
    for name, run_folder in runs.items():
        fresh_seed = seed + _FRESH_SEED_OFFSET
        fresh = filmed(run_folder, victim, photographs[1::2], truth, fresh_seed, clips, work / f"fresh-{name}")
        sessions[name] = fresh
        print(f"seed {seed}, {name}: {_rate(fresh)}", file=sys.stderr, flush=True)  # noqa: T201
    return sessions


def retrained(session: RecordedSession, victim: Victim, config: TrainConfig, arm: str, seed: int, out: Path) -> Path:
    """Train a run that learns an arm's parts of a session."""
    parts = ARMS[arm]
    learned = learn_from(session, victim, config.eot, parts=parts, say=lambda line: print(line, file=sys.stderr))  # noqa: T201
    arm_config = config.changed(
        eot=learned.eot,
        area=learned.area if "area" in parts else config.patch.area,
        backgrounds=str(learned.backgrounds) if learned.backgrounds else None,
        seed=config.optimisation.seed + 1 + seed,
    )
    make_once(out, arm_config.to_dict(), partial(train_run, arm_config, out, say=lambda line: None))
    return out


def _arm(sessions: dict[int, dict[str, RecordedSession]], arm: str) -> dict[str, Any]:
    gains = {"gain": BEFORE} if arm == NULL else {"gain": BEFORE, "gain_over_null": NULL}
    summary: dict[str, Any] = {"rate": {seed: _rate(films[arm]).to_dict() for seed, films in sessions.items()}}
    for name, base in gains.items():
        by_seed = {seed: _gain(films[arm], films[base]).to_dict() for seed, films in sessions.items()}
        summary[name] = {"by_seed": by_seed}
        means = [gain["difference"] for gain in summary[name]["by_seed"].values() if gain["difference"] is not None]
        over_seeds = mean_interval(means)
        summary[name]["over_seeds"] = over_seeds and {"mean": over_seeds[0], "ci95": over_seeds[1]}
    return summary


def _observations(session: RecordedSession) -> list[Observation]:
    return session.tally.observations(_model(session), "target", "patch")


def _model(session: RecordedSession) -> str:
    (name,) = session.tally.models
    return name


def _rate(session: RecordedSession) -> Rate:
    return session.tally.rate_over(_observations(session))


def _gain(after: RecordedSession, before: RecordedSession) -> Difference:
    return after.tally.difference_over(_observations(after), _observations(before))


def filmed(
    run: Path,
    victim: Victim,
    behind: list[tuple[Path, str | None]],
    truth: RigTruth,
    seed: int,
    clips: int,
    out: Path,
) -> RecordedSession:
    """Film a session of a run's patch and its controls."""
    patch = Patch.load(run)

    def film() -> None:
        sheet = out.with_suffix(".pdf")
        print_sheets(patch, 100, sheet, controls=("grey", "random"))
        rig = VirtualRig(sheet, behind, clips=clips, frames_per_clip=2, seed=seed, truth=truth)
        film_rig(rig, victim, patch.target, out, sheet=f"../{sheet.name}", run=str(run.resolve()))

    settings = {"run": patch.id, "model": victim.weights.sha256, "behind": contents(behind)}
    make_once(out, settings | {"clips": clips, "seed": seed}, film)
    return RecordedSession.open(out)


if __name__ == "__main__":
    run_main(main)
