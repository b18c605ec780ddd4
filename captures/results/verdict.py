"""The step of the way from training to the camera that lost a patch's effect, told from chance, and the sentence about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from physpatch.stats.intervals import Difference, Rate, independent_difference

TRAINED, REAL = "trained", "captured"
_LEAST_LOSS = 0.03  # as a share: less is not worth naming
_LEVEL = 0.05
_MOST = 0.5  # of the whole loss
_COMPARABLE = 0.5  # of the largest loss: one as large, and not told from it, is named beside it


@dataclass(frozen=True)
class Step:
    """A step of the replay in words: what it adds, what is lost there, and what to do about that."""

    name: str
    shown: str
    loss: str
    cure: str


WAY = (
    Step(
        TRAINED,
        "drawn as in training, in the session's scene",
        "the scene: what the session has behind and around the sheet",
        "train with the session's scenes, `physpatch train --from-session SESSION`, or film before others",
    ),
    Step(
        "posed",
        "turned as the sheet was",
        "the angle and the place at which it was held",
        "train with wider angles, `physpatch train --from-session SESSION` or --range tilt_deg=LOW:HIGH, or hold it straighter",
    ),
    Step(
        "sized",
        "as large, and in as many pixels, as the sheet was",
        "its size and resolution in the picture",
        "print it larger, come closer, use fewer cells, or give the network a closer crop (--roi sheet)",
    ),
    Step(
        "coloured",
        "in the colours and the light that were measured",
        "what printer, paper, light and camera make of its colours",
        "retrain with what was measured, `physpatch train --from-session SESSION` or --profile RIG.json, or print it better",
    ),
    Step(
        "blurred",
        "with the blur and noise that were measured",
        "blur and noise",
        "focus, hold still and give more light, use fewer cells, or retrain with `physpatch train --from-session SESSION`",
    ),
    Step(
        REAL,
        "captured by the camera",
        "something that the replay does not know: bent paper, reflections, what covers it, the camera's own processing",
        "look at the captured frames; flatten the paper, turn it out of reflections, keep fingers off the patch",
    ),
)
_WORDS = {step.name: step for step in WAY}


@dataclass(frozen=True)
class GapStep:
    """The rate at a step over units, and what was lost since the step before, pair by pair; above 0 is a loss."""

    name: str
    shown: str
    rate: Rate
    loss: Difference | None


@dataclass(frozen=True)
class Verdict:
    """Where the effect is lost.

    Attributes:
        cause: name of the step that lost most; None where no loss can be told from chance.
        second: of another that lost about as much; None where there is none.
        sentence: the same in words, with what to do.
    """

    cause: str | None
    second: str | None
    sentence: str


def verdict(
    steps: Sequence[GapStep], total: Difference, happened: str, *, digital: Rate | None = None, conditional: bool = True
) -> Verdict:
    """Name what lost most.

    A cause is named only where the loss from the first step to the last is told from chance: that is one test, however many
    steps there are. Some step has that loss. One that has most of it must be told from chance itself; any other by Holm's
    rule (1979) over all steps, since several are looked at. Where the camera shows clearly more than the last replayed step
    foretells, about as much as was lost before, the replay does not know what happens, and that is the answer.

    Args:
        steps: of :data:`WAY`.
        total: the first step's rate less the last's, paired.
        happened: what is counted, in words.
        digital: the rate on held-out photographs; None where it is not known.
        conditional: whether only poses are counted at which the model is right with the grey control.
    """
    first, last = (step.rate.rate or 0.0 for step in (steps[0], steps[-1]))
    begun = f"Drawn as in training, {happened} in {100 * first:.0f} % of the cases; before the camera, in {100 * last:.0f} %."
    suffix = "" if conditional else " (No control tells whether the model was right at these poses.)"
    losses = {step.name: step.loss for step in steps if step.loss is not None}
    if digital is not None and digital.rate is not None:
        losses = {TRAINED: independent_difference(digital, steps[0].rate)} | losses
        whole = independent_difference(digital, steps[-1].rate)
        if _is_loss(losses[TRAINED]) and _is_loss(whole):
            begun = f"On held-out photographs, {happened} in {100 * digital.rate:.0f} % of the cases. {begun}"
            total = whole
    causes = _causes(losses, total) if _is_loss(total) else []
    if not causes:
        if total.difference is not None and total.ci95 is None:
            why = "One take tells nothing of others: hold up the patch and its control in turn, four times or more."
        elif (total.difference or 0.0) < _LEAST_LOSS:
            why = "There is no loss to explain."
        else:
            why = "No step on the way loses so much that it could be told from chance."
        return Verdict(None, None, f"{begun} {why}{suffix}")
    most, *others = (_WORDS[name] for name in causes)
    said = f"Most is lost to {most.loss}: {losses[most.name]}."
    if not others:
        return Verdict(most.name, None, f"{begun} {said} What helps: {most.cure}.{suffix}")
    second = others[0]
    said += f" About as much is lost to {second.loss}: {losses[second.name]}."
    return Verdict(
        most.name,
        second.name,
        f"{begun} {said} What helps: against the first, {most.cure}; against the second, {second.cure}.{suffix}",
    )


def _causes(losses: dict[str, Difference], total: Difference) -> list[str]:
    """The step that lost most, and one that lost about as much, if there is one; empty where none is told from chance."""
    told = _told_together(losses)
    told |= {name for name, loss in losses.items() if loss.is_significant and _share(loss) > _MOST * _share(total)}
    found = sorted(
        (name for name in told if _share(losses[name]) >= _LEAST_LOSS), key=lambda name: -_share(losses[name])
    )
    regained = -_share(losses[REAL]) if REAL in told else 0.0
    if found and regained > _COMPARABLE * _share(losses[found[0]]):
        return [REAL]
    largest = [name for name in found if _share(losses[name]) >= _COMPARABLE * _share(losses[found[0]])]
    return largest[:2]


def _told_together(losses: dict[str, Difference]) -> set[str]:
    """Losses and gains that are told from chance although several are looked at: Holm's step-down rule (1979)."""
    p_values = sorted((_p_value(loss), name) for name, loss in losses.items())
    told: set[str] = set()
    for number, (p_value, name) in enumerate(p_values):
        if p_value * (len(p_values) - number) > _LEVEL:
            break
        told.add(name)
    return told


def _p_value(loss: Difference) -> float:
    """Two-sided, read back from the difference and the end of its 95 % interval that is nearer to zero."""
    if loss.difference is None or loss.ci95 is None or loss.n < 2:
        return 1.0
    size = abs(loss.difference)
    reach = size - loss.ci95[0] if loss.difference > 0 else size + loss.ci95[1]
    if reach <= 0:
        return 1.0 if size == 0 else 0.0
    return float(2 * stats.norm.sf(size / reach * stats.norm.ppf(1 - _LEVEL / 2)))


def _share(loss: Difference) -> float:
    return loss.difference or 0.0


def _is_loss(difference: Difference) -> bool:
    """Whether it is worth naming, and told from chance."""
    return _share(difference) >= _LEAST_LOSS and difference.is_significant
