"""The case of a replay, from whatever its source is."""

from __future__ import annotations

from typing import Any, Dict, List

from .entry import Case, CaseError, load_case
from .saved_model import saved_model_case


def load_source(request: Dict[str, Any], notes: List[str]) -> Case:
    """Build the case that the request names.

    Parameters
    ----------
    request : dict
        ``source``, ``file``, ``function``, ``recording`` and ``batch`` of it are used.
    notes : list of str
        Takes remarks for the report.

    Raises
    ------
    CaseError
        When there is no usable case; the message is for the user.
    """
    kind = request.get("source", "entry_point")
    if kind == "entry_point":
        return load_case(request["file"], request["function"])
    if kind == "saved_model":
        if request.get("batch") is None:
            raise CaseError("a SavedModel has no data: add --batch FILE.npz")
        return saved_model_case(request["file"], request["batch"])
    raise CaseError("a replay of a %s is not supported" % kind.replace("_", " "))
