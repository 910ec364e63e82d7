"""Text of the reproducer: TensorFlow and NumPy, fewer than 60 lines, nothing of the user's code."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .. import arrays
from ..blaming.failing_op import FailingOp, gist
from .header import FAILS, WORKS, Story, header, kinds, titled
from .lines import (
    DATA,
    call_lines,
    has_special,
    names_of,
    operand_lines,
    several,
    written_call,
)  # fmt: skip
from .values import Operand, parts_in_file

MAX_LINES = 60


class Twin:
    """The forward op of a backward one, with operands on which its gradient is bad."""

    def __init__(self, op: FailingOp, operands: Sequence[Operand]) -> None:
        self.op, self.operands = op, operands


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
    lines = [*header(op, story), "", "import sys", ""]
    lines += ["import numpy as np", "import tensorflow as tf", ""]
    if any(has_special(o) for o in [*operands, *(twin.operands if twin else ())]):
        lines.append('nan, inf = float("nan"), float("inf")')
    if parts_in_file(operands):
        lines += _reading()
    names = names_of(op)
    for place, operand in enumerate(operands):
        lines += operand_lines(names[place], operand, place in op.call.variables)
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
        *titled("The batch of a training step holds non-finite values; no op made them.", rows),
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


def _reading() -> List[str]:
    return [
        "from pathlib import Path", "",
        'with np.load(Path(__file__).with_name("%s")) as file:' % DATA,
        "    data = dict(file)",
    ]  # fmt: skip


def _answering(op: FailingOp, names: List[str]) -> List[str]:
    call = call_lines(op, names)
    lines = ["", "outputs = " + call[0], *call[1:]]
    if op.call.in_place:
        answer = names[sorted(op.call.variables)[op.slot]]
    else:
        answer = "outputs[%d]" % op.slot if several(op) else "outputs"
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
    call = written_call("    ", op, names)
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
    names = ["forward_" + n for n in names_of(twin.op)]
    lines = ["", "# the same as automatic differentiation meets it"]
    for name, operand in zip(names, twin.operands):
        lines += operand_lines(name, operand, False)
    watched = [n for n, o in zip(names, twin.operands) if arrays.is_float(o.array)]
    call = written_call("    answer = ", twin.op, names)
    first = "[0]" if several(twin.op) else ""
    return [
        *lines,
        "with tf.GradientTape() as tape:",
        "    tape.watch([%s])" % ", ".join(watched),
        *call,
        'print("gradient of %s:", [g.numpy().ravel()[:8] for g in tape.gradient(answer%s, [%s]) '
        "if g is not None])" % (twin.op.call.op_type, first, ", ".join(watched)),
    ]
