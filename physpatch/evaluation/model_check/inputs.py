"""What a model takes and answers, as it was loaded."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from physpatch.records.check_record import Finding
from physpatch.victims.detector import Detector
from physpatch.victims.networks.outputs import FixedBatch
from physpatch.victims.protocol import Victim

_SHOWN_CLASSES = 4


def check_inputs(victim: Victim) -> Iterator[Finding]:
    """Say what the preprocessing is, how many images are taken at once, which classes there are, and what counts."""
    preprocessing = victim.preprocessing
    colours = "BGR" if preprocessing.bgr else "RGB"
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    fit = "the whole squashed to" if preprocessing.squash else "a shorter side of"
    yield Finding(
        "input",
        f"{preprocessing.size} px square of {fit} {preprocessing.resize} px ({preprocessing.interpolation}), {colours}, "
        f"mean {mean}, standard deviation {std}",
        numbers=asdict(preprocessing),
    )
    if victim.remark and victim.differentiable:  # or the line about gradients says it
        yield Finding("remark", victim.remark, "note")
    limits = {part.words: part for part in victim.module.modules() if isinstance(part, FixedBatch)}
    for words, part in limits.items():
        yield Finding("batch", words, numbers={"images": part.size, "exactly": part.filled})
    yield _classes(victim)
    if victim.threshold:
        rule = "boxes count" if isinstance(victim, Detector) else "the top class counts"
        least = f"{100 * victim.threshold:.6g}"
        yield Finding("threshold", f"{rule} from {least} % confidence", numbers={"least": victim.threshold})


def _classes(victim: Victim) -> Finding:
    """Show the first names, and those that several classes have: they may be a slip, and cannot be meant by name."""
    names = victim.categories
    words = f"{len(names)}: {_listed(list(names))}"
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        words += f"; several classes have the same name: {_listed(twice)}"
    return Finding("classes", words, numbers={"classes": len(names), "names_of_several": len(twice)})


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN_CLASSES]) + (", …" if len(names) > _SHOWN_CLASSES else "")
