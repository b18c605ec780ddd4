"""How often the 95 % interval over clips covers the truth, beside Student's t over clips and Wilson over frames.

    python benchmarks/interval_coverage.py [--runs 1500]

Clips of 50 frames with beta-distributed success rates of a given intra-class correlation. Prints one JSON line a setting.
"""

import argparse
import json
from itertools import product

import numpy as np
from scipy import stats

from physpatch.stats.intervals import clip_rate, wilson

_FRAMES = 50


def main() -> None:
    """Print the coverages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1500)
    runs = parser.parse_args().runs
    for clips, correlation, truth in product((10, 40), (0.2, 0.5, 0.8), (0.05, 0.15, 0.5)):
        rng = np.random.default_rng(0)
        concentration = 1 / correlation - 1
        covered = {"ours": 0, "t_over_clips": 0, "wilson_over_frames": 0}
        for _ in range(runs):
            hits = rng.binomial(_FRAMES, rng.beta(truth * concentration, (1 - truth) * concentration, clips))
            rates = hits / _FRAMES
            half = stats.t.ppf(0.975, clips - 1) * rates.std(ddof=1) / np.sqrt(clips)
            intervals = {
                "ours": clip_rate(rates.tolist()).ci95,
                "t_over_clips": (rates.mean() - half, rates.mean() + half),
                "wilson_over_frames": wilson(int(hits.sum()), _FRAMES * clips).ci95,
            }
            for name, interval in intervals.items():
                covered[name] += interval is not None and interval[0] <= truth <= interval[1]
        shares = {name: round(count / runs, 3) for name, count in covered.items()}
        print(json.dumps({"clips": clips, "correlation": correlation, "truth": truth} | shares))  # noqa: T201


if __name__ == "__main__":
    main()
