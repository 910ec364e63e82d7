"""Ops that change a variable in place: the formulas of their documentation, the variable first."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np


def _gradient_descent(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, alpha, delta = inputs
    return var - alpha * delta


def _momentum(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, accum, rate, grad, momentum = inputs
    accum = accum * momentum + grad
    step = grad + momentum * accum if attrs.get("use_nesterov") else accum
    return var - rate * step, accum


def _keras_momentum(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, accum, rate, grad, momentum = inputs
    accum = accum * momentum - rate * grad
    step = accum * momentum - rate * grad if attrs.get("use_nesterov") else accum
    return var + step, accum


def _adagrad(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, accum, rate, *rest = inputs
    epsilon, grad = (0.0, rest[0]) if len(rest) == 1 else (rest[0], rest[1])
    if attrs.get("update_slots", True):
        accum = accum + np.square(grad)
    return var - rate * grad / (np.sqrt(accum) + epsilon), accum


def _rms_prop(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, ms, mom, rate, rho, momentum, epsilon, grad = inputs
    ms = rho * ms + (1 - rho) * np.square(grad)
    mom = momentum * mom + rate * grad / np.sqrt(ms + epsilon)
    return var - mom, ms, mom


def _adam(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    var, m, v, beta1_power, beta2_power, rate, beta1, beta2, epsilon, grad = inputs
    rate = rate * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    m = m + (grad - m) * (1 - beta1)
    v = v + (np.square(grad) - v) * (1 - beta2)
    step = m * beta1 + (1 - beta1) * grad if attrs.get("use_nesterov") else m
    return var - rate * step / (np.sqrt(v) + epsilon), m, v


def _scatter(sign: int) -> Any:
    def formula(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
        var, indices, updates = inputs
        changed = var.copy()
        rows = np.broadcast_to(updates, (*indices.shape, *var.shape[1:]))
        np.add.at(changed, indices, sign * rows)
        return changed

    return formula


TABLE: Dict[str, Any] = {
    "AssignAddVariableOp": lambda inputs, attrs: inputs[0] + inputs[1],
    "AssignSubVariableOp": lambda inputs, attrs: inputs[0] - inputs[1],
    "ResourceScatterAdd": _scatter(1), "ResourceScatterSub": _scatter(-1),
    "ResourceApplyGradientDescent": _gradient_descent,
    "ResourceApplyMomentum": _momentum, "ResourceApplyKerasMomentum": _keras_momentum,
    "ResourceApplyAdagrad": _adagrad, "ResourceApplyAdagradV2": _adagrad,
    "ResourceApplyRMSProp": _rms_prop, "ResourceApplyAdam": _adam,
}  # fmt: skip
