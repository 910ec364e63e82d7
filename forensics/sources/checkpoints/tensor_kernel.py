"""Blocks of a tensor, measured by compiled code: the operations of `tensor_blocks`, in its order.

Floats are compared as integers that are ordered like them, which is vectorised where comparisons of
floats are not. Everything of a block happens in the first-level cache. No ``fastmath``: nothing may
be reordered or fused.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"
# Types of compiled functions are numba's business.
from __future__ import annotations

import math
import platform
import threading
from functools import cache
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from forensics.sources.checkpoints import tensor_blocks
from forensics.sources.checkpoints.tensor_blocks import (
    BLOCK,
    COUNT,
    EXPONENT,
    LANES,
    NAN,
    NEG_INF,
    POS_INF,
    SHIFT,
    SQUARES,
    SUM,
    ZERO,
    Totals,
)
from forensics.sources.checkpoints.tensor_encodings import Encoding, Family

Array = npt.NDArray[Any]

_jit = nb.njit(nogil=True, cache=True)
_UNSAFE = float("nan")
"""In the column of exponents: this block's squares may leave float64, it is left to NumPy."""
_SIGN64, _HIGHEST64 = np.int64(63), np.int64(np.iinfo(np.int64).max)
_LARGE, _SMALL = 2.0**tensor_blocks.SAFE_EXPONENT, 2.0 ** (-tensor_blocks.SAFE_EXPONENT - 1)


