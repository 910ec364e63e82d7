"""An op that raised, as the report's origin: named from its error, its line from the traceback."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from ..case.entry import Case, brief
from ..keras_family import keras_api
from ..tracing import frames
from ..tracing.layers import layer_of_scope

_RAISED_OP = re.compile(r"\[Op:(\w+)\]")
_RAISED_NODE = re.compile(
    r"\{\{(?:function_)?node (?:__wrapped__)?([\w/.]+?)(?:_device_[^}]*)?\}\}"
)
_ASSERTIONS = "/ops/check_ops.py"


def raised_origin(case: Case, *errors: Optional[BaseException]) -> Optional[Dict[str, Any]]:
    """Fields of the report's origin for an op that raised; None when no error names an op.

    Parameters
    ----------
    errors : exception or None
        Of the same failure, as several modes of running raised it: the first that names an op
        names it, the first that passed through the user's program gives line and layer.
    """
    there = [e for e in errors if e is not None]
    path = next((p for p in map(_named_op, there) if p), None)
    if path is None:
        return None
    seen = [_where_raised(e) for e in there]
    line = next((line for line, _, _ in seen if line is not None), None)
    layer = next((name for _, _, name in seen if name), None)
    phase = max((p for _, p, _ in seen), key=lambda p: frames.RANK[p])
    return {
        "op_type": re.sub(r"_\d+$", "", path[-1]), "op_name": "/".join(path),
        "output_slot": None, "dtype": None, "shape": None,
        "layer": layer or layer_of_scope(case, path[:-1]), "phase": phase, "input": None,
        "raised": brief(there[0])[:500], "source": line, "forward_op_type": None,
        "inputs": [], "outputs": [],
    }  # fmt: skip


def _named_op(error: BaseException) -> Optional[List[str]]:
    """Scopes and type of the op that an error names."""
    text = str(error)
    op, node = _RAISED_OP.search(text), _RAISED_NODE.search(text)
    path = node.group(1).split("/") if node else [op.group(1)] if op else [""]
    if path[-1] and not path[-1].startswith("__inference"):
        return path
    # an assertion is no op in eager mode, and fails in Python while a graph is built
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename.replace("\\", "/").endswith(_ASSERTIONS):
            return ["Assert"]
        step = step.tb_next
    return None


def _where_raised(
    error: BaseException,
) -> Tuple[Optional[Dict[str, Any]], str, Optional[str]]:
    """User's line, phase and layers from the traceback of an error."""
    layer_types = keras_api.layer_types()
    line, phase, rank = None, frames.FORWARD, 0
    layers: List[str] = []
    step = error.__traceback__
    while step is not None:
        code, owner = step.tb_frame.f_code, step.tb_frame.f_locals.get("self")
        found = frames.phase_of(code)
        if frames.RANK[found] > rank:
            phase, rank = found, frames.RANK[found]
        if frames.is_user_file(code.co_filename):
            line = frames.described_line(code, step.tb_lineno)
        if code.co_name == "__call__" and isinstance(owner, layer_types):
            layers.append(str(getattr(owner, "name", "")))
        step = step.tb_next
    # both the wrapper that cleans tracebacks and the method itself are called `__call__`
    names = [n for i, n in enumerate(layers) if i == 0 or layers[i - 1] != n]
    return line, phase, "/".join(names) or None
