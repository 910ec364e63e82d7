"""What the name scopes of a graph op say: phase and layer."""

from __future__ import annotations

import re
from typing import List

from ..tracing import frames

_CALL = re.compile(r"^(Func|(Stateful)?PartitionedCall(_\d+)?|while(_\d+)?|body|cond(_\d+)?)$")
_OPTIMIZERS = re.compile(
    r"^(adam|adamw|adamax|adagrad|adadelta|sgd|rmsprop|nadam|ftrl|lion|lamb|adafactor|muon|"
    r"loss_scale_optimizer)(_\d+)?$",
    re.IGNORECASE,
)


def scopes_of(op_name: str) -> List[str]:
    """Scopes of an op, outermost first, without those of calls and control flow."""
    return [s for s in op_name.split("/")[:-1] if not _CALL.match(s)]


def phase_of_scopes(scopes: List[str]) -> str:
    """Phase of a training step that the scopes stand for; ``forward`` when they say nothing."""
    if any(_OPTIMIZERS.match(s) for s in scopes):
        return frames.OPTIMIZER
    if any(s.startswith(("gradient_tape", "gradients")) or s.endswith("_grad") for s in scopes):
        return frames.BACKWARD
    if any(s.startswith(("compile_loss", "loss")) for s in scopes):
        return frames.LOSS
    return frames.FORWARD
