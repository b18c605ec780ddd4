"""The order in which a bench times what it compares; shared by all that time several things in one run."""

from collections.abc import Iterable


def in_turn(names: Iterable[str], number: int) -> list[str]:
    """Turn the order by one in each round, because what runs after something smaller pays for the memory that it asks for."""
    listed = list(names)
    first = number % len(listed)
    return listed[first:] + listed[:first]
