"""Find the step between training and camera at which a patch loses its effect significantly, and put it into a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from physpatch.stats.intervals import Difference, Rate, independent_difference

TRAINED, REAL = "trained", "captured"
_LEAST_LOSS = 0.03  # as a share; smaller losses are not reported
_LEVEL = 0.05
_MOST = 0.5  # of the total loss
_COMPARABLE = 0.5  # of the largest loss: a loss at least as large is reported too


@dataclass(frozen=True)
class Step:
    """A step of the replay in words: what it adds, what is lost there and how to avoid the loss."""

    name: str
    shown: str
    loss: str
    cure: str


WAY = (
    Step(
        TRAINED,
        "drawn as in training, in the session's scene",
        "the scene: the background of the sheet in the session",
        "train with the session's scenes (train --from-session), or film in front of other backgrounds",
    ),
    Step(
        "posed",
        "at the angle and place of the sheet",
        "the angle and the place at which the sheet was held",
        "train with wider angles (train --from-session, or --range tilt_deg=LOW:HIGH), or hold it straighter",
    ),
    Step(
        "sized",
        "in the size and resolution of the sheet",
        "its size and resolution in the picture",
        "print it larger, come closer, use fewer cells, or crop closer to the sheet (--roi sheet)",
    ),
    Step(
        "coloured",
        "in the measured colours and light",
        "the colour changes by printer, paper, light and camera",
        "retrain with the measured colours (train --from-session, or --profile RIG.json), or print it better",
    ),
    Step(
        "blurred",
        "with the measured blur and noise",
        "blur and noise",
        "focus, hold still, use more light or fewer cells, or retrain (train --from-session)",
    ),
    Step(
        REAL,
        "captured by the camera",
        "something that the replay does not model: bent paper, reflections, occlusion, or the camera's own processing",
        "check the captured frames; flatten the paper, avoid reflections, and keep fingers off the patch",
    ),
)
_WORDS = {step.name: step for step in WAY}


@dataclass(frozen=True)
class GapStep:
    """The rate at a step over units, and the paired difference from the step before; positive values are losses."""

    name: str
    shown: str
    rate: Rate
    loss: Difference | None


@dataclass(frozen=True)
class Verdict:
    """The step at which the effect is lost.

    Attributes:
        cause: name of the step with the largest loss; None if no loss is significant.
        second: name of another step with a similar loss; None without one.
        sentence: the same in words, with advice.
    """

    cause: str | None
    second: str | None
    sentence: str


def verdict(
    steps: Sequence[GapStep], total: Difference, happened: str, *, digital: Rate | None = None, conditional: bool = True
) -> Verdict:
    """Find the step with the largest loss.

    A cause is reported only if the loss from the first step to the last is significant, which is a single test for any number
    of steps. A step with most of that loss must be significant by itself; any other step must be significant by Holm's rule
    (1979) over all steps, because of multiple testing. If the captured rate is clearly above that of the last replayed step,
    by about as much as was lost before, the replay does not model the session, and that is the answer. A step is charged with
    no more than is still lost after each later one.

    Args:
        steps: in the order of :data:`WAY`.
        total: rate of the first step minus that of the last, paired.
        happened: what is counted, in words.
        digital: the rate on held-out photographs; None if unknown.
        conditional: whether only poses count at which the model is right with the grey control.
    """
    first, last = (step.rate.rate or 0.0 for step in (steps[0], steps[-1]))
    begun = f"Drawn as in training, {happened} in {100 * first:.0f} % of the cases; on camera, in {100 * last:.0f} %."
    suffix = "" if conditional else " (Without a control, it is unknown whether the model was right at these poses.)"
    losses = {step.name: step.loss for step in steps if step.loss is not None}
    if digital is not None and digital.rate is not None:
        losses = {TRAINED: independent_difference(digital, steps[0].rate)} | losses
        whole = independent_difference(digital, steps[-1].rate)
        if _is_loss(losses[TRAINED]) and _is_loss(whole):
            begun = f"On held-out photographs, {happened} in {100 * digital.rate:.0f} % of the cases. {begun}"
            total = whole
    borne_out = {
        step.name: _borne_out(losses[step.name], [later.rate for later in steps[number:]])
        for number, step in enumerate(steps)
        if step.name in losses
    }
    causes = _causes(losses, borne_out, total) if _is_loss(total) else []
    if not causes:
        if total.difference is not None and total.ci95 is None:
            why = (
                "Only one clip could be replayed, which does not show how clips vary: show the patch and its control in turn, "
                "at least four times, near enough for the markers to be read."
            )
        elif (total.difference or 0.0) < _LEAST_LOSS:
            why = "There is no loss to explain."
        else:
            why = "No step has a significant loss."
        return Verdict(None, None, f"{begun} {why}{suffix}")
    most, *other_steps = (_WORDS[name] for name in causes)
    loss_words = f"The largest loss is due to {most.loss}: {-losses[most.name]}."
    if not other_steps:
        return Verdict(most.name, None, f"{begun} {loss_words} To fix this: {most.cure}.{suffix}")
    second = other_steps[0]
    loss_words += f" A similar loss is due to {second.loss}: {-losses[second.name]}."
    return Verdict(
        most.name,
        second.name,
        f"{begun} {loss_words} To fix the first: {most.cure}. To fix the second: {second.cure}.{suffix}",
    )


def _borne_out(loss: Difference, rates: Sequence[Rate]) -> Difference:
    """Limit a step's loss to what is not made good, given the rates of the step and of all later ones.

    A rate that rises at a later step, as where the sheet is larger than in training, was not lost in the session; one below the
    captured rate is an error of the replay.
    """
    reached, *later = (rate.rate for rate in rates)
    if loss.difference is None or reached is None:
        return loss
    regained = max([0.0, *(rate - reached for rate in later if rate is not None)])
    beyond = min(regained, max(0.0, loss.difference))
    ends = None if loss.ci95 is None else (loss.ci95[0] - beyond, loss.ci95[1] - beyond)
    return Difference(loss.difference - beyond, ends, loss.n)


def _causes(replayed: dict[str, Difference], losses: dict[str, Difference], total: Difference) -> list[str]:
    """Find the step with the largest loss, and one with a similar loss if there is one; empty if none is significant.

    ``replayed`` are the losses as they are, ``losses`` what no later step makes good.
    """
    significant = _significant_together(losses)
    significant |= {
        name for name, loss in losses.items() if loss.is_significant and _share(loss) > _MOST * _share(total)
    }
    candidates = sorted(
        (name for name in significant if _share(losses[name]) >= _LEAST_LOSS), key=lambda name: -_share(losses[name])
    )
    regained = -_share(losses[REAL]) if REAL in significant else 0.0
    if regained > _COMPARABLE * max(map(_share, replayed.values())):
        return [REAL]
    largest = [name for name in candidates if _share(losses[name]) >= _COMPARABLE * _share(losses[candidates[0]])]
    return largest[:2]


def _significant_together(losses: dict[str, Difference]) -> set[str]:
    """Find losses and gains that are significant under multiple testing, by Holm's step-down rule (1979)."""
    p_values = sorted((_p_value(loss), name) for name, loss in losses.items())
    significant: set[str] = set()
    for number, (p_value, name) in enumerate(p_values):
        if p_value * (len(p_values) - number) > _LEVEL:
            break
        significant.add(name)
    return significant


def _p_value(loss: Difference) -> float:
    """Compute the two-sided p-value, from the difference and the end of its 95 % interval that is nearer to zero."""
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
    """Tell whether the loss is large enough to report, and significant."""
    return _share(difference) >= _LEAST_LOSS and difference.is_significant