@_jit
def _sum(values, shift, records, block, lanes):
    """Sum deviations and their squares in lanes, row by row; then join the lanes by halves."""
    for j in range(LANES):
        lanes[0, j] = 0.0
        lanes[1, j] = 0.0
    sums, squares = lanes[0], lanes[1]
    rows = values.size // LANES
    for r in range(0, rows - 3, 4):
        # Four rows at a time: the lanes are loaded and stored once for them.
        at = r * LANES
        one, two = values[at : at + LANES], values[at + LANES : at + 2 * LANES]
        three, four = values[at + 2 * LANES : at + 3 * LANES], values[at + 3 * LANES :]
        for j in range(LANES):
            a, b = np.float64(one[j]) - shift, np.float64(two[j]) - shift
            c, d = np.float64(three[j]) - shift, np.float64(four[j]) - shift
            sums[j] = (((sums[j] + a) + b) + c) + d
            squares[j] = (((squares[j] + a * a) + b * b) + c * c) + d * d
    for i in range(rows // 4 * 4 * LANES, values.size):
        deviation = np.float64(values[i]) - shift
        sums[i % LANES] += deviation
        squares[i % LANES] += deviation * deviation
    width = LANES // 2
    while width:
        for j in range(width):
            sums[j] += sums[j + width]
            squares[j] += squares[j + width]
        width //= 2
    records[block, SUM] = sums[0]
    records[block, SQUARES] = squares[0]


def _scanner(integer):
    """Compile a search for the least and the largest float of a block, as wide as `integer`.

    The key of a float is its bits, with all but the sign flipped where it is negative: keys are
    ordered like floats, NaNs beyond the infinities. A key's key is the bits again.
    """
    highest, lowest = integer(np.iinfo(integer).max), integer(np.iinfo(integer).min)
    sign = integer(np.iinfo(integer).bits - 1)

    @_jit
    def scan(bits):
        low, high, zero = highest, lowest, integer(0)
        for i in range(bits.size):
            b = bits[i]
            key = integer(b ^ integer(integer(b >> sign) & highest))
            low, high = integer(min(low, key)), integer(max(high, key))
            zero = integer(zero + integer(integer(b & highest) == integer(0)))
        return low, high, zero

    return scan


_scan32, _scan64 = _scanner(np.int32), _scanner(np.int64)


@_jit
def _clean(values, scratch, counts):
    """Copy a block with its first finite element in place of those that are not finite.

    Returns
    -------
    Number of finite elements, and the first of them.
    """
    nan, pos, neg = np.int32(0), np.int32(0), np.int32(0)
    for i in range(values.size):
        x = values[i]
        nan += np.int32(x != x)
        pos += np.int32(x == np.inf)
        neg += np.int32(x == -np.inf)
    counts[NAN] += nan
    counts[POS_INF] += pos
    counts[NEG_INF] += neg
    n = values.size - nan - pos - neg
    first = 0.0
    for i in range(values.size if n else 0):
        if math.isfinite(values[i]):
            first = np.float64(values[i])
            break
    for i in range(values.size):
        x = np.float64(values[i])
        scratch[i] = x if x - x == 0.0 else first
    return n, first


@_jit
def _finish(n, low, high, shift, values, records, block, limits, lanes):
    """Write the record of one block of finite elements."""
    records[block, COUNT] = n
    if n:
        limits[0], limits[1] = min(limits[0], low), max(limits[1], high)
    largest = max(-low, high)
    if largest != 0.0 and (largest >= _LARGE or largest < _SMALL):
        records[block, EXPONENT] = _UNSAFE
        return
    records[block, EXPONENT] = 0.0
    records[block, SHIFT] = shift
    _sum(values, shift, records, block, lanes)


def _float_block(integer, scan):
    """Compile the measuring of one block of floats that are as wide as `integer`."""
    infinite = integer(0x7F800000 if integer is np.int32 else 0x7FF0000000000000)
    highest, sign = integer(np.iinfo(integer).max), integer(np.iinfo(integer).bits - 1)

    @_jit
    def block_of_floats(values, bits, records, block, totals, one, scratch):
        counts, limits, lanes = totals
        cleaned, cleaned_bits = scratch
        low, high, zero = scan(bits)
        counts[ZERO] += zero
        if high < infinite and low > ~infinite:
            one[1][0] = low ^ ((low >> sign) & highest)
            one[1][1] = high ^ ((high >> sign) & highest)
            least, largest = np.float64(one[0][0]), np.float64(one[0][1])
            first = np.float64(values[0])
            _finish(values.size, least, largest, first, values, records, block, limits, lanes)
            return
        n, first = _clean(values, cleaned, counts)
        if n == 0:
            records[block, :] = 0.0
            return
        size = values.size
        wide_low, wide_high, _ = _scan64(cleaned_bits[:size])
        cleaned_bits[BLOCK] = wide_low ^ ((wide_low >> _SIGN64) & _HIGHEST64)
        cleaned_bits[BLOCK + 1] = wide_high ^ ((wide_high >> _SIGN64) & _HIGHEST64)
        least, largest = cleaned[BLOCK], cleaned[BLOCK + 1]
        _finish(n, least, largest, first, cleaned[:size], records, block, limits, lanes)

    return block_of_floats


_block32 = _float_block(np.int32, _scan32)
_block64 = _float_block(np.int64, _scan64)


@_jit
def _floats32(values, bits, records, totals, one, scratch):
    for block in range((values.size + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(block * BLOCK + BLOCK, values.size)
        _block32(values[start:end], bits[start:end], records, block, totals, one, scratch)


@_jit
def _floats64(values, bits, records, totals, one, scratch):
    for block in range((values.size + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(block * BLOCK + BLOCK, values.size)
        _block64(values[start:end], bits[start:end], records, block, totals, one, scratch)


@_jit
def _widened_brain(raw, table, bits, values):
    for i in range(raw.size):
        bits[i] = np.int32(np.uint32(raw[i]) << np.uint32(16))


@_jit
def _widened_by_table(raw, table, bits, values):
    for i in range(raw.size):
        values[i] = table[raw[i]]


@intrinsic
def _half_to_float(typingctx, raw):
    """Instruction that converts a float16, given as its bits."""

    def code(context, builder, signature, arguments):
        half = builder.bitcast(arguments[0], ir.HalfType())
        return builder.fpext(half, ir.FloatType())

    return nb.types.float32(nb.types.uint16), code


@_jit
def _widened_half(raw, table, bits, values):
    for i in range(raw.size):
        values[i] = _half_to_float(raw[i])


def _converts_half() -> bool:
    """Whether the CPU converts float16 itself: elsewhere, code would call a missing library."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    return arm or bool(binding.get_host_cpu_features().get("f16c", False))


# Three of the same, because functions made by another one are not found in the cache again.
@_jit
def _brain(raw, table, records, totals, one, scratch, wide):
    values, bits = wide
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(block * BLOCK + BLOCK, raw.size)
        _widened_brain(raw[start:end], table, bits, values)
        size = end - start
        _block32(values[:size], bits[:size], records, block, totals, one, scratch)


@_jit
def _by_table(raw, table, records, totals, one, scratch, wide):
    values, bits = wide
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(block * BLOCK + BLOCK, raw.size)
        _widened_by_table(raw[start:end], table, bits, values)
        size = end - start
        _block32(values[:size], bits[:size], records, block, totals, one, scratch)


@_jit
def _half(raw, table, records, totals, one, scratch, wide):
    values, bits = wide
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(block * BLOCK + BLOCK, raw.size)
        _widened_half(raw[start:end], table, bits, values)
        size = end - start
        _block32(values[:size], bits[:size], records, block, totals, one, scratch)


_WIDENED = {
    Family.BRAIN: _brain,
    Family.BYTE: _by_table,
    Family.HALF: _half if _converts_half() else _by_table,
}


@_jit
def _integers(raw, records, totals):
    counts, limits, lanes = totals
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        values = raw[block * BLOCK : min(block * BLOCK + BLOCK, raw.size)]
        low, high, zero = values[0], values[0], np.int32(0)
        for i in range(values.size):
            low, high = min(low, values[i]), max(high, values[i])
            zero += np.int32(values[i] == 0)
        counts[ZERO] += zero
        least, largest, first = np.float64(low), np.float64(high), np.float64(values[0])
        _finish(values.size, least, largest, first, values, records, block, limits, lanes)


class _Space(threading.local):
    """Arrays that each thread works in: scratch blocks, in two views each."""

    def __init__(self) -> None:
        self.cleaned = _views(np.empty(BLOCK + 2), np.int64)
        self.wide = _views(np.empty(BLOCK, np.float32), np.int32)
        self.one32 = _views(np.empty(2, np.float32), np.int32)
        self.one64 = _views(np.empty(2), np.int64)
        self.lanes = np.empty((2, LANES))


def _views(array: Array, integer: Any) -> tuple[Array, Array]:
    """Floats, and the same memory as integers; values first where a kernel takes both."""
    return array, array.view(integer)


_SPACE = _Space()


@cache
def _half_table() -> npt.NDArray[np.float32]:
    """Value of every float16, by its bits."""
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def measure(
    raw: Array, encoding: Encoding, records: npt.NDArray[np.float64], totals: Totals
) -> None:
    """Measure blocks, the last of which may be shorter; arguments as in `tensor_tiers.measure`."""
    # One type for the compiler, whatever the bytes lie in.
    raw = raw.view() if raw.flags.aligned else raw.copy()
    raw.flags.writeable = False
    space = _SPACE
    sums = (totals.counts, totals.limits, space.lanes)
    match encoding.family:
        case Family.FLOAT if raw.dtype == np.float32:
            _floats32(raw, raw.view(np.int32), records, sums, space.one32, space.cleaned)
        case Family.FLOAT:
            _floats64(raw, raw.view(np.int64), records, sums, space.one64, space.cleaned)
            _repair(raw, encoding, records)
        case Family.INTEGER:
            _integers(raw, records, sums)
        case family:
            table = encoding.table if encoding.table is not None else _half_table()
            bits = raw.view(np.uint16) if raw.dtype.itemsize == 2 else raw
            kernel = _WIDENED[family]
            kernel(bits, table, records, sums, space.one32, space.cleaned, space.wide)


def _repair(raw: Array, encoding: Encoding, records: npt.NDArray[np.float64]) -> None:
    """Measure again, in NumPy, the blocks whose squares may leave float64."""
    for block in np.flatnonzero(np.isnan(records[:, EXPONENT])):
        values = encoding.widen(raw[block * BLOCK : (block + 1) * BLOCK])
        tensor_blocks.measure(values, records[block : block + 1], Totals())
