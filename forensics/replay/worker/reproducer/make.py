"""Make a reproducer: smallest operands, plain values, script, proof."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np

from .. import arrays
from ..blaming.blame import same_side
from ..blaming.failing_op import FailingOp
from ..blaming.opcall import bits_of
from .header import Story
from .lines import DATA, names_of
from .proof import prove
from .script import MAX_LINES, Twin, array_file, batch_script, script
from .shrink import Shrinker
from .values import Operand, parts_in_file, simplified

if TYPE_CHECKING:
    from ..stepping.failure import Failure

SCRIPT = "reproducer.py"
MAX_DATA_BYTES = 64 << 20
SHRINK_SECONDS = 6.0
"""Time for making the operands smaller; what is not reached stays larger."""


class NoReproducer(Exception):
    """No script fails the same way; the message says why."""


class Place:
    """Where and when a reproducer is made.

    Parameters
    ----------
    request : dict
        ``artefacts`` (folder that takes script and data; absent: a temporary one) and
        ``with_data`` (take the real operands, whole).
    step, device : int, str
        Training step of the failure, and what it was replayed on.
    whose : dict
        The report's ``whose_bug``: operands are simplified only as far as it stays true, and where
        the program is not to blame, it takes what oneDNN's other setting answers.
    deadline : float
        `time.monotonic()` at which all must be done.
    """

    def __init__(
        self, request: Dict[str, Any], step: int, device: str, whose: Dict[str, Any],
        deadline: float,
    ) -> None:  # fmt: skip
        self.device = device
        self.folder = Path(request.get("artefacts") or tempfile.mkdtemp(prefix="reproducer-"))
        self.with_data = bool(request.get("with_data"))
        self.step, self.whose, self.deadline = step, whose, deadline

    def seconds(self, most: float) -> float:
        """Return the end of a part that takes no longer than `most` seconds."""
        return min(self.deadline, time.monotonic() + most)


def of_batch(failure: Failure, place: Place) -> Optional[str]:
    """Show the bad values of a batch, where they may be shown; there is no op to run.

    Raises
    ------
    NoReproducer
        With the reason.
    """
    localiser = failure.found.localiser if failure.found is not None else None
    if localiser is None or not localiser.bad_parts or not place.with_data:
        return None
    bad = {n: a for n, a in arrays.leaves(failure.batch) if n in localiser.bad_parts}
    data, text = batch_script(bad, place.step)
    return _proven(data, text, place)


def of_op(op: FailingOp, place: Place) -> str:
    """Write a script that fails with an op, and run it; return its text.

    Raises
    ------
    NoReproducer
        With the reason.
    """
    if not op.fails(op.values):
        raise NoReproducer("%s on the same operands does not fail again" % op.call.op_type)
    if place.with_data:
        operands, made = _real(op), "as in the run"
    else:
        operands, made = _synthetic(op, place.seconds(SHRINK_SECONDS))
    shown = _shown(op, operands)
    # without the ranges of the real operands: the script is to be shown to others
    verdict = place.whose["verdict"] + (": " + op.why if op.why else "")
    story = Story(place.step, place.device, made, verdict)
    text = script(shown, operands, story, _twin(op, place))
    if len(text.splitlines()) >= MAX_LINES:
        text = script(shown, operands, story)
    text = _proven(array_file(operands, names_of(op)), text, place)
    if place.whose["verdict"] != "user":
        place.whose["references"].append(_other_onednn(place))
    return text


def _other_onednn(place: Place) -> Dict[str, Any]:
    """Run the script with oneDNN's kernels switched the other way, which is read at import."""
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
    proof = prove(
        place.folder / SCRIPT, place.deadline - time.monotonic(),
        {"TF_ENABLE_ONEDNN_OPTS": "0" if off else "1"},
    )  # fmt: skip
    finite = False if proof.fails else True if proof.works else None
    said = "the reproducer fails as well" if proof.fails else "the reproducer: " + proof.why
    return {"engine": "oneDNN " + ("off" if off else "on"), "finite": finite, "detail": said}


