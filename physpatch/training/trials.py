"""How long several starts of a training are tried before the best one continues."""


def trial_length(steps: int, share: float) -> int:
    """Return for how many steps each of several starts is tried, where the best one takes ``steps`` in all."""
    return max(1, round(share * steps))


def steps_within(total: int, starts: int, share: float) -> int:
    """Return how many steps the best one may take so that all of them take ``total`` steps at most; 0 if none."""
    steps = total
    while steps > 0 and steps + (starts - 1) * trial_length(steps, share) > total:
        steps -= 1
    return steps
