"""Backward ops: ``y`` is what the forward op answered, ``dy`` the gradient from above."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from .elementwise import sigmoid


def _of_two(function: Callable[[Any, Any], Any]) -> Any:
    return lambda inputs, attrs: function(inputs[0], inputs[1])


def _leaky(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.where(inputs[1] > 0, inputs[0], inputs[0] * float(attrs.get("alpha", 0.2)))


TABLE: Dict[str, Any] = {
    "SqrtGrad": _of_two(lambda y, dy: dy * 0.5 / y),
    "RsqrtGrad": _of_two(lambda y, dy: dy * -0.5 * y**3),
    "ReciprocalGrad": _of_two(lambda y, dy: -dy * y * y),
    "InvGrad": _of_two(lambda y, dy: -dy * y * y),
    "TanhGrad": _of_two(lambda y, dy: dy * (1 - y * y)),
    "SigmoidGrad": _of_two(lambda y, dy: dy * y * (1 - y)),
    "SoftplusGrad": _of_two(lambda dy, x: dy * sigmoid(x)),
    "SoftsignGrad": _of_two(lambda dy, x: dy / np.square(1 + np.abs(x))),
    "ReluGrad": _of_two(lambda dy, x: np.where(x > 0, dy, 0.0)),
    "Relu6Grad": _of_two(lambda dy, x: np.where((x > 0) & (x < 6), dy, 0.0)),
    "EluGrad": _of_two(lambda dy, y: np.where(y < 0, dy * (y + 1), dy)),
    "SeluGrad": _of_two(
        lambda dy, y: np.where(y < 0, dy * (y + 1.7580993408473766), dy * 1.0507009873554805)
    ),
    "LeakyReluGrad": _leaky,
}
