"""Which rows fail: the search alone, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.replay.worker.guilty_rows.minimise import COARSEST, Exhausted, Minimiser, cut

ROWS = 64


def planted(*groups: set[int]) -> Callable[[list[int]], bool]:
    """Fails when all rows of one of the groups are there."""
    return lambda rows: any(group <= set(rows) for group in groups)


def counted(fails: Callable[[list[int]], bool], runs: list[int]) -> Callable[[list[int]], bool]:
    def count(rows: list[int]) -> bool:
        runs.append(len(rows))
        return fails(rows)

    return count


@st.composite
def separate_groups(draw: st.DrawFn) -> list[set[int]]:
    """Disjoint groups of fewer rows than the search gives up at."""
    order = draw(st.permutations(range(ROWS)))
    groups, used = [], 0
    for size in draw(st.lists(st.integers(1, COARSEST - 1), min_size=1, max_size=4)):
        groups.append(set(order[used : used + size]))
        used += size
    return groups


@given(separate_groups())
def test_every_planted_group_is_found_and_nothing_else(groups: list[set[int]]) -> None:
    minimiser = Minimiser(planted(*groups))
    minimiser.run(range(ROWS))
    assert sorted(map(sorted, groups)) == sorted(g.rows for g in minimiser.found)
    assert all(g.at_least == len(g.rows) for g in minimiser.found)


@given(st.permutations(range(ROWS)))
def test_three_culprits_of_64_take_about_33_runs(order: list[int]) -> None:
    runs: list[int] = []
    minimiser = Minimiser(counted(planted(*({row} for row in order[:3])), runs))
    minimiser.run(range(ROWS))
    assert sorted(g.rows[0] for g in minimiser.found) == sorted(order[:3])
    # whole batch and rest, then two halves at each of six levels for at most three branches
    assert len(runs) <= 2 + 2 * (1 + 2 + 3 * 4)


def test_a_failure_of_more_rows_than_anyone_reads_is_given_up_early() -> None:
    runs: list[int] = []
    minimiser = Minimiser(counted(lambda rows: len(rows) >= 40, runs))
    minimiser.run(range(ROWS))
    (group,) = minimiser.found
    assert 40 <= len(group.rows) < 50
    assert COARSEST <= group.at_least < len(group.rows)
    assert len(runs) < 40


def test_all_rows_are_needed() -> None:
    minimiser = Minimiser(lambda rows: len(rows) == 4)
    minimiser.run(range(4))
    assert [g.rows for g in minimiser.found] == [[0, 1, 2, 3]]
    assert minimiser.found[0].at_least == 4


def test_what_was_found_stands_when_the_runs_end() -> None:
    runs: list[int] = []

    def fails(rows: list[int]) -> bool:
        if len(runs) > 20:
            raise Exhausted
        return counted(planted({3}, {60}), runs)(rows)

    minimiser = Minimiser(fails)
    with pytest.raises(Exhausted):
        minimiser.run(range(ROWS))
    assert [g.rows for g in minimiser.found] == [[3]]


@given(st.integers(1, 70), st.integers(1, 70))
def test_pieces_hold_every_row_once(rows: int, pieces: int) -> None:
    chunks = cut(range(rows), pieces)
    assert [row for chunk in chunks for row in chunk] == list(range(rows))
    assert all(chunks) and len(chunks) == min(rows, pieces)
