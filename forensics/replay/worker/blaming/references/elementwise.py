"""Ops that answer element by element."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from . import special


def _of_one(function: Callable[[Any], Any]) -> Any:
    return lambda inputs, attrs: function(inputs[0])


def _of_two(function: Callable[[Any, Any], Any]) -> Any:
    return lambda inputs, attrs: function(inputs[0], inputs[1])


def softplus(x: Any) -> Any:
    """log(1 + e^x), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return np.exp(-softplus(-x)) if x.dtype.kind == "f" else 1 / (1 + np.exp(-x))


def _where_zero(x: Any, value: Any) -> Any:
    """Return `value`, and 0 where x is 0: the convention of xlogy, xdivy and xlog1py."""
    return np.where(x == 0, 0.0, value)


def _selu(x: Any) -> Any:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _power(x: Any, y: Any) -> Any:
    return np.power(x, y.astype(np.float64) if x.dtype.kind == "f" else y)


def _no_nan(x: Any, y: Any, value: Any) -> Any:
    return np.where(y == 0, 0.0, value)


def _clip(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.minimum(np.maximum(inputs[0], inputs[1]), inputs[2])


def _cast(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.asarray(inputs[0]).astype(np.float64)


def _select(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    where, one, two = inputs
    if where.ndim == 1 and one.ndim > 1:
        where = where.reshape(where.shape + (1,) * (one.ndim - 1))
    return np.where(where, one, two)


def _add_n(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return sum(inputs[1:], inputs[0])


def _bias_add(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, bias = inputs
    if str(attrs.get("data_format", "NHWC")).startswith("NC") and value.ndim > 2:
        bias = bias.reshape((-1,) + (1,) * (value.ndim - 2))
    return value + bias


def _leaky(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.where(inputs[0] > 0, inputs[0], inputs[0] * float(attrs.get("alpha", 0.2)))


def _complex(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return inputs[0] + 1j * inputs[1]


TABLE: Dict[str, Any] = {
    "Abs": _of_one(np.abs), "ComplexAbs": _of_one(np.abs), "Neg": _of_one(np.negative),
    "Sign": _of_one(np.sign), "Square": _of_one(np.square), "Sqrt": _of_one(np.sqrt),
    "Rsqrt": _of_one(lambda x: 1 / np.sqrt(x)), "Reciprocal": _of_one(lambda x: 1 / x),
    "Inv": _of_one(lambda x: 1 / x), "Exp": _of_one(np.exp), "Expm1": _of_one(np.expm1),
    "Log": _of_one(np.log), "Log1p": _of_one(np.log1p), "Sin": _of_one(np.sin),
    "Cos": _of_one(np.cos), "Tan": _of_one(np.tan), "Asin": _of_one(np.arcsin),
    "Acos": _of_one(np.arccos), "Atan": _of_one(np.arctan), "Sinh": _of_one(np.sinh),
    "Cosh": _of_one(np.cosh), "Tanh": _of_one(np.tanh), "Asinh": _of_one(np.arcsinh),
    "Acosh": _of_one(np.arccosh), "Atanh": _of_one(np.arctanh), "Sigmoid": _of_one(sigmoid),
    "Softplus": _of_one(softplus), "Softsign": _of_one(lambda x: x / (1 + np.abs(x))),
    "Relu": _of_one(lambda x: np.maximum(x, 0)), "Relu6": _of_one(lambda x: np.clip(x, 0, 6)),
    "Elu": _of_one(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "Selu": _of_one(_selu), "LeakyRelu": _leaky,
    "Erf": _of_one(special.erf), "Erfc": _of_one(special.erfc), "Erfinv": _of_one(special.erfinv),
    "Ndtri": _of_one(special.ndtri), "Lgamma": _of_one(special.lgamma),
    "Digamma": _of_one(special.digamma),
    "Add": _of_two(np.add), "AddV2": _of_two(np.add), "Sub": _of_two(np.subtract),
    "Mul": _of_two(np.multiply), "RealDiv": _of_two(np.divide), "Div": _of_two(np.divide),
    "Maximum": _of_two(np.maximum), "Minimum": _of_two(np.minimum), "Pow": _of_two(_power),
    "FloorDiv": _of_two(np.floor_divide), "FloorMod": _of_two(np.mod), "Mod": _of_two(np.fmod),
    "Atan2": _of_two(np.arctan2), "SquaredDifference": _of_two(lambda x, y: np.square(x - y)),
    "DivNoNan": _of_two(lambda x, y: _no_nan(x, y, x / y)),
    "MulNoNan": _of_two(lambda x, y: _no_nan(x, y, x * y)),
    "Xlogy": _of_two(lambda x, y: _where_zero(x, x * np.log(y))),
    "Xlog1py": _of_two(lambda x, y: _where_zero(x, x * np.log1p(y))),
    "Xdivy": _of_two(lambda x, y: _where_zero(x, x / y)),
    "AddN": _add_n, "AccumulateNV2": _add_n, "BiasAdd": _bias_add, "BiasAddV1": _bias_add,
    "ClipByValue": _clip, "Cast": _cast, "Select": _select, "SelectV2": _select,
    "Complex": _complex,
}  # fmt: skip
