"""The failing op, asked again of every engine that is at hand."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Dict, List, Optional

import numpy as np

from .. import arrays
from ..case.entry import brief
from .failing_op import FailingOp
from .opcall import EAGER, GRAPH, JIT, bits_of, differing
from .wording import held

REPETITIONS = 5
"""Times the op is run again on the same operands: a sound machine gives one answer."""
DOUBLE = "TensorFlow's float64 kernel"
_MAX_COMPILED = 4_000_000
"""Elements beyond which XLA is not asked: it would compile for the sake of one answer."""


class Answers:
    """What the engines say.

    `references` has the fields of the report; `unsteady` tells how many repetitions differed from
    the first answer, `bits` what each engine's answer was (None: it gave none).
    """

    def __init__(self) -> None:
        self.references: List[Dict[str, Any]] = []
        self.bits: Dict[str, Optional[int]] = {}
        self.unsteady = 0
        self.repetitions = 0

    def add(self, engine: str, bits: Optional[int], detail: str) -> None:
        """Note an engine's answer."""
        self.bits[engine] = bits
        finite = None if bits is None else bits == 0
        self.references.append({"engine": engine, "finite": finite, "detail": detail[:500]})


def ask(op: FailingOp, deadline: float) -> Answers:
    """Run the op again: repeatedly as it was, in a graph, under XLA, in float64, elsewhere.

    Parameters
    ----------
    op : FailingOp
        An op that answered (not one that raised), and would again: no code of the program, no draw
        of random numbers that nothing restores.
    deadline : float
        `time.monotonic()` at which no further engine is asked.
    """
    answers = Answers()
    _repeat(op, answers)
    size = sum(int(np.size(v)) for v in op.values)
    modes = [EAGER, GRAPH] if size > _MAX_COMPILED else [EAGER, GRAPH, JIT]
    for mode in modes:
        if mode != op.mode and time.monotonic() < deadline:
            _engine(op, answers, _NAMES[mode], mode=mode)
    if time.monotonic() < deadline:
        _double(op, answers)
    for device in _other_devices(op):
        if time.monotonic() < deadline:
            _engine(op, answers, "eager on " + device, device=device)
    return answers


_NAMES = {EAGER: "eager", GRAPH: "graph (tf.function)", JIT: "XLA (jit_compile=True)"}


def _repeat(op: FailingOp, answers: Answers) -> None:
    # what the step itself answered counts too: a fault need not come back
    seen = [op.outputs] if op.outputs and op.mode == EAGER and not op.call.in_place else []
    bits = None
    try:
        for _ in range(REPETITIONS):
            seen.append(op.call.run(op.values, op.mode))
            bits = bits_of(seen[-1], op.slot)
    except Exception as error:
        answers.add(_NAMES[op.mode], None, "no answer: " + brief(error))
        return
    answers.repetitions = len(seen)
    answers.unsteady = sum(differing(seen[0], other) for other in seen[1:])
    said = "%s; %d of %d runs gave the same" % (
        held(seen[-1][op.slot]), len(seen) - answers.unsteady, len(seen)
    )  # fmt: skip
    answers.add(_NAMES[op.mode], bits, said)


def _engine(
    op: FailingOp, answers: Answers, name: str, mode: str = EAGER, device: str = ""
) -> None:
    try:
        outputs = op.call.run(op.values, mode, device)
    except Exception as error:
        answers.add(name, None, "no answer: " + brief(error))
        return
    answers.add(name, bits_of(outputs, op.slot), held(outputs[op.slot]))


def _double(op: FailingOp, answers: Answers) -> None:
    """Ask TensorFlow's own kernel for double precision, where it has one."""
    wide = {"float16": np.float64, "float32": np.float64, "bfloat16": np.float64}
    kinds = {v.dtype.name for v in op.values if arrays.is_float(v)}
    if not kinds or not kinds <= set(wide) or op.call.op_type == "Cast":
        return
    values = [v.astype(np.float64) if arrays.is_float(v) else v for v in op.values]
    with contextlib.suppress(Exception):
        outputs = op.call.run(values, EAGER)
        bits = bits_of(outputs, op.slot)
        answers.add(DOUBLE, bits, held(outputs[op.slot]))


def _other_devices(op: FailingOp) -> List[str]:
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return []
    return ["CPU:0", "GPU:0"]
