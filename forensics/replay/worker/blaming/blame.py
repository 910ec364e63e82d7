"""Whose bug a non-finite value is: the program's, TensorFlow's, the machine's, or not known."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..case.entry import brief
from ..stepping.randomness import unreplayable
from .comparison import EDGE, Comparison, tiny_of
from .engines import DOUBLE, Answers, ask
from .failing_op import FailingOp, NoOperands
from .references import NoReference, widened
from .references.intermediates import CANCELLING, largest_intermediate
from .wording import described, held, kinds, versions

USER, DEFECT, HARDWARE, UNDECIDED = (
    "user", "framework_defect", "hardware_suspected", "undecided",
)  # fmt: skip
_REFUSALS = ("InvalidArgumentError", "OutOfRangeError", "ValueError", "TypeError", "IndexError")


def blame(op: FailingOp, deadline: float) -> Dict[str, Any]:
    """Decide whose bug it is.

    Parameters
    ----------
    op : FailingOp
        The origin with its operands.
    deadline : float
        `time.monotonic()` at which no further engine is asked.

    Returns
    -------
    dict
        ``verdict``, ``reason``, ``references``: the report's ``whose_bug``.
    """
    if op.error is not None:
        return _of_refusal(op)
    if unreplayable([op.call.op_type]):
        return _of_chance(op)
    answers = ask(op, deadline)
    output = _answer_of(op)
    try:
        compared = Comparison(op, op.values, output)
    except NoReference as error:
        verdict, why = _without_reference(op, answers, str(error))
    else:
        answers.references.insert(0, _numpy_said(compared))
        verdict, why = _decide(op, compared, answers)
    op.why = why
    reason = "%s %s. %s" % (described(op, output), held(output), why)
    return {"verdict": verdict, "reason": reason, "references": answers.references}


def _answer_of(op: FailingOp) -> Any:
    if op.outputs and not op.call.in_place and op.slot < len(op.outputs):
        return op.outputs[op.slot]
    return op.call.run(op.values, op.mode)[op.slot]


def same_side(op: FailingOp, values: List[Any]) -> Optional[str]:
    """Tell, by the reference alone, what the op's failure on some operands is: None when unknown.

    ``legitimate`` (no finite answer fits) or ``computed`` (one does).
    """
    try:
        output = op.call.run(values, op.mode)[op.slot]
        compared = Comparison(op, values, output)
    except Exception:
        return None
    return "computed" if compared.fits.any() else "legitimate"


def _decide(op: FailingOp, compared: Comparison, answers: Answers) -> Tuple[str, str]:
    name = op.call.op_type
    if not compared.fits.any():
        return _legitimate(op, compared, answers)
    example = "the exact result is finite (%.6g at %s, within %.3g, the largest %s)" % (
        compared.example(compared.fits), list(compared.place(compared.fits)), compared.limit,
        compared.dtype,
    )  # fmt: skip
    between = largest_intermediate(name, op.values, op.call.attrs)
    if between > EDGE * compared.limit:
        # the order of a sum may differ from run to run: disagreement proves nothing here
        return UNDECIDED, _overflow_between(name, example, between, compared.limit)
    if answers.unsteady:
        return HARDWARE, (
            "%s, and %d of %d runs of the op on the same operands answered otherwise: memory or "
            "processor are suspected" % (example, answers.unsteady, answers.repetitions)
        )
    flushed = _flushed(op)
    if flushed is not None:
        return flushed
    if op.operands_bad():
        return UNDECIDED, "%s, but operands are non-finite themselves (masks)" % example
    return DEFECT, (
        "all operands are finite and %s: %s should not answer %s here%s"
        % (
            example,
            name,
            kinds(arrays.badness(compared.answered[compared.fits])),
            _who_is_right(answers),
        )
    )


def _legitimate(op: FailingOp, compared: Comparison, answers: Answers) -> Tuple[str, str]:
    if compared.undefined.any():
        said = "No finite answer exists for these operands: the float64 reference is %.6g too" % (
            compared.example(compared.undefined)
        )
    elif compared.beyond.any():
        said = "The exact result (%.6g) is beyond %.6g, the largest %s" % (
            compared.example(compared.beyond), compared.limit, compared.dtype
        )  # fmt: skip
    else:
        return UNDECIDED, "the exact result (%.6g) lies at the very edge of %s" % (
            compared.example(compared.edge), compared.dtype
        )  # fmt: skip
    elements = int((compared.undefined | compared.beyond).sum())
    other = [e for e in _finite(answers) if e != DOUBLE or not compared.beyond.any()]
    if other:
        ends = "engines follow different conventions here, finite with: " + ", ".join(other)
    else:
        ends = "the op does what it documents"
    return USER, "%s (%d of %d elements); %s" % (said, elements, compared.count, ends)


def _flushed(op: FailingOp) -> Optional[Tuple[str, str]]:
    """Try the reference with subnormal operands set to zero, as TensorFlow's threads do."""
    values = []
    for value in op.values:
        if arrays.is_float(value) and value.dtype.kind != "c":
            wide = widened(value)
            value = np.where(np.abs(wide) < tiny_of(value.dtype), 0, value).astype(value.dtype)
        values.append(value)
    if all(np.array_equal(a, b, equal_nan=False) for a, b in zip(values, op.values)):
        return None
    compared = Comparison(op, values, _answer_of(op))
    if compared.fits.any():
        return None
    return USER, (
        "An operand is smaller than the smallest normal number of its dtype; TensorFlow may take "
        "it for zero, and with zero no finite answer exists"
    )


