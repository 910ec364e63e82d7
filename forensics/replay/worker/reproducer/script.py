"""Text of the reproducer: TensorFlow and NumPy, fewer than 60 lines, nothing of the user's code."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .. import arrays
from ..failing_op import FailingOp, gist
from ..opcall import EAGER, JIT, outputs_of
from .values import Operand, literal, parts_in_file

MAX_LINES = 60
FAILS, WORKS = "it fails as described", "it does not fail"
"""Last words of the script, with exit status 1 and 0."""
DATA = "reproducer.npz"
_WIDTH = 96


class Twin:
    """The forward op of a backward one, with operands on which its gradient is bad."""

    def __init__(self, op: FailingOp, operands: Sequence[Operand]) -> None:
        self.op, self.operands = op, operands


class Story:
    """What the head of a script tells.

    Parameters
    ----------
    step, device : int, str
        Training step the failure was met in, and what it was replayed on.
    made : str
        How the operands were made.
    verdict : str
        Whose bug it is.
    """

    def __init__(self, step: int, device: str, made: str, verdict: str) -> None:
        self.step, self.device, self.made, self.verdict = step, device, made, verdict


def script(
    op: FailingOp, operands: List[Operand], story: Story, twin: Optional[Twin] = None
) -> str:
    """Write the script.

    Parameters
    ----------
    op : FailingOp
        What fails, with `bits` as on these operands.
    operands : list of Operand
        What it fails on.
    story : Story
        Where it comes from.
    twin : Twin, optional
        Adds the same failure as automatic differentiation meets it.
    """
    lines = [*_header(op, story), "", "import sys", ""]
    lines += ["import numpy as np", "import tensorflow as tf", ""]
    if any(_has_special(o) for o in [*operands, *(twin.operands if twin else ())]):
        lines.append('nan, inf = float("nan"), float("inf")')
    if parts_in_file(operands):
        lines += _reading()
    names = _names(op)
    for place, operand in enumerate(operands):
        lines += _operand(names[place], operand, place in op.call.variables)
    lines += _raising(op, names) if op.error is not None else _answering(op, names)
    if twin is not None and len(lines) + 8 + len(twin.operands) < MAX_LINES - 6:
        lines[-2:-2] = _differentiated(twin)
    return "\n".join(lines) + "\n"


def array_file(operands: List[Operand], names: List[str]) -> Dict[str, Any]:
    """Arrays for the npz file, in dtypes that NumPy knows without help."""
    return {names[i]: arrays.widen(operands[i].array) for i in parts_in_file(operands)}


def batch_script(bad: Dict[str, Any], step: int) -> Tuple[Dict[str, Any], str]:
    """Return the arrays and the text of a script that shows the bad values of a batch.

    Parameters
    ----------
    bad : dict
        Parts of the batch by name.
    step : int
        Training step.
    """
    data = {re.sub(r"\W", "_", n): arrays.widen(a) for n, a in bad.items()}
    rows = [
        ("Found", "at training step %d of a run, by tf-forensics" % step),
        ("Operands", "the parts of the batch that hold non-finite values, as in the run"),
        ("Status", "1: %s, 0: %s" % (FAILS, WORKS)),
    ]
    lines = [
        *_titled("The batch of a training step holds non-finite values; no op made them.", rows),
        "", "import sys", "", "import numpy as np", "",
        *_reading(),
        "fails = False",
        "for name, part in data.items():",
        "    rows = np.unique(np.nonzero(~np.isfinite(part))[0])",
        '    print(name, part.dtype, part.shape, "non-finite in rows", rows[:20])',
        "    fails = fails or rows.size > 0",
        'print("%s" if fails else "%s")' % (FAILS, WORKS),
        "sys.exit(1 if fails else 0)",
    ]  # fmt: skip
    return data, "\n".join(lines) + "\n"


def names_of(op: FailingOp) -> List[str]:
    """Names of the operands in script and file."""
    return _names(op)


def _reading() -> List[str]:
    return [
        "from pathlib import Path", "",
        'with np.load(Path(__file__).with_name("%s")) as file:' % DATA,
        "    data = dict(file)",
    ]  # fmt: skip


def _header(op: FailingOp, story: Story) -> List[str]:
    import tensorflow as tf

    title = "%s %s, alone." % (op.call.op_type, _does(op))
    rows = [
        ("Found", "at training step %d of a run, by tf-forensics" % story.step),
        ("Operands", story.made),
        ("Seen with", "TensorFlow %s, NumPy %s, Python %s, %s, %s" % (
            tf.__version__, np.__version__, sys.version.split()[0], sys.platform, story.device)),
        ("Whose bug", story.verdict),
        ("Status", "1: %s, 0: %s" % (FAILS, WORKS)),
    ]  # fmt: skip
    return _titled(title, rows)


def _titled(title: str, rows: List[Tuple[str, str]]) -> List[str]:
    lines = ['"""%s' % title, ""]
    for key, text in rows:
        text = text.replace("\\", "/").replace('"""', "'''")
        wrapped = textwrap.wrap(text, _WIDTH - 12) or [""]
        lines += ["%-11s %s" % (key if i == 0 else "", t) for i, t in enumerate(wrapped[:3])]
    return [*[line.rstrip() for line in lines], '"""']


def _does(op: FailingOp) -> str:
    if op.error is not None:
        return "raises %s" % type(op.error).__name__
    how = " under XLA" if op.mode == JIT else "" if op.mode == EAGER else " in a graph"
    return "makes %s%s" % (kinds(op.bits), how)


