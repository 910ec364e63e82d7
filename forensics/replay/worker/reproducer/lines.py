"""Lines of a reproducer: operands as constants or variables, calls of `tf.raw_ops`."""

from __future__ import annotations

import textwrap
from typing import Any, List

from .. import arrays
from ..blaming.failing_op import FailingOp
from ..blaming.opcall import EAGER, JIT, outputs_of
from .header import WIDTH
from .values import FEW, Operand, literal

DATA = "reproducer.npz"
_TAKEN = {"tf", "np", "sys", "data", "outputs", "value", "bad", "said", "fails", "nan", "inf",
          "lambda"}  # fmt: skip


def names_of(op: FailingOp) -> List[str]:
    """Names of the operands in script and file."""
    return [n + "_" if n in _TAKEN else n for n in op.call.names()]


def has_special(operand: Operand) -> bool:
    """Whether it is written with `nan` or `inf`."""
    return operand.code is None and arrays.badness(operand.array) != 0


def operand_lines(name: str, operand: Operand, variable: bool) -> List[str]:
    """Make an operand."""
    array = operand.array
    dtype = "tf." + ("string" if array.dtype.kind in "OSU" else array.dtype.name)
    code = operand.code or ('data["%s"]' % name if array.size > FEW else _written(array))
    made = "%s = tf.%s(%s, dtype=%s)" % (name, "Variable" if variable else "constant", code, dtype)
    if operand.code is not None or (operand.code is None and array.size > FEW):
        inner = "tf.cast(%s, %s)" % (code, dtype)
        made = "%s = %s" % (name, "tf.Variable(%s)" % inner if variable else inner)
    # never within a number such as 1e-05
    return textwrap.wrap(
        made, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _written(array: Any) -> str:
    if array.size == 0:
        return "np.zeros(%r)" % (tuple(map(int, array.shape)),)
    return literal(array)


def _arguments(op: FailingOp, names: List[str]) -> List[str]:
    handles = [n + ".handle" if i in op.call.variables else n for i, n in enumerate(names)]
    words = []
    for name, part in op.call.keywords(handles).items():
        words.append("%s=%s" % (name, "[%s]" % ", ".join(part) if isinstance(part, list) else part))
    return words + ["%s=%s" % (k, _attribute(v)) for k, v in op.call.attrs.items()]


def _attribute(value: Any) -> str:
    if hasattr(value, "as_numpy_dtype"):
        return "tf." + str(value.name)
    if isinstance(value, list):
        return "[%s]" % ", ".join(_attribute(v) for v in value)
    return repr(value)


def call_lines(op: FailingOp, names: List[str]) -> List[str]:
    """Call the op in the mode in which it fails."""
    before, after = "", ""
    if op.mode != EAGER:
        jit = ", jit_compile=True" if op.mode == JIT else ""
        before, after = "tf.function(lambda: ", ", autograph=False%s)()" % jit
    return written_call(before, op, names, after)


def written_call(before: str, op: FailingOp, names: List[str], after: str = "") -> List[str]:
    """Break a call between its arguments, never inside one: a text may hold spaces."""
    pieces = _arguments(op, names)
    lines = ["%stf.raw_ops.%s(" % (before, op.call.op_type)]
    indent = " " * (len(before) - len(before.lstrip()) + 4)
    for place, piece in enumerate(pieces):
        piece += ")" + after if place == len(pieces) - 1 else ","
        if len(lines[-1]) + len(piece) + 1 > WIDTH:
            lines.append(indent + piece)
        else:
            lines[-1] += piece if lines[-1].endswith("(") else " " + piece
    return lines if pieces else [lines[0] + ")" + after]


def several(op: FailingOp) -> bool:
    """Whether the op has more than one output."""
    outputs = outputs_of(op.call.op_type)
    return len(outputs) > 1 or any(o.number_attr or o.type_list_attr for o in outputs)
