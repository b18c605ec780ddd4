"""Does the loop close? A patch is shown in a session, retrained from what that session saw, and both are shown in a fresh one.

    python benchmarks/session_gain.py --run RUN [--steps 250] [--clips 24] [--seed 3] [--work DIR]

The rig prints on plain paper and holds the sheets as a hand does. The first session's photographs, poses, light and noise are
not the second's; printer and camera are. Retrained is at the steps of the run, unless others are given, and with everything
else as there. Prints one JSON line: success in the fresh session by clip, where the grey control is right, and the gain with
its 95 % interval, paired by clip.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from gap_causes import recognised

from calibration.files import read_json
from captures.learn import learn_from
from captures.recorded import RecordedSession
from captures.session import film_rig
from captures.virtual import RigTruth, VirtualRig
from physpatch import Patch, TrainConfig, load_victim
from physpatch.runs import held_out_files, train_run
from physpatch.stats import clip_rate, paired_difference
from physpatch.victims.base import Victim
from printouts import print_sheets

_FRESH_SEED_OFFSET = 1000


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seed", type=int, default=3, help="of the printer and camera")
    parser.add_argument("--work", type=Path, help="where runs and sessions are kept")
    options = parser.parse_args()
    config = TrainConfig.from_dict(read_json(options.run / "run.json")["config"])
    victim = load_victim(config.model)
    photographs = [pair for pair in held_out_files(options.run, config, victim) if recognised(victim, *pair)]
    first, fresh = photographs[::2], photographs[1::2]
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        truth = RigTruth.draw(options.seed, "plain")
        session = filmed(options.run, victim, first, truth, options.seed, options.clips, work / "first")
        learned = learn_from(session, victim, config.eot, say=print)
        again = replace(
            config,
            eot=learned.eot,
            area=learned.area,
            backgrounds=str(learned.backgrounds),
            steps=options.steps or config.steps,
        )
        train_run(again, work / "retrained", say=lambda line: None)
        seed = options.seed + _FRESH_SEED_OFFSET
        shown = {
            name: filmed(run, victim, fresh, truth, seed, options.clips, work / name)
            for name, run in (("before", options.run), ("after", work / "retrained"))
        }
    rates = {name: one.tally.rates(victim.name, "target", "patch") for name, one in shown.items()}
    common = sorted(rates["before"].keys() & rates["after"].keys())
    before, after = ([rates[name][clip] for clip in common] for name in ("before", "after"))
    result = {
        "seed": options.seed,
        "steps": again.steps,
        "before": clip_rate(before).to_dict(),
        "after": clip_rate(after).to_dict(),
        "gain": paired_difference(after, before).to_dict(),
    }
    print(json.dumps(result))  # noqa: T201


def filmed(
    run: Path,
    victim: Victim,
    behind: list[tuple[Path, str | None]],
    truth: RigTruth,
    seed: int,
    clips: int,
    out: Path,
) -> RecordedSession:
    """A session of a run's patch and its controls."""
    patch = Patch.load(run)
    sheet = out.with_suffix(".pdf")
    print_sheets(patch, 100, sheet, controls=("grey", "random"))
    rig = VirtualRig(sheet, behind, clips=clips, frames_per_clip=2, seed=seed, truth=truth)
    notes = {"sheet": f"../{sheet.name}", "run": str(run.resolve())}
    return RecordedSession.open(film_rig(rig, victim, patch.target, out, **notes))


if __name__ == "__main__":
    main()
