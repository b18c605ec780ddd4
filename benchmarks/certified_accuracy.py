"""PatchCleanser's certificate beside its paper's: how many photographs does no patch of a size change the answer of?

    python benchmarks/certified_accuracy.py --data DIR [--model NAME] [--limit N]

Shows labelled photographs without a patch to a network, to the network behind the defence, and counts those that the
certificate holds for: with the paper's masks, 6x6 for a square of 2 % of the picture, and with those of ``--defence
patch-cleanser``, 4x4 for one of 0.42 of its side. The paper (Xiang et al. 2022, table 2) has 83.9 % and 62.1 % on ImageNet for
the first, with a vision transformer that was trained behind masks. One JSON line is printed.
"""

import argparse
import json
import math

import torch
from one_line import run_main

from calibration.common.console import progress_bar
from physpatch import load_victim
from physpatch.data.photographs import UNLABELLED, Photographs, limited, load_photos, photos_for
from physpatch.defences.patch_cleanser import PatchCleanser
from physpatch.stats.intervals import wilson
from physpatch.victims.protocol import Victim


class OfThePaper(PatchCleanser):
    """The defence with the masks of the paper's table for ImageNet."""

    side = math.sqrt(0.02)
    places = 6


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of labelled photographs")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--limit", type=int, help="of the photographs, at most; default all")
    options = parser.parse_args()
    victim = load_victim(options.model)
    labelled = [photo for photo in photos_for(victim, options.data) if photo.label != UNLABELLED]
    chosen = labelled if options.limit is None else limited(labelled, options.limit, seed=0)
    photographs = load_photos(chosen, victim.preprocessing)
    measured = {
        name: certified(victim, defence(victim), photographs, name)
        for name, defence in (("paper's masks", OfThePaper), ("own masks", PatchCleanser))
    }
    print(json.dumps({"model": victim.name, "n": len(photographs), **measured}))  # noqa: T201


def certified(victim: Victim, defence: PatchCleanser, photographs: Photographs, name: str) -> dict[str, object]:
    """Count the photographs that are right without and with a defence, and those that its certificate holds for."""
    defended = defence.defended()
    counts = dict.fromkeys(("undefended", "defended", "certified"), 0)
    with progress_bar(name) as bar, torch.no_grad():
        for number in range(len(photographs)):
            image, label = photographs.images[number : number + 1] / 255, photographs.labels[number : number + 1]
            for way, judge in (("undefended", victim), ("defended", defended)):
                counts[way] += int(judge.judged(judge.scores(image)).argmax(dim=1) == label)
            counts["certified"] += int(defence.certified(image, label))
            bar.show(number + 1, len(photographs))
    rates = {way: wilson(count, len(photographs)).to_dict() for way, count in counts.items()}
    return {"side": round(defence.side, 3), "places": defence.places, **rates}


if __name__ == "__main__":
    run_main(main)
