"""Do a session's intervals hold what is known? Sessions drawn from a pool of clips of the virtual rig, whose rates are known.

    python benchmarks/rig_coverage.py --run RUN --out DIR [--pool 300] [--sessions 2000] [--clips 12] [--seed 0]

RUN is of a targeted patch that works now and then. The rig films patch, grey and random control at the same poses, once, into
DIR, which a second call with the same settings reads again. Each session is ``--clips`` of these clips, drawn without
replacement, through the same tally as any session. Prints one JSON object: for the rate given that the model is right with
grey, and for its differences with both controls, what the whole pool says and, of the sessions that have a 95 % interval, the
share in which it holds that, with that share's own interval.
Drawn from a pool, sessions vary a little less than such of ever new clips: by the root of 1 - clips/pool.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from one_line import run_main
from rig_films import contents, make_once, victim_of

from captures.results.aggregation import Tally, tally_of
from captures.results.recorded_session import RecordedSession
from captures.session.live_session import film_rig
from captures.sources.virtual_rig import VirtualRig
from captures.storage import FrameRow
from physpatch import Patch
from physpatch.records.run_record import RunRecord
from physpatch.stats.intervals import Interval, wilson
from physpatch.training.run import held_out_files
from printouts import print_sheets

_CONTROLS = ("grey", "random")
Estimate = Callable[[Tally], tuple[float | None, Interval | None]]


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="of a targeted patch that works now and then")
    parser.add_argument("--out", type=Path, required=True, help="where the pool is kept")
    parser.add_argument("--pool", type=int, default=300, help="clips in it")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--clips", type=int, default=12, help="of a session")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not 0 < options.clips <= options.pool:
        parser.error(f"--clips {options.clips} of a pool of {options.pool}; expected 1 to as many as there are")
    pool = filmed_pool(options.run, options.out, options.pool, options.seed)
    print(json.dumps(coverage(pool, options.sessions, options.clips, options.seed)))  # noqa: T201


def filmed_pool(run: Path, out: Path, clips: int, seed: int) -> RecordedSession:
    """Film the pool, or read it again."""
    config, patch = RunRecord.of(run).train_config, Patch.load(run)
    victim = victim_of(config)
    behind = held_out_files(run, config, victim)

    def film() -> None:
        print_sheets(patch, 100, out / "sheet.pdf", controls=_CONTROLS)
        rig = VirtualRig(out / "sheet.pdf", behind, clips=clips, frames_per_clip=3, seed=seed)
        film_rig(rig, victim, patch.target, out / "pool", keep="none")

    settings = {"run": patch.id, "model": victim.weights.sha256, "behind": contents(behind)}
    make_once(out / "pool", settings | {"clips": clips, "seed": seed}, film)
    return RecordedSession.open(out / "pool")


def coverage(pool: RecordedSession, sessions: int, clips: int, seed: int) -> dict[str, Any]:
    """Draw sessions and count those whose intervals hold what the pool says, see the module."""
    rows, target, scenes = pool.rows, pool.target, pool.record.scenes
    measure = "wrong" if target is None else "target"
    (model,) = {row.model for row in rows}
    by_clip: dict[int, list[FrameRow]] = {}
    for row in rows:
        by_clip.setdefault(row.clip, []).append(row)
    numbers, rng = list(by_clip), np.random.default_rng([seed, 3])
    whole = pool.tally
    estimates = {"rate": of_rate(model, measure)}
    estimates |= {f"less {control}": of_difference(model, measure, control) for control in _CONTROLS}
    true_values = {name: of(whole)[0] for name, of in estimates.items()}
    held, claimed = dict.fromkeys(estimates, 0), dict.fromkeys(estimates, 0)
    for _ in range(sessions):
        chosen = rng.choice(len(numbers), clips, replace=False)
        tally = tally_of([row for i in chosen for row in by_clip[numbers[i]]], target, scenes=scenes)
        for name, of in estimates.items():
            ends, truth = of(tally)[1], true_values[name]
            claimed[name] += ends is not None
            held[name] += ends is not None and truth is not None and ends[0] <= truth <= ends[1]
    return {
        "model": model,
        "measure": measure,
        "pool": len(numbers),
        "clips": clips,
        "sessions": sessions,
        "known": true_values,
        "coverage": {name: wilson(held[name], claimed[name]).to_dict() for name in estimates},
    }


def of_rate(model: str, measure: str) -> Estimate:
    """Estimate the rate with the patch."""

    def estimate(tally: Tally) -> tuple[float | None, Interval | None]:
        rate = tally.rate(model, measure, "patch")
        return rate.rate, rate.ci95

    return estimate


def of_difference(model: str, measure: str, control: str) -> Estimate:
    """Estimate the patch less a control."""

    def estimate(tally: Tally) -> tuple[float | None, Interval | None]:
        for compared in tally.comparisons():
            if (compared.model, compared.measure, compared.control) == (model, measure, control):
                return compared.difference.difference, compared.difference.ci95
        return None, None

    return estimate


if __name__ == "__main__":
    run_main(main)
