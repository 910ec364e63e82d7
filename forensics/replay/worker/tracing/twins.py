"""The forward ops of a step, to be found again from their gradients."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from . import frames
from .records import OpRecord


class Twins:
    """The forward ops of the step, to be found again from their gradients."""

    def __init__(self) -> None:
        self.output_of: Dict[int, int] = {}
        self._user_of: Dict[Tuple[str, int], int] = {}
        self._forward: Dict[int, Tuple[Optional[str], frames.Place, str]] = {}

    def see(self, index: int, op_type: str, path: str, place: frames.Place, turn: str,
            inputs: Any) -> None:  # fmt: skip
        """Keep where an op ran that may be differentiated."""
        if place.phase in (frames.FORWARD, frames.LOSS) or place.own_gradient:
            self._forward[index] = (path or None, place, turn)
        elif place.phase == frames.BACKWARD and recording():
            # a gradient of gradients leads to the op that both are of
            twin = self._twin(5)[1]
            if twin is None:
                return
            self._forward[index] = self._forward[twin]
        else:
            return
        for tensor in inputs:
            self._user_of[(op_type, getattr(tensor, "_id", -1))] = index

    def name(self, record: OpRecord, skip: int) -> None:
        """Map a backward op to the forward op it differentiates: layer and line are the twin's."""
        record.forward_op, index = self._twin(skip + 1)
        if index is not None:
            path, place, turn = self._forward[index]
            record.forward_index, record.iteration = index, turn or None
            record.layer = None if place.phase == frames.LOSS else path
            record.source = place.source or record.source

    def _twin(self, skip: int) -> Tuple[Optional[str], Optional[int]]:
        found = frames.forward_operands(skip)
        if found is None:
            return None, None
        op_type, inputs, outputs = found
        # the tape lets go of what a gradient does not need: either side may be gone
        made = [self.output_of.get(getattr(t, "_id", -1)) for t in outputs]
        used = [self._user_of.get((op_type, getattr(t, "_id", -1))) for t in inputs]
        known = (i for i in made + used if i is not None and i in self._forward)
        return op_type, next(known, None)


def recording() -> bool:
    """Whether a gradient tape is open; True where this TensorFlow does not tell."""
    try:
        from tensorflow.python import pywrap_tfe

        return not pywrap_tfe.TFE_Py_TapeSetIsEmpty()
    except (ImportError, AttributeError):
        return True
