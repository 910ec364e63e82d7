"""What `tf.debugging.enable_check_numerics` says about the same step: the answer users know."""

from __future__ import annotations

import re
from typing import Any, Dict, Optional

from .entry import Case
from .layers import layer_of_scope
from .state import Snapshot
from .stepper import Stepper

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FOUND = re.compile(
    r"!!! Detected Infinity or NaN in output (\d+) of (graph|eagerly-executing) op "
    r"\"(?:b')?([^\"']+)'?\" \(# of outputs: (\d+)\) !!!"
)
_NODE = re.compile(r"\{\{node (.+?)/CheckNumerics")


def check_numerics(stepper: Stepper, before: Snapshot, batch: Any) -> Optional[Dict[str, str]]:
    """Run the step under the numerics check, in the run's own graph mode (jit cannot be checked).

    Functions traced before the check was switched on carry none, and those traced under it keep it:
    every trace is dropped before and after.
    """
    import tensorflow as tf

    model = stepper.case.model
    jit = getattr(model, "jit_compile", None) if stepper.case.step is None else None
    stepper.state.load(before)
    tf.debugging.enable_check_numerics(stack_height_limit=10**6, path_length_limit=None)
    try:
        if jit:
            model.jit_compile = False
        stepper.retrace()
        outcome = stepper.own(batch)
    finally:
        tf.debugging.disable_check_numerics()
        if jit:
            model.jit_compile = jit
        stepper.retrace()
        stepper.state.load(before)
    return parse(str(outcome.error)) if outcome.error is not None else None


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


def origin_from(case: Case, found: Dict[str, str]) -> Dict[str, Any]:
    """Fields of the report's origin when only this instrument spoke."""
    scopes = found["op_name"].split("/")
    phase = "forward"
    if "gradient_tape" in scopes:
        phase = "backward"
    elif any(s.startswith(("compile_loss", "loss")) for s in scopes[:-1]):
        phase = "loss"
    elif any(re.match(r"(adam|sgd|rmsprop|adagrad|nadam|ftrl|lion)", s, re.I) for s in scopes[:-1]):
        phase = "optimizer"
    return {
        "op_type": found["op_type"], "op_name": found["op_name"], "output_slot": None,
        "dtype": None, "shape": None, "layer": layer_of_scope(case, scopes[:-1]), "phase": phase,
        "input": None, "raised": None, "source": None, "forward_op_type": None,
        "inputs": [], "outputs": [],
    }  # fmt: skip
