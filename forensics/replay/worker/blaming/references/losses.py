"""Softmax and the losses built on it."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np


def _log_softmax(logits: Any) -> Any:
    # a row of nothing but -inf has no distribution: NaN, as the formula says
    top = np.max(logits, axis=-1, keepdims=True)
    shifted = logits - top
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def _softmax(logits: Any) -> Any:
    return np.exp(_log_softmax(logits))


def _cross_entropy(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    """Loss and its gradient with respect to the logits."""
    logits, labels = np.broadcast_arrays(*inputs[:2])
    logs = _log_softmax(logits)
    # a class that is impossible and not asked for costs nothing
    terms = np.where((labels == 0) & np.isneginf(logs), 0.0, labels * logs)
    return -np.sum(terms, axis=-1), np.exp(logs) - labels


def _sparse_cross_entropy(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    """Loss and gradient; a label out of range has neither."""
    logits, labels = inputs[:2]
    logs, classes = _log_softmax(logits), logits.shape[-1]
    known = (labels >= 0) & (labels < classes)
    picked = np.take_along_axis(logs, np.where(known, labels, 0)[..., None], axis=-1)[..., 0]
    hot = np.eye(classes)[np.where(known, labels, 0)]
    gradient = np.where(known[..., None], np.exp(logs) - hot, np.nan)
    return np.where(known, -picked, np.nan), gradient


TABLE: Dict[str, Any] = {
    "Softmax": lambda inputs, attrs: _softmax(inputs[0]),
    "LogSoftmax": lambda inputs, attrs: _log_softmax(inputs[0]),
    "SoftmaxCrossEntropyWithLogits": _cross_entropy,
    "SparseSoftmaxCrossEntropyWithLogits": _sparse_cross_entropy,
}
