"""The header of an ``.npy`` file, read strictly.

NumPy writes a Python literal and parses it with Python's own parser, which answers damage with
exceptions of its own choice. Only what NumPy writes for plain numbers is accepted here [1]_.

References
----------
.. [1] NumPy, ``numpy.lib.format``: magic string, version 1.0, two bytes of length, the header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc][0-9]{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,19}, ?)*(?:[0-9]{1,19})?)\), \} *\n"
)


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What an array claims to be; `fortran`: its elements lie in the order of Fortran."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header; `file` is then at the first element.

    Raises
    ------
    ValueError
        It is none, of another version than 1.0, or of other elements than numbers.
    """
    magic = file.read(len(_MAGIC) + 2)
    if len(magic) != len(_MAGIC) + 2 or not magic.startswith(_MAGIC):
        raise ValueError("no npy file of version 1.0")
    match = _HEADER.fullmatch(file.read(int.from_bytes(magic[-2:], "little")))
    if match is None:
        raise ValueError("the header of an npy file is not as NumPy writes it")
    shape = tuple(int(size) for size in match[3].replace(b",", b" ").split())
    try:
        dtype = np.dtype(match[1].decode("ascii"))
    except TypeError as error:
        raise ValueError(str(error)) from None
    return NpyHeader(shape, dtype, match[2] == b"True")
