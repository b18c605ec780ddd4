"""How long several starts of a training are tried before the best one continues."""

_SHARE = 0.15  # of the steps


def trial_length(steps: int) -> int:
    """Return for how many steps each of several starts is tried, where the best one takes ``steps`` in all."""
    return max(1, round(_SHARE * steps))


def steps_within(total: int, starts: int) -> int:
    """Return how many steps the best one may take so that all of them take ``total`` steps at most; 0 if none."""
    steps = total
    while steps > 0 and steps + (starts - 1) * trial_length(steps) > total:
        steps -= 1
    return steps
