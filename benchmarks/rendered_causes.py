"""Does the replay name what a rendered camera does to a patch, or say "something that is not modelled"?

    python benchmarks/rendered_causes.py --run RUN --data DIR --out DIR [--cases 4] [--nulls 8] [--clips 60] [--only h264 …]

Each sheet is printed in true colours and held before photographs of DIR in the scene ``stand``, one in each clip, whose class
stays the same behind a plain sheet, upright and turned, right or not. It is filmed by a plain camera but for one effect a case.
:data:`EFFECTS` says how strong, between its two ends: stronger than a phone's; a tone curve and noise reduction no stronger
than what costs the patch below some 20 to 60 points. The replay is not told. It has no step of its own for any effect;
:data:`EFFECTS` says which of its steps would be a fair name, such as "blur and noise" for a focus that hunts, beside "something
that the replay does not model". Where nothing is planted, nothing is to be named.

Cases take turns beside the nulls: each has backgrounds, poses, light and noise in common with one null, so that ``cost`` is
what the effect costs the patch: the captured rate of the null less that of the case, over all their clips, whether or not the
replay can measure the sheets in them. Shots are kept in DIR/shots, so that effects after the render cost no rendering of their
own; cases are kept in DIR, so that a killed run goes on.

Prints one JSON object. "right_of_20": of the cases in which the effect costs 20 points or more, the share in which it is named,
or called "not modelled", and nothing else is. "right": of all cases with an effect, the share in which nothing else is named,
and in which it is, if it costs as much. "false_alarms": the share of cases, nulls among them, in which something is named that
was not planted. As cases beside one null have much in common, "draws" counts a null and the cases beside it as one: the share
in which all costly cases are right, of the draws that have one, and the share in which any case is a false alarm. "unmeasured"
counts cases of which no view can be measured, as the effect has cost the sheet its markers or its plain border; they count in
nothing else.

RUN is a targeted patch of a classifier that a camera can harm: with fine cells, trained for a print's colours and as bright as
this camera shows paper, so that the null loses next to nothing to them, but for no blur, noise or casts, and no longer than it
takes to succeed in two thirds of the held-out views:

    physpatch train --model efficientnet_lite0 --data DATA --target "French horn" --grid 40x40 --steps 320
        --range rotation_deg=-12:12 --range tilt_deg=-12:12 --range scale=0.6:1.15 --range blur_px=0:0
        --range motion_px=0:0 --range noise=0:0.001 --range bend=0:0 --range jpeg=97:100 --range sharpening=0:0
        --range gain=0.35:0.6 --range gamma=0.95:1.05 --range temperature=0.98:1.02 --range tint=0.98:1.02
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from gap_causes import Bench, answered, shares_of
from one_line import run_main

from calibration.colour.printing_condition import PrintingCondition
from captures.gap.decomposition import UnmeasurableError
from captures.results.verdict import REAL
from captures.sources.opening import Rig
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene
from captures.sources.rendered.shots import ShotCache
from physpatch.data.photographs import photos_for

_NULL = "nothing"
_FRAMES = 2  # of each sheet in a clip: some effects follow from the frames before
_COSTLY = 0.2
_SHOTS_BYTES = 20 * 2**30
Settings = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """An effect of a rendered camera.

    Attributes:
        names: steps of the replay that are a fair name of it.
        weakest, strongest: settings between whose numbers a case draws evenly; others are the same in both.
    """

    names: tuple[str, ...]
    weakest: Settings
    strongest: Settings
    strength: tuple[float, float] = (0.0, 1.0)

    def settings(self, strength: float) -> Settings:
        """Return the settings at a share of the way from the weakest to the strongest."""
        return {
            name: low + strength * (self.strongest[name] - low) if isinstance(low, float) else low
            for name, low in self.weakest.items()
        }


_LENS, _COLOURS = ("blurred", REAL), ("coloured", REAL)
EFFECTS = {
    _NULL: Planted((), {}, {}),
    "mosaic": Planted(_LENS, {"method": "bilinear"}, {"method": "bilinear"}),
    "auto_exposure": Planted(_COLOURS, {"target": 0.45, "limit_ev": 3.0}, {"target": 0.6, "limit_ev": 3.0}),
    "auto_white_balance": Planted(_COLOURS, {"norm": 1.0, "strength": 0.8}, {"norm": 1.0, "strength": 1.0}),
    "tone": Planted(_COLOURS, {"compression": 0.75, "curve": 0.5}, {"compression": 0.95, "curve": 0.5}),
    "denoise": Planted(
        _LENS, {"luma": 0.34, "chroma": 0.51, "radius_px": 4.0}, {"luma": 0.46, "chroma": 0.69, "radius_px": 4.0}
    ),
    "sharpen": Planted((REAL,), {"amount": 10.0, "radius_px": 3.0}, {"amount": 20.0, "radius_px": 3.0}),
    "focus_hunt": Planted(
        _LENS,
        {"amplitude_dpt": 8.0, "frequency_hz": 0.5, "time_s": 5.0},
        {"amplitude_dpt": 16.0, "frequency_hz": 0.5, "time_s": 5.0},
    ),
    "motion_blur": Planted(_LENS, {"exposure_s": 0.08, "samples": 9}, {"exposure_s": 0.16, "samples": 9}),
    "rolling_shutter": Planted((REAL,), {"readout_s": 0.05, "bands": 16}, {"readout_s": 0.1, "bands": 16}),
    # at half of that, the markers are lost before the patch is
    "h264": Planted(_LENS, {"mbit_s": 2.5}, {"mbit_s": 1.2}),
}


class RenderedBench(Bench):
    """Plants effects of a rendered camera."""

    causes = EFFECTS

    def __init__(self, run: Path, data: str, out: Path, clips: int, seed: int, nulls: int) -> None:
        self._data, self._nulls = data, nulls
        super().__init__(run, out, clips, seed)
        self._shots = ShotCache(out / "shots", limit_bytes=_SHOTS_BYTES)

    def _draw(self, cause: str, number: int) -> tuple[float, int]:
        strength, _ = super()._draw(cause, number)
        of_null = number % self._nulls
        return strength, int(np.random.default_rng([self._seed, of_null]).integers(2**31))

    def _settings(self, cause: str) -> dict[str, Any]:
        strengths = [EFFECTS[cause].weakest, EFFECTS[cause].strongest]
        return super()._settings(cause) | {"planted": strengths, "nulls": self._nulls}

    def _rig(self, cause: str, strength: float, seed: int) -> Rig:
        scene = Scene.read("stand")
        planted = {} if cause == _NULL else {cause: EFFECTS[cause].settings(strength)}
        return RenderedRig(
            self._sheet,
            scene.changed(camera=scene.camera.to_dict() | {"effects": planted}),
            self._behind,
            clips=self._clips,
            frames_per_clip=_FRAMES,
            seed=seed,
            printing=PrintingCondition.identity(0.93, 0.01),
            cache=self._shots,
        )

    def _backgrounds(self, run: Path) -> list[tuple[Path, str | None]]:
        """Choose photographs with a steady answer, which need not be right; one for each clip if there are as many."""
        photos = photos_for(self._victim, self._data)
        shuffled = np.random.default_rng(self._seed).permutation(len(photos))
        steady = self._steady(photos[int(at)].path for at in shuffled)
        return [(path, None) for path in islice(steady, self._clips)]

    def judged(self, null_number: int, effects: Sequence[str], cases: int) -> Iterator[dict[str, Any]]:
        """Yield the answers of a null and of the cases beside it, see :func:`judged`, or why no view of one can be measured."""
        null = None
        beside = range(null_number, cases, self._nulls)
        for effect, number in [(_NULL, null_number), *((effect, number) for number in beside for effect in effects)]:
            try:
                case = self.case(effect, number)
            except UnmeasurableError as error:
                strength, seed = self._draw(effect, number)
                yield {"planted": effect, "strength": round(strength, 3), "seed": seed, "unmeasured": str(error)}
                if null is None:
                    return
                continue
            null = null or case
            yield judged(case, null)


def judged(case: dict[str, Any], null: dict[str, Any]) -> dict[str, Any]:
    """Compare a case's answer with what is fair, and tell what the effect cost in the clips of both."""
    answer = answered(case)
    fair = EFFECTS[case["planted"]].names
    shared_clips = case["by_clip"].keys() & null["by_clip"].keys()
    cost = fmean(null["by_clip"][clip] - case["by_clip"][clip] for clip in shared_clips)
    false_alarm = any(name not in fair for name in answer["named"])
    names_enough = bool(answer["named"]) or cost < _COSTLY
    return answer | {"cost": round(cost, 3), "right": names_enough and not false_alarm, "false_alarm": false_alarm}


