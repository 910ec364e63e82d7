"""Rounds in which everybody reads the same files in turn; the medians are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

Turn = Callable[[], float]


def alternate(turns: Mapping[str, Turn], rounds: int) -> dict[str, float]:
    """Print and return the median seconds of each contestant; each round begins with another one.

    The best is printed too: where it is far from the median, the machine was busy.

    Parameters
    ----------
    turns : mapping
        By name, a function that reads once and returns its seconds.
    rounds : int
    """
    names = list(turns)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(turns[name]())
    for name, found in seconds.items():
        print(f"  {name:28s} {median(found):9.3f} CPU s (best {min(found):.3f})")
    return {name: median(found) for name, found in seconds.items()}
