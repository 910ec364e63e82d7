"""Metadata of one zarr array, format 2 or 3: shape, grid of chunks, dtype, codecs.

References
----------
.. [1] https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
.. [2] https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.elements import ADDED, CODES, KNOWN, element, fill_bytes
from forensics.sources.checkpoints.orbax.streams import CODECS
from forensics.sources.checkpoints.strict_json import mapping, parse_object, sizes

METADATA_2, METADATA_3 = ".zarray", "zarr.json"
_MAX_METADATA = 1 << 20
_MAX_RANK = 64
_MAX_CHUNKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sharding:
    """Chunks that hold a grid of smaller ones, with an index of where these lie."""

    shards: tuple[int, ...]
    """Shape of what one key holds."""
    index_codecs: tuple[str, ...]
    index_at_end: bool


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One array.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array, and of the smallest part that is encoded by itself.
    dtype : str
        Name of a NumPy or ml_dtypes dtype.
    big_endian : bool
        Whether elements are stored so.
    codecs : tuple of str
        Encodings of a chunk's bytes, in the order in which they were applied.
    fill : bytes
        Element, little-endian, of chunks that are not there.
    prefix, separator : str
        How keys of chunks are made: prefix, then the numbers of the chunk.
    sharding : Sharding or None
        None where each key holds one chunk.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    big_endian: bool
    codecs: tuple[str, ...]
    fill: bytes
    prefix: str
    separator: str
    sharding: Sharding | None = None

    @property
    def width(self) -> int:
        """Bytes of one element."""
        return element(self.dtype).itemsize

    @property
    def decoded(self) -> int:
        """Bytes of all chunks together, what they hold beyond the edges included."""
        grid = zip(self.shape, self.chunks, strict=True)
        return math.prod(-(-n // c) * c for n, c in grid) * self.width

    def key(self, place: Sequence[int]) -> str:
        """Key of the chunk (or shard) at a place of the grid, below the array's own."""
        numbers = [str(number) for number in place]
        if self.prefix:
            return self.separator.join([self.prefix, *numbers])
        return self.separator.join(numbers) or "0"


def read_metadata(data: bytes | memoryview, key: str, path: str) -> ZarrArray:
    """Read the metadata of an array.

    Parameters
    ----------
    data : bytes
        Of ``.zarray`` or ``zarr.json``.
    key : str
        Which of the two.
    path : str
        What to call it in errors.

    Raises
    ------
    Damaged
        It is none, or asks for what is not read: kind ``unsupported``.
    """
    if len(data) > _MAX_METADATA:
        raise Damaged(path, 0, "limit", f"metadata of more than {_MAX_METADATA} bytes")
    document = parse_object(data, path)
    array = _format_2(document, path) if key == METADATA_2 else _format_3(document, path)
    count = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
    if count > _MAX_CHUNKS:
        raise Damaged(path, 0, "limit", f"an array of {count} chunks")
    if array.decoded >= 1 << 63:
        raise Damaged(path, 0, "bad_shape", "an array larger than any file")
    return array


def _format_2(document: Mapping[str, Any], path: str) -> ZarrArray:
    if document.get("zarr_format") != 2:
        raise _unsupported(path, f"zarr format {document.get('zarr_format')!r}")
    if document.get("order", "C") != "C" or document.get("filters"):
        raise _unsupported(path, "arrays in Fortran order or with filters")
    shape, chunks = _grid(document.get("shape"), document.get("chunks"), path)
    dtype, big = _dtype_2(document.get("dtype"), path)
    compressor = mapping(document.get("compressor")).get("id")
    separator = document.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise _unsupported(path, f"chunks separated by {separator!r}")
    codecs = () if document.get("compressor") is None else (_codec(compressor, path),)
    fill = fill_bytes(document.get("fill_value"), dtype, path)
    return ZarrArray(shape, chunks, dtype, big, codecs, fill, "", separator)


def _dtype_2(value: object, path: str) -> tuple[str, bool]:
    """Name, and whether it is big-endian, of ``<f4``, ``|b1`` or ``bfloat16``."""
    if isinstance(value, str):
        if value in ADDED:
            return value, False
        if value[:1] in ("<", ">", "|") and value[1:] in CODES:
            return CODES[value[1:]], value[0] == ">"
    raise _unsupported(path, f"elements of type {str(value)[:40]!r}")