def summary(every_case: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object that is printed."""
    cases = [case for case in every_case if "unmeasured" not in case]
    planted = [case for case in cases if case["planted"] != _NULL]
    nulls = [case for case in cases if case["planted"] == _NULL]
    costly = [case for case in planted if case["cost"] >= _COSTLY]
    return {
        "right_of_20": shares_of(costly, "right"),
        "right": shares_of(planted, "right"),
        "false_alarms": shares_of(cases, "false_alarm"),
        "false_alarms_of_nulls": shares_of(nulls, "false_alarm"),
        "draws": {
            "right_of_20": _by_draw(costly, "right", all),
            "false_alarms": _by_draw(cases, "false_alarm", any),
        },
        "unmeasured": len(every_case) - len(cases),
        "by_effect": {
            effect: {
                "right": sum(case["right"] for case in group),
                "cases": len(group),
                "cost": [case["cost"] for case in group],
                "named": [" and ".join(case["named"]) or "none" for case in group],
            }
            for effect in EFFECTS
            if (group := [case for case in cases if case["planted"] == effect])
        },
        "cases": every_case,
    }


def _by_draw(cases: list[dict[str, Any]], key: str, joined: Callable[[Iterable[bool]], bool]) -> dict[str, Any]:
    """Return the share of draws in which all, or any, of the cases satisfy ``key``; cases of one draw have the same seed."""
    draws: dict[int, list[bool]] = {}
    for case in cases:
        draws.setdefault(case["seed"], []).append(case[key])
    return shares_of([{key: joined(values)} for values in draws.values()], key)


def main() -> None:
    """Print the count and the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--out", type=Path, required=True, help="where cases and shots are kept")
    parser.add_argument("--cases", type=int, default=4, help="of each effect")
    parser.add_argument(
        "--nulls", type=int, default=8, help="in which nothing is planted; the cases take turns beside them"
    )
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[effect for effect in EFFECTS if effect != _NULL])
    options = parser.parse_args()
    bench = RenderedBench(options.run, options.data, options.out, options.clips, options.seed, options.nulls)
    effects = options.only or [effect for effect in EFFECTS if effect != _NULL]
    cases = []
    for null_number in range(options.nulls):
        for case in bench.judged(null_number, effects, options.cases):
            cases.append(case)
            print(json.dumps(case), file=sys.stderr, flush=True)  # noqa: T201
    print(json.dumps(summary(cases)))  # noqa: T201


if __name__ == "__main__":
    run_main(main)
