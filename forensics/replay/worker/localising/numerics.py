"""What `tf.debugging.enable_check_numerics` says about the same step: the answer users know."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ..case.entry import brief
from ..stepping.failure import Failure
from ..stepping.modes import JIT, without_jit
from ..stepping.stepper import Outcome, Stepper
from .fallback_origin import origin_of_graph_op

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FOUND = re.compile(
    r"!!! Detected Infinity or NaN in output (\d+) of (graph|eagerly-executing) op "
    r"\"(?:b')?([^\"']+)'?\" \(# of outputs: (\d+)\) !!!"
)
_NODE = re.compile(r"\{\{node (.+?)/CheckNumerics")
_BOUNDARY = re.compile(r"^(__|(Stateful)?PartitionedCall)")


class Beside:
    """The answer of the numerics check, beside ours.

    Parameters
    ----------
    stepper : Stepper
        Runs the step.
    failure : Failure
        The step, the state before it, its batch.
    mode : str
        How the run executes its step.
    answer : dict
        What is known so far: the ``origin`` and the ``benign`` ops.

    Attributes
    ----------
    found : dict or None
        Fields of the report's check_numerics; None: it named no op.
    notes : list of str
        Why it says something else than we do, or nothing.
    """

    def __init__(
        self, stepper: Stepper, failure: Failure, mode: str, answer: Dict[str, Any]
    ) -> None:
        self._case, self._answer = stepper.case, answer
        self.notes: List[str] = []
        outcome = checked(stepper, failure)
        self.found = parse(str(outcome.error)) if outcome.error is not None else None
        if self.found is None:
            self._silent(outcome, failure, mode)
        else:
            self._compare(self.found)

    def stand_in(self) -> Optional[Dict[str, Any]]:
        """Fields of the report's origin where no other instrument spoke."""
        if self.found is None or _BOUNDARY.match(self.found["op_type"]):
            return None
        if any(b["op_type"] == self.found["op_type"] for b in self._answer.get("benign") or ()):
            # it stops at the first bad value of the program, which the trace found to do no harm
            self.notes.append(
                "enable_check_numerics stops at `%s`, whose bad values do no harm: the first "
                "harmful op is not known" % self.found["op_type"]
            )
            return None
        self.notes.append("the op is named by enable_check_numerics, in graph mode")
        return origin_of_graph_op(self._case, self.found["op_type"], self.found["op_name"])

    def _silent(self, outcome: Outcome, failure: Failure, mode: str) -> None:
        said = "enable_check_numerics names no op"
        origin = self._answer.get("origin") or {}
        if outcome.error is not None and failure.outcome.error is None:
            said += ": the step raised " + brief(outcome.error)
        elif mode == JIT:
            said += ": it cannot be used with XLA, and without XLA it sees nothing"
        elif "complex" in str(origin.get("dtype")):
            said += ": it does not look at complex numbers"
        elif (origin.get("op_type") or "").startswith(("Assign", "Resource")):
            said += ": the value is made by the assignment itself, and it looks at results only"
        elif "FusedBatchNorm" in (origin.get("op_type") or ""):
            said += ": of a fused batch normalisation it looks at the first result only"
        elif self._answer.get("instrument") == "inlined_graph":
            said += ": a function that was restored or traced before carries no checks"
        elif origin.get("raised") is not None:
            return
        self.notes.append(said)

    def _compare(self, found: Dict[str, str]) -> None:
        origin = self._answer.get("origin")
        if origin is None or found["op_type"] == origin["op_type"]:
            return
        ours = origin["op_type"] or "the input " + str((origin.get("input") or {}).get("name"))
        said = "enable_check_numerics names %s, not %s: " % (found["op_type"], ours)
        self.notes.append(said + self._why(found["op_type"], origin))

    def _why(self, op_type: str, origin: Dict[str, Any]) -> str:
        benign = {b["op_type"] for b in self._answer.get("benign") or ()}
        if _BOUNDARY.match(op_type):
            return (
                "a function that was restored or traced before carries no checks, so it notices "
                "the result of the whole call"
            )
        if op_type in benign:
            return "it stops at the first bad value in program order, which does no harm here"
        if origin.get("input") is not None:
            return "it looks at results of ops, not at the batch"
        if op_type in ("ReadVariableOp", "ResourceGather"):
            return "it notices a bad variable when it is read, not when it is written"
        if origin["phase"] == "state":
            return "it looks at results of ops, not at variables"
        if op_type in ("Placeholder", "IteratorGetNext"):
            return "it notices a bad value where it enters a function"
        if self._answer.get("instrument") == "compiled_ops":
            return "XLA was off for it, and the step is another one then"
        later = [re.sub(r"_\d+$", "", n.split("/")[-1]) for n in self._answer.get("chain", ())[1:]]
        if op_type in later:
            return (
                "that is a consequence; it sees no ops of other threads, of functions traced "
                "before or of vectorised loops"
            )
        return "it stops at the first bad op in program order, and the graph orders ops its own way"


def checked(stepper: Stepper, failure: Failure) -> Outcome:
    """Run the failing step under the numerics check, in graph mode where the run is compiled.

    Functions traced before the check was switched on carry none, and those traced under it keep it:
    every trace is dropped before and after.
    """
    import tensorflow as tf

    try:
        tf.debugging.enable_check_numerics(stack_height_limit=10**6, path_length_limit=None)
        with without_jit(stepper):
            stepper.state.load(failure.before)
            return stepper.own(failure.batch)
    finally:
        tf.debugging.disable_check_numerics()
        stepper.retrace()
        stepper.state.load(failure.before)


def parse(message: str) -> Optional[Dict[str, str]]:
    """Op and message of an error of the numerics check; None when it is another error."""
    text = _ANSI.sub("", message)
    found = _FOUND.search(text)
    if found is None:
        return None
    node = _NODE.search(text)
    return {
        "op_type": found.group(3),
        "op_name": node.group(1) if node else found.group(3),
        "message": found.group(0),
    }