def _format_3(document: Mapping[str, Any], path: str) -> ZarrArray:
    if document.get("zarr_format") != 3 or document.get("node_type") != "array":
        raise _unsupported(path, f"zarr format {document.get('zarr_format')!r}")
    grid = mapping(document.get("chunk_grid"))
    if grid.get("name") != "regular" or document.get("storage_transformers"):
        raise _unsupported(path, "irregular chunks or storage transformers")
    shape, chunks = _grid(
        document.get("shape"), mapping(grid.get("configuration")).get("chunk_shape"), path
    )
    dtype = document.get("data_type")
    if not isinstance(dtype, str) or dtype not in KNOWN:
        raise _unsupported(path, f"elements of type {str(dtype)[:40]!r}")
    prefix, separator = _key_encoding(mapping(document.get("chunk_key_encoding")), path)
    sharding, inner, chain = _sharding(document.get("codecs"), shape, chunks, path)
    big, codecs = _chain(chain, path)
    fill = fill_bytes(document.get("fill_value"), dtype, path)
    return ZarrArray(shape, inner, dtype, big, codecs, fill, prefix, separator, sharding)


def _key_encoding(encoding: Mapping[str, Any], path: str) -> tuple[str, str]:
    name = encoding.get("name")
    defaults = {"default": ("c", "/"), "v2": ("", ".")}
    if not isinstance(name, str) or name not in defaults:
        raise _unsupported(path, f"keys encoded as {str(name)[:40]!r}")
    prefix, separator = defaults[name]
    separator = mapping(encoding.get("configuration")).get("separator", separator)
    if separator not in (".", "/"):
        raise _unsupported(path, f"chunks separated by {str(separator)[:40]!r}")
    return prefix, separator


def _sharding(
    codecs: object, shape: tuple[int, ...], chunks: tuple[int, ...], path: str
) -> tuple[Sharding | None, tuple[int, ...], object]:
    """Sharding, where it is the only codec of the array; shape and codecs of the inner chunks."""
    first = mapping(codecs[0]) if isinstance(codecs, list) and len(codecs) == 1 else {}
    if first.get("name") != "sharding_indexed":
        return None, chunks, codecs
    settings = mapping(first.get("configuration"))
    _, inner = _grid(list(shape), settings.get("chunk_shape"), path)
    if any(whole % part for whole, part in zip(chunks, inner, strict=True)):
        raise Damaged(path, 0, "bad_shape", "chunks do not fill their shard")
    big, index_codecs = _chain(settings.get("index_codecs"), path)
    location = settings.get("index_location", "end")
    if big or any(codec != "crc32c" for codec in index_codecs) or location not in ("start", "end"):
        raise _unsupported(path, "an encoded index of a shard")
    return Sharding(chunks, index_codecs, location == "end"), inner, settings.get("codecs")


def _chain(codecs: object, path: str) -> tuple[bool, tuple[str, ...]]:
    """Byte order, and the codecs after the one that makes bytes of elements."""
    listed = [mapping(codec) for codec in codecs] if isinstance(codecs, list) else []
    if not listed or listed[0].get("name") != "bytes":
        name = listed[0].get("name") if listed else None
        raise _unsupported(path, f"elements encoded with {str(name)[:40]!r}")
    endian = mapping(listed[0].get("configuration")).get("endian", "little")
    if endian not in ("little", "big"):
        raise _unsupported(path, f"byte order {str(endian)[:40]!r}")
    return endian == "big", tuple(_codec(codec.get("name"), path) for codec in listed[1:])


def _codec(name: object, path: str) -> str:
    if name not in CODECS:
        raise _unsupported(path, f"chunks encoded with {str(name)[:40]!r}")
    return str(name)


def _grid(shape: object, chunks: object, path: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    whole, part = sizes(shape), sizes(chunks)
    if whole is None or part is None or len(whole) != len(part) or 0 in part:
        raise Damaged(path, 0, "bad_shape", "shape and chunks do not fit each other")
    if len(whole) > _MAX_RANK:
        raise Damaged(path, 0, "bad_shape", f"an array of {len(whole)} dimensions")
    return whole, part


def _unsupported(path: str, what: str) -> Damaged:
    return Damaged(path, 0, "unsupported", f"{what} are not read")
