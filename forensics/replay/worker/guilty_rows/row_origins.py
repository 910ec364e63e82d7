"""Independent culprits of one step may fail at different ops: which rows at which."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from ..localising.localise import Localiser
from .row_search import RowSearch

if TYPE_CHECKING:
    from ..stepping.failure import Failure

TRACED = 4
"""Groups of rows that are traced by themselves."""
TRACE_COST = 150.0
"""Steps in the run's own mode that a localisation takes the time of, roughly: two or three traces
of about sixty steps each."""


def origins_of_groups(search: RowSearch, failure: Failure, groups: List[List[int]]) -> List[str]:
    """Say at which op each group of rows fails, where they do not all fail at the same.

    Parameters
    ----------
    search : RowSearch
        The finished search for the rows.
    failure : Failure
        The failing step, localised.
    groups : list of list of int
        Rows that fail independently of one another.
    """
    if len(groups) < 2 or search.filler is None or failure.found is None:
        return []
    asked = groups[:TRACED]
    if time.monotonic() + TRACE_COST * len(asked) * search.seconds_per_run > search.deadline:
        return []
    named: Dict[str, List[List[int]]] = {}
    for group in asked:
        batch = search.parts.mixed(group, search.filler)
        localiser = Localiser(search.stepper, failure.before, batch, failure.healthy)
        where = _place(localiser.run(failure.outcome).origin)
        if where is None:
            return []
        named.setdefault(where, []).append(group)
    if len(named) < 2:
        return []
    return [
        "%s: %s" % (where, ", ".join(_rows(group) for group in found))
        for where, found in named.items()
    ]


def _place(origin: Optional[Dict[str, Any]]) -> Optional[str]:
    if origin is None:
        return None
    if origin.get("input"):
        return "bad values of %s" % origin["input"]["name"]
    layer = " in %s" % origin["layer"] if origin.get("layer") else ""
    return "first bad at %s%s" % (origin["op_type"], layer)


def _rows(group: List[int]) -> str:
    return ("row %s" if len(group) == 1 else "rows %s") % " and ".join(map(str, group))
