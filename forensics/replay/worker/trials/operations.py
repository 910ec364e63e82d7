"""The safe form of the culprit op as a remedy; where the failure then moves, of the next op too."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .change import Change, Unfit
from .rewriting import Form, Place, Rewriting
from .safe_forms import INFINITE_OPERANDS, safe_form

Origin = Dict[str, Any]
_ALIKE = {"Reciprocal": ("Reciprocal", "Inv"), "RealDiv": ("RealDiv", "Div")}


class SafeForm(Change):
    """Other operands for the culprit op.

    Parameters
    ----------
    origin : dict
        The origin as the report has it.
    strength : int
        Which of the forms of the op: 0 is the mildest.
    """

    def __init__(self, origin: Origin, strength: int = 0) -> None:
        self.strength, self.places = strength, 0
        self.rewriting = Rewriting()
        self.words: List[str] = []
        self._places: List[Place] = []
        self.remedy, self.family = self._add(origin)
        if strength >= self._forms:
            raise Unfit("the op has no stronger form")

    def extend(self, origin: Optional[Origin]) -> bool:
        """Add the op to which the failure moved; False when it has no safe form, or has it."""
        if origin is None or self.places >= MAX_PLACES:
            return False
        try:
            self._add(origin)
        except Unfit:
            return False
        return True

    def widen(self) -> bool:
        """Look for the op anywhere in the forward pass, because it was not found at its place."""
        if all(place.wide for place in self._places):
            return False
        for place in self._places:
            place.wide = True
        return True

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Exchange the operands."""
        with self.rewriting.active() as used:
            yield used

    def _add(self, origin: Origin) -> Tuple[str, str]:
        op, form = _form_for(origin)
        slug, family, forms = form
        self._forms = len(forms)
        words, chosen = forms[min(self.strength, len(forms) - 1)]
        line = origin.get("source")
        where = " at line %d of %s" % (line["line"], line["file"]) if line else ""
        layer = (origin.get("layer") or "").split("/")[-1] or None
        if not where and layer is not None:
            where = " in layer %s" % layer
        said = words % op + where
        if said in self.words:
            raise Unfit("the op has its safe form already")
        self._put(op, line, layer, chosen)
        self.words.append(said)
        self.what = "; ".join(self.words)
        self.places += 1
        if slug in ("safe_log", "safe_division") and origin.get("phase") == "backward":
            # the forward value was fine or masked: what is made safe is a branch not taken
            slug = "double_where"
        return slug, family

    def _put(
        self, op: str, line: Optional[Dict[str, Any]], layer: Optional[str], form: Form
    ) -> None:
        place = Place(
            _ALIKE.get(op, (op,)), line["file"] if line else None, line["line"] if line else None,
            layer,
        )  # fmt: skip
        self._places.append(place)
        self.rewriting.add(place, form)


MAX_PLACES = 3
"""Ops that are changed together: two independent origins need two."""


def _form_for(origin: Origin) -> Tuple[str, Tuple[str, str, List[Tuple[str, Form]]]]:
    """Op and form: of the forward op, where a gradient left its domain."""
    own, forward = origin.get("op_type"), origin.get("forward_op_type")
    infinite = any(s.get("pos_inf") or s.get("neg_inf") for s in origin.get("inputs") or ())
    for op in (forward, own):
        if op is None:
            continue
        if infinite and op in INFINITE_OPERANDS:
            return op, INFINITE_OPERANDS[op]
        form = safe_form(op)
        if form is not None and _leaves_its_domain(op, origin):
            return op, form
    raise Unfit("the op has no safe form of its own")


def _leaves_its_domain(op: str, origin: Origin) -> bool:
    """Whether a reduction is one of nothing; the other ops in the table have bad operands."""
    if op not in ("Mean", "Max", "Min"):
        return True
    return any(s.get("count") == 0 for s in origin.get("inputs") or ())


def overflows(origin: Optional[Origin]) -> bool:
    """Whether finite operands grew past the range of their dtype."""
    if origin is None or not origin.get("inputs"):
        return False
    with np.errstate(all="ignore"):
        top = max(
            (abs(s[k]) for s in origin["inputs"] for k in ("min", "max") if np.isfinite(s[k])),
            default=0.0,
        )
    return bool(top > (100.0 if origin.get("dtype") in ("float16", "half") else 1e9))
