"""Products of matrices, convolutions, decompositions."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np


def _turned(value: Any, transpose: Any, adjoint: Any = False) -> Any:
    if adjoint:
        return np.conj(np.swapaxes(value, -1, -2))
    return np.swapaxes(value, -1, -2) if transpose else value


def _mat_mul(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.matmul(
        _turned(inputs[0], attrs.get("transpose_a")), _turned(inputs[1], attrs.get("transpose_b"))
    )


def _batch_mat_mul(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.matmul(
        _turned(inputs[0], False, attrs.get("adj_x")), _turned(inputs[1], False, attrs.get("adj_y"))
    )


def _einsum(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    return np.einsum(attrs["equation"], *inputs)


# -- convolutions: a sum over the places of the kernel of matrix products
class _Geometry:
    """Where the kernel lies: both operands as NHWC, the input padded."""

    def __init__(self, size: Tuple[int, ...], kernel: Any, attrs: Dict[str, Any]) -> None:
        self.first = str(attrs.get("data_format", "NHWC")).startswith("NC")
        pick = (2, 3) if self.first else (1, 2)
        strides = attrs.get("strides") or [1, 1, 1, 1]
        dilations = attrs.get("dilations") or [1, 1, 1, 1]
        self.strides = [int(strides[i]) for i in pick]
        self.dilations = [int(dilations[i]) for i in pick]
        self.kernel, self.size = kernel, size
        self.pads, self.out = [], []
        explicit = attrs.get("explicit_paddings") or []
        for axis, place in enumerate(pick):
            n, k = size[axis], (kernel[axis] - 1) * self.dilations[axis] + 1
            padding, stride = str(attrs["padding"]), self.strides[axis]
            before, after = 0, 0
            if padding == "SAME":
                total = max(0, (-(-n // stride) - 1) * stride + k - n)
                before, after = total // 2, total - total // 2
            elif padding == "EXPLICIT":
                before, after = int(explicit[2 * place]), int(explicit[2 * place + 1])
            self.pads.append((before, after))
            self.out.append((n + before + after - k) // stride + 1)

    def places(self) -> Any:
        """Each place of the kernel with the part of the padded input that meets it."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield (
                    i,
                    j,
                    tuple(
                        slice(at * d, at * d + (n - 1) * s + 1, s)
                        for at, d, n, s in zip((i, j), self.dilations, self.out, self.strides)
                    ),
                )

    def last(self, value: Any) -> Any:
        """Channels last."""
        return np.moveaxis(value, 1, -1) if self.first else value

    def back(self, value: Any) -> Any:
        """Channels where they were."""
        return np.moveaxis(value, -1, 1) if self.first else value

    def padded(self, value: Any) -> Any:
        """Input with its zeros around."""
        return np.pad(value, [(0, 0), *self.pads, (0, 0)])


def _spatial(shape: Any, attrs: Dict[str, Any]) -> Tuple[int, ...]:
    first = str(attrs.get("data_format", "NHWC")).startswith("NC")
    return tuple(int(n) for n in (shape[2:4] if first else shape[1:3]))


def _conv2d(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, kernel = inputs[:2]
    place = _Geometry(_spatial(value.shape, attrs), kernel.shape, attrs)
    data = place.padded(place.last(value))
    if data.shape[-1] != kernel.shape[2]:
        raise ValueError("grouped convolutions are not worked out")
    total: Any = 0
    for i, j, (rows, columns) in place.places():
        total = total + data[:, rows, columns] @ kernel[i, j]
    return place.back(total)


def _depthwise(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, kernel = inputs[:2]
    place = _Geometry(_spatial(value.shape, attrs), kernel.shape, attrs)
    data = place.padded(place.last(value))
    total: Any = 0
    for i, j, (rows, columns) in place.places():
        total = total + data[:, rows, columns][..., None] * kernel[i, j]
    return place.back(total.reshape((*total.shape[:3], -1)))


def _conv2d_filter_gradient(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    value, sizes, upstream = inputs
    place = _Geometry(_spatial(value.shape, attrs), [int(n) for n in sizes], attrs)
    data, above = place.padded(place.last(value)), place.last(upstream)
    answer = np.zeros([int(n) for n in sizes])
    for i, j, (rows, columns) in place.places():
        answer[i, j] = np.tensordot(data[:, rows, columns], above, ((0, 1, 2), (0, 1, 2)))
    return answer


def _conv2d_input_gradient(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
    sizes, kernel, upstream = inputs
    place = _Geometry(_spatial(sizes, attrs), kernel.shape, attrs)
    above = place.last(upstream)
    (top, bottom), (left, right) = place.pads
    height, width = place.size
    answer = np.zeros(
        (above.shape[0], height + top + bottom, width + left + right, kernel.shape[2])
    )
    for i, j, (rows, columns) in place.places():
        answer[:, rows, columns] += above @ kernel[i, j].T
    return place.back(answer[:, top : top + height, left : left + width])


# -- decompositions
def _by_numpy(function: Callable[..., Any]) -> Any:
    def formula(inputs: List[Any], attrs: Dict[str, Any]) -> Any:
        value = inputs[0]
        if not np.isfinite(value).all():
            return np.full(value.shape, np.nan)
        try:
            return function(*inputs[:2]) if len(inputs) > 1 else function(value)
        except np.linalg.LinAlgError:
            # singular, not positive definite: there is no answer
            return np.full(value.shape, np.nan)

    return formula


def _determinant_of_logarithm(value: Any) -> Any:
    return np.linalg.slogdet(value)


TABLE: Dict[str, Any] = {
    "MatMul": _mat_mul, "BatchMatMul": _batch_mat_mul, "BatchMatMulV2": _batch_mat_mul,
    "BatchMatMulV3": _batch_mat_mul, "Einsum": _einsum, "Conv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise, "Conv2DBackpropFilter": _conv2d_filter_gradient,
    "Conv2DBackpropInput": _conv2d_input_gradient, "Cholesky": _by_numpy(np.linalg.cholesky),
    "MatrixInverse": _by_numpy(np.linalg.inv), "MatrixDeterminant": _by_numpy(np.linalg.det),
    "LogMatrixDeterminant": _by_numpy(_determinant_of_logarithm),
    "MatrixSolve": _by_numpy(np.linalg.solve),
}  # fmt: skip
