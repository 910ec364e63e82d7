"""The case of a replay, from whatever its source is."""

from __future__ import annotations

from typing import Any, Dict, List

from .batch_file import read_batch
from .entry import Case, CaseError, load_case
from .npz_file import BadArchive
from .recorded import Recording
from .saved import saved_case
from .saved_model import saved_model_case


def load_source(request: Dict[str, Any], notes: List[str]) -> Case:
    """Build the case that the request names.

    Parameters
    ----------
    request : dict
        ``source``, ``file``, ``function``, ``recording``, ``recorded`` and ``batch`` are used.
    notes : list of str
        Takes remarks for the report.

    Raises
    ------
    CaseError
        When there is no usable case; the message is for the user.
    """
    kind = request.get("source", "entry_point")
    recording = None
    if request.get("recording"):
        recording = Recording(
            request["recording"],
            request.get("recorded") or (),
            request.get("recorded_losses") or (),
        )
    if kind == "recording" and recording is not None:
        case = recording.case()
    elif kind == "keras_file":
        case = saved_case(request["file"], _named_batch(request))
    elif kind == "saved_model":
        case = saved_model_case(request["file"], _named_batch(request))
    elif kind == "entry_point":
        case = load_case(request["file"], request["function"])
        if request.get("batch"):
            batch = _named_batch(request)
            case.batch = lambda step: batch
    else:
        raise CaseError("a replay of a %s is not supported" % kind.replace("_", " "))
    if recording is not None:
        case.recording = recording
        notes.extend(recording.differences())
    return case


def _named_batch(request: Dict[str, Any]) -> Any:
    if not request.get("batch"):
        raise CaseError("a saved model has no data: add --batch FILE.npz")
    try:
        return read_batch(request["batch"])
    except BadArchive as error:
        raise CaseError("--batch %s: %s" % (request["batch"].split("/")[-1], error)) from error