def _proven(data: Dict[str, Any], text: str, place: Place) -> str:
    """Write script and data, and run the script in a process of its own."""
    if sum(a.nbytes for a in data.values()) > MAX_DATA_BYTES:
        raise NoReproducer("its operands are too large to be kept (more than 64 MB)")
    path = place.folder / SCRIPT
    path.write_text(text, encoding="utf-8")
    if data:
        np.savez_compressed(str(place.folder / DATA), **data)
    proof = prove(path, place.deadline - time.monotonic())
    if not proof.fails:
        raise NoReproducer("the script did not fail when it was run (%s)" % proof.why)
    return text


def _real(op: FailingOp) -> List[Operand]:
    return [Operand(v, None, True) for v in op.values]


def _synthetic(op: FailingOp, deadline: float) -> Any:
    side = same_side(op, op.values) if op.error is None else None

    # an op that refuses the shapes themselves keeps them
    sound = op.call.accepts(op.values)

    def holds(candidate: List[Any]) -> bool:
        if sound and not op.call.accepts(candidate):
            return False
        if not op.fails(candidate):
            return False
        return side is None or same_side(op, candidate) in (side, None)

    shrinker = Shrinker(holds, op.values, op.call.pointing(), deadline)
    values, operands = list(op.values), _real(op)
    for _ in range(2):
        place, shape = _bad_place(op, values)
        values = shrinker.shrink(values, place, shape) if sound else values
        operands = simplified(values, shrinker.holds)
        values = [o.array for o in operands]
    return operands, _how_made(op, operands)


def _bad_place(op: FailingOp, values: List[Any]) -> Any:
    """Place of a bad element in the output, and the output's shape."""
    if op.error is not None:
        return (), ()
    output = op.call.run(values, op.mode)[op.slot]
    flat = int(np.argmax(arrays.bad_mask(output).ravel()))
    return tuple(int(i) for i in np.unravel_index(flat, output.shape)), output.shape


def _how_made(op: FailingOp, operands: List[Operand]) -> str:
    before = ", ".join(str(list(v.shape)) for v in op.values)
    after = ", ".join(str(list(o.array.shape)) for o in operands)
    shrunk = "shrunk from %s to %s" % (before, after) if before != after else "of their own size"
    real = [n for n, o in zip(names_of(op), operands) if o.real and o.array.size]
    if real:
        return "%s; %s: numbers of the run, which rounded ones did not replace" % (
            shrunk, ", ".join(real)
        )  # fmt: skip
    return "%s; synthetic: values replaced by plain ones that fail the same way" % shrunk


def _shown(op: FailingOp, operands: List[Operand]) -> FailingOp:
    """Return the op as it fails on these operands."""
    shown = FailingOp(op.call, [o.array for o in operands], op.slot, op.bits, op.error, op.mode)
    if op.error is None:
        shown.outputs = op.call.run(shown.values, op.mode)
        shown.bits = bits_of(shown.outputs, op.slot)
    return shown


# -- the forward op of a backward one
def _twin(op: FailingOp, place: Place) -> Optional[Twin]:
    if op.twin is None or place.with_data or op.twin.call.variables:
        return None
    call = op.twin.call

    def holds(candidate: List[Any]) -> bool:
        try:
            return call.accepts(candidate) and _gradient_bits(call, candidate) != 0
        except Exception:
            return False

    if not holds(op.twin.values):
        return None
    until = place.seconds(SHRINK_SECONDS / 3)
    shrinker = Shrinker(holds, op.twin.values, call.pointing(), until)
    values = shrinker.shrink(list(op.twin.values), (), ())
    operands = simplified(values, shrinker.holds)
    return None if parts_in_file(operands) else Twin(op.twin, operands)


def _gradient_bits(call: Any, values: List[Any]) -> int:
    import tensorflow as tf

    tensors = [tf.constant(v) for v in values]
    watched = [t for t in tensors if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        answer = call.tensors_out(tensors)[0]
    found = 0
    for gradient in tape.gradient(answer, watched):
        if gradient is not None:
            found |= arrays.badness(gradient.numpy())
    return found