def kinds(bits: int) -> str:
    """Name the kinds of bad values."""
    return " and ".join(
        word for bit, word in ((arrays.NAN, "NaN"), (arrays.POS | arrays.NEG, "Inf")) if bits & bit
    )


def _names(op: FailingOp) -> List[str]:
    taken = {"tf", "np", "sys", "data", "call", "outputs", "value", "bad", "nan", "inf", "lambda"}
    return [n + "_" if n in taken else n for n in op.call.names()]


def _has_special(operand: Operand) -> bool:
    return operand.code is None and arrays.badness(operand.array) != 0


def _operand(name: str, operand: Operand, variable: bool) -> List[str]:
    array = operand.array
    dtype = "tf." + ("string" if array.dtype.kind in "OSU" else array.dtype.name)
    code = operand.code or ('data["%s"]' % name if array.size > 64 else _written(array))
    made = "%s = tf.%s(%s, dtype=%s)" % (name, "Variable" if variable else "constant", code, dtype)
    if operand.code is not None or (operand.code is None and array.size > 64):
        inner = "tf.cast(%s, %s)" % (code, dtype)
        made = "%s = %s" % (name, "tf.Variable(%s)" % inner if variable else inner)
    return textwrap.wrap(made, _WIDTH, subsequent_indent="    ", break_long_words=False)


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


def _call(op: FailingOp, names: List[str]) -> List[str]:
    before, after = "", ""
    if op.mode != EAGER:
        jit = ", jit_compile=True" if op.mode == JIT else ""
        before, after = "tf.function(lambda: ", ", autograph=False%s)()" % jit
    return _written_call(before, op, names, after)


def _written_call(before: str, op: FailingOp, names: List[str], after: str = "") -> List[str]:
    """Break a call between its arguments, never inside one: a text may hold spaces."""
    pieces = _arguments(op, names)
    lines = ["%stf.raw_ops.%s(" % (before, op.call.op_type)]
    indent = " " * (len(before) - len(before.lstrip()) + 4)
    for place, piece in enumerate(pieces):
        piece += ")" + after if place == len(pieces) - 1 else ","
        if len(lines[-1]) + len(piece) + 1 > _WIDTH:
            lines.append(indent + piece)
        else:
            lines[-1] += piece if lines[-1].endswith("(") else " " + piece
    return lines if pieces else [lines[0] + ")" + after]


def _answering(op: FailingOp, names: List[str]) -> List[str]:
    call = _call(op, names)
    lines = ["", "outputs = " + call[0], *call[1:]]
    if op.call.in_place:
        answer = names[sorted(op.call.variables)[op.slot]]
    else:
        answer = "outputs[%d]" % op.slot if _several(op) else "outputs"
    wide = "tf.complex128" if _is_complex(op) else "tf.float64"
    return [
        *lines,
        "value = tf.cast(%s, %s).numpy()" % (answer, wide),
        "bad = %s" % _check(op.bits),
        'print("TensorFlow", tf.__version__, "NumPy", np.__version__)',
        'print("%s:", int(bad.sum()), "of", bad.size, "are %s:", value.ravel()[:8])'
        % (op.call.op_type, kinds(op.bits)),
        'print("%s" if bad.any() else "%s")' % (FAILS, WORKS),
        "sys.exit(1 if bad.any() else 0)",
    ]


def _several(op: FailingOp) -> bool:
    outputs = outputs_of(op.call.op_type)
    return len(outputs) > 1 or any(o.number_attr or o.type_list_attr for o in outputs)


def _is_complex(op: FailingOp) -> bool:
    return bool(op.outputs) and op.outputs[op.slot].dtype.kind == "c"


def _check(bits: int) -> str:
    if bits & arrays.NAN and bits & ~arrays.NAN:
        return "~np.isfinite(value)"
    return "np.isnan(value)" if bits & arrays.NAN else "np.isinf(value)"


def _raising(op: FailingOp, names: List[str]) -> List[str]:
    assert op.error is not None
    kind = type(op.error).__name__
    known = "tf.errors." + kind if type(op.error).__module__.startswith("tensorflow") else kind
    call = _written_call("    ", op, names)
    fragment = max(gist(op.error).replace('"', "'").split("#"), key=len).strip()[:60]
    return [
        "",
        'said = ""',
        "try:",
        *call,
        "except %s as error:" % known,
        "    said = str(error)",
        'print("TensorFlow", tf.__version__, "NumPy", np.__version__)',
        'print("%s:", said or "no error")' % op.call.op_type,
        "fails = %r in said.replace('\"', \"'\")" % fragment,
        'print("%s" if fails else "%s")' % (FAILS, WORKS),
        "sys.exit(1 if fails else 0)",
    ]


def _differentiated(twin: Twin) -> List[str]:
    """Lines that show the gradient of the forward op."""
    names = ["forward_" + n for n in _names(twin.op)]
    lines = ["", "# the same as automatic differentiation meets it"]
    for name, operand in zip(names, twin.operands):
        lines += _operand(name, operand, False)
    watched = [n for n, o in zip(names, twin.operands) if arrays.is_float(o.array)]
    call = _written_call("    answer = ", twin.op, names)
    several = "[0]" if _several(twin.op) else ""
    return [
        *lines,
        "with tf.GradientTape() as tape:",
        "    tape.watch([%s])" % ", ".join(watched),
        *call,
        'print("gradient of %s:", [g.numpy().ravel()[:8] for g in tape.gradient(answer%s, [%s]) '
        "if g is not None])" % (twin.op.call.op_type, several, ", ".join(watched)),
    ]
