"""Blocks of a tensor, measured by compiled code: the operations of `tensor_blocks`, in its order.

Floats are compared as integers that are ordered like them, which is vectorised where comparisons of
floats are not. Everything of a block happens in the first-level cache. No ``fastmath``: nothing may
be reordered or fused.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg"
# Types of compiled functions are numba's business.
from __future__ import annotations

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
from forensics.sources.checkpoints.kernel_cache import jit, kernel, named
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

_UNSAFE = float("nan")
"""In the column of exponents: this block's squares may leave float64, it is left to NumPy."""
_LARGE, _SMALL = 2.0**tensor_blocks.SAFE_EXPONENT, 2.0 ** (-tensor_blocks.SAFE_EXPONENT - 1)


def _reads(bits_of: Any, float_of: Any) -> Any:
    """Make an instruction that reads an integer of one type as the float with the same bits."""

    @intrinsic
    def read(typingctx, bits):
        def code(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(float_of))

        return float_of(bits_of), code

    return read


_read32 = _reads(nb.types.int32, nb.types.float32)
_read64 = _reads(nb.types.int64, nb.types.float64)


@intrinsic
def _read_half(typingctx, bits):
    """Instruction that reads an integer as a float16, and widens it."""

    def code(context, builder, signature, arguments):
        half = builder.bitcast(arguments[0], ir.HalfType())
        return builder.fpext(half, ir.DoubleType())

    return nb.types.float64(nb.types.int16), code


