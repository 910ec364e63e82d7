"""Zstandard, decompressed piece by piece; the package that does it is imported when it is needed.

The window that a frame asks for is bounded by what the reference decoder allows [1]_.

References
----------
.. [1] RFC 8878, section 3.1.1.1.2 (``Window_Descriptor``); ``ZSTD_WINDOWLOG_LIMIT_DEFAULT`` is 27.
"""

from __future__ import annotations

import io
from typing import Any, cast

from forensics.errors import Damaged

_MAX_WINDOW = 1 << 27
MISSING = "missing_package"
"""Kind of the record where the package is not installed."""


def open_zstd(source: io.RawIOBase, path: str) -> Any:
    """Return a file object over the content of the first frame in `source`.

    Raises
    ------
    Damaged
        ``missing_package``: there is no zstandard. What it reads raises `failures`.
    """
    module = _module(path)
    return module.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(source)


def require(path: str) -> None:
    """Raise `Damaged`, kind ``missing_package``, where there is no zstandard."""
    _module(path)


def failures(path: str) -> tuple[type[BaseException], ...]:
    """Return what reading raises on damaged frames."""
    return (cast(type[BaseException], _module(path).ZstdError),)


def decompress(data: bytes | memoryview, most: int, path: str, at: int) -> bytes:
    """Content of one frame that takes all of `data` and holds `most` bytes at most.

    Raises
    ------
    Damaged
        It is none, or it is larger.
    """
    module = _module(path)
    decoder = module.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    pieces, left, view = [], most, memoryview(data)
    try:
        # The decoder answers all that a piece of its input holds: small ones bound what it holds.
        for start in range(0, len(view), _STEP):
            piece = decoder.decompress(view[start : start + _STEP])
            left -= len(piece)
            if left < 0:
                raise Damaged(path, at, "limit", f"this decompresses to more than {most} bytes")
            pieces.append(piece)
    except module.ZstdError as error:
        raise Damaged(path, at, "bad_zstd", f"this is no zstd frame: {error}") from None
    if not decoder.eof or decoder.unused_data:
        raise Damaged(path, at, "bad_zstd", "the zstd frame does not end where it should")
    return b"".join(pieces)


_STEP = 256


def _module(path: str) -> Any:
    try:
        import zstandard
    except ImportError:
        raise Damaged(
            path, 0, MISSING,
            "this is compressed with zstd, which is read with the extra [orbax] "
            "(pip install 'forensics[orbax]')",
        ) from None  # fmt: skip
    return zstandard
