"""Operands that say nothing of the data: plain numbers, constants, random numbers.

Each is tried in the place of the real one; what fails as reported is kept, the plainest first.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy as np

from .. import arrays

FEW = 64
"""Elements up to which an operand is written out number by number."""
_SEED = 0


class Operand:
    """An operand and the way it is written.

    Parameters
    ----------
    array : array
        Its value.
    code : str or None
        Expression that makes it (NumPy is ``np``); None: number by number, or from the npz file.
    real : bool
        Whether these are numbers of the run.
    """

    __slots__ = ("array", "code", "real")

    def __init__(self, array: Any, code: Optional[str] = None, real: bool = False) -> None:
        self.array, self.code, self.real = array, code, real


def simplified(values: List[Any], holds: Callable[[List[Any]], bool]) -> List[Operand]:
    """Replace every operand by the plainest one that keeps the failure."""
    operands = [Operand(v, None, arrays.is_float(v)) for v in values]
    for place, value in enumerate(values):
        if not arrays.is_float(value) or value.size == 0:
            continue
        for candidate in _candidates(value):
            attempt = [o.array for o in operands]
            attempt[place] = candidate.array
            if holds(attempt):
                operands[place] = candidate
                break
    return operands


def _candidates(value: Any) -> Iterator[Operand]:
    for number in (0.0, 1.0):
        yield _full(value, number)
    if value.dtype.kind == "c":
        return
    wide = arrays.widen(value).astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if finite.size and value.size > 1:
        for number in (float(finite[np.abs(finite).argmax()]), float(np.median(finite))):
            for digits in (1, 2, 3):
                yield _full(value, _rounded(number, digits))
    if value.size <= FEW:
        for digits in (1, 2, 3):
            yield Operand(_each_rounded(wide, digits).astype(value.dtype))
    elif finite.size:
        yield from _random(value, finite)


def _full(value: Any, number: float) -> Operand:
    array = np.full(value.shape, number).astype(value.dtype)
    if value.size == 1:
        return Operand(array)
    return Operand(array, "np.full(%r, %r)" % (tuple(map(int, value.shape)), number))


def _random(value: Any, finite: Any) -> Iterator[Operand]:
    """Draw normal numbers with the operand's mean, deviation and range."""
    mean, deviation = _rounded(float(finite.mean()), 3), _rounded(float(finite.std()), 3)
    low, high = _rounded(float(finite.min()), 3), _rounded(float(finite.max()), 3)
    if not np.isfinite([mean, deviation]).all():
        return
    shape = tuple(map(int, value.shape))
    made = np.random.default_rng(_SEED).normal(mean, deviation, shape).clip(low, high)
    code = "np.random.default_rng(%d).normal(%r, %r, %r).clip(%r, %r)" % (
        _SEED, mean, deviation, shape, low, high
    )  # fmt: skip
    yield Operand(made.astype(value.dtype), code)


def _rounded(number: float, digits: int) -> float:
    return float("%.*e" % (digits - 1, number)) if np.isfinite(number) else number


def _each_rounded(wide: Any, digits: int) -> Any:
    return np.array([_rounded(float(x), digits) for x in wide.ravel()]).reshape(wide.shape)


def literal(array: Any) -> str:
    """Write an array as nested lists of Python numbers that convert back to the same elements."""
    if array.ndim:
        return "[%s]" % ", ".join(literal(part) for part in array)
    item = array[()]
    if array.dtype.kind in "iu":
        return str(int(item))
    if array.dtype.kind == "b":
        return str(bool(item))
    if array.dtype.kind == "c":
        return "complex(%s, %s)" % (_float(item.real), _float(item.imag))
    if arrays.is_float(array):
        return _float(item)
    return repr(item)


def _float(item: Any) -> str:
    """Shortest text that the dtype reads back; `nan` and `inf` are names in the script."""
    if not np.isfinite(float(item)):
        return str(float(item))
    text = repr(float(str(item)))
    return text


def parts_in_file(operands: List[Operand]) -> Tuple[int, ...]:
    """Operands too long to be written out."""
    return tuple(i for i, o in enumerate(operands) if o.code is None and o.array.size > FEW)
