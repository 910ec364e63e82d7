"""Landlock: a Linux process gives up the right to write, for itself and all it starts.

System calls by number, because the C library has no functions for them; the numbers are the same on
every architecture. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Writing files; removing and making files, folders, links, sockets, pipes and devices."""
_REFER = 1 << 13
_TCP = 0b11
_SCOPES = 0b11
"""Abstract sockets and signals stay among the confined processes."""


def version() -> int:
    """Version of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE, None, 0, _VERSION_FLAG))


def confine(folders: Iterable[Path], files: Iterable[Path]) -> int:
    """Let this process write only below `folders` and to `files`, from now on and for ever.

    Returns
    -------
    int
        Version of the interface that was used: from 4 on TCP is refused too, from 6 on signals to
        others.

    Raises
    ------
    OSError
        When the kernel offers no Landlock or refuses.
    """
    offered = version()
    if not offered:
        raise OSError("the kernel has no Landlock")
    handled = _CHANGES | (_REFER if offered >= 2 else 0) | (_TRUNCATE if offered >= 3 else 0)
    ruleset = _ruleset(offered, handled)
    try:
        for folder in folders:
            _allow(ruleset, folder, handled)
        for file in files:
            # a device that is not there need not be allowed
            with suppress(OSError):
                _allow(ruleset, file, handled & (_WRITE_FILE | _TRUNCATE))
        _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return offered


def _ruleset(offered: int, handled: int) -> int:
    fields = [handled]
    if offered >= 4:
        fields.append(_TCP)
    if offered >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return _checked(_syscall(_CREATE, attributes, len(attributes), 0))


def _allow(ruleset: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(_syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0))
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    return int(_libc().syscall(ctypes.c_long(number), *map(_argument, arguments)))


def _argument(value: int | bytes | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
