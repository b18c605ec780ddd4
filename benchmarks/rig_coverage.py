"""Do the report's intervals cover a success that is known? On the virtual rig, whose long run can be filmed.

    python benchmarks/rig_coverage.py --run RUN [--sessions 30] [--clips 12]

Films as many clips as all the sessions together have, takes the rate over all of them for the truth, and counts in how many of
the sessions the interval holds it. Prints one line of JSON.
"""

import argparse
import json
import tempfile
from pathlib import Path

from calibration.errors import InputError
from calibration.files import read_json
from captures.session import film_rig
from captures.store import read_rows
from captures.summary import tally_of
from captures.virtual import VirtualRig
from physpatch import Patch, TrainConfig, load_victim
from physpatch.runs import held_out_files
from physpatch.stats import clip_bootstrap, clip_rate, clip_t
from printouts import print_sheets


def target_name(patch: Patch) -> str:
    """Of a targeted patch.

    Raises:
        InputError: it is untargeted.
    """
    if patch.target is None:
        raise InputError("this run's patch has no target; give one that has")
    return str(patch.target["name"])


def main() -> None:
    """Print the coverage of each interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="of a targeted patch that works now and then")
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--clips", type=int, default=12, help="of a session")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = TrainConfig.from_dict(read_json(options.run / "run.json")["config"])
    patch, victim = Patch.load(options.run), load_victim(config.model)
    with tempfile.TemporaryDirectory() as work:
        sheet = Path(work) / "sheet.pdf"
        print_sheets(patch, 100, sheet)
        rig = VirtualRig(
            sheet,
            held_out_files(options.run, config, victim),
            clips=options.sessions * options.clips,
            frames_per_clip=3,
            seed=options.seed,
        )
        rows = read_rows(film_rig(rig, victim, patch.target, Path(work) / "long", keep="none"))
    rates = list(tally_of(rows, target_name(patch)).rates(victim.name, "target", "patch").values())
    truth = clip_rate(rates)
    parts = [rates[first : first + options.clips] for first in range(0, len(rates), options.clips)]
    covered = {
        name: sum(low <= (truth.rate or 0) <= high for low, high in map(interval, parts)) / len(parts)
        for name, interval in (
            ("the report's", lambda part: clip_rate(part).ci95),
            ("student's t", clip_t),
            ("bootstrap", clip_bootstrap),
        )
    }
    print(json.dumps({"known": str(truth), "sessions": len(parts), "clips": options.clips, "covered": covered}))  # noqa: T201


if __name__ == "__main__":
    main()
