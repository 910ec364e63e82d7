"""Single instructions of the machine: unaligned loads, and a step of CRC-32C where it has one.

Addresses and words are int64 throughout: numba makes floats of mixed signedness.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()


def _loader(stored: ir.Type, answer: Any, widen: str) -> Any:
    """Intrinsic that loads a little-endian value from any address."""

    def load(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], stored.as_pointer())
            value = builder.load(pointer, align=1)
            return getattr(builder, widen)(value, context.get_value_type(answer))

        return answer(types.int64), codegen

    return intrinsic(load)


load_u8 = _loader(_I8, types.int64, "zext")
load_u16 = _loader(_I16, types.int64, "zext")
load_u32 = _loader(_I32, types.int64, "zext")
load_i32 = _loader(_I32, types.int64, "sext")
load_i64 = _loader(_I64, types.int64, "bitcast")
load_f32 = _loader(_FLOAT, types.float64, "fpext")
load_f64 = _loader(_DOUBLE, types.float64, "bitcast")


def _narrowed(builder: Any, value: Any, kind: ir.Type) -> Any:
    return value if kind is _I64 else builder.trunc(value, kind)


def _storer(stored: ir.Type, given: Any) -> Any:
    """Intrinsic that stores a little-endian value at any address."""

    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], stored.as_pointer())
            value = (
                arguments[1] if given is types.float64 else _narrowed(builder, arguments[1], stored)
            )
            builder.store(value, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, given), codegen

    return intrinsic(store)


store_u8 = _storer(_I8, types.int64)
store_i32 = _storer(_I32, types.int64)
store_i64 = _storer(_I64, types.int64)
store_f64 = _storer(_DOUBLE, types.float64)


@intrinsic
def float32_of(typing_context: Any, bits: Any) -> Any:
    """Value of a float32 with the low 32 bits of an int64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = builder.trunc(arguments[0], _I32)
        return builder.fpext(builder.bitcast(narrow, _FLOAT), _DOUBLE)

    return types.float64(types.int64), codegen


@intrinsic
def unsigned_to_float(typing_context: Any, bits: Any) -> Any:
    """Round the unsigned number in an int64 to the nearest float64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.uitofp(arguments[0], _DOUBLE)

    return types.float64(types.int64), codegen


@intrinsic
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy bytes from one address to another; the two stretches do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [builder.inttoptr(value, _I8.as_pointer()) for value in arguments[:2]]
        cgutils.raw_memcpy(builder, *pointers, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _crc_step(name: str, register: ir.IntType, word: ir.IntType) -> Any:
    """Intrinsic that takes `word` bits into the register of a CRC-32C."""

    def step(typing_context: Any, crc: Any, data: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(register, [register, word])
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            given = [
                _narrowed(builder, value, kind)
                for value, kind in zip(arguments, (register, word), strict=True)
            ]
            found = builder.call(function, given)
            return found if register is _I64 else builder.zext(found, _I64)

        return types.int64(types.int64, types.int64), codegen

    return intrinsic(step)


def _features() -> tuple[str, frozenset[str]]:
    """Architecture and features of the CPU that numba compiles for (not those of this one)."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple.split("-")[0], frozenset(features.split(","))


LITTLE_ENDIAN = sys.byteorder == "little"

_architecture, _known = _features()
HARDWARE_CRC = False
crc_u64: Any = None
crc_u32: Any = None
crc_u8: Any = None
if _architecture == "x86_64" and _known & {"+crc32", "+sse4.2"}:
    HARDWARE_CRC = True
    crc_u64 = _crc_step("llvm.x86.sse42.crc32.64.64", _I64, _I64)
    crc_u32 = _crc_step("llvm.x86.sse42.crc32.32.32", _I32, _I32)
    crc_u8 = _crc_step("llvm.x86.sse42.crc32.32.8", _I32, _I8)
elif _architecture in ("aarch64", "arm64") and "+crc" in _known:
    HARDWARE_CRC = True
    crc_u64 = _crc_step("llvm.aarch64.crc32cx", _I32, _I64)
    crc_u32 = _crc_step("llvm.aarch64.crc32cw", _I32, _I32)
    crc_u8 = _crc_step("llvm.aarch64.crc32cb", _I32, _I32)
