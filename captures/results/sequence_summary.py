"""Summarise sequences over clips, which are the units because the frames of one clip are alike."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from calibration.common.success import MEASURES
from captures.results.aggregation import MapCell, Tally
from captures.results.sequences import ClipSequence
from physpatch.stats.intervals import Median, Rate, clip_rate, median_over

DISTANCE_EDGES_M = (0.25, 0.32, 0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0, 10.0)


@dataclass(frozen=True)
class SequenceSummary:
    """The sequences of one model, sheet and measure, summarised over clips, or over scenes where clips share them.

    Attributes:
        model, condition, measure: as in :class:`ClipSequence`.
        clips, succeeded: number of clips, and of those with a success.
        share: of the frames with success.
        first_m, last_m, farthest_m: medians over the clips in which the distance is known.
        longest_run, longest_miss: medians over all clips.
    """

    model: str
    condition: str
    measure: str
    clips: int
    succeeded: int
    share: Rate
    first_m: Median
    last_m: Median
    farthest_m: Median
    longest_run: Median
    longest_miss: Median


def summaries_of(sequences: Iterable[ClipSequence], tally: Tally) -> list[SequenceSummary]:
    """Summarise sequences over clips, for each model, measure and sheet, in the order of ``tally``."""
    groups: dict[tuple[str, str, str], list[ClipSequence]] = defaultdict(list)
    for sequence in sequences:
        groups[sequence.model, sequence.measure, sequence.condition].append(sequence)
    return [
        _summary(groups[model, measure, condition], tally)
        for model in tally.models
        for measure in MEASURES
        for condition in tally.conditions(model)
        if (model, measure, condition) in groups
    ]


def _summary(sequences: Sequence[ClipSequence], tally: Tally) -> SequenceSummary:
    first = sequences[0]

    def middle(value: Callable[[ClipSequence], float | None]) -> Median:
        return median_over([median(of_unit) for of_unit in _by_unit(sequences, tally, value).values()])

    return SequenceSummary(
        first.model,
        first.condition,
        first.measure,
        clips=len(sequences),
        succeeded=sum(bool(sequence.share) for sequence in sequences),
        share=_rate(_by_unit(sequences, tally, lambda s: s.share)),
        first_m=middle(lambda s: s.first_m),
        last_m=middle(lambda s: s.last_m),
        farthest_m=middle(lambda s: s.farthest_m),
        longest_run=middle(lambda s: s.longest_run),
        longest_miss=middle(lambda s: s.longest_miss),
    )


def success_by_distance(sequences: Iterable[ClipSequence], tally: Tally) -> dict[int, MapCell]:
    """Compute the share of frames with success by distance, of sequences with one model, sheet and measure.

    The rate of a bin is the mean over clips, or over scenes where clips share them, of the share of its frames. Bin i extends
    from edge i - 1 of ``DISTANCE_EDGES_M``, or 0, to edge i. All frames with a known distance count, whether or not the model
    is right without the patch.
    """
    shares: dict[int, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    frames: Counter[int] = Counter()
    for sequence in sequences:
        hits: dict[int, list[bool]] = defaultdict(list)
        for moment in sequence.moments:
            if moment.success is not None and moment.distance_m is not None:
                hits[sum(moment.distance_m >= edge for edge in DISTANCE_EDGES_M)].append(moment.success)
        for place, judged in hits.items():
            shares[place][tally.scene(sequence.clip)].append(sum(judged) / len(judged))
            frames[place] += len(judged)
    return {place: MapCell(_rate(shares[place]), frames[place]) for place in sorted(shares)}


def distance_middle_m(place: int) -> float:
    """Return the geometric middle of a bin of :func:`success_by_distance`; of a bin without an end, its edge."""
    inner = DISTANCE_EDGES_M[max(0, place - 1) : place + 1]
    return math.sqrt(inner[0] * inner[-1])


def _by_unit(
    sequences: Iterable[ClipSequence], tally: Tally, value: Callable[[ClipSequence], float | None]
) -> dict[Hashable, list[float]]:
    """Collect the known values of the clips of each unit."""
    values: dict[Hashable, list[float]] = defaultdict(list)
    for sequence in sequences:
        if (clip_value := value(sequence)) is not None:
            values[tally.scene(sequence.clip)].append(clip_value)
    return values


def _rate(shares: dict[Hashable, list[float]]) -> Rate:
    means = [math.fsum(of_unit) / len(of_unit) for of_unit in shares.values()]
    return clip_rate(means) if len(means) != 1 else Rate(means[0], None, 1)
