"""What all records of an OCDBT database have in common: magic number, length, checksum.

The format is that of TensorStore's ``kvstore/ocdbt`` [1]_: ``uint32be`` magic, ``uint64le`` length,
varint version (0), varint compression (0: none, 1: zstd), the body, ``uint32le`` CRC-32C of all
that is before it.

References
----------
.. [1] https://google.github.io/tensorstore/kvstore/ocdbt/index.html#storage-format
"""

from __future__ import annotations

import struct

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax import zstd
from forensics.sources.checkpoints.orbax.decoder import Decoder
from forensics.sources.checksum import crc32c
from forensics.sources.wire import varint

MANIFEST, VERSION_NODE, TREE_NODE = 0x0CDB3A2A, 0x0CDB1234, 0x0CDB20DE
_NAMES = {MANIFEST: "manifest", VERSION_NODE: "version tree node", TREE_NODE: "B+tree node"}
_HEADER_BYTES, _CHECKSUM_BYTES = 12, 4
MAX_DECODED = 64 << 20
"""Bytes of a decoded record; TensorStore writes nodes of 8 MiB unless it is told otherwise."""


def open_record(data: bytes | memoryview, magic: int, path: str, at: int) -> Decoder:
    """Verify a record and decompress its body.

    Parameters
    ----------
    data : bytes
        All of the record.
    magic : int
        What it must be.
    path : str
        The file.
    at : int
        Where it begins there.

    Raises
    ------
    Damaged
        It is no such record, or its checksum is wrong.
    """
    name = _NAMES[magic]
    if len(data) < _HEADER_BYTES + _CHECKSUM_BYTES:
        raise Damaged(path, at, "truncated", f"a {name} of {len(data)} bytes")
    found, length = struct.unpack_from(">I", data)[0], struct.unpack_from("<Q", data, 4)[0]
    if found != magic:
        raise Damaged(path, at, "bad_magic", f"this is no {name} of an OCDBT database")
    if length != len(data):
        detail = f"a {name} of {length} bytes is promised, there are {len(data)}"
        raise Damaged(path, at + 4, "bad_length", detail)
    end = len(data) - _CHECKSUM_BYTES
    if crc32c(memoryview(data)[:end]) != struct.unpack_from("<I", data, end)[0]:
        raise Damaged(path, at, "crc_mismatch", f"the checksum of a {name} is wrong")
    return Decoder(_body(bytes(data[_HEADER_BYTES:end]), path, at), path, at)


def _body(data: bytes, path: str, at: int) -> bytes:
    version, position = varint(data, 0, len(data), path)
    compression, position = varint(data, position, len(data), path)
    if version != 0:
        raise Damaged(path, at, "unsupported", f"version {version} of OCDBT is not read")
    if compression == 1:
        return zstd.decompress(memoryview(data)[position:], MAX_DECODED, path, at)
    if compression != 0:
        raise Damaged(path, at, "unsupported", f"compression {compression} of OCDBT is not read")
    return data[position:]
