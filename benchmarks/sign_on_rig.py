"""Does a patch on a sign still hide it once both are printed? The run's held-out renderings beside the virtual rig.

    python benchmarks/sign_on_rig.py --run RUN [--size 150] [--clips 40] [--seed 0]

RUN was trained with ``--object``. The rig prints the sign with the patch, with the grey and random controls and, where the
run's evaluation says that the sign is taken for another one, with a drawing of another sign in the patch's place, the one that
did most there, by a printer and before a camera that training never saw, and holds all at the same poses. Prints one JSON line:
success, which is that the sign is not found as itself, over the clips in which it is found with the grey control; the controls;
the patch less each of them; and the share kept.
"""

import argparse
import json
import tempfile
from pathlib import Path

from one_line import run_main
from rig_films import victim_of

from calibration.common.errors import InputError
from captures.results.recorded_session import RecordedSession
from captures.results.success import frame_success
from captures.session.live_session import film_rig
from captures.sources.virtual_rig import VirtualRig
from physpatch import Patch, load_victim
from physpatch.records.run_config import strongest_drawing
from physpatch.records.run_record import RunRecord
from physpatch.training.run import held_out_files
from physpatch.victims.detector import Detector
from printouts import print_on_sign

_CLASSIFIER = "efficientnet_lite0"  # a session has one; what it says does not count here


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", type=float, default=150.0, help="width of the sign in millimetres")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of printer, camera and poses")
    options = parser.parse_args()
    record = RunRecord.of(options.run)
    config, patch = record.train_config, Patch.load(options.run)
    victim = victim_of(config)
    if config.object.drawn_sign is None or not isinstance(victim, Detector):
        raise InputError(f"{options.run} was not trained on a sign; give a run of `physpatch train --object stop`")
    with tempfile.TemporaryDirectory() as work:
        sheet = Path(work) / "sheet.pdf"
        print_on_sign(
            patch,
            config.object.drawn_sign,
            options.size,
            sheet,
            share=config.object.share,
            at=config.object.at,
            controls=("grey", "random"),
            drawing=strongest_drawing(options.run),
        )
        behind = held_out_files(options.run, config, victim)
        rig = VirtualRig(sheet, behind, clips=options.clips, frames_per_clip=3, seed=options.seed)
        folder = Path(work) / "session"
        film_rig(rig, load_victim(_CLASSIFIER), patch.target, folder, detector=victim, keep="none")
        session = RecordedSession.open(folder)
    filmed = {s.condition: s for s in session.tally.summaries() if s.model == victim.name}
    digital = record.results and record.results.untargeted_success.rate
    detected = [
        not frame_success(row, session.target)["wrong"]
        for row in session.rows
        if row.model == victim.name and row.condition == "grey"
    ]
    line = {
        "rendered": digital,
        "drawing_of": record.strongest_drawn_sign,
        "filmed": {name: str(summary.wrong) for name, summary in filmed.items()},
        "patch_less": {
            comparison.control: str(comparison.difference)
            for comparison in session.tally.comparisons()
            if (comparison.model, comparison.measure) == (victim.name, "wrong")
        },
        "grey_found": sum(detected) / len(detected),
        "kept": share_kept(filmed["patch"].wrong.rate, digital),
    }
    print(json.dumps(line))  # noqa: T201


def share_kept(filmed: float | None, rendered: float | None) -> float | None:
    """Divide what is filmed by what was rendered; None where nothing counts in the one, or nothing succeeded in the other."""
    return None if filmed is None or not rendered else filmed / rendered


if __name__ == "__main__":
    run_main(main)
