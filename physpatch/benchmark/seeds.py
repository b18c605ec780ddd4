"""Statistics over the training seeds of a bench: the spread of rows, and which one leads by more than chance."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from statistics import fmean, stdev

from physpatch.benchmark.bench_row import BenchRow
from physpatch.stats.intervals import mean_interval
from physpatch.stats.rates import points

_COMPARED = ("technique", "model", "also", "grid", "area", "target_asked", "defence", "start")
LEAST_SEEDS = 5  # trainings of each that are needed to say that one leads


def grouped(rows: Sequence[BenchRow]) -> list[list[BenchRow]]:
    """Group the rows that differ only in their training seed, in order."""
    groups: dict[tuple[str, ...], list[BenchRow]] = {}
    for row in rows:
        key = tuple(str(getattr(row, name)) for name in _COMPARED)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def numbers_of(group: Sequence[BenchRow], number: Callable[[BenchRow], float | None]) -> list[float]:
    """Collect one number from each seed's row, leaving out rows without it."""
    return [value for value in map(number, group) if value is not None]


def spread_words(shares: Sequence[float]) -> str:
    """Format the mean, standard deviation and range of shares in [0, 1], such as ``40.1 % ± 6.2 (33.0 to 48.1)``."""
    if not shares:
        return "—"
    mean = f"{100 * fmean(shares):.1f} %"
    if len(shares) == 1:
        return mean
    return f"{mean} ± {100 * stdev(shares):.1f} ({100 * min(shares):.1f} to {100 * max(shares):.1f})"


def leading(groups: Sequence[Sequence[BenchRow]]) -> list[str]:
    """Say which of two groups of rows that differ in one setting leads, or that it is undecided.

    The difference in targeted success (without a target, untargeted success) is paired by training seed, as photographs,
    poses and starts are the same; seeds in which the groups aim at different classes do not count. One leads where Student's
    t interval over five seeds or more excludes zero.
    """
    return [sentence for pair in combinations(groups, 2) for sentence in _compared(*pair)]


def _compared(first: Sequence[BenchRow], second: Sequence[BenchRow]) -> Iterator[str]:
    differing = [name for name in _COMPARED if getattr(first[0], name) != getattr(second[0], name)]
    if len(differing) != 1 or differing[0] not in ("technique", "grid"):
        return  # other networks, areas or targets are different tasks
    (setting,) = differing
    names = [str(getattr(group[0], setting)) for group in (first, second)]
    of_first, of_second = map(_success_by_seed, (first, second))
    common = sorted(of_first.keys() & of_second.keys())
    alike = [seed for seed in common if of_first[seed][0] == of_second[seed][0]]
    differences = [of_first[seed][1] - of_second[seed][1] for seed in alike]
    estimate = mean_interval(differences)
    if len(differences) < LEAST_SEEDS or estimate is None:
        seeds = f"{len(differences)} training seed{'s' * (len(differences) != 1)}"
        remark = f" (in {len(common) - len(alike)} more, they aim at different classes)" * (len(alike) < len(common))
        yield f"{names[0]} and {names[1]}: undecided by {seeds}{remark}; {LEAST_SEEDS} are needed."
        return
    mean, (low, high) = estimate
    words = f"{points(mean)} points [{points(low)}, {points(high)}] over {len(differences)} seeds"
    if low <= 0 <= high:
        yield f"{names[0]} and {names[1]} do not differ significantly: {words}."
    else:
        leader, follower = names if mean > 0 else names[::-1]
        yield f"{leader} leads {follower}: {words} of {names[0]} minus {names[1]}."


def _success_by_seed(group: Sequence[BenchRow]) -> dict[int, tuple[int | None, float]]:
    """Return each row's target class and its success on its own network by training seed, where it was measured."""
    return {
        row.seed: (None if row.target is None else row.target.index, row.success.rate)
        for row in group
        if row.success.rate is not None
    }
