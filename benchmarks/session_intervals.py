"""Do the intervals of hand-held sessions hold what is true? Coverage by design and by how much clips differ.

    python benchmarks/session_intervals.py [--sessions 4000] [--seed 0]

Sessions are drawn from a known population: the logit of a frame's success is a mean, plus the clip's own effect (a hand,
a light, a distance that drifts), plus that of the pose, which all clips share. Patch and control are filmed in clips of their
own over the same twelve poses, five frames each. A change is what a step of the replay does to the frames of one lot of clips.
Truth is the mean over all clips and poses. Prints one JSON object: the share of nominal 95 % intervals that hold it, for a
rate, for a difference with a control and for a change, by the number of clips and the standard deviation of their effect in
logits; ``worst`` is the lowest and highest, of changes ``worst_changes``. Of a single clip no interval over clips is claimed
(``claimed`` is 0); what is claimed, the interval within that clip, is held against the clip's own rate. For comparison
``cells_as_units`` is the coverage of intervals that take pose cells for independent.
"""

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from physpatch.stats.clustered import Observation, clustered_change, clustered_difference, clustered_rate
from physpatch.stats.intervals import clip_rate

_CLIPS, _POSES, _FRAMES = (1, 3, 6, 10), 12, 5
_TAKE_SD, _POSE_SD = (0.0, 0.5, 1.0, 2.0), 0.7
_LOGITS = (-1.7, 0.0, 1.7)
_CONTROL_LOGITS = (0.0, -2.5)  # beside a patch at 0: no effect, and a large one
_AT, _SHARES = np.polynomial.hermite_e.hermegauss(80)  # quadrature over a normal effect


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=4000, help="drawn for each design")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(coverage(options.sessions, options.seed)))  # noqa: T201


def coverage(sessions: int, seed: int) -> dict[str, Any]:
    """Measure the coverage in every design, see the module."""
    rng, changes = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    designs = []
    for clips in _CLIPS:
        for sd in _TAKE_SD:
            design: dict[str, Any] = {"clips": clips, "clip_sd": sd}
            for logit in _LOGITS:
                design[f"rate {population_rate(logit, sd):.2f}"] = of_rates(rng, sessions, clips, sd, logit)
            for logit in _CONTROL_LOGITS:
                truth = population_rate(0.0, sd) - population_rate(logit, sd)
                design[f"difference {truth:.2f}"] = of_differences(rng, sessions, clips, sd, logit)
                design[f"change {truth:.2f}"] = of_differences(changes, sessions, clips, sd, logit, same_clips=True)
            designs.append(design)
    held = [
        (name.startswith("change"), numbers["coverage"])
        for design in designs
        for name, numbers in design.items()
        if isinstance(numbers, dict) and design["clips"] > 1
    ]
    of_changes, of_rest = ([share for is_change, share in held if is_change == flag] for flag in (True, False))
    error = 1.96 * float(np.sqrt(0.95 * 0.05 / sessions))
    return {
        "sessions": sessions,
        "monte_carlo_error": round(error, 4),
        "poses": _POSES,
        "frames_a_pose": _FRAMES,
        "worst": [min(of_rest), max(of_rest)],
        "worst_changes": [min(of_changes), max(of_changes)],
        "designs": designs,
    }


def population_rate(logit: float, clip_sd: float) -> float:
    """Compute the mean over clips and poses, by Gauss-Hermite quadrature."""
    values = expit(logit + np.hypot(clip_sd, _POSE_SD) * _AT)
    return float(_SHARES @ values / _SHARES.sum())


def drawn(
    rng: np.random.Generator, clips: int, sd: float, logit: float, pose: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw each cell's share of frames, (clips, poses), and each clip's own rate over all poses, (clips,)."""
    effects = logit + rng.normal(0, sd, (clips, 1))
    shares = rng.binomial(_FRAMES, expit(effects + pose)) / _FRAMES
    return shares, expit(effects + _POSE_SD * _AT) @ _SHARES / _SHARES.sum()


def observations(shares: NDArray[np.float64], first: int = 0) -> list[Observation]:
    """List the cells of all clips, named from ``first`` on."""
    return [
        Observation(first + clip, cell, share)
        for clip, row in enumerate(shares.tolist())
        for cell, share in enumerate(row)
    ]


def of_rates(rng: np.random.Generator, sessions: int, clips: int, sd: float, logit: float) -> dict[str, float]:
    """Measure the coverage of a rate's interval; of a single clip that of the interval within it."""
    truth = population_rate(logit, sd)
    held, claimed, naive, width = 0, 0, 0, 0.0
    for _ in range(sessions):
        shares, own = drawn(rng, clips, sd, logit, rng.normal(0, _POSE_SD, _POSES))
        rate = clustered_rate(observations(shares))
        ends = rate.ci95 or rate.within95 or (0.0, 1.0)
        claimed += rate.ci95 is not None
        held += ends[0] <= (truth if clips > 1 else float(own[0])) <= ends[1]
        cells = clip_rate(shares.mean(axis=0).tolist()).ci95 or (0.0, 1.0)
        naive += cells[0] <= truth <= cells[1]
        width += ends[1] - ends[0]
    return {
        "coverage": held / sessions,
        "claimed": claimed / sessions,
        "cells_as_units": naive / sessions,
        "mean_width": round(width / sessions, 3),
    }


def of_differences(
    rng: np.random.Generator, sessions: int, clips: int, sd: float, logit: float, *, same_clips: bool = False
) -> dict[str, float]:
    """Measure the coverage of the interval of a patch less its control, or of what it is before and after in the same clips."""
    truth = population_rate(0.0, sd) - population_rate(logit, sd)
    held, claimed, width = 0, 0, 0.0
    for _ in range(sessions):
        pose = rng.normal(0, _POSE_SD, _POSES)
        if same_clips:
            effects = rng.normal(0, sd, (clips, 1))
            patch, control = (rng.binomial(_FRAMES, expit(mean + effects + pose)) / _FRAMES for mean in (0.0, logit))
            difference = clustered_change(observations(patch), observations(control))
        else:
            patch, control = (drawn(rng, clips, sd, mean, pose)[0] for mean in (0.0, logit))
            difference = clustered_difference(observations(patch), observations(control, clips))
        ends = difference.ci95
        claimed += ends is not None
        held += ends is not None and ends[0] <= truth <= ends[1]
        width += 0.0 if ends is None else ends[1] - ends[0]
    return {
        "coverage": held / sessions,
        "claimed": claimed / sessions,
        "mean_width": round(width / sessions, 3),
    }


if __name__ == "__main__":
    main()