def _overflow_between(name: str, example: str, between: float, limit: float) -> str:
    if name in CANCELLING:
        return (
            "%s, but what %s answers for a matrix that is nearly singular rests on differences of "
            "nearly equal numbers: a lower precision may find none. A known limit of the "
            "arithmetic rather than a defect" % (example, name)
        )
    if np.isinf(between):
        return "%s, but nothing bounds what %s computes on the way" % (example, name)
    return (
        "%s, but partial results of %s can reach %.3g (limit %.3g). In which precision it "
        "accumulates is not documented: a known limit of the arithmetic rather than a defect"
        % (example, name, between, limit)
    )


def _finite(answers: Answers) -> List[str]:
    return [engine for engine, bits in answers.bits.items() if bits == 0]


def _who_is_right(answers: Answers) -> str:
    right = _finite(answers)
    return "; finite with: " + ", ".join(right) if right else ""


def _without_reference(op: FailingOp, answers: Answers, why: str) -> Tuple[str, str]:
    if answers.unsteady:
        return HARDWARE, "%s; %d of %d runs on the same operands answered otherwise" % (
            why, answers.unsteady, answers.repetitions
        )  # fmt: skip
    right = _finite(answers)
    if right:
        return UNDECIDED, "%s; finite with: %s" % (why, ", ".join(right))
    return UNDECIDED, "%s; every engine that answered says the same" % why


def without_op(why: NoOperands) -> Dict[str, Any]:
    """Decide where there is no op to ask: values that the program gave, or nothing known."""
    reason = "%s%s; there is no op to ask or to reproduce" % (versions(), why)
    return {"verdict": USER if why.users else UNDECIDED, "reason": reason, "references": []}


def _of_refusal(op: FailingOp) -> Dict[str, Any]:
    assert op.error is not None
    kind = type(op.error).__name__
    said = "%s raised %s" % (op.call.op_type, brief(op.error)[:300])
    if kind in _REFUSALS:
        op.why = "the op refuses these operands, as it documents"
        reason = "%s: %s" % (said, op.why)
        return {"verdict": USER, "reason": versions() + reason, "references": []}
    return {"verdict": UNDECIDED, "reason": versions() + said, "references": []}


def _of_chance(op: FailingOp) -> Dict[str, Any]:
    """Decide about an op whose runs differ by design: asking it again tells nothing."""
    op.why = (
        "%s counts its draws or its calls out of reach: no run of it repeats another, and no "
        "engine can be held against it" % op.call.op_type
    )
    output = _answer_of(op)
    said = "%s %s. %s" % (described(op, output), held(output), op.why)
    return {"verdict": UNDECIDED, "reason": said, "references": []}


def _numpy_said(compared: Comparison) -> Dict[str, Any]:
    counts = [
        (int(compared.undefined.sum()), "non-finite"),
        (int(compared.beyond.sum()), "finite, beyond the dtype"),
        (int(compared.edge.sum()), "at the edge of the dtype"),
        (int(compared.fits.sum()), "finite and within the dtype"),
    ]
    detail = ", ".join("%d %s" % pair for pair in counts if pair[0])
    return {
        "engine": "NumPy float64",
        "finite": not compared.undefined.any(),
        "detail": "of the %d non-finite elements: %s" % (compared.count, detail),
    }