def _converts_half() -> bool:
    """Whether the CPU converts float16 itself: elsewhere, code would call a missing library."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    return arm or bool(binding.get_host_cpu_features().get("f16c", False))


@jit
def _float32(bits):
    return np.float64(_read32(bits))


@jit
def _float64(bits):
    return _read64(bits)


@jit
def _float16(bits):
    return _read_half(bits)


@jit
def _bfloat16(bits):
    return np.float64(_read32(np.int32(np.int32(bits) << np.int32(16))))


@jit
def _number(value):
    return np.float64(value)


def _summer(widen):
    """Compile the sum of deviations and of their squares over a block."""

    @named(widen)
    def add_up(values, shift, record, lanes):
        sums, squares = lanes[0], lanes[1]
        for j in range(LANES):
            sums[j] = 0.0
            squares[j] = 0.0
        rows = values.size // LANES
        for r in range(0, rows - 3, 4):
            # Four rows at a time: the lanes are loaded and stored once for them.
            at = r * LANES
            one, two = values[at : at + LANES], values[at + LANES : at + 2 * LANES]
            three, four = values[at + 2 * LANES : at + 3 * LANES], values[at + 3 * LANES :]
            for j in range(LANES):
                a, b = widen(one[j]) - shift, widen(two[j]) - shift
                c, d = widen(three[j]) - shift, widen(four[j]) - shift
                sums[j] = (((sums[j] + a) + b) + c) + d
                squares[j] = (((squares[j] + a * a) + b * b) + c * c) + d * d
        for i in range(rows // 4 * 4 * LANES, values.size):
            deviation = widen(values[i]) - shift
            sums[i % LANES] += deviation
            squares[i % LANES] += deviation * deviation
        width = LANES // 2
        while width:
            for j in range(width):
                sums[j] += sums[j + width]
                squares[j] += squares[j + width]
            width //= 2
        record[SHIFT], record[EXPONENT] = shift, 0.0
        record[SUM], record[SQUARES] = sums[0], squares[0]

    return add_up


_add_up = _summer(_number)


@jit
def _note(n, low, high, record, limits):
    """Count a block of finite elements; whether its squares stay inside float64."""
    record[COUNT] = n
    limits[0], limits[1] = min(limits[0], low), max(limits[1], high)
    largest = max(-low, high)
    if largest != 0.0 and (largest >= _LARGE or largest < _SMALL):
        record[EXPONENT] = _UNSAFE
        return False
    return True


def _scanner(integer):
    """Compile a search for the least and the largest float of a block, as wide as `integer`.

    The key of a float is its bits, with all but the sign flipped where it is negative: keys are
    ordered like floats, NaNs beyond the infinities. A key's key is the bits again.
    """
    highest, lowest = integer(np.iinfo(integer).max), integer(np.iinfo(integer).min)
    sign = integer(np.iinfo(integer).bits - 1)

    @named(integer)
    def scan(bits):
        low, high, zero = highest, lowest, integer(0)
        for i in range(bits.size):
            b = bits[i]
            key = integer(b ^ integer(integer(b >> sign) & highest))
            low, high = integer(min(low, key)), integer(max(high, key))
            zero = integer(zero + integer(integer(b & highest) == integer(0)))
        return low, high, zero

    return scan


_scan64 = _scanner(np.int64)


def _measurer(integer, infinite, widen):
    """Compile the measuring of a block of floats, given as integers.

    Parameters
    ----------
    integer : type
        As wide as the floats.
    infinite : int
        Bits of infinity.
    widen : compiled function
        Float64 for the bits of one element.
    """
    scan, add_up = _scanner(integer), _summer(widen)
    infinite, highest = integer(infinite), integer(np.iinfo(integer).max)
    sign, sign64 = integer(np.iinfo(integer).bits - 1), np.int64(63)
    highest64 = np.int64(np.iinfo(np.int64).max)

    @named(integer, widen)
    def clean(bits, cleaned, counts):
        """Copy a block with its first finite element in place of those that are not finite."""
        nan, pos, neg = np.int32(0), np.int32(0), np.int32(0)
        for i in range(bits.size):
            magnitude = integer(bits[i] & highest)
            nan += np.int32(magnitude > infinite)
            pos += np.int32(bits[i] == infinite)
            neg += np.int32(integer(bits[i] ^ infinite) == ~highest)
        counts[NAN] += nan
        counts[POS_INF] += pos
        counts[NEG_INF] += neg
        n = bits.size - nan - pos - neg
        first = 0.0
        for i in range(bits.size if n else 0):
            if integer(bits[i] & highest) < infinite:
                first = widen(bits[i])
                break
        for i in range(bits.size if n else 0):
            x = widen(bits[i])
            cleaned[i] = x if x - x == 0.0 else first
        return n, first

    @named(integer, widen)
    def measure_block(bits, record, totals, scratch):
        counts, limits, lanes = totals
        low, high, zero = scan(bits)
        counts[ZERO] += zero
        if high < infinite and low > ~infinite:
            least = widen(integer(low ^ integer(integer(low >> sign) & highest)))
            largest = widen(integer(high ^ integer(integer(high >> sign) & highest)))
            if _note(bits.size, least, largest, record, limits):
                add_up(bits, widen(bits[0]), record, lanes)
            return
        cleaned, cleaned_bits = scratch
        n, first = clean(bits, cleaned, counts)
        if n == 0:
            record[:] = 0.0
            return
        low, high, _ = _scan64(cleaned_bits[: bits.size])
        least = _float64(low ^ ((low >> sign64) & highest64))
        largest = _float64(high ^ ((high >> sign64) & highest64))
        if _note(n, least, largest, record, limits):
            _add_up(cleaned[: bits.size], first, record, lanes)

    return measure_block


_block16 = _measurer(np.int16, 0x7C00, _float16)
_block_b16 = _measurer(np.int16, 0x7F80, _bfloat16)
_block32 = _measurer(np.int32, 0x7F800000, _float32)
_block64 = _measurer(np.int64, 0x7FF0000000000000, _float64)

# Four of the same, because functions made by another one are not found in the cache again.


@kernel
def _halves(bits, records, totals, scratch):
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        some = bits[block * BLOCK : min(block * BLOCK + BLOCK, bits.size)]
        _block16(some, records[block], totals, scratch)


@kernel
def _brains(bits, records, totals, scratch):
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        some = bits[block * BLOCK : min(block * BLOCK + BLOCK, bits.size)]
        _block_b16(some, records[block], totals, scratch)


@kernel
def _singles(bits, records, totals, scratch):
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        some = bits[block * BLOCK : min(block * BLOCK + BLOCK, bits.size)]
        _block32(some, records[block], totals, scratch)


@kernel
def _doubles(bits, records, totals, scratch):
    for block in range((bits.size + BLOCK - 1) // BLOCK):
        some = bits[block * BLOCK : min(block * BLOCK + BLOCK, bits.size)]
        _block64(some, records[block], totals, scratch)


@kernel
def _by_table(raw, table, records, totals, scratch, wide):
    """Elements whose float32, given as its bits, is in a table."""
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        some = raw[block * BLOCK : min(block * BLOCK + BLOCK, raw.size)]
        for i in range(some.size):
            wide[i] = table[some[i]]
        _block32(wide[: some.size], records[block], totals, scratch)


@kernel
def _integers(raw, records, totals):
    counts, limits, lanes = totals
    for block in range((raw.size + BLOCK - 1) // BLOCK):
        values = raw[block * BLOCK : min(block * BLOCK + BLOCK, raw.size)]
        low, high, zero = values[0], values[0], np.int32(0)
        for i in range(values.size):
            low, high = min(low, values[i]), max(high, values[i])
            zero += np.int32(values[i] == 0)
        counts[ZERO] += zero
        if _note(values.size, np.float64(low), np.float64(high), records[block], limits):
            _add_up(values, np.float64(values[0]), records[block], lanes)


class _Space(threading.local):
    """Arrays that each thread works in."""

    def __init__(self) -> None:
        cleaned = np.empty(BLOCK)
        self.cleaned = cleaned, cleaned.view(np.int64)
        self.wide = np.empty(BLOCK, np.int32)
        self.lanes = np.empty((2, LANES))


_SPACE = _Space()
_CONVERTS_HALF = _converts_half()


@cache
def _half_table() -> Array:
    """Bits of the float32 for every float16."""
    with np.errstate(invalid="ignore"):
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        return halves.astype(np.float32).view(np.int32)


def measure(
    raw: Array, encoding: Encoding, records: npt.NDArray[np.float64], totals: Totals
) -> None:
    """Measure blocks, the last of which may be shorter; arguments as in `tensor_tiers.measure`."""
    # One type for the compiler, whatever the bytes lie in.
    raw = raw.view() if raw.flags.aligned else raw.copy()
    raw.flags.writeable = False
    cleaned, wide = _SPACE.cleaned, _SPACE.wide
    sums = (totals.counts, totals.limits, _SPACE.lanes)
    match encoding.family, raw.dtype.itemsize:
        case Family.FLOAT, 4:
            _singles(raw.view(np.int32), records, sums, cleaned)
        case Family.FLOAT, 8:
            _doubles(raw.view(np.int64), records, sums, cleaned)
            _repair(raw, encoding, records)
        case Family.BRAIN, _:
            _brains(raw.view(np.int16), records, sums, cleaned)
        case Family.HALF, _ if _CONVERTS_HALF:
            _halves(raw.view(np.int16), records, sums, cleaned)
        case Family.HALF, _:
            _by_table(raw.view(np.uint16), _half_table(), records, sums, cleaned, wide)
        case Family.BYTE, _:
            _by_table(raw, encoding.table_bits, records, sums, cleaned, wide)
        case _:
            _integers(raw, records, sums)


def _repair(raw: Array, encoding: Encoding, records: npt.NDArray[np.float64]) -> None:
    """Measure again, in NumPy, the blocks whose squares may leave float64."""
    for block in np.flatnonzero(np.isnan(records[:, EXPONENT])):
        values = encoding.widen(raw[block * BLOCK : (block + 1) * BLOCK])
        tensor_blocks.measure(values, records[block : block + 1], Totals())
