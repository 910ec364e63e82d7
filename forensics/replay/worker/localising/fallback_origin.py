"""What an instrument other than the own trace found, in the fields of the report."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ..case.entry import Case
from ..tracing import frames
from ..tracing.layers import layer_of_scope
from ..tracing.records import Operands
from . import scopes


class Named:
    """An origin that an instrument named.

    Attributes
    ----------
    origin : dict
        Fields of the report's origin.
    others, benign : list of dict
        Other origins; bad values that nothing takes.
    chain : list of str
        Ops from the origin to what it harms.
    rows : list of int
        Rows of the origin's output that are bad.
    notes : list of str
        Remarks for the report.
    operands : Operands or None
        What the op was given, to run it again; None where the instrument does not tell.
    """

    def __init__(self, origin: Dict[str, Any]) -> None:
        self.origin = origin
        self.others: List[Dict[str, Any]] = []
        self.benign: List[Dict[str, Any]] = []
        self.chain: List[str] = []
        self.rows: List[int] = []
        self.notes: List[str] = []
        self.operands: Optional[Operands] = None


def origin_of_graph_op(
    case: Case, op_type: str, op_name: str, phase: Optional[str] = None,
    source: Optional[Dict[str, Any]] = None, slot: Optional[int] = None,
) -> Dict[str, Any]:  # fmt: skip
    """Fields of the report's origin for an op that is known by its name in a graph."""
    around = scopes.scopes_of(op_name)
    phase = phase or scopes.phase_of_scopes(around)
    layer = layer_of_scope(case, around) or _saved_layer(case, around)
    if phase == frames.LOSS:
        layer = None
    return {
        "op_type": op_type, "op_name": op_name, "output_slot": slot, "dtype": None, "shape": None,
        "layer": layer, "phase": phase, "input": None, "raised": None, "source": source,
        "forward_op_type": _forward_type(around) if phase == frames.BACKWARD else None,
        "inputs": [], "outputs": [],
    }  # fmt: skip


def _forward_type(around: List[str]) -> Optional[str]:
    """Type of the forward op that a scope of the symbolic gradient names: ``Log_1_grad``."""
    names = [s[: -len("_grad")] for s in around if s.endswith("_grad")]
    plain = re.sub(r"_\d+$", "", names[-1]) if names else ""
    return plain if plain[:1].isupper() else None


def _saved_layer(case: Case, around: List[str]) -> Optional[str]:
    """Layer of a model without its program: scopes that variables are named after."""
    found = []
    for scope in around:
        name = next(
            (n for n in (scope, re.sub(r"_\d+$", "", scope)) if n in case.layer_names), None
        )
        if name is not None:
            found.append(name)
    return "/".join(found) or None


def operands_of(operation: Any, inputs: List[Any], outputs: List[Any]) -> Operands:
    """Operands of an op of a graph, with its attributes as eager ops have them."""
    attrs = {}
    for attribute in operation.op_def.attr:
        value = operation.get_attr(attribute.name)
        attrs[attribute.name] = getattr(value, "as_datatype_enum", value)
    return Operands(operation.type, attrs, inputs, outputs, [None] * len(inputs))
