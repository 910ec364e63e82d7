"""Ops that put many elements together: sums, means, norms, segments, running sums."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np


def _reduce(function: Callable[..., Any]) -> Any:
    def formula(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
        value, axis = inputs
        axes = tuple(int(a) for a in np.asarray(axis).ravel())
        return function(value, axis=axes, keepdims=bool(attrs.get("keep_dims", False)))

    return formula


def _mean(value: Any, axis: Any, keepdims: bool) -> Any:
    total = np.sum(value, axis=axis, keepdims=keepdims)
    # an empty mean is 0/0, which numpy would also warn of
    return total / np.float64(value.size / max(1, total.size) if total.size else 1)


def _norm(value: Any, axis: Any, keepdims: bool) -> Any:
    return np.sqrt(np.sum(np.square(np.abs(value)), axis=axis, keepdims=keepdims))


def _running(function: Callable[..., Any]) -> Any:
    def formula(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
        value, axis = inputs[0], int(inputs[1])
        if attrs.get("reverse"):
            value = np.flip(value, axis)
        if attrs.get("exclusive"):
            raise ValueError("exclusive running sums are not worked out")
        total = function(value, axis=axis)
        return np.flip(total, axis) if attrs.get("reverse") else total

    return formula


def _l2(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.sum(np.square(inputs[0])) / 2


def _sorted_segments(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, segments = inputs[:2]
    count = int(segments.max()) + 1 if segments.size else 0
    return _segments(value, segments, count)


def _unsorted_segments(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, segments, count = inputs
    rows = value.reshape((segments.size, *value.shape[segments.ndim :]))
    return _segments(rows, segments.ravel(), int(count))


def _segments(rows: Any, segments: Any, count: int) -> Any:
    total = np.zeros((count, *rows.shape[1:]), rows.dtype)
    known = segments >= 0
    np.add.at(total, segments[known], rows[known])
    return total


def _segment_mean(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, segments = inputs[:2]
    total = _sorted_segments(inputs, attrs)
    sizes = np.bincount(segments, minlength=len(total)).reshape((-1,) + (1,) * (value.ndim - 1))
    return total / np.maximum(sizes, 1)


def _bias_gradient(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value = inputs[0]
    channel = 1 if str(attrs.get("data_format", "NHWC")).startswith("NC") else value.ndim - 1
    return np.sum(value, axis=tuple(a for a in range(value.ndim) if a != channel))


def _moments_axes(value: Any, attrs: Dict[str, Any]) -> Any:
    channel = 1 if str(attrs.get("data_format", "NHWC")).startswith("NC") else value.ndim - 1
    shape = [1] * value.ndim
    shape[channel] = value.shape[channel]
    return tuple(a for a in range(value.ndim) if a != channel), shape


def _fused_batch_norm(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    """y, batch mean, batch variance (with Bessel's correction, as documented for training)."""
    value, scale, offset, mean, variance = inputs[:5]
    axes, shape = _moments_axes(value, attrs)
    training = bool(attrs.get("is_training", True))
    count = value.size / max(1, scale.size)
    unbiased = variance
    if training:
        mean = np.mean(value, axis=axes)
        variance = np.mean(np.square(value - mean.reshape(shape)), axis=axes)
        unbiased = variance * count / max(1.0, count - 1)
    root = np.sqrt(variance + float(attrs.get("epsilon", 1e-4))).reshape(shape)
    y = (value - mean.reshape(shape)) / root * scale.reshape(shape) + offset.reshape(shape)
    return y, mean, unbiased


def _fused_batch_norm_gradient(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    """Gradients of input, scale and offset; moments are the batch's own in training."""
    upstream, value, scale, mean, variance = inputs[:5]
    axes, shape = _moments_axes(value, attrs)
    training = bool(attrs.get("is_training", True))
    if training:
        mean = np.mean(value, axis=axes)
        variance = np.mean(np.square(value - mean.reshape(shape)), axis=axes)
    root = np.sqrt(variance + float(attrs.get("epsilon", 1e-4))).reshape(shape)
    unit = (value - mean.reshape(shape)) / root
    by_scale, by_offset = np.sum(upstream * unit, axis=axes), np.sum(upstream, axis=axes)
    inner = upstream
    if training:
        count = value.size / max(1, scale.size)
        inner = upstream - (by_offset.reshape(shape) + unit * by_scale.reshape(shape)) / count
    return scale.reshape(shape) / root * inner, by_scale, by_offset


TABLE: Dict[str, Any] = {
    "Sum": _reduce(np.sum), "Mean": _reduce(_mean), "Prod": _reduce(np.prod),
    "Max": _reduce(np.max), "Min": _reduce(np.min), "EuclideanNorm": _reduce(_norm),
    "Cumsum": _running(np.cumsum), "Cumprod": _running(np.cumprod), "L2Loss": _l2,
    "SegmentSum": _sorted_segments, "SegmentSumV2": _unsorted_segments,
    "SegmentMean": _segment_mean, "UnsortedSegmentSum": _unsorted_segments,
    "BiasAddGrad": _bias_gradient, "FusedBatchNorm": _fused_batch_norm,
    "FusedBatchNormV2": _fused_batch_norm, "FusedBatchNormV3": _fused_batch_norm,
    "FusedBatchNormGrad": _fused_batch_norm_gradient,
    "FusedBatchNormGradV2": _fused_batch_norm_gradient,
    "FusedBatchNormGradV3": _fused_batch_norm_gradient,
}  # fmt: skip
